"""One run of the study: learn a concept in one setup, generate clips, score them.

Conventions: a run's folder holds the adapter with its card, ``history.csv``, ``clips/`` with ``clips.csv``,
``metrics.csv`` and ``run.json``. A finished run is not repeated; an interrupted one continues from its last checkpoint
and its last clip.
The *reference* of a concept is the untrained backbone with the class noun as its prompt: its CLAP-T is the text
ceiling, its CLAP-A what the class noun alone gives (paper, section 4).
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import write_csv, write_json
from tmp_utils.inputs.audio import CLIP_SUFFIX, overs_counted, save_clip
from tmp_utils.inputs.concepts import Concept, load_clips, recordings_folder
from tmp_utils.inputs.profiles import Setup
from tmp_utils.metrics.table import read_table
from tmp_utils.model.adapter import write_adapter
from tmp_utils.model.card import CARD, write_card
from tmp_utils.model.generate import generate_clips
from tmp_utils.model.transfer import round_trip
from tmp_utils.personalize import Adapter, Diverged, check, load_adapter, personalise, prepare, train
from tmp_utils.personalize.loop import check_together
from tmp_utils.personalize.textual_inversion import require_class_noun
from tmp_utils.runs.clips import CLIPS, LISTING
from tmp_utils.runs.disk import expected_bytes
from tmp_utils.runs.folder import RunFolder, open_run
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.place import Place
from tmp_utils.runs.score import CODEC_CLIPS, PEAKS, score_run

METRICS, HISTORY, COST, CHECKPOINTS = "metrics.csv", "history.csv", "cost.json", "checkpoints"
ADAPTER_FILES = ("adapter.safetensors", "adapter.json")
LEARNED = (*ADAPTER_FILES, HISTORY, COST)


def run_setup(lab: Lab, concept: Concept, setup: Setup, seed: int, say: Callable = print) -> Path:
    """Learn, generate and score; or find that it is done.

    Parameters
    ----------
    setup : a row of ``data/setups.csv``.
    seed : of training and of generation.
    say : prints a line when a run begins, and when it is done already.

    Returns
    -------
    The finished run.
    """
    with _open(lab, concept, setup, seed, say) as run:
        return _finish(lab, run, concept, setup, seed, say)


def _open(lab: Lab, concept: Concept, setup: Setup | None, seed: int, say: Callable) -> RunFolder:
    folder, identity = lab.run_folder(concept, setup, seed), lab.identity(concept, setup, seed)
    run = open_run(folder, identity, lab.backbone, say, recordings_folder(concept), lab.mirror)
    run.needs = str(expected_bytes(lab.place, lab.profile, [setup.method if setup else ""]))
    return run


def _finish(lab: Lab, run: RunFolder, concept: Concept, setup: Setup, seed: int, say: Callable) -> Path:
    if run.done:
        return run.folder
    say(f"{concept.name} {setup.name}, seed {seed}: under way.")
    if not _has_learned(run):
        with run.timed("training_s"):
            adapter = personalise(
                lab.backbone,
                concept,
                setup,
                seed,
                profile=lab.profile,
                checkpoint_dir=run.path / CHECKPOINTS,
                on_checkpoint=partial(run.copy, may_wait=True),
                cache_dir=lab.place.cache,
            )
            _write_learned(run, adapter.halved(lab.backbone))
    adapter = load_adapter(run.path)
    _generate_and_score(lab, run, adapter, concept, seed)
    write_card(adapter, run.path, clip=run.path / CLIPS / pd.read_csv(run.path / LISTING)["file"][0])
    run.keep(CARD)
    shutil.rmtree(run.path / CHECKPOINTS, ignore_errors=True)  # they may be gone already, if it was stopped here before
    return run.finish()


def _write_learned(run: RunFolder, adapter: Adapter) -> None:
    """Write what a run has learned, its cost last: where there is a cost there is nothing left to learn."""
    write_adapter(adapter, run.path)
    write_csv(run.path / HISTORY, pd.DataFrame(adapter.history))
    write_json(run.path / COST, adapter.cost)
    run.keep(*LEARNED)


def _has_learned(run: RunFolder) -> bool:
    """Whether a run has all that its training leaves, as it was written."""
    return set(LEARNED) <= set(run.files)


def run_reference(lab: Lab, concept: Concept, seed: int, say: Callable = print) -> Path:
    """Generate from the class noun with the untrained backbone; score that, and the concept's clips, as references."""
    require_class_noun(concept)  # its prompt; an empty one would be a finished run of nothing
    with _open(lab, concept, None, seed, say) as run:
        if not run.done:
            _generate_and_score(lab, run, None, concept, seed)
        return run.finish()


@overs_counted()
def run_setups(
    lab: Lab,
    concept: Concept,
    setups: Iterable[Setup],
    seeds: Iterable[int],
    together: int = 1,
    say: Callable = print,
) -> pd.DataFrame:
    """Run several setups, and the untrained reference, for several seeds; return their rows.

    Parameters
    ----------
    together : how many new words (setups and seeds of Textual Inversion) learn in one batch (see `loop.train`). It
        saves time on two cores, and on a GPU that one word does not fill. Clips are generated and scored one run at a
        time.

    Raises
    ------
    ValueError : `together` is not possible for these setups, or what `personalize.check` refuses of any of them;
        nothing was generated.
    """
    seeds, setups = list(dict.fromkeys(seeds)), list(dict.fromkeys(setups))
    check_together({setup.name for setup in setups if setup.method != "TI"}, together)
    for setup in setups:
        check(lab.backbone, concept, setup, lab.profile)
    lab.check_memory(setup.method for setup in setups)
    pairs = [(setup, seed) for seed in seeds for setup in setups]
    folders = [run_reference(lab, concept, seed, say) for seed in seeds]
    if together == 1:
        folders += [run_setup(lab, concept, setup, seed, say) for setup, seed in pairs]
    else:
        folders += _run_together(lab, concept, pairs, together, say)
    return pd.concat([read_table(folder / METRICS) for folder in folders], ignore_index=True)


def _run_together(lab: Lab, concept: Concept, pairs: list[tuple], together: int, say: Callable) -> list[Path]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_open(lab, concept, setup, seed, say)) for setup, seed in pairs]
        parts = [(run, *pair) for run, pair in zip(opened, pairs, strict=True)]
        diverged = _learn_together(lab, concept, parts, together)
        folders = [
            _finish(lab, run, concept, setup, seed, say)
            for run, setup, seed in parts
            if not diverged or run.done or _has_learned(run)
        ]
        if diverged:
            raise diverged
        return folders


def _learn_together(lab: Lab, concept: Concept, parts: list[tuple], together: int) -> Diverged | None:
    """Train all runs to their end; returns the error of one that diverged, after the others are done."""
    new = [part for part in parts if not part[0].done and not _has_learned(part[0])]
    if not new:
        return None
    diverged, adapters, began = None, [], time.monotonic()
    try:
        trainings = [
            prepare(
                lab.backbone,
                concept,
                setup,
                seed,
                lab.profile,
                checkpoint_dir=run.path / CHECKPOINTS,
                on_checkpoint=partial(run.copy, may_wait=True),
            )
            for run, setup, seed in new
        ]
        adapters = train(lab.backbone, trainings, together=together)
    except Diverged as error:
        diverged, adapters = error, error.finished
    finally:
        share_s = (time.monotonic() - began) / len(new)
        for run, *_ in new:
            run.took("training_s", share_s)
    for (run, *_), adapter in zip(new, adapters, strict=True):
        if adapter is not None:
            _write_learned(run, adapter.halved(lab.backbone))
    return diverged


def run_costs(place: Place, concept: str, seed: int) -> pd.DataFrame:
    """What the finished runs of a concept cost.

    Returns
    -------
    Index: method-setup; trainable_parameters, adapter_mb, seconds_per_step, peak_memory_mb (None on a CPU), training_s,
    generation_s, scoring_s.
    """
    rows = {}
    for folder in place.runs():
        manifest = read_manifest(folder)
        identity = manifest["parameters"]
        if identity["concept"] == concept and identity["seed"] == seed and (folder / COST).exists():
            weights = folder / "adapter.safetensors"  # which a grid with KEEP=clips deletes
            size_mb = weights.stat().st_size / 1e6 if weights.exists() else None
            cost = json.loads((folder / COST).read_text(encoding="utf-8"))
            times = {name: manifest["timings"].get(name) for name in ("training_s", "generation_s", "scoring_s")}
            rows[f"{identity['method']}-{identity['setup']}"] = {**cost, "adapter_mb": size_mb, **times}
    return pd.DataFrame(rows).T.infer_objects()


def _generate_and_score(lab: Lab, run: RunFolder, adapter: Adapter | None, concept: Concept, seed: int) -> None:
    with run.timed("generation_s"):
        generate_clips(lab.backbone, adapter, concept, lab.profile, seed, run.path / CLIPS)
        if adapter is None:
            _write_codec_clips(lab, concept, run.path / CODEC_CLIPS)
    with run.timed("scoring_s"):
        write_csv(run.path / METRICS, score_run(run.path, concept, lab.embedders))


def _write_codec_clips(lab: Lab, concept: Concept, folder: Path) -> None:
    """Write the concept's clips after VAE and vocoder: what the codec leaves of a perfect copy."""
    folder.mkdir(exist_ok=True)
    coded = {f"{k:02d}{CLIP_SUFFIX}": round_trip(lab.backbone, clip) for k, clip in enumerate(load_clips(concept))}
    for file, clip in coded.items():
        save_clip(folder / file, clip)
    write_csv(folder / PEAKS, [{"file": file, "peak": float(np.abs(clip).max())} for file, clip in coded.items()])
