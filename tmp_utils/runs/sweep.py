"""Style-transfer sweeps: one clip for each source, method and strength, measured against source and concept.

Conventions: a sweep is a run, `<concept>/transfer-<adapter>/seed<k>/`, where the seed is that of the noise. It holds
``clips/`` (ogg, at the level that the model gave them), ``curves.csv`` and ``metrics.csv``. Each source and method is
stored as soon as it is done; it is measured before its clips are coded. Similarities are CLAP-A; the source is the
original clip, so the loss of VAE and vocoder shows at strength 0.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import slug, write_csv
from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import PLAYED_SUFFIX, load_clip, overs_counted, save_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import method_of
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.intervals import Interval
from tmp_utils.metrics.preservation import FIFTHS, chroma_correlation, onset_correlation, transfer_balance
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import failed_rows, result_row, results_table
from tmp_utils.model.inversion import check_methods
from tmp_utils.model.transfer import transfer
from tmp_utils.personalize import Adapter
from tmp_utils.runs.clips import CLIPS
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.identity import TRANSFER, identity_hash, sweep_identity, with_models
from tmp_utils.runs.integrity import damages, read_manifest
from tmp_utils.runs.protocol import METRICS, Lab

STRENGTHS = tuple(round(0.1 * k, 1) for k in range(11))  # of the study's sweep
SOURCES = ("greensleeves", "whistle", "harmonica")
MEASURES = ("source_similarity", "target_similarity", "chroma_correlation", "onset_correlation")
COLUMNS = ("source", "transfer", "seed", "strength", *MEASURES, "file")
CURVES, PARTS = "curves.csv", ".parts"


def label_of(
    sources: str | Sequence[str], strengths: Sequence[float], guidance_scale: float = 0.0, steps: int = 0
) -> str:
    """Return the `label` of `run_sweep`: empty for the study's sources, strengths and settings.

    Parameters
    ----------
    sources : a recording's path, or names of concepts.
    guidance_scale, steps : 0 is the profile's.
    """
    recording = Path(sources).stem if isinstance(sources, str) else ""
    other = {} if recording or tuple(sources) == SOURCES else {"sources": list(sources)}
    other |= {} if tuple(map(float, strengths)) == STRENGTHS else {"strengths": [float(s) for s in strengths]}
    trial = f"trial{identity_hash(other)[:6]}" if other else ""
    sampling = (f"guidance{guidance_scale:g}" if guidance_scale else "", f"steps{steps}" if steps else "")
    return "-".join(filter(None, (recording, *sampling, trial)))


def measure(
    clips: Sequence[np.ndarray], source: np.ndarray, target: np.ndarray, embedder: Embedder
) -> dict[str, list[float]]:
    """Return `MEASURES` of clips, one value a clip.

    Parameters
    ----------
    clips, source : (n,) at 16 kHz, all as long.
    target : (m, d), embeddings of the concept's clips.
    """
    embedded = embedder.embed_clips([*clips, source])
    return {
        "source_similarity": similarity_matrix(embedded[:-1], embedded[-1:])[:, 0].tolist(),
        "target_similarity": similarity_matrix(embedded[:-1], target).mean(1).tolist(),
        "chroma_correlation": [chroma_correlation(clip, source) for clip in clips],
        "onset_correlation": [onset_correlation(clip, source) for clip in clips],
    }


@overs_counted()
def run_sweep(
    lab: Lab,
    concept: Concept,
    adapter: Adapter,
    sources: Mapping[str, str | Path],
    strengths: Sequence[float],
    seed: int,
    *,
    methods: Sequence[str] | None = None,
    prompt: str | None = None,
    guidance_scale: float | None = None,
    steps: int | None = None,
    label: str = "",
    say: Callable = print,
) -> Path:
    """Transfer every source by every method at every strength and measure it; or find that it is done.

    Parameters
    ----------
    sources : sound files by name; of a long one the first `profile.clip_s` are used.
    seed : of the noise.
    methods : of style transfer; None is all that the backbone has.
    prompt, guidance_scale, steps : as in `transfer.transfer`; None is y = S*, and the profile's guidance and steps.
    label : names a sweep with other sources or settings than the study's: part of the folder's name, and of the setup's
        in ``metrics.csv``, so that the paper's claim is judged by the study's sweep alone.

    Returns
    -------
    The finished run.

    Raises
    ------
    ValueError : a method that the backbone does not have.
    """
    methods = lab.backbone.inversions if methods is None else methods
    check_methods(lab.backbone, methods)
    profile, setup = lab.profile, "+".join(filter(None, [adapter.setup, label]))
    clips_in = {name: load_clip(path, duration_s=profile.clip_s) for name, path in sources.items()}
    sampling = {
        "prompt": prompt,
        "guidance_scale": profile.guidance_scale if guidance_scale is None else guidance_scale,
        "steps": profile.inference_steps if steps is None else steps,
    }
    name = f"{adapter.method}-{setup}"
    identity = sweep_identity(profile, adapter, name, clips_in, strengths, methods, seed, sampling)
    folder = lab.place.run(concept.name, TRANSFER, name, seed)
    identity = with_models(identity, lab.embedder, lab.backbone)
    with open_run(folder, identity, lab.backbone, say, mirror=lab.mirror) as run:
        if run.done:
            return run.folder
        for folder in (run.path / CLIPS, run.path / PARTS):
            folder.mkdir(exist_ok=True)
        target = lab.embedder.embed_clips(concepts.load_clips(concept))
        parts = []
        for name, source in clips_in.items():
            for method in methods:
                part = run.path / PARTS / f"{slug(name)}-{method}.csv"
                files = [f"{CLIPS}/{_clip_file(name, method, strength)}" for strength in strengths]
                files.append(part.relative_to(run.path).as_posix())
                if not set(files) <= set(run.files):
                    with run.timed("transfer_s"):
                        clips = transfer(
                            lab.backbone, source, strengths, adapter=adapter, method=method, seed=seed, **sampling
                        )
                    rows = _save(clips, strengths, run.path / CLIPS, (name, method, seed))
                    with run.timed("scoring_s"):
                        write_csv(part, rows.assign(**measure(clips, source, target, lab.embedder)))
                    run.keep(*files)
                parts.append(pd.read_csv(part, float_precision="round_trip"))
        curves = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
        write_csv(run.path / CURVES, curves)
        if len(rows := _rows_of(curves, run.identity, profile.name)):
            write_csv(run.path / METRICS, rows)
        shutil.rmtree(run.path / PARTS)
        return run.finish()


def _save(clips: Iterable[np.ndarray], strengths: Iterable[float], folder: Path, names: tuple) -> pd.DataFrame:
    """Save a sweep's clips and return the first columns of its rows."""
    source, method, seed = names
    rows = []
    for clip, strength in zip(clips, strengths, strict=True):
        file = _clip_file(source, method, strength)
        save_clip(folder / file, clip)
        rows.append({"source": source, "transfer": method, "seed": seed, "strength": strength, "file": file})
    return pd.DataFrame(rows)


def _clip_file(source: str, method: str, strength: float) -> str:
    return f"{slug(source)}-{method}-{strength:g}{PLAYED_SUFFIX}"


def balance_rows(curves: pd.DataFrame, identity: Mapping, setup: str, embedder: str) -> pd.DataFrame:
    """Return the results rows `transfer_balance` of each fifth that has strengths; failed where it is undefined."""
    note, nan = "", float("nan")
    try:
        balance = transfer_balance(curves).dropna()
    except ValueError as error:
        balance, note = dict.fromkeys(FIFTHS), str(error)
    rows = []
    for where, value in balance.items():
        interval = None if note else Interval(float(value), nan, nan, len(curves))
        who = {**identity, "setup": f"{setup}@{where}"}
        rows.append(result_row(who, "transfer_balance", interval, embedder, note=note))
    return results_table(rows)


def sweep_rows(folder: Path) -> pd.DataFrame:
    """Return the results rows of a finished sweep, which follow from its curves; failed where its files are damaged."""
    wrong = {name: reason for name, reason in damages(folder).items() if name != METRICS}
    if not (folder / CURVES).is_file():
        wrong[CURVES] = "missing"
    none = pd.DataFrame(columns=COLUMNS, dtype=float)
    curves = none if CURVES in wrong else pd.read_csv(folder / CURVES, float_precision="round_trip")
    rows = _rows_of(curves, read_manifest(folder)["parameters"], folder.parents[2].name)
    damage = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
    return failed_rows(rows, f"{damage}. Run notebook 04 again: damaged files are made again.") if wrong else rows


def _rows_of(curves: pd.DataFrame, parameters: Mapping, profile: str) -> pd.DataFrame:
    """Return `balance_rows` of a sweep's curves by noising, named by the sweep's identity; none if it has none."""
    if "noising" not in parameters["methods"]:
        return results_table([])
    name = parameters["setup"]  # such as "TI-DB-BL+trial", of the method TI-DB
    method = method_of(name)
    identity = {"profile": profile, "concept": parameters["concept"], "method": method, "seed": parameters["seed"]}
    by_noising = curves[curves["transfer"] == "noising"]
    return balance_rows(by_noising, identity, name.removeprefix(f"{method}-"), parameters["embedder"])


def read_curves(folders: Iterable[str | Path]) -> pd.DataFrame:
    """Return the curves of several sweeps below each other, ``file`` as a whole path."""
    tables = []
    for folder in map(Path, folders):
        table = pd.read_csv(folder / CURVES, float_precision="round_trip")
        tables.append(table.assign(file=[str(folder / CLIPS / file) for file in table["file"]]))
    return pd.concat(tables, ignore_index=True)
