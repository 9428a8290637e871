"""From clips to rows of the results table: one set of clips beside a concept's clips, by every metric of sound.

Conventions: clips are mono float arrays (n,) at 16 kHz; `identity` is profile, concept, method, setup and seed. A row's
key follows from the embedder (`names.key_of`), so rows of several embedders stand in one table. A distance between sets
has no interval; the row says its n, and in the note what to read it with.

Generated clips have passed a codec (VAE and vocoder) and the concept's clips have not. Of the clips of 20 shipped
concepts after the pocket's codec, 92 % have their nearest neighbour by MusiCNN in their own concept, and 99 % where the
concepts' clips have passed the codec, too (the pocket's CLAP: 91 and 98 %). With ``coded=True`` the training clips are
those after the codec, and keys end in "_coded".

audio_rows    : CLAP-A or MusiCNN-A, nearest training clip, FAD and KAD by one embedder.
distance_rows : FAD and KAD alone, such as of all concepts pooled.
music_rows    : tempo, level, key and scale agreement.
own_rows      : the same of a concept's own clips, each beside the others.
copy_rows     : the share of clips that are copies of a training clip.
codec_rows    : all of these for a concept's own clips after the codec, as a reference.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.metrics import music
from tmp_utils.metrics.copies import CopyTest
from tmp_utils.metrics.distances import equal_n, frechet_audio_distance, kernel_audio_distance
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.intervals import Interval, mean_between, mean_of, share_of
from tmp_utils.metrics.names import key_of
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import CODEC, COPIED, REFERENCE, result_row, results_table

MUSIC_TOOL = "essentia"
COPY_TOOL = "semitone alignment"
DISTANCES = {"fad": frechet_audio_distance, "kad": kernel_audio_distance}
READINGS = {"tempo": "tempo_bpm", "level": "level_lufs", "key": "key", "scale": "scale"}


def audio_rows(
    generated: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    embedder: Embedder,
    identity: Mapping,
    seed: int = 0,
    *,
    coded: bool = False,
) -> pd.DataFrame:
    """Return the rows clap_a, nearest_training, fad and kad of generated clips, under the embedder's keys.

    With a second embedder these are musicnn_a, ...; with one of level-matched clips, clap_a_matched, ... The interval
    of clap_a is over both sets of clips, that of nearest_training over the generated clips beside these training clips.

    Parameters
    ----------
    coded : whether ``training`` are the concept's clips after the codec; keys then end in "_coded".
    """
    cosines = similarity_matrix(embedder.embed_clips(generated), embedder.embed_clips(training))
    similarity = mean_between(cosines, ("generated clips", "training clips"))
    nearest = mean_of(cosines.max(1), "generated clips")
    rows = [
        result_row(identity, key_of(metric, embedder.name, coded), interval, embedder.name)
        for metric, interval in (("clap_a", similarity), ("nearest_training", nearest))
    ]
    distances = distance_rows(generated, training, embedder, identity, seed, coded=coded)
    return pd.concat([results_table(rows), distances], ignore_index=True)


def distance_rows(
    generated: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    embedder: Embedder,
    identity: Mapping,
    seed: int = 0,
    n: int | None = None,
    coded: bool = False,
) -> pd.DataFrame:
    """Return the rows fad and kad between the windows of two sets of clips, at equal n, which the row says.

    Pool the clips of all concepts (with ``identity["concept"]`` saying so) for a FAD that is more than bias.
    """
    reference, other = equal_n(embedder.embed_windows(training), embedder.embed_windows(generated), seed, n)
    rows = []
    for metric, distance in DISTANCES.items():
        key = key_of(metric, embedder.name, coded)
        try:
            result = distance(reference, other)
        except ValueError as error:
            rows.append(result_row(identity, key, None, embedder.name, note=str(error)))
            continue
        interval = Interval(result.value, float("nan"), float("nan"), result.n)
        rows.append(result_row(identity, key, interval, embedder.name, note=result.note))
    return results_table(rows)


def music_rows(
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
        return failed_music_rows(identity, str(error), tempo=tempo, harmony=harmony)
    return _agreement_rows(music.agreement(readings, target, tempo=tempo, harmony=harmony), readings, identity)


def _agreement_rows(table: pd.DataFrame, readings: pd.DataFrame, identity: Mapping) -> pd.DataFrame:
    """Return a row for each column of `music.agreement`; a clip whose target is undefined agrees with nothing."""
    rows = []
    for name, agrees in table.items():
        if agrees.isna().all():
            note = "the training clips themselves have no reading"
            rows.append(result_row(identity, name, None, MUSIC_TOOL, note=note))
            continue
        undefined = int(readings[READINGS[name.split("_")[0]]].isna().sum())
        note = f"{undefined} of {len(readings)} readings undefined, counted as no agreement" if undefined else ""
        rows.append(result_row(identity, name, share_of(agrees.fillna(0.0)), MUSIC_TOOL, note=note))
    return results_table(rows)


def own_rows(
    clips: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    identity: Mapping,
    *,
    tempo: bool,
    harmony: bool,
) -> pd.DataFrame:
    """Return the rows of `music_rows` for a concept's own clips, as they are or after the codec.

    Each is compared with the *other* training clips: a target that a clip has helped to make is one that it meets too
    easily.

    Parameters
    ----------
    clips : (n,) each; clip k is training clip k, or that after the codec.
    """
    rules = {"tempo": tempo, "harmony": harmony}
    if len(training) < 2:
        return failed_music_rows(identity, "one training clip has no other to compare with", **rules)
    try:
        readings, own = music.read_music(clips, RATE_HZ), music.read_music(training, RATE_HZ)
    except ImportError as error:
        return failed_music_rows(identity, str(error), **rules)
    targets = [music.MusicTarget.of(own.drop(index=k)) for k in own.index]
    parts = [music.agreement(readings.iloc[[k]], target, **rules) for k, target in enumerate(targets)]
    return _agreement_rows(pd.concat(parts), readings, identity)


def failed_music_rows(identity: Mapping, note: str, *, tempo: bool, harmony: bool) -> pd.DataFrame:
    """Return the rows of `music_rows`, failed, with the reason."""
    names = music.agreement_names(tempo, harmony)
    return results_table([result_row(identity, name, None, MUSIC_TOOL, note=note) for name in names])


def copy_rows(
    generated: Sequence[np.ndarray], training: Sequence[np.ndarray], coded: Sequence[np.ndarray], identity: Mapping
) -> pd.DataFrame:
    """Return the row copied: the share of generated clips that `copies.CopyTest` calls copies, with Wilson's interval.

    Parameters
    ----------
    generated : a run's clips.
    training, coded : the concept's clips, and the same clips after VAE and vocoder, which calibrate the test. With
        fewer than three the row is failed.

    Notes
    -----
    The row's note says what the test's threshold lies between.
    """
    try:
        test = CopyTest.calibrated(training, coded)
    except ValueError as error:
        return results_table([result_row(identity, COPIED, None, COPY_TOOL, note=str(error))])
    share = share_of(test.rated(generated)["copy"].astype(float))
    return results_table([result_row(identity, COPIED, share, COPY_TOOL, note=test.note)])


def codec_rows(
    coded: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    embedders: Sequence[Embedder],
    identity: Mapping,
    *,
    tempo: bool = False,
    harmony: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a perfect copy would score: the concept's own clips after the codec, rated like generated ones.

    Agreement is that of `own_rows`.

    Parameters
    ----------
    coded : the training clips after VAE and vocoder, in the same order.
    training : the concept's clips.
    embedders : each gives its rows of `audio_rows`.
    identity : profile, concept and seed; the method becomes "reference" and the setup "codec".
    tempo, harmony : whether the concept has a constant tempo, and whether it is harmonic.

    Raises
    ------
    ValueError : there are not as many coded clips as training clips.
    """
    if len(coded) != len(training):
        raise ValueError(f"{len(coded)} coded clips of {len(training)} training clips; expected each of them once.")
    identity = {**identity, "method": REFERENCE, "setup": CODEC}
    tables = [audio_rows(coded, training, embedder, identity, seed) for embedder in embedders]
    agreement = own_rows(coded, training, identity, tempo=tempo, harmony=harmony)
    return pd.concat([*tables, agreement], ignore_index=True)
