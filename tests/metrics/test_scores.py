"""Rows of the results table from clips: the plain functions' values, one embedder's keys each, and the codec's row."""

import sys

import numpy as np
import pandas as pd
import pytest
from results_runs import use_quick_ears

from tmp_utils.metrics import music, scores
from tmp_utils.metrics.distances import equal_n, frechet_audio_distance, kernel_audio_distance
from tmp_utils.metrics.embed import Embedder, LevelMatched, unit_rows
from tmp_utils.metrics.similarity import similarity_matrix
from tmp_utils.metrics.table import check_one_embedder, reference_values, score_references

RATE_HZ = 16000
IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}
CLAP, MUSICNN = "clap:tones@1", "musicnn:tones@1"


class ToneEmbedder(Embedder):
    """A constant and the energy in 16 bands, so that level counts; it stands in where CLAP is too slow."""

    rate_hz, window = RATE_HZ, RATE_HZ

    def __init__(self, name):
        self.name = name

    def _embed_batch(self, windows):
        bands = [np.array_split(np.abs(np.fft.rfft(window)) ** 2, 16) for window in windows]
        return unit_rows([[10.0, *(band.mean() for band in of_window)] for of_window in bands])


def noise(n, seed, seconds=2):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.normal(size=RATE_HZ * seconds) * rng.uniform(0.5, 2)).astype(np.float32) for _ in range(n)]


@pytest.fixture
def generated():
    return noise(3, seed=0)


@pytest.fixture
def training():
    return noise(4, seed=1)


def test_the_rows_hold_the_values_of_the_plain_functions(generated, training):
    clap = ToneEmbedder(CLAP)
    rows = scores.audio_rows(generated, training, clap, IDENTITY).set_index("metric")
    cosines = similarity_matrix(clap.embed_clips(generated), clap.embed_clips(training))
    assert rows.loc["clap_a", ["value", "n"]].tolist() == pytest.approx([cosines.mean(), 3])
    assert rows.loc["nearest_training", "value"] == pytest.approx(cosines.max(1).mean())
    assert rows.loc["clap_a", "ci_low"] < rows.loc["clap_a", "value"] < rows.loc["clap_a", "ci_high"]
    one, two = equal_n(clap.embed_windows(training), clap.embed_windows(generated), seed=0)  # 6 of 8 windows, and 6
    assert rows.loc["fad", ["value", "n"]].tolist() == pytest.approx([frechet_audio_distance(one, two).value, 6])
    assert rows.loc["kad", "value"] == pytest.approx(kernel_audio_distance(one, two).value)
    assert "n = 6 is too small for a covariance of 17 dimensions" in rows.loc["fad", "note"]


def test_two_embedders_and_matched_levels_stand_in_one_table_under_keys_of_their_own(generated, training):
    embedders = ToneEmbedder(CLAP), ToneEmbedder(MUSICNN), LevelMatched(ToneEmbedder(CLAP))
    tables = [scores.audio_rows(generated, training, embedder, IDENTITY) for embedder in embedders]
    assert [list(table["metric"]) for table in tables] == [
        ["clap_a", "nearest_training", "fad", "kad"],
        ["musicnn_a", "musicnn_nearest_training", "musicnn_fad", "musicnn_kad"],
        ["clap_a_matched", "nearest_training_matched", "fad_matched", "kad_matched"],
    ]
    together = pd.concat(tables, ignore_index=True)
    assert check_one_embedder(together) is together
    assert together.groupby("metric")["embedder"].first()["clap_a_matched"] == "clap:tones@1+level"
    mixed = together.replace({"metric": {"musicnn_a": "clap_a"}})
    with pytest.raises(ValueError, match=r"clap_a was measured with 2 embedders.*clap:tones@1.*musicnn:tones@1"):
        check_one_embedder(mixed)


def test_matched_levels_leave_nothing_of_a_change_in_level(generated, training):
    quieter = [0.1 * clip for clip in generated]
    plain, matched = ToneEmbedder(CLAP), LevelMatched(ToneEmbedder(CLAP))
    values = {
        (embedder.name, k): scores.audio_rows(clips, training, embedder, IDENTITY)["value"][0]
        for embedder in (plain, matched)
        for k, clips in enumerate((generated, quieter))
    }
    assert values[CLAP, 1] < values[CLAP, 0] - 0.01
    assert values[f"{CLAP}+level", 1] == pytest.approx(values[f"{CLAP}+level", 0], abs=1e-6)


def test_beside_coded_clips_a_perfect_copy_scores_as_the_coded_clips_do(training):
    embedder = ToneEmbedder(MUSICNN)
    coded = [0.1 * clip for clip in training]
    rows = scores.audio_rows(coded, coded, embedder, IDENTITY, coded=True)
    assert rows["metric"].tolist() == [
        *("musicnn_a_coded", "musicnn_nearest_training_coded", "musicnn_fad_coded", "musicnn_kad_coded"),
    ]
    values = rows.set_index("metric")["value"]
    assert values["musicnn_nearest_training_coded"] == pytest.approx(1)
    assert values["musicnn_fad_coded"] == pytest.approx(0, abs=1e-6)
    assert values["musicnn_a_coded"] > scores.audio_rows(coded, training, embedder, IDENTITY)["value"][0] + 0.01
    ceiling = score_references(embedder.embed_clips(coded), None, IDENTITY, embedder.name, coded=True)
    assert ceiling["metric"].tolist() == ["musicnn_ceiling_a_coded", "musicnn_nearest_within_training_coded"]


def test_copies_of_one_window_have_no_kernel_and_their_row_says_so():
    same = [np.sin(np.arange(RATE_HZ, dtype=np.float32))] * 4
    rows = scores.distance_rows(same, same, ToneEmbedder(CLAP), IDENTITY).set_index("metric")
    assert rows.loc["kad", "status"] == "failed" and "copies" in rows.loc["kad", "note"]


def test_the_codec_is_a_reference_scored_like_generated_clips(training, monkeypatch):
    coded = [0.4 * clip for clip in training]  # 8 LU quieter: what a bad codec may do
    embedders = [ToneEmbedder(CLAP), ToneEmbedder(MUSICNN)]
    use_quick_ears(monkeypatch)
    rows = scores.codec_rows(coded, training, embedders, IDENTITY)
    assert set(rows["method"]) == {"reference"} and set(rows["setup"]) == {"codec"}
    expected = scores.audio_rows(coded, training, embedders[1], IDENTITY).set_index("metric")["value"]
    assert rows.set_index("metric")["value"]["musicnn_a"] == expected["musicnn_a"]
    untrained = scores.audio_rows(coded, training, embedders[0], {**IDENTITY, "method": "untrained"})
    values = reference_values(pd.concat([rows, untrained]), "clap_a")
    assert values["codec"] == values["untrained"] == expected["musicnn_a"]
    assert np.isnan(reference_values(rows, "clap_a")["untrained"])
    with pytest.raises(ValueError, match="3 coded clips of 4 training clips"):
        scores.codec_rows(coded[:3], training, embedders, IDENTITY)


def test_the_codec_s_music_rows_are_shares_of_agreeing_clips(training):
    pytest.importorskip("essentia")
    coded = [training[0], training[1], training[2], 0.1 * training[3]]
    rows = scores.codec_rows(coded, training, [], IDENTITY).set_index("metric")
    levels = [20 * np.log10(np.std(clip)) for clip in training]
    others = [np.mean(np.delete(levels, k)) for k in range(4)]  # a copy is not compared with what it is a copy of
    agree = [abs(levels[k] - others[k]) <= 2.5 for k in range(3)]
    assert rows.loc["level_agreement", ["value", "n"]].tolist() == [sum(agree) / 4, 4]


def test_a_concept_s_own_clips_are_compared_with_the_others(training):
    pytest.importorskip("essentia")
    rule = {"tempo": False, "harmony": False}
    quiet = [training[0], 0.4 * training[0]]  # 8 dB: the mean of both is within reach of neither, nor is the other clip
    for clips, share in (([training[0]] * 3, 1.0), (quiet, 0.0)):
        row = scores.own_rows(clips, clips, IDENTITY, **rule).iloc[0]
        assert (row["metric"], row["value"], row["n"]) == ("level_agreement", share, len(clips))
    row = scores.own_rows(training[:1], training[:1], IDENTITY, **rule).iloc[0]
    assert row["status"] == "failed" and "no other to compare with" in row["note"]


def test_where_essentia_is_missing_the_rows_say_so(training, monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)
    music._reading.cache_clear()
    rows = scores.music_rows(training, training, IDENTITY, tempo=True, harmony=True)
    assert rows["status"].tolist() == ["failed"] * 5
    assert "pip install essentia" in rows["note"][0]


def test_a_second_embedder_has_a_ceiling_and_no_floor(training):
    embedder = ToneEmbedder(MUSICNN)
    rows = score_references(embedder.embed_clips(training), None, IDENTITY, embedder.name)
    assert rows["metric"].tolist() == ["musicnn_ceiling_a", "musicnn_nearest_within_training"]
    assert (rows["value"] <= 1).all() and set(rows["method"]) == {"reference"}
