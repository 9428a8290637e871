"""The rows of a run, and what becomes of them where clips are bad."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from results_runs import ToneEmbedder

from tmp_utils.inputs.audio import overs_counted, save_clip
from tmp_utils.metrics import similarity as metrics
from tmp_utils.metrics.embed import LevelMatched
from tmp_utils.metrics.table import RESULT_COLUMNS
from tmp_utils.runs import score
from tmp_utils.runs.clips import read_clips

pytestmark = pytest.mark.usefixtures("loaded")
RATE_HZ = 16000
IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}
TEXTS = {"rec": "a recording of a sitar", "jazz": "a jazz song with a sitar", "rain": "a sitar with rain"}


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run with three clips each of one reconstruction and two editability prompts."""
    rng = np.random.default_rng(0)
    rows, clips = [], tmp_path / "clips"
    clips.mkdir()
    for prompt, kind in (("rec", "reconstruction"), ("jazz", "editability"), ("rain", "editability")):
        for k in range(3):
            clip = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 7000) * np.arange(RATE_HZ * 2) / RATE_HZ)
            clip += 0.02 * rng.normal(size=len(clip))
            soundfile.write(clips / f"{prompt}_{k}.wav", clip, RATE_HZ)
            rows.append({"file": f"{prompt}_{k}.wav", "prompt_id": prompt, "kind": kind, "duration_s": 2.0})
    pd.DataFrame(rows).to_csv(clips / "clips.csv", index=False)
    (tmp_path / "run.json").write_text(json.dumps({"parameters": IDENTITY, "files": {}}))
    return tmp_path


@pytest.fixture
def training():
    rng = np.random.default_rng(1)
    return [(0.1 * rng.normal(size=RATE_HZ * 2)).astype(np.float32) for _ in range(4)]


def scored(run, training, **kwargs):
    return score.score_clips(read_clips(run), training, [ToneEmbedder("tone@1")], TEXTS, IDENTITY, **kwargs)


def test_a_run_has_one_row_a_metric_and_one_a_prompt(run, training):
    table = scored(run, training)
    assert list(table.columns) == list(RESULT_COLUMNS)
    assert table.groupby("metric")["prompt"].apply(sorted).to_dict() == {
        "clap_a": ["all"],
        "clap_a_edits": ["all"],
        "clap_t": ["all", "jazz", "rain"],
        "fad": ["all"],
        "kad": ["all"],
        "level_agreement": ["all"],
        "nearest_training": ["all"],
    }
    assert set(table["status"]) == {"ok"}
    assert set(table["embedder"]) == {"tone@1", "essentia"}
    assert table.set_index(["metric", "prompt"])["n"].to_dict() == {
        ("clap_t", "jazz"): 3,
        ("clap_t", "rain"): 3,
        ("clap_t", "all"): 6,
        ("clap_a_edits", "all"): 6,
        ("clap_a", "all"): 3,
        ("nearest_training", "all"): 3,
        ("fad", "all"): 3,
        ("kad", "all"): 3,
        ("level_agreement", "all"): 3,
    }


def test_a_clip_over_full_scale_is_scored_at_the_level_at_which_it_was_generated(run):
    (folder := run / "clips" / "loud").mkdir()
    loud = (3 * np.sin(np.arange(RATE_HZ) / 9)).astype(np.float32)
    with overs_counted(lambda line: None):
        save_clip(folder / "loud.flac", loud)
    row = {"file": "loud/loud.flac", "prompt_id": "rec", "kind": "reconstruction", "duration_s": 1.0}
    listed = pd.read_csv(run / "clips" / "clips.csv").assign(peak=0.1)
    pd.concat([listed, pd.DataFrame([row | {"peak": float(np.abs(loud).max())}])]).to_csv(run / "clips" / "clips.csv")
    clips = read_clips(run)["clip"]
    assert clips.iloc[-1] == pytest.approx(loud, abs=3 / 2**15) and np.abs(clips.iloc[0]).max() < 0.3


def test_a_clip_that_is_too_faint_to_have_a_level_fails_its_rows_and_not_the_run(run, training):
    faint = 2e-4 * np.sin(np.arange(2 * RATE_HZ) / 9)
    soundfile.write(run / "clips" / "rec_1.wav", faint, RATE_HZ, subtype="FLOAT")
    embedders = [ToneEmbedder("tone@1"), LevelMatched(ToneEmbedder("tone@1"))]
    table = score.score_clips(read_clips(run), training, embedders, TEXTS, IDENTITY)
    failed = table[table["status"] == "failed"]
    assert failed["note"].str.contains(r"rec_1.wav: too faint to have a level (peak 2.0e-04)", regex=False).all()
    assert {"clap_a", "clap_a_matched"} <= set(failed["metric"])
    assert set(table["metric"]) - set(failed["metric"]) == {"clap_t", "clap_a_edits"}


def test_codec_clips_keep_their_levels_and_without_their_peaks_they_are_refused(run):
    (folder := run / "codec").mkdir()
    (run / "run.json").write_text(json.dumps({"parameters": IDENTITY | {"method": "untrained"}, "files": {}}))
    quiet, loud = (np.sin(np.arange(RATE_HZ) / 9) * gain for gain in (0.5, 2.0))
    with overs_counted(lambda line: None):
        for k, clip in enumerate((quiet, loud)):
            save_clip(folder / f"{k:02d}.flac", clip)
    with pytest.raises(ValueError, match=r"peaks\.csv: missing"):
        score.codec_clips(run)
    pd.DataFrame({"file": ["00.flac", "01.flac"], "peak": [0.5, 2.0]}).to_csv(folder / "peaks.csv", index=False)
    for read, clip in zip(score.codec_clips(run), (quiet, loud), strict=True):
        assert read == pytest.approx(clip, abs=2 / 2**15)


def test_the_rows_hold_the_values_of_the_plain_functions(run, training):
    table = scored(run, training).set_index(["metric", "prompt"])
    ear = ToneEmbedder("tone@1")
    embedded = {
        p: ear.embed_clips([soundfile.read(run / "clips" / f"{p}_{k}.wav")[0] for k in range(3)]) for p in TEXTS
    }
    clap_a = metrics.clap_audio_similarity(embedded["rec"], ear.embed_clips(training))
    assert table.loc[("clap_a", "all"), "value"] == pytest.approx(clap_a, abs=1e-6)
    for prompt in ("jazz", "rain"):
        clap_t = metrics.clap_text_similarity(embedded[prompt], ear.embed_prompts([TEXTS[prompt]]))
        assert table.loc[("clap_t", prompt), "value"] == pytest.approx(clap_t, abs=1e-6)
    assert (table["ci_low"].fillna(-9) <= table["value"]).all()
    assert "too small for a covariance" in table.loc[("fad", "all"), "note"]


def test_rows_of_clips_at_another_rate_say_at_which_they_were_scored(run, training):
    table = scored(run, training)
    assert score._with_rate(table, read_clips(run), run) is table
    path = run / "clips" / "rain_0.wav"
    soundfile.write(path, np.repeat(soundfile.read(path)[0], 3), 3 * RATE_HZ)
    noted = score._with_rate(scored(run, training), read_clips(run), run)
    assert noted["note"].str.endswith("scored as 16 kHz mono, made at 16 and 48 kHz").all()
    assert "too small for a covariance" in noted.set_index("metric").loc["fad", "note"]


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "silent":
        soundfile.write(path, np.zeros(RATE_HZ * 2), RATE_HZ)
    elif how == "NaN":
        soundfile.write(path, np.full(RATE_HZ * 2, np.nan), RATE_HZ, subtype="FLOAT")
    elif how == "cut short":
        soundfile.write(path, 0.1 * np.ones(RATE_HZ) * np.sin(np.arange(RATE_HZ)), RATE_HZ)


@pytest.mark.parametrize("how", ["missing", "silent", "NaN", "cut short"])
def test_one_bad_clip_fails_its_prompt_and_the_run_and_changes_no_other_row(run, training, how):
    before = scored(run, training).set_index(["metric", "prompt"])
    damage(run / "clips" / "jazz_1.wav", how)
    after = scored(run, training).set_index(["metric", "prompt"])
    failed = after[after["status"] == "failed"]
    assert sorted(failed.index) == [("clap_a_edits", "all"), ("clap_t", "all"), ("clap_t", "jazz")]
    assert failed["value"].isna().all()
    assert all("jazz_1.wav" in note and how.lower() in note.lower() for note in failed["note"])
    pd.testing.assert_frame_equal(after.drop(failed.index), before.drop(failed.index))


def test_a_bad_reconstruction_clip_fails_what_is_measured_on_reconstruction(run, training):
    damage(run / "clips" / "rec_0.wav", "missing")
    table = scored(run, training, tempo=True, harmony=True).set_index(["metric", "prompt"])
    of_music = ("level", "tempo", "tempo_octave", "key", "scale")
    assert set(table[table["status"] == "failed"].index.get_level_values("metric")) == {
        *("clap_a", "nearest_training", "fad", "kad", *(f"{name}_agreement" for name in of_music))
    }
    assert table.loc[("clap_t", "all"), "status"] == "ok"


@pytest.mark.parametrize("text", ["", "file\na.wav\n"])
def test_a_listing_without_its_columns_is_refused(run, text):
    (run / "clips" / "clips.csv").write_text(text)
    with pytest.raises(ValueError, match=r"clips\.csv.*run its notebook again"):
        read_clips(run)


def test_edits_are_compared_with_the_concept_too_and_by_the_second_embedder_with_its_clips_after_the_codec(
    run, training
):
    embedders, coded = [ToneEmbedder("tone@1"), ToneEmbedder("musicnn:tone@1")], [0.5 * clip for clip in training[:2]]
    clips = read_clips(run)
    table = score.score_clips(clips, training, embedders, TEXTS, IDENTITY, coded=coded).set_index("metric")
    edits = clips[clips["kind"] == "editability"]
    for key, embedder, own in (
        ("clap_a_edits", *embedders[:1], training),
        ("musicnn_a_edits_coded", embedders[1], coded),
    ):
        cosines = embedder.embed_clips(list(edits["clip"])) @ embedder.embed_clips(own).T
        row = table.loc[key]
        assert (row["value"], row["n"]) == (pytest.approx(cosines.mean()), 6) and row["ci_low"] < row["value"]
        assert (row["embedder"], row["interval_over"]) == (embedder.name, "2 prompts")
