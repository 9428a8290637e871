"""From the clips of a run to its rows in the results table.

Conventions: a run's ``clips.csv`` names its clips (file, prompt_id, kind, duration_s); clips are at 16 kHz.
A clip that is missing, silent, NaN or half-written makes its prompt's row and the run's row "failed" with
the reason: what is left is not averaged in its place. Generating the clip again mends the rows, and changes
no others.

read_clips      : the manifest's clips, with a reason for each that cannot be used.
failed_run      : the rows of a run that cannot be scored at all.
score_run       : CLAP-A, CLAP-T, memorisation, FAD, KAD and the music metrics of one run.
score_distances : FAD and KAD between any two sets of clips, such as all concepts pooled.
score_music     : tempo, level, key and scale agreement.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import below
from tmp_utils.inputs.audio import RATE_HZ, load_clip
from tmp_utils.metrics import music
from tmp_utils.metrics import similarity as metrics
from tmp_utils.metrics.distances import equal_n, frechet_audio_distance, kernel_audio_distance
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.intervals import Interval, bootstrap_mean, hierarchical_mean, share_of
from tmp_utils.metrics.table import result_row, results_table

MUSIC_TOOL = "essentia"
DURATION_TOLERANCE_S = 0.05
RECONSTRUCTION, EDITABILITY = "reconstruction", "editability"
OF_A_RUN = ("clap_a", "clap_t", "nearest_training", "fad", "kad")  # of every run, whatever its concept


def read_clips(manifest: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Return the manifest with ``clip``, (n,) or None, and ``reason``, empty where it is good.

    Parameters
    ----------
    manifest : pandas.DataFrame
        A run's clips.csv: file, prompt_id, kind, and where known duration_s.
    folder : path
        What the files are named relative to.
    """
    if missing := {"file", "prompt_id", "kind"} - set(manifest.columns):
        raise ValueError(f"clips table without {sorted(missing)}; it has {list(manifest.columns)}. Pass a clips.csv.")
    clips, reasons = [], []
    for row in manifest.itertuples():
        clip, reason = None, ""
        try:
            clip = load_clip(below(folder, row.file))
        except FileNotFoundError:
            reason = f"{row.file}: missing"
        except (ValueError, OSError) as error:
            reason = str(error)
        planned_s = float(getattr(row, "duration_s", float("nan")))
        if clip is not None and abs(len(clip) / RATE_HZ - planned_s) > DURATION_TOLERANCE_S:
            clip, reason = None, f"{row.file}: half-written, {len(clip) / RATE_HZ:.2f} s of {planned_s:.2f} s"
        clips.append(clip)
        reasons.append(reason)
    return manifest.assign(clip=pd.Series(clips, index=manifest.index, dtype=object), reason=reasons)


def failure(table: pd.DataFrame) -> str:
    """Return in one line what is wrong with a table of clips; empty where all are good."""
    bad = table[table["reason"] != ""]
    if table.empty:
        return "no clips of this kind in the run"
    if bad.empty:
        return ""
    return f"{len(bad)} of {len(table)} clips failed: {bad.iloc[0]['reason']}"


def _text_rows(table: pd.DataFrame, embedder: Embedder, texts: Mapping, identity: Mapping, seed: int) -> list[dict]:
    """Return the CLAP-T rows: one a prompt, and one of the run."""
    rows, values = [], []
    for prompt_id, group in table.groupby("prompt_id", sort=True):
        if note := failure(group):
            rows.append(result_row(identity, "clap_t", None, embedder.name, prompt_id, note))
            continue
        prompt = embedder.embed_prompts([texts[prompt_id]])
        cosines = metrics.similarity_matrix(embedder.embed_clips(list(group["clip"])), prompt)[:, 0]
        values.append(pd.DataFrame({"prompt": prompt_id, "value": cosines}))
        rows.append(result_row(identity, "clap_t", bootstrap_mean(cosines, seed), embedder.name, prompt_id))
    if note := failure(table):
        return [*rows, result_row(identity, "clap_t", None, embedder.name, note=note)]
    interval = hierarchical_mean(pd.concat(values), levels=["prompt"], seed=seed)
    interval = Interval(interval.value, interval.ci_low, interval.ci_high, len(table))
    return [*rows, result_row(identity, "clap_t", interval, embedder.name)]


def _audio_rows(
    generated: np.ndarray, training: np.ndarray, embedder: Embedder, identity: Mapping, seed: int
) -> list[dict]:
    """Return the rows of CLAP-A and of memorisation, their intervals over the generated clips."""
    cosines = metrics.similarity_matrix(generated, training)
    return [
        result_row(identity, "clap_a", bootstrap_mean(cosines.mean(1), seed), embedder.name),
        result_row(identity, "nearest_training", bootstrap_mean(cosines.max(1), seed), embedder.name),
    ]


def score_distances(
    generated: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    embedder: Embedder,
    identity: Mapping,
    seed: int = 0,
    n: int | None = None,
) -> pd.DataFrame:
    """Return the rows fad and kad between the windows of two sets of clips, at equal n, which the row says.

    Pool the clips of all concepts (with ``identity["concept"]`` saying so) for a FAD that is more than bias.
    """
    reference, other = equal_n(embedder.embed_windows(training), embedder.embed_windows(generated), seed, n)
    rows = []
    for name, distance in (("fad", frechet_audio_distance), ("kad", kernel_audio_distance)):
        try:
            result = distance(reference, other)
        except ValueError as error:
            rows.append(result_row(identity, name, None, embedder.name, note=str(error)))
            continue
        interval = Interval(result.value, float("nan"), float("nan"), result.n)
        rows.append(result_row(identity, name, interval, embedder.name, note=result.note))
    return results_table(rows)


def score_music(
    generated: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    identity: Mapping,
    *,
    tempo: bool,
    harmony: bool,
) -> pd.DataFrame:
    """Return the rows of agreement in level and, where the concept has them, tempo, key and scale.

    The value is the share of generated clips that agree, with Wilson's interval; a reading that is undefined
    does not agree and is counted in the note. Where Essentia is missing the rows are failed and say how to get it.
    """
    try:
        target = music.MusicTarget.of(music.read_music(training, RATE_HZ))
        heard = music.read_music(generated, RATE_HZ)
    except ImportError as error:
        return _failed_music(identity, tempo, harmony, str(error))
    rows = []
    for name, column in music.agreement(heard, target, tempo=tempo, harmony=harmony).items():
        if column.isna().any():
            note = "the training clips themselves have no reading"
            rows.append(result_row(identity, name, None, MUSIC_TOOL, note=note))
            continue
        reading = {"tempo": "tempo_bpm", "level": "level_lufs"}.get(name.split("_")[0], name.split("_")[0])
        undefined = int(heard[reading].isna().sum())
        note = f"{undefined} of {len(heard)} readings undefined, counted as no agreement" if undefined else ""
        rows.append(result_row(identity, name, share_of(column), MUSIC_TOOL, note=note))
    return results_table(rows)


def _failed_music(identity: Mapping, tempo: bool, harmony: bool, note: str) -> pd.DataFrame:
    names = music.agreement_names(tempo, harmony)
    return results_table([result_row(identity, name, None, MUSIC_TOOL, note=note) for name in names])


def failed_run(identity: Mapping, embedder: str, note: str, before: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a failed row for each row that the run had before, or else for each metric that every run has."""
    blank = results_table([result_row(identity, metric, None, embedder, note=note) for metric in OF_A_RUN])
    if before is None or before.empty:
        return blank
    empty = {name: blank[name].iloc[0] for name in ("value", "n", "ci_low", "ci_high", "status", "note")}
    return before.assign(**empty, embedder=before["embedder"].where(before["embedder"] == MUSIC_TOOL, embedder))


def score_run(
    manifest: pd.DataFrame,
    folder: str | Path,
    training_clips: Sequence[np.ndarray],
    embedder: Embedder,
    texts: Mapping[str, str],
    identity: Mapping,
    *,
    tempo: bool = False,
    harmony: bool = False,
    with_music: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Return all rows of one run.

    Parameters
    ----------
    manifest, folder
        The run's clips.csv, and the folder its files are named relative to.
    training_clips : sequence of numpy.ndarray
        The concept's clips at 16 kHz.
    embedder : Embedder
        What hears them; its name goes into the rows.
    texts : mapping
        Prompt id -> the prompt's text with the class noun in the placeholder's place.
    identity : mapping
        profile, concept, method, setup, seed.
    tempo, harmony : bool
        Whether the concept has a constant tempo, and whether it is harmonic.

    Returns
    -------
    pandas.DataFrame
        Metrics clap_a, nearest_training, fad, kad and the agreements from the reconstruction clips, clap_t
        (one row a prompt and one "all") from the editability clips. Whatever a bad clip takes part in is
        "failed".
    """
    table = read_clips(manifest, folder)
    asked = {kind: table[table["kind"] == kind] for kind in (RECONSTRUCTION, EDITABILITY)}
    rows: list[dict] = []
    if len(asked[EDITABILITY]):
        rows += _text_rows(asked[EDITABILITY], embedder, texts, identity, seed)
    if len(asked[RECONSTRUCTION]) == 0:
        return results_table(rows)
    if note := failure(asked[RECONSTRUCTION]):
        for name in ("clap_a", "nearest_training", "fad", "kad"):
            rows.append(result_row(identity, name, None, embedder.name, note=note))
        without = [results_table(rows)] + [_failed_music(identity, tempo, harmony, note)] * with_music
        return pd.concat(without, ignore_index=True)
    generated, training = list(asked[RECONSTRUCTION]["clip"]), list(training_clips)
    rows += _audio_rows(embedder.embed_clips(generated), embedder.embed_clips(training), embedder, identity, seed)
    tables = [results_table(rows), score_distances(generated, training, embedder, identity, seed)]
    if with_music:
        tables.append(score_music(generated, training, identity, tempo=tempo, harmony=harmony))
    return pd.concat(tables, ignore_index=True)
