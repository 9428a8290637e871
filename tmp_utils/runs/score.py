"""From the clips of a run to its rows in the results table.

Conventions: clips are at 16 kHz. A clip that cannot be used makes its prompt's row and the run's row "failed", with
the reason; the rest is not averaged in its place. Generating the clip again mends these rows and changes no others.

score_run       : a run's folder -> all its rows.
failed_run      : the rows of a run that cannot be scored at all.
score_clips     : clips -> CLAP-A, CLAP-T, memorisation, FAD, KAD and the music metrics.
score_distances : FAD and KAD between any two sets of clips, such as all concepts pooled.
score_music     : tempo, level, key and scale agreement.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.prompts import editability_prompts, fill
from tmp_utils.metrics import music
from tmp_utils.metrics import similarity as metrics
from tmp_utils.metrics.distances import equal_n, frechet_audio_distance, kernel_audio_distance
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.intervals import Interval, bootstrap_mean, hierarchical_mean, share_of
from tmp_utils.metrics.table import UNTRAINED, result_row, results_table, score_references
from tmp_utils.runs.clips import EDITABILITY, RECONSTRUCTION, failure, read_clips
from tmp_utils.runs.folder import read_manifest

MUSIC_TOOL = "essentia"
OF_A_RUN = ("clap_a", "clap_t", "nearest_training", "fad", "kad")  # of every run, whatever its concept
NAMES = ("concept", "method", "setup", "seed")  # of a run, in its identity and in its rows


def names_of(folder: str | Path) -> dict:
    """Return profile, concept, method, setup and seed of a run, as its rows have them."""
    parameters = read_manifest(folder)["parameters"]
    return {"profile": Path(folder).parents[2].name} | {name: parameters[name] for name in NAMES}


def score_run(folder: str | Path, concept: Concept, embedder: Embedder) -> pd.DataFrame:
    """Return all rows of one run, finished or being made; those of the untrained reference hold the ceilings, too.

    Parameters
    ----------
    folder : path
        A run's folder with its clips.
    concept : Concept
        What the run was made from.
    embedder : Embedder
        Its name goes into the rows.

    Raises
    ------
    FileNotFoundError, ValueError
        If the run's listing or the concept's clips cannot be used.
    """
    parameters, names = read_manifest(folder)["parameters"], names_of(folder)
    training = concepts.load_clips(concept)
    prompts = editability_prompts(parameters["n_editability_prompts"])
    texts = {prompt.id: fill(prompt.template, concept.class_noun) for prompt in prompts}
    rows = score_clips(
        read_clips(folder),
        training,
        embedder,
        texts,
        names,
        tempo=bool(concept.tempo_constant),
        harmony=bool(concept.harmonic),
        seed=parameters["seed"],
    )
    if parameters["method"] != UNTRAINED:
        return rows
    embedded, asked = embedder.embed_clips(training), embedder.embed_prompts(list(texts.values()))
    return pd.concat([rows, score_references(embedded, asked, names, embedder.name)], ignore_index=True)


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
        readings = music.read_music(generated, RATE_HZ)
    except ImportError as error:
        return _failed_music(identity, tempo, harmony, str(error))
    rows = []
    for name, column in music.agreement(readings, target, tempo=tempo, harmony=harmony).items():
        if column.isna().any():
            note = "the training clips themselves have no reading"
            rows.append(result_row(identity, name, None, MUSIC_TOOL, note=note))
            continue
        reading = {"tempo": "tempo_bpm", "level": "level_lufs"}.get(name.split("_")[0], name.split("_")[0])
        undefined = int(readings[reading].isna().sum())
        note = f"{undefined} of {len(readings)} readings undefined, counted as no agreement" if undefined else ""
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


def score_clips(
    table: pd.DataFrame,
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
    """Return the rows of a table of clips.

    Parameters
    ----------
    table : pandas.DataFrame
        From `read_clips`: prompt_id, kind, clip, reason.
    training_clips : sequence of numpy.ndarray
        The concept's clips at 16 kHz.
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
        (one row a prompt and one "all") from the editability clips. A row that needs a bad clip is "failed".
    """
    by_kind = {kind: table[table["kind"] == kind] for kind in (RECONSTRUCTION, EDITABILITY)}
    rows: list[dict] = []
    if len(by_kind[EDITABILITY]):
        rows += _text_rows(by_kind[EDITABILITY], embedder, texts, identity, seed)
    if len(by_kind[RECONSTRUCTION]) == 0:
        return results_table(rows)
    if note := failure(by_kind[RECONSTRUCTION]):
        for name in ("clap_a", "nearest_training", "fad", "kad"):
            rows.append(result_row(identity, name, None, embedder.name, note=note))
        failed = [results_table(rows)] + [_failed_music(identity, tempo, harmony, note)] * with_music
        return pd.concat(failed, ignore_index=True)
    generated, training = list(by_kind[RECONSTRUCTION]["clip"]), list(training_clips)
    rows += _audio_rows(embedder.embed_clips(generated), embedder.embed_clips(training), embedder, identity, seed)
    tables = [results_table(rows), score_distances(generated, training, embedder, identity, seed)]
    if with_music:
        tables.append(score_music(generated, training, identity, tempo=tempo, harmony=harmony))
    return pd.concat(tables, ignore_index=True)
