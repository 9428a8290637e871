"""One run of the study: learned, heard and scored once, and gone on with where it was interrupted."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_runs import ToneEmbedder, use_quick_ears

from tmp_utils import protocol, runs
from tmp_utils.personalize import load_adapter, loop
from tmp_utils.profiles import load_setup
from tmp_utils.protocol import Study, run_setup, run_setups

pytestmark = pytest.mark.usefixtures("short_clips")


@pytest.fixture
def study(backbone, profile, tmp_path, monkeypatch):
    use_quick_ears(monkeypatch)
    methods = {**profile.methods, "TI": {**profile.methods["TI"], "checkpoint_every": 1}}
    return Study(replace(profile, methods=methods), backbone, ToneEmbedder("clap:tones"), tmp_path / "runs")


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


def run(study, concept, setup="BL", **kwargs):
    return run_setup(study, concept, load_setup("TI", setup), 0, **kwargs)


def seconds_of(folder):
    return runs.read_manifest(folder)["timings"]


def test_a_run_holds_what_was_learned_heard_and_scored_and_is_made_once(study, concept, monkeypatch):
    told = []
    folder = run(study, concept)
    kept = {path.name for path in folder.iterdir()}
    assert kept >= {"adapter.safetensors", "history.csv", "cost.json", "metrics.csv", "run.json"}
    assert "checkpoints" not in kept
    assert len(pd.read_csv(folder / "history.csv")) == 3 and len(pd.read_csv(folder / "clips" / "clips.csv")) == 4
    scores = pd.read_csv(folder / "metrics.csv").query("prompt == 'all'").set_index("metric")["value"]
    assert np.isfinite(scores[["clap_a", "clap_t"]]).all()
    monkeypatch.setattr(protocol, "personalise", interrupt)
    assert run(study, concept, say=told.append) == folder and "already done" in told[0]


def test_a_run_interrupted_while_it_generated_keeps_what_it_learned_and_what_that_cost(study, concept, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(protocol, "generate_clips", interrupt)
        run(study, concept)
    (partial,) = (study.runs_dir / "smoke" / "tones" / "TI-BL").glob(".seed0.*.partial")
    learned, cost = load_adapter(partial), json.loads((partial / "cost.json").read_text())
    trained_s = seconds_of(partial)["training_s"]
    monkeypatch.setattr(protocol, "personalise", interrupt)
    folder = run(study, concept)
    assert load_adapter(folder).tensors["embedding"].equal(learned.tensors["embedding"])
    assert json.loads((folder / "cost.json").read_text()) == cost and cost["seconds_per_step"] > 0
    assert seconds_of(folder)["training_s"] == trained_s


def test_words_that_learn_together_end_in_the_runs_of_words_that_learn_alone(study, concept, tmp_path):
    setups, seeds = ["BL", "1-AC"], [0, 1]
    alone = run_setups(study, concept, "TI", setups, seeds)
    company = replace_runs(study, tmp_path / "together")
    done = run(company, concept)  # one of the four is there already
    before = (done / "run.json").read_bytes()
    together = run_setups(company, concept, "TI", setups, seeds, together=3)
    names = ["method", "setup", "seed", "prompt", "metric"]
    assert (done / "run.json").read_bytes() == before
    both = alone.merge(together, on=names, suffixes=("", "_together"), validate="one_to_one")
    assert len(both) == len(alone) == len(together)
    assert np.allclose(both["value"], both["value_together"], atol=0.02, equal_nan=True)
    for seed in seeds:
        folders = [runs.run_folder(s.runs_dir, "smoke", "tones", "TI", "1-AC", seed) for s in (study, company)]
        one, other = (load_adapter(folder).tensors["embedding"] for folder in folders)
        assert float((one - other).norm() / other.norm()) < 1e-3
        assert seconds_of(folders[1])["total_s"] == pytest.approx(
            sum(seconds_of(folders[1])[stage] for stage in ("training_s", "generation_s", "scoring_s")), abs=0.01
        )


def replace_runs(study, folder):
    return Study(study.profile, study.backbone, study.embedder, folder)


def test_words_that_were_interrupted_together_go_on_from_their_checkpoints(study, concept, monkeypatch):
    step = loop._Run.update

    def interrupted(run, number, losses):
        if number == 2:
            raise KeyboardInterrupt
        return step(run, number, losses)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop._Run, "update", interrupted)
        run_setups(study, concept, "TI", ["BL", "MW"], [0], together=2)
    left = sorted((study.runs_dir / "smoke" / "tones").glob("TI-*/.seed0.*.partial/checkpoints/*"))
    assert [path.name for path in left] == ["step-000002", "step-000002"]
    told = []
    run_setups(study, concept, "TI", ["BL", "MW"], [0], together=2, say=told.append)
    assert sum("going on with what it finished" in line for line in told) == 2
    assert len(list((study.runs_dir / "smoke" / "tones").glob("TI-*/seed0/run.json"))) == 2


def test_only_new_words_learn_together(study, concept):
    with pytest.raises(ValueError, match="DB-BL: only Textual Inversion"):
        run_setups(study, concept, "DB", ["BL"], [0], together=2)
