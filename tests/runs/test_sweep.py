"""Sweeps: what is measured, what is kept, what is not done twice."""

from ast import literal_eval
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_runs import ToneEmbedder

from tmp_utils.commands.headless import declared_parameters
from tmp_utils.commands.study import NOTEBOOKS_DIR
from tmp_utils.files import write_json
from tmp_utils.findings.listen import strength_browser
from tmp_utils.inputs.audio import RATE_HZ, load_clip, save_clip
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.runs import sweep
from tmp_utils.runs.adapters import find_adapter
from tmp_utils.runs.integrity import MANIFEST, read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab
from tmp_utils.runs.sweep import SOURCES, balance_rows, label_of, measure, read_curves, run_sweep

pytestmark = pytest.mark.usefixtures("short_clips")
STRENGTHS = [0.0, 0.5, 1.0]
IDENTITY = {"profile": "smoke", "concept": "tones", "method": "TI", "seed": 0}


@pytest.fixture
def lab(backbone, profile, tmp_path):
    return Lab(replace(profile, inference_steps=3), backbone, ToneEmbedder("tones"), Place(tmp_path, profile.name))


@pytest.fixture
def source(tmp_path):
    t = np.arange(RATE_HZ * 3 // 2) / RATE_HZ
    return save_clip(tmp_path / "tune.wav", 0.3 * np.sin(2 * np.pi * 300 * t))


def quiet(_):
    pass


def test_a_clip_that_is_the_source_or_the_target_measures_1():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=RATE_HZ).astype(np.float32).cumsum() / 300 for _ in range(2))
    target = ToneEmbedder("tones").embed_clips([other])
    found = measure([one, other], one, target, ToneEmbedder("tones"))
    assert found["source_similarity"][0] == pytest.approx(1) and found["target_similarity"][1] == pytest.approx(1)
    assert found["chroma_correlation"][0] == pytest.approx(1) and found["onset_correlation"][0] == pytest.approx(1)
    assert found["source_similarity"][1] < 1 and found["onset_correlation"][1] < 0.5


def test_a_sweep_keeps_a_clip_and_a_row_for_each_strength_and_method(lab, concept, source):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    folder = run_sweep(lab, concept, adapter, {"a tune": source}, STRENGTHS, 4, say=quiet)
    assert folder == lab.place.folder / "tones/transfer-TI-MW/seed4"
    asked = read_manifest(folder)["parameters"]
    assert [asked[name] for name in ("concept", "method", "setup", "seed")] == ["tones", "transfer", "TI-MW", 4]
    curves = read_curves([folder])
    assert list(curves.columns) == list(sweep.COLUMNS)
    assert len(curves) == 3 * len(STRENGTHS) and set(curves["seed"]) == {4}
    clips = [load_clip(file) for file in curves["file"]]
    assert {len(clip) for clip in clips} == {round(1.28 * RATE_HZ)}  # the profile's duration
    at_0 = [clip for clip, strength in zip(clips, curves["strength"], strict=True) if strength == 0]
    assert np.array_equal(at_0[0], at_0[1]) and np.array_equal(at_0[0], at_0[2])
    metrics = pd.read_csv(folder / "metrics.csv")
    assert list(metrics["setup"]) == ["MW@0.0-0.2", "MW@0.4-0.6", "MW@0.8-1.0"]  # the fifths that have strengths


def test_a_sweep_takes_the_methods_that_the_backbone_has_and_refuses_others_before_any_work(
    lab, concept, source, monkeypatch
):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    monkeypatch.setattr(type(lab.backbone), "inversions", ("noising",))
    curves = read_curves([run_sweep(lab, concept, adapter, {"tune": source}, [0.0], 0, say=quiet)])
    assert set(curves["transfer"]) == {"noising"}
    monkeypatch.setattr(sweep, "load_clip", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r'method "ddim-inversion": .* has noising\.'):
        run_sweep(lab, concept, adapter, {"tune": source}, [0.0], 1, methods=["noising", "ddim-inversion"], say=quiet)


def test_what_an_interrupted_sweep_finished_is_not_done_again(lab, concept, source, monkeypatch):
    adapter, done, transfer = find_adapter(lab, concept, "TI", "MW", 0, quiet), [], sweep.transfer

    def counted(*args, **kwargs):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(kwargs["method"])
        return transfer(*args, **kwargs)

    arguments = (lab, concept, adapter, {"tune": source}, STRENGTHS, 0)
    settings = {"methods": ["noising", "ddpm-inversion"], "say": quiet}
    monkeypatch.setattr(sweep, "transfer", counted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(*arguments, **settings)
    assert lab.place.runs() == []
    monkeypatch.setattr(sweep, "transfer", lambda *a, **k: done.append(k["method"]) or transfer(*a, **k))
    folder = run_sweep(*arguments, **settings)
    assert run_sweep(*arguments, **settings) == folder
    assert done == ["noising", "ddpm-inversion"]
    assert len(read_curves([folder])) == 2 * len(STRENGTHS)


def test_a_labelled_sweep_stays_apart_from_the_studys_own(lab, concept, source):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    arguments = (lab, concept, adapter, {"tune": source}, STRENGTHS, 0)
    own = run_sweep(*arguments, methods=["noising"], say=quiet)
    full = replace(adapter, hyperparameters=adapter.hyperparameters | {"ti_lr": 0.5, "prior_clips": 16})  # both unused
    assert run_sweep(lab, concept, full, *arguments[3:], methods=["noising"], say=quiet) == own
    labelled = run_sweep(*arguments, methods=["noising"], guidance_scale=4.0, label="g4", say=quiet)
    assert labelled != own
    assert set(pd.read_csv(labelled / "metrics.csv")["setup"]) == {
        f"MW+g4@{fifth}" for fifth in ("0.0-0.2", "0.4-0.6", "0.8-1.0")
    }
    with pytest.raises(ValueError, match=r"guidance_scale was 2\.5 and is now 4\.0"):
        run_sweep(*arguments, methods=["noising"], guidance_scale=4.0, say=quiet)


def test_strengths_that_are_close_have_files_of_their_own(lab, concept, source):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    folder = run_sweep(
        lab, concept, adapter, {"tune": source}, [0, 0.5, 0.502], 0, methods=["noising"], say=quiet, label="close"
    )
    assert read_curves([folder])["file"].nunique() == 3 == len(list((folder / "clips").iterdir()))


def test_only_the_studys_own_sweep_has_no_label():
    declared = declared_parameters(NOTEBOOKS_DIR / "04_style_transfer.ipynb")
    asked = {name: literal_eval(value) for name, value in declared.items()}
    assert label_of(asked["shipped_sources"], asked["strengths"], asked["guidance_scale"], asked["steps"]) == ""
    assert label_of(["fiddle"], sweep.STRENGTHS).startswith("trial") != label_of(SOURCES, [0, 1])
    assert label_of("/my/tune.wav", sweep.STRENGTHS, 4.0, 20) == "tune-guidance4-steps20"
    assert label_of("/my/tune.wav", [0, 1]).startswith("tune-trial")
    assert len({label_of(SOURCES, [0, 1]), label_of(SOURCES, [0, 0.5, 1]), label_of(["koto"], [0, 1])}) == 3


def test_a_silent_source_is_named_before_anything_is_computed(lab, concept, source, tmp_path):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    still = save_clip(tmp_path / "still.wav", np.zeros(RATE_HZ))
    with pytest.raises(ValueError, match=r"still\.wav: silent"):
        run_sweep(lab, concept, adapter, {"tune": source, "still": still}, STRENGTHS, 0, say=quiet)
    assert not (lab.place.folder / "tones/transfer-TI-MW/.seed0.lock").exists()


def test_a_finished_runs_adapter_comes_first(lab, concept):
    learned = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    folder = learned.save(lab.place.folder / "tones/TI-MW/seed0")
    write_json(folder / MANIFEST, {"parameters": lab.identity(concept, load_setup("TI", "MW"), 0), "files": {}})
    said = []
    find_adapter(lab, concept, "TI", "MW", 0, said.append)
    assert said == ["tones TI-MW, seed 0: taken from smoke/tones/TI-MW/seed0."]


def test_an_adapter_that_a_grid_deleted_is_learned_again_and_kept_beside_the_sweeps(lab, concept):
    (run := lab.place.folder / "tones/TI-MW/seed0").mkdir(parents=True)
    manifest = {"parameters": lab.identity(concept, load_setup("TI", "MW"), 0), "files": {}}
    write_json(run / MANIFEST, manifest | {"dropped": ["adapter.safetensors"]})
    said = []
    first, again = (find_adapter(lab, concept, "TI", "MW", 0, said.append) for _ in range(2))
    assert "deleted by a grid with KEEP=clips, so it is trained now" in said[0] and "taken from" in said[1]
    assert first.tensors["embedding"].equal(again.tensors["embedding"]) and list(run.iterdir()) == [run / MANIFEST]


def test_the_balance_of_straight_lines_is_higher_in_the_middle():
    s = np.linspace(0, 1, 11)
    curves = pd.DataFrame({"strength": s, "source_similarity": 1 - s, "target_similarity": s})
    rows = balance_rows(curves, IDENTITY, "MW", "judge").set_index("setup")
    assert rows.loc["MW@0.4-0.6", "value"] == pytest.approx((0.4 + 0.5 + 0.4) / 3)
    assert rows.loc["MW@0.0-0.2", "value"] == pytest.approx(0.1)
    assert rows.loc["MW@0.8-1.0", "value"] == pytest.approx(0.1)
    assert set(rows["status"]) == {"ok"} and set(rows["n"]) == {11}


def test_a_balance_that_is_undefined_is_a_failed_row_with_its_reason():
    flat = pd.DataFrame({"strength": STRENGTHS, "source_similarity": [1, 0.5, 0], "target_similarity": 0.3})
    rows = balance_rows(flat, IDENTITY, "MW", "judge")
    assert set(rows["status"]) == {"failed"} and rows["note"].str.contains("3 or more that differ").all()
    gap = flat[flat["strength"] != 0.5]
    wide = pd.concat([gap, gap.assign(strength=gap["strength"] / 4 + 0.1)]).assign(target_similarity=[0, 1, 0.2, 0.4])
    assert list(balance_rows(wide, IDENTITY, "MW", "judge")["setup"]) == ["MW@0.0-0.2", "MW@0.2-0.4", "MW@0.8-1.0"]


def test_the_browser_shows_the_clip_of_its_slider(lab, concept, source):
    adapter = find_adapter(lab, concept, "TI", "MW", 0, quiet)
    curves = read_curves([run_sweep(lab, concept, adapter, {"tune": source}, STRENGTHS, 0, say=quiet)])
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmp_utils.findings.listen._show", shown.append)
        menus, slider, _ = strength_browser(curves).children
        slider.value = 1.0
        menus.children[1].value = "ddpm-inversion"
    assert [(row["transfer"], row["strength"]) for row in shown] == [
        ("noising", 0.5),
        ("noising", 1.0),
        ("ddpm-inversion", 1.0),
    ]
