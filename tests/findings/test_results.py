"""One table of all runs: complete, repeatable, and changed only where a clip changed."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from results_runs import PROFILE, clip, collect, make_run, rows, tone

from tmp_utils.files import write_csv, write_json
from tmp_utils.findings import comparisons, pooled, published, results
from tmp_utils.findings.verdicts import verdicts
from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.table import RESULT_COLUMNS, read_table
from tmp_utils.runs.collection import Collection
from tmp_utils.runs.integrity import fingerprints, record
from tmp_utils.runs.place import Place


def csv(study):
    return (study[0] / PROFILE / "results.csv").read_bytes()


def test_the_table_holds_every_run_its_references_and_the_pooled_distances(scored):
    table = collect(scored)
    assert list(table.columns) == list(RESULT_COLUMNS)
    whole = rows(table, metric="clap_a", prompt="all")
    assert len(whole) == 2 * 4 and set(whole["status"]) == {"ok"}
    assert set(table["metric"]) >= {"clap_t", "fad", "kad", "level_agreement", "ceiling_a", "floor_t", "pooled_fad"}
    assert len(rows(table, metric="clap_t", concept="lute", method="TI")) == 2 + 1
    assert table.loc[table["metric"].str.endswith("_agreement"), ["ci_low", "ci_high"]].stack().between(0, 1).all()
    own = rows(table, setup="own clips", metric="key_agreement")
    assert own["value"].tolist() == [1.0] * 2  # as these ears read both concepts
    assert published.read_results(Place(scored[0], PROFILE)).equals(table.reset_index(drop=True))


def test_collecting_again_changes_nothing_and_loads_nothing(scored, loaded):
    collect(scored)
    before, loaded[:] = csv(scored), []
    collect(scored)
    assert csv(scored) == before and loaded == []


def test_rows_that_a_run_has_are_kept_as_they_are(scored):
    folder = clip(scored).parents[1]
    collect(scored)
    table = read_table(folder / "metrics.csv")
    table.loc[table["metric"] == "clap_a", "value"] += 1
    write_csv(folder / "metrics.csv", table)
    record(folder, "metrics.csv")
    kept = rows(collect(scored), concept="lute", method="DB", setup="BL", metric="clap_a")
    assert kept["value"].item() == rows(table, metric="clap_a")["value"].item()


def test_a_cut_table_of_scores_is_not_read_but_made_again(scored):
    whole, intact = collect(scored), csv(scored)
    path = clip(scored).parents[1] / "metrics.csv"
    for cut in (0, 40, 400, -1, -30):
        path.write_bytes(path.read_bytes()[:cut])
        pd.testing.assert_frame_equal(collect(scored), whole)
        assert csv(scored) == intact


@pytest.mark.parametrize("cut", [0, 40])
def test_where_every_table_of_scores_is_cut_all_are_made_again(scored, cut):
    whole = collect(scored)
    for path in (scored[0] / PROFILE).glob("*/*/seed0/metrics.csv"):
        path.write_bytes(path.read_bytes()[:cut])
    pd.testing.assert_frame_equal(collect(scored), whole)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: save_clip(path, tone(5000, 3)), "damaged (its content is not what was written)"),
    ],
)
def test_a_clip_that_is_gone_or_changed_fails_its_rows_and_no_others_and_its_return_mends_them(scored, change, reason):
    before, intact = collect(scored), csv(scored)
    path = clip(scored, file="genre-jazz-0.wav")
    content = path.read_bytes()
    change(path)
    after = collect(scored)
    changed = after.loc[before.compare(after).index]
    runs = {(row.concept, row.method, row.setup) for row in changed.itertuples()}
    assert runs == {("lute", "DB", "BL")} and set(changed["metric"]) == {"clap_t", "clap_a_edits"}
    assert set(changed["prompt"]) == {"all", "genre-jazz"} and set(changed["status"]) == {"failed"}
    assert changed["note"].str.contains(f"genre-jazz-0.wav: {reason}", regex=False).all()
    path.write_bytes(content)
    collect(scored)
    assert csv(scored) == intact


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros(RATE_HZ), "silent"),
        (np.r_[tone(500, 0)[:-1], np.nan], "NaN"),
        (tone(500, 0, 0.7), "cut short, 0.70 s of 1.00 s"),
    ],
)
def test_a_bad_clip_fails_its_run_with_the_reason_and_is_not_averaged_away(scored, content, reason):
    soundfile.write(clip(scored), content, RATE_HZ, subtype="FLOAT")
    record(clip(scored).parents[1], "clips/reconstruction-0.wav")
    (clip(scored).parents[1] / "metrics.csv").unlink()
    table = collect(scored)
    run = rows(table, concept="lute", method="DB", setup="BL", prompt="all")
    failed = run[run["status"] == "failed"]
    assert set(failed["metric"]) >= {"clap_a", "nearest_training", "fad", "kad"}
    assert failed["note"].str.contains(reason).all() and failed["value"].isna().all()
    pool = rows(table, concept="pooled", method="DB", setup="BL")
    assert set(pool["status"]) == {"failed"} and pool["note"].str.contains("lute: 1 of 2 clips cannot be used").all()
    assert set(rows(table, concept="pooled", method="TI")["status"]) == {"ok"}
    assert comparisons.coverage(table).loc["lute", "DB BL"] == "1 (1 failed)"


def test_a_clip_that_the_listing_lost_fails_too(scored):
    listing = clip(scored, file="clips.csv")
    pd.read_csv(listing).iloc[1:].to_csv(listing, index=False)
    record(listing.parents[1], "clips/clips.csv")
    (listing.parents[1] / "metrics.csv").unlink()
    failed = rows(collect(scored), concept="lute", method="DB", setup="BL", metric="clap_a")
    assert failed["status"].item() == "failed" and "reconstruction not in clips.csv" in failed["note"].item()


def test_a_run_that_cannot_be_scored_fails_in_every_row_it_had(scored):
    before = collect(scored)
    listing = clip(scored, file="clips.csv")
    content = listing.read_bytes()
    listing.unlink()
    after = collect(scored)
    mine = (before["concept"] == "lute") & (before["method"] == "DB") & (before["setup"] == "BL")
    assert set(after.loc[mine, "status"]) == {"failed"} and after.loc[mine, "value"].isna().all()
    names = ["concept", "method", "setup", "seed", "prompt", "metric", "embedder"]
    pd.testing.assert_frame_equal(after[names], before[names])
    listing.write_bytes(content)
    pd.testing.assert_frame_equal(collect(scored), before)


def test_two_embedders_in_one_table_are_refused_and_naming_one_scores_all_runs_with_it(scored):
    collect(scored)
    path = clip(scored).parents[1] / "metrics.csv"
    path.write_text(path.read_text().replace("judge@1", "judge@2"))
    record(path.parent, "metrics.csv")
    with pytest.raises(ValueError, match=r"2 embedders.*judge@1.*judge@2"):
        collect(scored)
    three = {"clap:other@1", "clap:other@1+level", "musicnn:MTT@1"}
    table = collect(scored, embedder="clap:other")
    assert set(table[table["metric"] == "clap_a"]["embedder"]) == {"clap:other@1"}
    assert set(table[~table["metric"].str.contains("agreement")]["embedder"]) == three
    clip(scored).unlink()
    later = collect(scored)
    assert set(later[~later["metric"].str.contains("agreement")]["embedder"]) == three


def test_no_runs_or_only_references_say_what_to_run(tmp_path, loaded):
    with pytest.raises(FileNotFoundError, match=r"02_textual_inversion.*03_dreambooth.*make study"):
        results.collect_results(Place(tmp_path / "runs", PROFILE))
    make_run(tmp_path / "runs", "lute", "untrained", "class-noun")
    with pytest.raises(FileNotFoundError, match="no finished runs of a setup"):
        results.collect_results(Place(tmp_path / "runs", PROFILE))


def test_a_run_without_scores_is_scored_and_one_that_is_unfinished_is_counted(study):
    told = []
    (study[0] / PROFILE / "lute" / "DB-TE" / ".seed0.abc.partial").mkdir(parents=True)
    results.collect_results(Place(study[0], PROFILE), study[1], say=told.append)
    assert told == ["8 runs, 8 scored again, 1 unfinished and left out, 0 failed rows."]


def test_pooled_fad_is_that_of_the_clips_of_all_concepts_at_equal_n(scored):
    table = collect(scored)
    found = rows(table, metric="pooled_fad", method="TI").iloc[0]
    collection = Collection(Place(scored[0], PROFILE), scored[1])
    embedder = collection.pooled_embedder
    generated = [
        soundfile.read(clip(scored, "TI-BL", f"reconstruction-{k}.wav", concept), dtype="float32")[0]
        for concept in ("harp", "lute")
        for k in range(2)
    ]
    training = [c for name in ("harp", "lute") for c in results.concepts.load_clips(collection.recordings[name])]
    draw = np.random.default_rng(0)
    reference = embedder.embed_windows(training)[np.sort(draw.choice(6, 4, replace=False))]
    expected = frechet_audio_distance(reference, embedder.embed_windows(generated)).value
    assert found["value"] == pytest.approx(expected, rel=1e-6) and found["n"] == 4
    assert "2 of 2 concepts" in found["note"] and "too small" in found["note"]


def test_a_setup_over_fewer_concepts_is_not_compared_with_the_others(scored):
    make_run(scored[0], "lute", "DB-LoRA", "BL")
    table = collect(scored)
    assert "1 of 2 concepts, so not comparable" in rows(table, metric="pooled_kad", method="DB-LoRA")["note"].item()
    assert rows(table, metric="pooled_kad", method="DB-LoRA")["n"].item() == 2
    assert set(rows(table, metric="pooled_kad", method="DB")["n"]) == {4}


def test_the_pooled_rows_count_as_no_concept(scored):
    table = collect(scored)
    judged = verdicts(table).set_index("id")
    assert judged.loc["mix_lowers_fad_db", "n_concepts"] == 2
    without = verdicts(table[table["concept"] != "pooled"]).set_index("id")
    pd.testing.assert_frame_equal(judged, without)
    sides = pooled.distance_table(table).set_index(["method", "setup"])
    assert sides.loc[("DB", "MIX"), "n FAD pooled"] == 4 and sides.loc[("DB", "MIX"), "n FAD by concept"] == 2


@pytest.fixture
def sweep(scored):
    """A finished sweep of three strengths, with what should be in its ``metrics.csv``."""
    folder = Place(scored[0], PROFILE).run("lute", "transfer", "TI-MW+own", 0)
    (folder / "clips").mkdir(parents=True)
    save_clip(folder / "clips" / "a.wav", tone(500, 0))
    curves = [{"source": "tune", "transfer": "noising", "seed": 0, "strength": s, "file": "a.wav"} for s in (0, 0.5, 1)]
    write_csv(
        folder / "curves.csv",
        [{**c, "source_similarity": 1 - c["strength"]} | {"target_similarity": c["strength"]} for c in curves],
    )
    write_csv(folder / "metrics.csv", [{"value": "not read"}])
    parameters = {"concept": "lute", "setup": "TI-MW+own", "seed": 0, "methods": ["noising"], "embedder": "judge@1"}
    write_json(folder / "run.json", {"parameters": parameters, "files": fingerprints(folder, {})})
    return folder


def balance(scored):
    """Return the row of the middle strengths; that a sweep is never written to is checked, too."""
    folder = Place(scored[0], PROFILE).run("lute", "transfer", "TI-MW+own", 0)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    row = rows(collect(scored), metric="transfer_balance", method="TI", setup="MW+own@0.4-0.6").iloc[0]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return row


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_sweeps_rows_follow_from_its_curves_whatever_became_of_its_table(scored, sweep, damage):
    sound = balance(scored)
    assert (sound["value"], sound["n"], sound["status"], sound["embedder"]) == (0.5, 3, "ok", "judge@1")
    (sweep / "metrics.csv").unlink() if damage == "removed" else (sweep / "metrics.csv").write_text("")
    pd.testing.assert_series_equal(balance(scored), sound)


@pytest.mark.parametrize("file", ["clips/a.wav", "curves.csv"])
def test_a_sweep_that_lost_a_file_keeps_no_value_until_it_is_back(scored, sweep, file):
    sound, content = balance(scored), (sweep / file).read_bytes()
    (sweep / file).unlink()
    gone = balance(scored)
    assert gone["status"] == "failed" and np.isnan(gone["value"])
    assert gone["note"] == f"{file}: missing. Run notebook 04 again: damaged files are made again."
    (sweep / file).write_bytes(content)
    pd.testing.assert_series_equal(balance(scored), sound)


def test_a_concept_that_cannot_be_found_fails_and_is_scored_when_it_is_named_and_so_are_its_pools(scored):
    whole = collect(scored)
    intact = csv(scored)
    for folder in (scored[0] / PROFILE).glob("harp/*/seed0"):
        (folder / "metrics.csv").unlink()
    without = results.collect_results(Place(scored[0], PROFILE), scored[1][:1], say=lambda line: None)
    failed = rows(without, concept="harp")
    assert set(failed["status"]) == {"failed"} and failed["note"].str.contains("name it in `concepts`").all()
    assert set(rows(without, concept="lute", metric="clap_a")["status"]) == {"ok"}
    assert set(rows(without, concept="pooled")["status"]) == {"failed"}
    pd.testing.assert_frame_equal(collect(scored), whole)
    assert csv(scored) == intact


def test_pooled_distances_that_failed_are_tried_again(scored, monkeypatch):
    def lost(concept, n=None):
        if concept.name == "harp":
            raise FileNotFoundError("fetch them first")
        return load(concept, n)

    load = concepts.load_clips
    whole = collect(scored)
    for path in (scored[0] / PROFILE / ".cache").glob("pooled-*.csv"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(concepts, "load_clips", lost)
        assert set(rows(collect(scored), concept="pooled")["status"]) == {"failed"}
    pd.testing.assert_frame_equal(collect(scored), whole)
