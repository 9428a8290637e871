"""One run of the study: learned, heard and scored once, and gone on with where it was interrupted."""

import errno
import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_runs import ToneEmbedder, use_quick_ears, use_tone_embedder

from tmp_utils.files import write_json
from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.metrics.table import read_table
from tmp_utils.personalize import Diverged, load_adapter, loop
from tmp_utils.runs import protocol
from tmp_utils.runs.adapters import find_adapter
from tmp_utils.runs.folder import RunFolder
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab, run_reference, run_setup, run_setups
from tmp_utils.runs.score import score_run

pytestmark = pytest.mark.usefixtures("short_clips")


def setups_of(method, names):
    return [load_setup(method, name) for name in names]


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


@pytest.fixture
def new_lab(backbone, profile, concept, references, monkeypatch):
    """Makes labs: a runs folder -> a lab with the reference of seed 0 in it, a copy of one that is made once."""
    use_quick_ears(monkeypatch)
    use_tone_embedder(monkeypatch)  # the second embedder
    methods = {**profile.methods, "TI": {**profile.methods["TI"], "checkpoint_every": 1}}

    def without_runs(folder):
        place = Place(folder, profile.name)
        return Lab(replace(profile, methods=methods), backbone, ToneEmbedder("clap:tones"), place)

    reference = run_reference(without_runs(references), concept, 0)

    def make(folder):
        lab = without_runs(folder)
        shutil.copytree(reference, lab.place.run(concept.name, "untrained", "class-noun", 0))
        return lab

    return make


@pytest.fixture
def lab(new_lab, tmp_path):
    return new_lab(tmp_path / "runs")


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


def run(lab, concept, setup="BL", **kwargs):
    return run_setup(lab, concept, load_setup("TI", setup), 0, **kwargs)


def seconds_of(folder):
    return read_manifest(folder)["timings"]


def test_a_run_holds_what_was_learned_heard_and_scored_and_is_made_once(lab, concept, monkeypatch):
    told = []
    folder = run(lab, concept)
    kept = {path.name for path in folder.iterdir()}
    assert kept >= {"adapter.safetensors", "history.csv", "cost.json", "metrics.csv", "run.json"}
    assert "checkpoints" not in kept
    assert len(pd.read_csv(folder / "history.csv")) == 3 and len(pd.read_csv(folder / "clips" / "clips.csv")) == 4
    scores = pd.read_csv(folder / "metrics.csv").query("prompt == 'all'").set_index("metric")["value"]
    assert np.isfinite(scores[["clap_a", "clap_t"]]).all()
    monkeypatch.setattr(protocol, "personalise", interrupt)
    assert run(lab, concept, say=told.append) == folder and "already done" in told[0]


def test_a_run_interrupted_while_it_generated_keeps_what_it_learned_and_what_that_cost(lab, concept, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(protocol, "generate_clips", interrupt)
        run(lab, concept)
    (partial,) = (lab.place.folder / "tones" / "TI-BL").glob(".seed0.*.partial")
    learned, cost = load_adapter(partial), json.loads((partial / "cost.json").read_text())
    trained_s = seconds_of(partial)["training_s"]
    monkeypatch.setattr(protocol, "personalise", interrupt)
    folder = run(lab, concept)
    assert load_adapter(folder).tensors["embedding"].equal(learned.tensors["embedding"])
    assert json.loads((folder / "cost.json").read_text()) == cost and cost["seconds_per_step"] > 0
    assert seconds_of(folder)["training_s"] == trained_s


def test_words_that_learn_together_end_in_the_runs_of_words_that_learn_alone(lab, new_lab, concept, tmp_path):
    setups, seeds = ["BL", "1-AC"], [0, 1]
    alone = run_setups(lab, concept, setups_of("TI", setups), seeds)
    company = new_lab(tmp_path / "together")
    done = run(company, concept)  # one of the four is there already
    before, began = (done / "run.json").read_bytes(), time.monotonic()
    together = run_setups(company, concept, setups_of("TI", setups), seeds, together=3)
    took_s = time.monotonic() - began
    names = ["method", "setup", "seed", "prompt", "metric"]
    assert (done / "run.json").read_bytes() == before
    both = alone.merge(together, on=names, suffixes=("", "_together"), validate="one_to_one")
    assert len(both) == len(alone) == len(together)
    assert np.allclose(both["value"], both["value_together"], atol=0.02, equal_nan=True)
    for seed in seeds:
        folders = [s.place.run("tones", "TI", "1-AC", seed) for s in (lab, company)]
        one, other = (load_adapter(folder).tensors["embedding"] for folder in folders)
        assert float((one - other).norm() / other.norm()) < 1e-3
    new = [folder for folder in company.place.runs() if "TI-" in str(folder) and folder != done]
    shares = {seconds_of(folder)["training_s"] for folder in new}
    assert len(new) == 3 and len(shares) == 1 and 0 < 3 * shares.pop() <= took_s


def test_words_that_were_interrupted_together_go_on_from_their_checkpoints(lab, concept, monkeypatch):
    update = loop.Training.update

    def interrupted(training, losses):
        if training.adapter.steps == 2:
            raise KeyboardInterrupt
        update(training, losses)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Training, "update", interrupted)
        run_setups(lab, concept, setups_of("TI", ["BL", "MW"]), [0], together=2)
    left = sorted((lab.place.folder / "tones").glob("TI-*/.seed0.*.partial/checkpoints/*"))
    assert [path.name for path in left] == ["step-000002", "step-000002"]
    assert all(seconds_of(path.parents[1])["training_s"] > 0 for path in left)
    told = []
    run_setups(lab, concept, setups_of("TI", ["BL", "MW"]), [0], together=2, say=told.append)
    assert sum("continues from what it finished" in line for line in told) == 2
    assert len(list((lab.place.folder / "tones").glob("TI-*/seed0/run.json"))) == 2


def test_what_cannot_learn_together_is_refused_before_anything_is_generated(lab, concept):
    before, other_seed = lab.place.runs(), 1
    with pytest.raises(ValueError, match="DB-BL: only Textual Inversion"):
        run_setups(lab, concept, setups_of("DB", ["BL"]), [other_seed], together=2)
    with pytest.raises(ValueError, match="together=0"):
        run_setups(lab, concept, setups_of("TI", ["BL"]), [other_seed], together=0)
    assert lab.place.runs() == before


@pytest.mark.parametrize(
    ("setup", "changed", "fault"),
    [
        ("TI-BL", {"clips": 3}, "3 clips, but TI-BL learns from 5"),
        ("DB-BL", {"methods": ["TI"]}, 'no method "DB"; it has TI'),
        ("TI-BL", {"class_noun": " "}, "class noun is empty"),
        ("DB-BL", {"rare_word": ""}, "no rare word"),
        ("TI-BL", {"name": "mask"}, "<mask> is in the tokenizer's vocabulary"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_learned_is_refused_before_anything_is_generated(lab, concept, setup, changed, fault):
    words = {name: changed[name] for name in changed.keys() & {"class_noun", "rare_word", "name"}}
    other = replace(concept, clips=concept.clips[: changed.get("clips", 5)], **words)
    methods = {name: lab.profile.methods[name] for name in changed.get("methods", lab.profile.methods)}
    setups = [load_setup("TI", "3-AC"), load_setup(*setup.split("-"))]
    lab.profile, before = replace(lab.profile, methods=methods), lab.place.runs()
    with pytest.raises(ValueError, match=fault):
        run_setups(lab, other, setups, [1])
    assert lab.place.runs() == before and not list(lab.place.folder.rglob("*.partial"))


def test_there_is_no_reference_without_a_class_noun(lab, concept):
    with pytest.raises(ValueError, match="class noun is empty"):
        run_reference(lab, replace(concept, class_noun=""), 1)
    assert not list(lab.place.folder.rglob("*.partial"))


def test_a_setup_that_is_named_twice_is_run_once(lab, new_lab, concept, tmp_path):
    once = run_setups(lab, concept, setups_of("TI", ["BL"]), [0])
    twice = run_setups(new_lab(tmp_path / "again"), concept, setups_of("TI", ["BL", "BL"]), [0, 0], together=2)
    assert len(once) == len(twice)


def test_a_word_that_diverges_leaves_the_others_finished_and_is_told_at_the_end(lab, concept, monkeypatch):
    check = loop.Training.check

    def checked(run, loss, ignorant):
        return check(run, float("nan") if run.adapter.setup == "MW" else loss, ignorant)

    monkeypatch.setattr(loop.Training, "check", checked)
    with pytest.raises(Diverged, match="TI-MW, seed 0: training diverged at step 1"):
        run_setups(lab, concept, setups_of("TI", ["BL", "MW", "1-AC"]), [0], together=3)
    finished = {folder.parent.name for folder in lab.place.runs()}
    assert finished == {"TI-BL", "TI-1-AC", "untrained-class-noun"}


def test_a_run_that_was_stopped_at_its_very_end_can_be_finished(lab, concept, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "finish", interrupt)
        run(lab, concept)
    assert (run(lab, concept) / "run.json").exists()


def other_clips(folder, name, hz):
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    for k in range(5):
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_clip(folder / name / f"{k}.wav", 0.3 * np.sin(2 * np.pi * hz * (k + 2) * t))
    return load_concept(folder / name, class_noun="guitar")


@pytest.mark.filterwarnings("error")
def test_another_recording_another_row_of_the_table_or_another_rate_is_another_run(lab, tmp_path):
    first, second = other_clips(tmp_path / "a", "drums", 220), other_clips(tmp_path / "b", "drums", 330)
    run(lab, first)
    with pytest.raises(ValueError, match=r"finished run of other settings: clips_hash was .* and is now"):
        run(lab, second)
    with pytest.raises(ValueError, match=r"other settings: varied was .*'n_clips': 5.* and is now .*'n_clips': 1"):
        run_setup(lab, first, replace(load_setup("TI", "BL"), n_clips=1), 0)
    faster = {**lab.profile.methods, "TI": {**lab.profile.methods["TI"], "lr": 0.5}}
    changed = Lab(replace(lab.profile, methods=faster), lab.backbone, lab.embedder, lab.place)
    with pytest.raises(ValueError, match="other settings: hyperparameters was"):
        run(changed, first)
    with pytest.raises(ValueError, match="other settings: hyperparameters was"):
        find_adapter(changed, first, "TI", "BL", 0)
    assert find_adapter(lab, first, "TI", "BL", 0, say=lambda _: None).concept == "drums"


def test_a_finished_run_that_stored_its_hyperparameters_as_a_profile_wrote_them_is_done(lab, concept, monkeypatch):
    manifest = read_manifest(folder := run(lab, concept))
    stored = lab.profile.methods["TI"] | {"keep_checkpoints": True, "max_grad_norm": 1.0, "prior_lr": 0.5}
    write_json(folder / "run.json", manifest | {"parameters": manifest["parameters"] | {"hyperparameters": stored}})
    monkeypatch.setattr(protocol, "personalise", interrupt)
    assert run(lab, concept) == folder


def test_an_adapter_that_no_run_has_is_learned_and_kept_for_these_clips_alone(lab, tmp_path):
    first, second, told = other_clips(tmp_path / "a", "drums", 220), other_clips(tmp_path / "b", "drums", 330), []
    adapters = [find_adapter(lab, c, "TI", "BL", 0, say=told.append) for c in (first, second, first)]
    assert ["taken" in line for line in told] == [False, False, True]
    one, other, again = (adapter.tensors["embedding"] for adapter in adapters)
    assert one.equal(again) and not one.equal(other)


def test_the_reference_run_scores_the_concepts_clips_after_the_codec_and_again_the_same(lab, concept):
    folder = run_reference(lab, concept, 0)
    table = read_table(folder / "metrics.csv")
    codec = table.query("method == 'reference' and setup == 'codec'").set_index("metric")
    assert {"clap_a", "clap_a_matched", "musicnn_a", "fad", "level_agreement"} <= set(codec.index)
    assert len(list((folder / "codec").glob("*.flac"))) == len(concept.clips) == codec.loc["clap_a", "n"]
    assert codec.loc["clap_a", "value"] < table.query("metric == 'ceiling_a'")["value"].item()
    pd.testing.assert_frame_equal(score_run(folder, concept, lab.embedders), table)
    learned = read_table(run(lab, concept) / "metrics.csv").set_index("metric")
    assert np.isfinite(learned.loc["musicnn_a_coded", "value"])
    assert 0 <= learned.loc["copied", "value"] <= 1 and "threshold" in learned.loc["copied", "note"]


def test_a_full_disk_says_how_much_a_run_writes_and_what_was_finished_stays(lab, concept, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "generate_clips", full)
        with pytest.raises(
            OSError, match=r"no space left.*TI-BL.*running again continues.*writes clips \d+ MB, adapters"
        ):
            run(lab, concept)
    monkeypatch.setattr(protocol, "personalise", interrupt)
    assert (run(lab, concept) / "metrics.csv").is_file()
