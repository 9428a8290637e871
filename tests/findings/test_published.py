"""Tables as files: what made them stands in them, and a published one grows only by runs that agree with it."""

import numpy as np
import pandas as pd
import pytest
from results_runs import PROFILE, collect

from tmp_utils.findings import published
from tmp_utils.metrics.table import read_table
from tmp_utils.runs.place import Place


def clap_a(concept: str, seed: int, value: float, **others) -> dict:
    identity = {"profile": "pocket", "concept": concept, "method": "DB", "setup": "BL", "seed": seed}
    scores = {"value": value, "n": 4, "ci_low": value, "ci_high": value, "embedder": "clap@1", "status": "ok"}
    return identity | {"prompt": "all", "metric": "clap_a"} | scores | {"note": ""} | others


def test_a_published_table_says_what_made_it_and_reads_back_the_same(scored, tmp_path):
    table = collect(scored)
    path = published.publish(Place(scored[0], PROFILE), tmp_path / "data" / "pocket.csv", "make study")
    read = read_table(path)
    assert read.equals(table.reset_index(drop=True))
    assert read.attrs == {
        "profile": PROFILE,
        "commit": ", ".join(published.commits(Place(scored[0], PROFILE).runs())),
    } | {"command": "make study"}


def test_a_published_table_grows_by_runs_and_keeps_what_made_the_others(scored, tmp_path):
    table, path = collect(scored), tmp_path / "pocket.csv.gz"
    published.publish(Place(scored[0], PROFILE), path, "make grid")
    earlier = read_table(path)
    other = earlier[earlier["concept"] == "lute"].assign(seed=7)
    facts = {"profile": PROFILE, "commit": "abc, def", "command": "make study"}
    published.write_published(path, pd.concat([earlier, other]), facts)
    grown = read_table(published.publish(Place(scored[0], PROFILE), str(path), "make grid", grow=True))
    assert grown[: len(table)].equals(table.reset_index(drop=True))
    assert (grown[len(table) :]["seed"] == 7).all() and len(grown) == len(table) + len(other)
    assert grown.attrs["commit"].split(", ") == sorted(
        ["abc", "def", *published.commits(Place(scored[0], PROFILE).runs())]
    )
    assert grown.attrs["command"] == "make study; make grid"
    again = published.publish(Place(scored[0], PROFILE), path, "make grid", grow=True)
    assert read_table(again).equals(grown) and read_table(again).attrs == grown.attrs


def test_pooled_distances_are_those_of_the_table_that_pools_more():
    few, many = (clap_a("pooled", 1, value, metric="pooled_fad", n=n) for value, n in ((2.0, 5), (3.0, 10)))
    here, there = clap_a("harp", 0, 0.4), clap_a("lute", 0, 0.5)
    for now, earlier in (([here], [there, many]), ([here, few], [there, many]), ([here, many], [there, few])):
        grown = published.grown(pd.DataFrame(now), pd.DataFrame(earlier)).set_index("concept")["value"]
        assert grown.to_dict() == {"harp": 0.4, "lute": 0.5, "pooled": 3.0} and len(grown) == 3


def test_a_run_that_scored_otherwise_before_is_refused_and_nothing_is_written(scored, tmp_path):
    collect(scored)
    path = published.publish(Place(scored[0], PROFILE), tmp_path / "pocket.csv", "make study")
    earlier = read_table(path)
    first = earlier.index[(earlier["metric"] == "clap_a") & (earlier["concept"] == "lute")][0]
    earlier.loc[first, "value"] += 0.01
    text = f"# profile: {PROFILE}\n# commit: abc\n# command: make study\n" + earlier.to_csv(index=False)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^1 of \d+ values .* clap_a of lute"):
        published.publish(Place(scored[0], PROFILE), path, "make study", grow=True)
    assert path.read_text() == text


def test_only_a_published_table_of_the_same_profile_grows(scored, tmp_path):
    path = tmp_path / "plain.csv"
    collect(scored).to_csv(path, index=False)
    with pytest.raises(ValueError, match="published table of the profile smoke"):
        published.publish(Place(scored[0], PROFILE), path, "make study", grow=True)
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        published.publish(Place(scored[0], PROFILE), tmp_path / "none.csv", "make study", grow=True)


def test_a_run_that_failed_before_may_succeed_now_and_another_embedder_may_not_join():
    failed = clap_a("lute", 0, float("nan"), status="failed", note="silent")
    now = pd.DataFrame([clap_a("lute", 0, 0.5)])
    assert published.grown(now, pd.DataFrame([failed]))["status"].tolist() == ["ok"]
    with pytest.raises(ValueError, match="2 embedders"):
        published.grown(now, pd.DataFrame([clap_a("harp", 0, 0.5, embedder="clap@2")]))


def test_a_published_score_that_failed_here_or_is_missing_is_not_lost():
    earlier = pd.DataFrame([clap_a("lute", 0, 0.5), clap_a("lute", 0, 0.7, metric="clap_t")])
    failed = pd.DataFrame([clap_a("lute", 0, np.nan, status="failed", note="its clips are missing"), earlier.iloc[1]])
    with pytest.raises(ValueError, match=r"^1 published scores .* clap_a of lute DB BL, seed 0: its clips are missing"):
        published.grown(failed, earlier)
    with pytest.raises(ValueError, match=r"^1 published scores .* clap_t of lute DB BL, seed 0: missing"):
        published.grown(earlier[:1], earlier)
    assert len(published.grown(earlier, earlier)) == 2
