"""CLAP-A, CLAP-T and their references, and what becomes of a run with bad clips."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from tmp_utils.metrics import similarity as metrics
from tmp_utils.metrics.embed import Embedder, unit_rows
from tmp_utils.metrics.intervals import Interval
from tmp_utils.metrics.table import (
    RESULT_COLUMNS,
    check_one_embedder,
    references,
    result_row,
    results_table,
    score_references,
)
from tmp_utils.runs import score

RATE_HZ = 16000
IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}
TEXTS = {"rec": "a recording of a sitar", "jazz": "a jazz song with a sitar", "rain": "a sitar with rain"}


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_clap_audio_similarity_is_the_mean_cosine_over_all_pairs():
    expected = np.mean(np.cos(np.radians([[0, 90], [60, 30]])))
    assert metrics.clap_audio_similarity(angles(0, 60), angles(0, 90)) == pytest.approx(expected)


def test_clap_audio_similarity_ignores_gain_and_order():
    rng = np.random.default_rng(0)
    ref, gen = rng.normal(size=(3, 8)), rng.normal(size=(5, 8))
    value = metrics.clap_audio_similarity(gen, ref)
    assert metrics.clap_audio_similarity(gen[::-1], 2 * ref[::-1]) == pytest.approx(value)


def test_clap_text_similarity_pairs_each_clip_with_its_own_prompt():
    value = metrics.clap_text_similarity(angles(0, 90), angles(60, 90))
    assert value == pytest.approx((0.5 + 1.0) / 2)
    assert metrics.clap_text_similarity(angles(0, 90), angles(0)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="3 clips and 2 prompts"):
        metrics.clap_text_similarity(angles(0, 1, 2), angles(0, 1))


def test_the_audio_ceiling_leaves_out_each_clip_with_itself():
    assert metrics.audio_ceiling(angles(0, 60, 90)) == pytest.approx(np.mean([0.5, 0.0, np.cos(np.pi / 6)]))
    assert np.isnan(metrics.audio_ceiling(angles(0)))


def test_the_nearest_other_clip_is_not_the_clip_itself():
    assert metrics.nearest_within_training(angles(0, 30, 80)) == pytest.approx(np.cos(np.radians([30, 30, 50])))
    assert np.isnan(metrics.nearest_within_training(angles(0))).all()


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.ones(3), np.full((2, 3), np.nan), np.zeros((2, 3))])
def test_embeddings_without_a_direction_are_refused(bad):
    with pytest.raises(ValueError, match="embedding"):
        metrics.clap_audio_similarity(bad, np.ones((2, 3)))


def test_two_embedders_in_one_table_are_refused_by_name():
    rows = [result_row(IDENTITY, "clap_a", Interval(0.5, 0.4, 0.6, 4), name) for name in ("clap:x@1", "clap:y@2")]
    with pytest.raises(ValueError, match=r"clap_a .* 2 embedders.*clap:x@1.*clap:y@2"):
        check_one_embedder(results_table(rows))
    one = results_table(rows[:1])
    assert check_one_embedder(one) is one


def test_a_failed_row_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        result_row(IDENTITY, "clap_a", None, "clap:x@1")


def test_references_are_means_over_concepts():
    frames = []
    for concept, degrees in (("sitar", 60), ("oud", 0)):
        identity = {**IDENTITY, "concept": concept}
        frames.append(score_references(angles(0, degrees), angles(90, 90), identity, "clap:x@1"))
        ceiling_t = result_row({**identity, "method": "untrained", "setup": ""}, "clap_t", Interval(0.4, 0, 1, 9), "")
        frames.append(results_table([ceiling_t]))
    found = references(pd.concat(frames))
    assert found["ceiling_a"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["floor_t"] == pytest.approx((np.cos(np.pi / 6) / 2 + 0.0) / 2)
    assert found["ceiling_t"] == pytest.approx(0.4)


class ToneEmbedder(Embedder):
    """Hears the share of energy in 16 bands; reads a prompt as a fixed band. Stands in where CLAP is too slow."""

    name, rate_hz, window = "tone@1", RATE_HZ, 10 * RATE_HZ

    def _embed_batch(self, windows):
        spectra = [np.abs(np.fft.rfft(window)) ** 2 for window in windows]
        return unit_rows([[band.sum() for band in np.array_split(s, 16)] for s in spectra])

    def embed_prompts(self, prompts):
        return unit_rows(np.eye(16)[[len(prompt) % 16 for prompt in prompts]])


@pytest.fixture
def run(tmp_path):
    """Return a run's folder and manifest: three clips each of one reconstruction and two editability prompts."""
    rng = np.random.default_rng(0)
    rows = []
    for prompt, kind in (("rec", "reconstruction"), ("jazz", "editability"), ("rain", "editability")):
        for k in range(3):
            clip = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 7000) * np.arange(RATE_HZ * 2) / RATE_HZ)
            clip += 0.02 * rng.normal(size=len(clip))
            soundfile.write(tmp_path / f"{prompt}_{k}.wav", clip, RATE_HZ)
            rows.append({"file": f"{prompt}_{k}.wav", "prompt_id": prompt, "kind": kind, "duration_s": 2.0})
    return tmp_path, pd.DataFrame(rows)


@pytest.fixture
def training():
    rng = np.random.default_rng(1)
    return [(0.1 * rng.normal(size=RATE_HZ * 2)).astype(np.float32) for _ in range(4)]


def scored(run, training, **kwargs):
    folder, manifest = run
    kwargs = {"with_music": False} | kwargs
    return score.score_run(manifest, folder, training, ToneEmbedder(), TEXTS, IDENTITY, **kwargs)


def test_a_run_has_one_row_a_metric_and_one_a_prompt(run, training):
    table = scored(run, training)
    assert list(table.columns) == list(RESULT_COLUMNS)
    assert table.groupby("metric")["prompt"].apply(sorted).to_dict() == {
        "clap_a": ["all"],
        "clap_t": ["all", "jazz", "rain"],
        "fad": ["all"],
        "kad": ["all"],
        "nearest_training": ["all"],
    }
    assert set(table["status"]) == {"ok"}
    assert set(table["embedder"]) == {"tone@1"}
    assert table.set_index(["metric", "prompt"])["n"].to_dict() == {
        ("clap_t", "jazz"): 3,
        ("clap_t", "rain"): 3,
        ("clap_t", "all"): 6,
        ("clap_a", "all"): 3,
        ("nearest_training", "all"): 3,
        ("fad", "all"): 3,
        ("kad", "all"): 3,
    }


def test_the_rows_hold_the_values_of_the_plain_functions(run, training):
    folder, _ = run
    table = scored(run, training).set_index(["metric", "prompt"])
    ear = ToneEmbedder()
    heard = {p: ear.embed_clips([soundfile.read(folder / f"{p}_{k}.wav")[0] for k in range(3)]) for p in TEXTS}
    clap_a = metrics.clap_audio_similarity(heard["rec"], ear.embed_clips(training))
    assert table.loc[("clap_a", "all"), "value"] == pytest.approx(clap_a, abs=1e-6)
    for prompt in ("jazz", "rain"):
        clap_t = metrics.clap_text_similarity(heard[prompt], ear.embed_prompts([TEXTS[prompt]]))
        assert table.loc[("clap_t", prompt), "value"] == pytest.approx(clap_t, abs=1e-6)
    assert (table["ci_low"].fillna(-9) <= table["value"]).all()
    assert "too small for a covariance" in table.loc[("fad", "all"), "note"]


def test_scoring_again_changes_nothing(run, training):
    pd.testing.assert_frame_equal(scored(run, training), scored(run, training))


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "silent":
        soundfile.write(path, np.zeros(RATE_HZ * 2), RATE_HZ)
    elif how == "NaN":
        soundfile.write(path, np.full(RATE_HZ * 2, np.nan), RATE_HZ, subtype="FLOAT")
    elif how == "half-written":
        soundfile.write(path, 0.1 * np.ones(RATE_HZ) * np.sin(np.arange(RATE_HZ)), RATE_HZ)


@pytest.mark.parametrize("how", ["missing", "silent", "NaN", "half-written"])
def test_one_bad_clip_fails_its_prompt_and_the_run_and_changes_no_other_row(run, training, how):
    before = scored(run, training).set_index(["metric", "prompt"])
    damage(run[0] / "jazz_1.wav", how)
    after = scored(run, training).set_index(["metric", "prompt"])
    failed = after[after["status"] == "failed"]
    assert sorted(failed.index) == [("clap_t", "all"), ("clap_t", "jazz")]
    assert failed["value"].isna().all()
    assert all("jazz_1.wav" in note and how.lower() in note.lower() for note in failed["note"])
    pd.testing.assert_frame_equal(after.drop(failed.index), before.drop(failed.index))


def test_a_bad_reconstruction_clip_fails_what_is_measured_on_reconstruction(run, training):
    damage(run[0] / "rec_0.wav", "missing")
    table = scored(run, training, with_music=True, tempo=True, harmony=True).set_index(["metric", "prompt"])
    of_music = ("level", "tempo", "tempo_octave", "key", "scale")
    assert set(table[table["status"] == "failed"].index.get_level_values("metric")) == {
        *("clap_a", "nearest_training", "fad", "kad", *(f"{name}_agreement" for name in of_music))
    }
    assert table.loc[("clap_t", "all"), "status"] == "ok"


def test_music_rows_are_shares_of_agreeing_clips(training):
    pytest.importorskip("essentia")
    loud = [clip * 4 for clip in training[:1]]
    table = score.score_music(training[:3] + loud, training, IDENTITY, tempo=False, harmony=False)
    assert table["metric"].tolist() == ["level_agreement"]
    assert table.loc[0, ["value", "n", "embedder"]].tolist() == [0.75, 4, "essentia"]
    # statsmodels.stats.proportion.proportion_confint(3, 4, method="wilson")
    assert table.loc[0, ["ci_low", "ci_high"]].tolist() == pytest.approx([0.300642, 0.954413], abs=1e-6)


def test_where_essentia_is_missing_the_row_says_so(training, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "essentia", None)
    table = score.score_music(training, training, IDENTITY, tempo=True, harmony=True)
    assert table["status"].tolist() == ["failed"] * 5
    assert "pip install essentia" in table["note"][0]


def test_a_clips_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"clips\.csv"):
        score.read_clips(pd.DataFrame({"file": ["a.wav"]}), tmp_path)


def test_the_ends_of_an_interval_are_values_that_the_metric_can_have():
    wide = Interval(0.9, 0.3, 1.4, 2)
    identity = {"profile": "smoke", "concept": "x", "method": "DB", "setup": "BL", "seed": 0}
    ends = {name: result_row(identity, name, wide, "e@1")["ci_high"] for name in ("clap_t", "key_agreement", "fad")}
    assert ends == {"clap_t": 1.0, "key_agreement": 1.0, "fad": 1.4}
    alone = result_row(identity, "clap_a", Interval(0.9, float("nan"), float("nan"), 1), "e@1")
    assert np.isnan(alone["ci_low"])
