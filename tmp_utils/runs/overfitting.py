"""What full fine-tuning forgets: the path of a training, and the drift of a class noun.

Conventions: scores are cosines by the study's embedder; every value is a mean over clips with Student's interval over
the generated clips and n. Clips start from the same noise at every step and for every adapter, so differences are the
adapters'.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tmp_utils.files import write_csv
from tmp_utils.inputs import concepts
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Setup
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.intervals import mean_of
from tmp_utils.metrics.names import SIMILARITIES
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.model.generate import clip_seed
from tmp_utils.personalize import Adapter, load_adapter, prepare, train
from tmp_utils.personalize.checkpoint import checkpoint_folder
from tmp_utils.runs.how_many import usual_steps
from tmp_utils.runs.identity import HASH_CHARS, identity_hash
from tmp_utils.runs.protocol import CHECKPOINTS, Lab

STOPS = 4
PATH_CLIPS = 4
PATH_PROMPTS = 4  # with the clips two full batches
DRIFT_CLIPS = 8


def learning_path(
    lab: Lab, concept: Concept, setup: Setup, seed: int, folder: Path, stops: int = STOPS
) -> pd.DataFrame:
    """Train once, keep checkpoints, and measure each.

    Parameters
    ----------
    folder : where the path is stored, and checkpoints while it is made; a finished path is read.
    stops : how many steps are looked at, evenly spread (`stop_steps`); step 0, the untrained model, comes first.

    Returns
    -------
    step, metric ("clap_a", "clap_t"), value, ci_low, ci_high, n, embedder.
    """
    steps = stop_steps(usual_steps(lab.profile.method(setup.method)), stops)
    identity = lab.identity(concept, setup, seed) | {"steps": steps, "measured": [PATH_CLIPS, PATH_PROMPTS]}
    name = f"{concept.name}-{setup.name}-seed{seed}-{identity_hash(identity)[:HASH_CHARS]}"
    folder = Path(folder) / name  # another for other clips, words or hyperparameters
    if not (folder / "path.csv").exists():
        write_csv(folder / "path.csv", pd.DataFrame(_trained_path(lab, concept, setup, seed, folder, steps)))
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # nothing reads them again; they fill a study's disk
    return pd.read_csv(folder / "path.csv", float_precision="round_trip")


def stop_steps(steps: int, stops: int = STOPS) -> list[int]:
    """Return the steps at which a training is measured, of all its steps; as many as `stops`, if it has as many.

    >>> stop_steps(80)
    [20, 40, 60, 80]
    """
    return sorted({round(k * steps / stops) for k in range(1, stops + 1)} - {0})


def _trained_path(
    lab: Lab, concept: Concept, setup: Setup, seed: int, folder: Path, steps: Sequence[int]
) -> list[dict]:
    methods = lab.profile.methods
    checkpointed = methods[setup.method] | {"checkpoint_every": steps[-1], "keep_checkpoints": True}
    profile = replace(lab.profile, methods=methods | {setup.method: checkpointed})
    training = prepare(lab.backbone, concept, setup, seed, profile, checkpoint_dir=folder / CHECKPOINTS)
    training.checkpoint_at = steps
    train(lab.backbone, [training])
    rows = [{"step": 0} | row for row in measure_adapter(lab, concept, None, seed)]
    for step in steps:
        adapter = load_adapter(checkpoint_folder(folder / CHECKPOINTS, step))
        rows += [{"step": step} | row for row in measure_adapter(lab, concept, adapter, seed)]
    return rows


def path_in_words(path: pd.DataFrame) -> str:
    """Say where CLAP-A was highest, and whether CLAP-T fell while it learned; `path` is of `learning_path`."""
    trained = path[path["step"] > 0].sort_values("step")
    near, follows = (trained[trained["metric"] == metric] for metric in SIMILARITIES)
    best, last, first, end = near.loc[near["value"].idxmax()], near.iloc[-1], follows.iloc[0], follows.iloc[-1]
    fell = "is below" if end["ci_high"] < first["ci_low"] else "cannot be distinguished from"
    values = [f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" for row in (end, first)]
    return (
        f"CLAP-A was highest at step {best['step']:.0f} of {last['step']:.0f} ({best['value']:.3f}, {last['value']:.3f}"
        f" at the end). CLAP-T at the end, {values[0]}, {fell} that of step {first['step']:.0f}: {values[1]}."
    )


def language_drift(
    lab: Lab, concept: Concept, adapters: Mapping[str, Adapter], seed: int, n_clips: int = DRIFT_CLIPS
) -> pd.DataFrame:
    """CLAP-A of the bare class noun, before training and with each adapter.

    Parameters
    ----------
    adapters : a name for each.

    Returns
    -------
    Index: "untrained" and the names; value, ci_low, ci_high, n, embedder.
    """
    training = lab.embedder.embed_clips(concepts.load_clips(concept))
    prompt = fill(reconstruction_prompt().template, concept.class_noun)
    rows = {}
    for name, adapter in {UNTRAINED: None, **adapters}.items():
        clips = lab.generate([prompt] * n_clips, [clip_seed(seed, "drift", k) for k in range(n_clips)], adapter)
        rows[name] = _interval(similarity_matrix(lab.embedder.embed_clips(clips), training).mean(1), lab)
    return pd.DataFrame(rows).T.infer_objects()


def drift_in_words(drift: pd.DataFrame) -> str:
    """Say after which trainings the bare class noun sounds like the concept; `drift` is of `language_drift`."""
    ends = [f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in drift.itertuples()]
    before = drift.iloc[0]
    said = {"has moved to the concept": [], "has moved away from it": [], "shows no clear change": []}
    for (name, row), level in list(zip(drift.iterrows(), ends, strict=True))[1:]:
        nearer, farther = row["ci_low"] > before["ci_high"], row["ci_high"] < before["ci_low"]
        said[list(said)[0 if nearer else 1 if farther else 2]].append(f"{name} ({level})")
    parts = [f"{what} after {', '.join(names)}" for what, names in said.items() if names]
    return f"CLAP-A of the bare class noun is {ends[0]} untrained; it {'; '.join(parts)}."


def _interval(values, lab: Lab) -> dict:
    interval = mean_of(values)
    ends = {name: getattr(interval, name) for name in ("value", "ci_low", "ci_high", "n")}
    return ends | {"embedder": lab.embedder.name}


def measure_adapter(
    lab: Lab,
    concept: Concept,
    adapter: Adapter | None,
    seed: int,
    *,
    strength: float = 1.0,
    n_clips: int = PATH_CLIPS,
    n_prompts: int = PATH_PROMPTS,
) -> list[dict]:
    """Rows of CLAP-A and CLAP-T, from a few clips, of an adapter, or (None) of the backbone with the class noun.

    Parameters
    ----------
    strength : of the adapter, as `generate` takes it.
    n_clips, n_prompts : of the reconstruction prompt, for CLAP-A; of editability prompts, a clip each, for CLAP-T.
    """
    words = adapter.phrase(concept) if adapter else concept.class_noun
    edits = editability_prompts(min(n_prompts, lab.profile.n_editability_prompts))
    prompts = [fill(reconstruction_prompt().template, words)] * n_clips + [fill(p.template, words) for p in edits]
    ids = ["reconstruction"] * n_clips + [p.id for p in edits]
    clips = lab.generate(prompts, [clip_seed(seed, name, k) for k, name in enumerate(ids)], adapter, strength=strength)
    embedded = lab.embedder.embed_clips(clips)
    training = lab.embedder.embed_clips(concepts.load_clips(concept))
    texts = lab.embedder.embed_prompts([fill(p.template, concept.class_noun) for p in edits])
    near = similarity_matrix(embedded[:n_clips], training).mean(1)
    follows = (embedded[n_clips:] * texts).sum(1)
    return [{"metric": name} | _interval(values, lab) for name, values in (("clap_a", near), ("clap_t", follows))]
