"""From the clips of a run to its rows in the results table.

Conventions: clips are scored at 16 kHz; the note of a row says so where the model makes them at another rate. Every run
is scored by three embedders: the profile's CLAP, the same on clips brought to one level, and MusiCNN, which was trained
on other music; each has keys of its own (`metrics.names`). MusiCNN hears the codec, so it also
compares with the concept's clips after the codec (keys in "_coded"), which the concept's untrained reference holds; the
copy test needs them, too. A clip that cannot be used makes its prompt's row and the run's rows "failed", with the
reason; the rest is not averaged in its place. Generating the clip again mends these rows and changes no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import RATE_HZ, load_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.prompts import EDITABILITY, RECONSTRUCTION, editability_prompts, fill
from tmp_utils.metrics import embed
from tmp_utils.metrics.embed import Embedder, LevelMatched
from tmp_utils.metrics.intervals import mean_of, mean_over_units
from tmp_utils.metrics.names import CODED, key_of, metric_of
from tmp_utils.metrics.scores import (
    COPY_TOOL,
    MUSIC_TOOL,
    audio_rows,
    codec_rows,
    copy_rows,
    failed_music_rows,
    music_rows,
    own_rows,
)
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import (
    COPIED,
    OWN,
    REFERENCE,
    UNTRAINED,
    failed_rows,
    result_row,
    results_table,
    score_references,
)
from tmp_utils.runs.clips import CLIPS, at_level, failure, read_clips
from tmp_utils.runs.identity import CLASS_NOUN
from tmp_utils.runs.integrity import check_files, read_manifest

SECOND_EMBEDDER = "musicnn:MTT"
OF_SOUND = ("clap_a", "nearest_training", "fad", "kad")  # what every embedder measures
NAMES = ("concept", "method", "setup", "seed")  # of a run, in its identity and in its rows
CODEC_CLIPS = "codec"  # folder of the untrained reference: the concept's clips after VAE and vocoder
PEAKS = "peaks.csv"  # of the same clips: file, peak (before a clip over full scale was saved at a lower level)


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
    folder : a run's folder with its clips.
    concept : what the run was made from.
    embedders : from `study_embedders`; the first embeds prompts, too.

    Raises
    ------
    FileNotFoundError, ValueError : the run's listing or the concept's clips cannot be used.
    """
    folder = Path(folder)
    parameters, names = read_manifest(folder)["parameters"], names_of(folder)
    training = concepts.load_clips(concept)
    prompts = editability_prompts(parameters["n_editability_prompts"])
    texts = {prompt.id: fill(prompt.template, concept.class_noun) for prompt in prompts}
    rules = {"tempo": bool(concept.tempo_constant), "harmony": bool(concept.harmonic), "seed": parameters["seed"]}
    coded, clips = codec_clips(folder), read_clips(folder)
    rows = _with_rate(score_clips(clips, training, embedders, texts, names, coded=coded, **rules), clips, folder)
    if parameters["method"] != UNTRAINED:
        return rows
    tables = [rows]
    for k, embedder in enumerate(embedders):
        prompt_rows = embedder.embed_prompts(list(texts.values())) if k == 0 else None
        tables.append(score_references(embedder.embed_clips(training), prompt_rows, names, embedder.name))
    own = {**names, "method": REFERENCE, "setup": OWN}
    tables.append(own_rows(training, training, own, tempo=rules["tempo"], harmony=rules["harmony"]))
    if coded:
        second = embedders[-1]
        tables.append(codec_rows(coded, training, embedders, names, **rules))
        tables.append(score_references(second.embed_clips(coded), None, names, second.name, coded=True))
    return pd.concat(tables, ignore_index=True)


def _with_rate(rows: pd.DataFrame, clips: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the rows; where the files have another rate than clips are scored at, the good ones' notes say so."""
    rates = {soundfile.info(folder / CLIPS / file).samplerate for file in clips.loc[clips["reason"] == "", "file"]}
    if rates <= {RATE_HZ}:
        return rows
    made = " and ".join(f"{rate / 1000:g}" for rate in sorted(rates))
    told = f"scored as {RATE_HZ / 1000:g} kHz mono, made at {made} kHz"
    notes = [f"{note}; {told}" if note else told for note in rows["note"]]
    return rows.assign(note=rows["note"].where(rows["status"] != "ok", pd.Series(notes, index=rows.index)))


def codec_clips(folder: str | Path) -> list[np.ndarray]:
    """Return the concept's clips after VAE and vocoder, from the reference of a run's concept and seed; [] without one.

    Raises
    ------
    ValueError : one is not as it was written.
    """
    paths = codec_paths(folder)
    if paths:
        check_files(paths[0].parents[1], *(f"{CODEC_CLIPS}/{name}" for name in [*(path.name for path in paths), PEAKS]))
        peaks = _peaks(paths[0].parent / PEAKS)
    return [at_level(load_clip(path), peaks[path.name]) for path in paths]


def _peaks(path: Path) -> pd.Series:
    if not path.is_file():
        raise ValueError(
            f"{path}: missing, so the levels of these clips are not known. Delete the run and make it again."
        )
    return pd.read_csv(path, float_precision="round_trip", index_col="file")["peak"]


def codec_paths(folder: str | Path) -> list[Path]:
    """Return the files of `codec_clips`, in order."""
    folder, parameters = Path(folder), read_manifest(folder)["parameters"]
    if parameters["method"] != UNTRAINED:
        folder = folder.parents[1] / f"{UNTRAINED}-{CLASS_NOUN}" / f"seed{parameters['seed']}"
    return sorted((folder / CODEC_CLIPS).glob("[0-9][0-9].*"))


def _edit_rows(
    table: pd.DataFrame,
    training: Sequence[np.ndarray],
    coded: Sequence[np.ndarray],
    embedders: Sequence[Embedder],
    texts: Mapping,
    identity: Mapping,
) -> list[dict]:
    """Return the rows of editability clips: CLAP-T, one a prompt and one of the run, and closeness to the concept.

    Closeness is clap_a_edits by the first embedder, and the same beside coded clips by the last one.
    """
    first, second, rows, values = embedders[0], embedders[-1], [], []
    close = key_of("clap_a_edits", second.name, coded=True)
    names = {"clap_t": first.name, "clap_a_edits": first.name} | ({close: second.name} if coded else {})
    of_concept, of_coded = first.embed_clips(training), second.embed_clips(coded) if coded else None
    for prompt_id, group in table.groupby("prompt_id", sort=True):
        if note := failure(group):
            rows.append(result_row(identity, "clap_t", None, first.name, prompt_id, note))
            continue
        clips, scores = list(group["clip"]), {"prompt": prompt_id}
        embedded = first.embed_clips(clips)
        scores["clap_t"] = similarity_matrix(embedded, first.embed_prompts([texts[prompt_id]]))[:, 0]
        scores["clap_a_edits"] = similarity_matrix(embedded, of_concept).mean(1)
        if coded:
            scores[close] = similarity_matrix(second.embed_clips(clips), of_coded).mean(1)
        values.append(pd.DataFrame(scores))
        rows.append(result_row(identity, "clap_t", mean_of(scores["clap_t"], "clips"), first.name, prompt_id))
    if note := failure(table):
        return [*rows, *(result_row(identity, key, None, name, note=note) for key, name in names.items())]
    whole = pd.concat(values)
    for key, name in names.items():
        interval = mean_over_units(whole, key, ["prompt"])
        rows.append(result_row(identity, key, replace(interval, n=len(table)), name))
    return rows


def failed_run(
    identity: Mapping, embedders: Sequence[Embedder], note: str, before: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a failed row for each row that the run had before, or else for each metric that every run has."""
    if before is None or before.empty:
        keys = {key_of(metric, embedder.name): embedder.name for embedder in embedders for metric in OF_SOUND}
        keys |= dict.fromkeys(("clap_t", "clap_a_edits"), embedders[0].name)
        return results_table([result_row(identity, key, None, name, note=note) for key, name in keys.items()])
    names = [
        row.embedder if row.embedder in (MUSIC_TOOL, COPY_TOOL) else _embedder_of(row.metric, embedders)
        for row in before.itertuples()
    ]
    return failed_rows(before, note).assign(embedder=names)


def _embedder_of(key: str, embedders: Sequence[Embedder]) -> str:
    coded = key.endswith(CODED)
    return next(embedder.name for embedder in embedders if key_of(metric_of(key), embedder.name, coded) == key)


def score_clips(
    table: pd.DataFrame,
    training: Sequence[np.ndarray],
    embedders: Sequence[Embedder],
    texts: Mapping[str, str],
    identity: Mapping,
    *,
    coded: Sequence[np.ndarray] = (),
    tempo: bool = False,
    harmony: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the rows of a table of clips.

    Parameters
    ----------
    table : from `read_clips`: prompt_id, kind, clip, reason.
    training : the concept's clips at 16 kHz.
    embedders : the first embeds prompts, too.
    texts : prompt id -> the prompt's text with the class noun in the placeholder's place.
    identity : profile, concept, method, setup, seed.
    coded : the concept's clips after the codec, for the copy test and the second embedder.
    tempo, harmony : whether the concept has a constant tempo, and whether it is harmonic.

    Returns
    -------
    The rows of `metrics.scores` from the reconstruction clips; from the editability clips clap_t (one row a prompt and
    one "all") and clap_a_edits, their similarity to the concept. A row that needs a bad clip is "failed".
    """
    by_kind = {kind: table[table["kind"] == kind] for kind in (RECONSTRUCTION, EDITABILITY)}
    tables = [results_table([])]
    if len(by_kind[EDITABILITY]):
        tables.append(results_table(_edit_rows(by_kind[EDITABILITY], training, coded, embedders, texts, identity)))
    rules, generated = {"tempo": tempo, "harmony": harmony}, list(by_kind[RECONSTRUCTION]["clip"])
    sides = [(training, embedder, False) for embedder in embedders] + [(coded, embedders[-1], True)] * bool(coded)
    if generated and (note := failure(by_kind[RECONSTRUCTION])):
        rows = [
            result_row(identity, key_of(metric, embedder.name, of_coded), None, embedder.name, note=note)
            for _, embedder, of_coded in sides
            for metric in OF_SOUND
        ]
        rows += [result_row(identity, COPIED, None, COPY_TOOL, note=note)] * bool(coded)
        tables += [results_table(rows), failed_music_rows(identity, note, **rules)]
    elif generated:
        tables += [audio_rows(generated, side, e, identity, seed, coded=of_coded) for side, e, of_coded in sides]
        tables += [copy_rows(generated, training, coded, identity)] if coded else []
        tables.append(music_rows(generated, training, identity, **rules))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
