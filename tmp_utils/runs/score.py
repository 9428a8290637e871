"""From the clips of a run to its rows in the results table.

Conventions: clips are at 16 kHz. Every run is scored by three embedders: the profile's CLAP, the same on clips brought
to one level, and MusiCNN, which was trained on other music; each has keys of its own (`metrics.names`). A clip that
cannot be used makes its prompt's row and the run's rows "failed", with the reason; the rest is not averaged in its
place. Generating the clip again mends these rows and changes no others.

study_embedders : the three embedders.
score_run       : a run's folder -> all its rows.
failed_run      : the rows of a run that cannot be scored at all.
score_clips     : clips -> their rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import load_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.prompts import editability_prompts, fill
from tmp_utils.metrics import embed
from tmp_utils.metrics.embed import Embedder, LevelMatched
from tmp_utils.metrics.intervals import Interval, bootstrap_mean, hierarchical_mean
from tmp_utils.metrics.names import key_of, metric_of
from tmp_utils.metrics.scores import MUSIC_TOOL, audio_rows, codec_rows, failed_music_rows, music_rows
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import UNTRAINED, result_row, results_table, score_references
from tmp_utils.runs.clips import EDITABILITY, RECONSTRUCTION, failure, read_clips
from tmp_utils.runs.folder import read_manifest
from tmp_utils.runs.integrity import check_files

SECOND_EMBEDDER = "musicnn:MTT"
OF_SOUND = ("clap_a", "nearest_training", "fad", "kad")  # what every embedder measures
NAMES = ("concept", "method", "setup", "seed")  # of a run, in its identity and in its rows
CODEC_CLIPS = "codec"  # folder of the untrained reference: the concept's clips after VAE and vocoder


def study_embedders(embedder: Embedder) -> list[Embedder]:
    """Return the embedders that score every run: this one first, the same at one level, and the second."""
    return [embedder, LevelMatched(embedder), embed.load_embedder(SECOND_EMBEDDER, cache_dir=embedder.cache_dir)]


def names_of(folder: str | Path) -> dict:
    """Return profile, concept, method, setup and seed of a run, as its rows have them."""
    parameters = read_manifest(folder)["parameters"]
    return {"profile": Path(folder).parents[2].name} | {name: parameters[name] for name in NAMES}


def score_run(folder: str | Path, concept: Concept, embedders: Sequence[Embedder]) -> pd.DataFrame:
    """Return all rows of one run, finished or being made; those of the untrained reference hold the others, too.

    Parameters
    ----------
    folder : path
        A run's folder with its clips.
    concept : Concept
        What the run was made from.
    embedders : sequence of Embedder
        From `study_embedders`; the first embeds prompts, too.

    Raises
    ------
    FileNotFoundError, ValueError
        If the run's listing or the concept's clips cannot be used.
    """
    folder = Path(folder)
    parameters, names = read_manifest(folder)["parameters"], names_of(folder)
    training = concepts.load_clips(concept)
    prompts = editability_prompts(parameters["n_editability_prompts"])
    texts = {prompt.id: fill(prompt.template, concept.class_noun) for prompt in prompts}
    rules = {"tempo": bool(concept.tempo_constant), "harmony": bool(concept.harmonic), "seed": parameters["seed"]}
    rows = score_clips(read_clips(folder), training, embedders, texts, names, **rules)
    if parameters["method"] != UNTRAINED:
        return rows
    tables = [rows]
    for k, embedder in enumerate(embedders):
        prompt_rows = embedder.embed_prompts(list(texts.values())) if k == 0 else None
        tables.append(score_references(embedder.embed_clips(training), prompt_rows, names, embedder.name))
    if coded := sorted((folder / CODEC_CLIPS).glob("*.wav")):
        check_files(folder, *(f"{CODEC_CLIPS}/{path.name}" for path in coded))
        tables.append(codec_rows([load_clip(path) for path in coded], training, embedders, names, **rules))
    return pd.concat(tables, ignore_index=True)


def _text_rows(table: pd.DataFrame, embedder: Embedder, texts: Mapping, identity: Mapping, seed: int) -> list[dict]:
    """Return the CLAP-T rows: one a prompt, and one of the run."""
    rows, values = [], []
    for prompt_id, group in table.groupby("prompt_id", sort=True):
        if note := failure(group):
            rows.append(result_row(identity, "clap_t", None, embedder.name, prompt_id, note))
            continue
        prompt = embedder.embed_prompts([texts[prompt_id]])
        cosines = similarity_matrix(embedder.embed_clips(list(group["clip"])), prompt)[:, 0]
        values.append(pd.DataFrame({"prompt": prompt_id, "value": cosines}))
        rows.append(result_row(identity, "clap_t", bootstrap_mean(cosines, seed), embedder.name, prompt_id))
    if note := failure(table):
        return [*rows, result_row(identity, "clap_t", None, embedder.name, note=note)]
    interval = hierarchical_mean(pd.concat(values), levels=["prompt"], seed=seed)
    interval = Interval(interval.value, interval.ci_low, interval.ci_high, len(table))
    return [*rows, result_row(identity, "clap_t", interval, embedder.name)]


def failed_run(
    identity: Mapping, embedders: Sequence[Embedder], note: str, before: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a failed row for each row that the run had before, or else for each metric that every run has."""
    main, *_ = embedders
    by_key = {key_of(metric, embedder.name): embedder.name for embedder in embedders for metric in OF_SOUND}
    keys = {**by_key, "clap_t": main.name}
    blank = results_table([result_row(identity, key, None, name, note=note) for key, name in keys.items()])
    if before is None or before.empty:
        return blank
    empty = {name: blank[name].iloc[0] for name in ("value", "n", "ci_low", "ci_high", "status", "note")}
    names = [
        row.embedder if row.embedder == MUSIC_TOOL else _embedder_of(row.metric, embedders)
        for row in before.itertuples()
    ]
    return before.assign(**empty, embedder=names)


def _embedder_of(key: str, embedders: Sequence[Embedder]) -> str:
    return next(embedder.name for embedder in embedders if key_of(metric_of(key), embedder.name) == key)


def score_clips(
    table: pd.DataFrame,
    training: Sequence[np.ndarray],
    embedders: Sequence[Embedder],
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
    training : sequence of numpy.ndarray
        The concept's clips at 16 kHz.
    embedders : sequence of Embedder
        The first embeds prompts, too.
    texts : mapping
        Prompt id -> the prompt's text with the class noun in the placeholder's place.
    identity : mapping
        profile, concept, method, setup, seed.
    tempo, harmony : bool
        Whether the concept has a constant tempo, and whether it is harmonic.

    Returns
    -------
    pandas.DataFrame
        The rows of `metrics.scores` from the reconstruction clips, and clap_t (one row a prompt and one "all") from the
        editability clips. A row that needs a bad clip is "failed".
    """
    by_kind = {kind: table[table["kind"] == kind] for kind in (RECONSTRUCTION, EDITABILITY)}
    tables = [results_table([])]
    if len(by_kind[EDITABILITY]):
        tables.append(results_table(_text_rows(by_kind[EDITABILITY], embedders[0], texts, identity, seed)))
    rules = {"tempo": tempo, "harmony": harmony}
    if len(by_kind[RECONSTRUCTION]) == 0:
        pass
    elif note := failure(by_kind[RECONSTRUCTION]):
        for embedder in embedders:
            keys = [key_of(metric, embedder.name) for metric in OF_SOUND]
            tables.append(results_table([result_row(identity, key, None, embedder.name, note=note) for key in keys]))
        tables += [failed_music_rows(identity, note, **rules)] * with_music
    else:
        generated = list(by_kind[RECONSTRUCTION]["clip"])
        tables += [audio_rows(generated, training, embedder, identity, seed) for embedder in embedders]
        tables += [music_rows(generated, training, identity, **rules)] if with_music else []
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
