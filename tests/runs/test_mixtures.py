"""Runs of mixtures: what they leave, and that nothing is done twice."""

from dataclasses import replace

import numpy as np
import pytest
from results_runs import ToneEmbedder
from training_runs import with_hyperparameters

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.mixtures import Mixture
from tmp_utils.metrics.separation import word_scores
from tmp_utils.personalize import load_adapter
from tmp_utils.runs import mixtures
from tmp_utils.runs.mixtures import COLUMNS, mixtures_table, run_mixture, run_mixtures
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab

pytestmark = pytest.mark.usefixtures("short_clips", "loaded")
T = np.arange(round(0.64 * RATE_HZ)) / RATE_HZ
LOW, HIGH = (np.float32(0.1) * np.sin(2 * np.pi * hz * T).astype("float32") for hz in (300, 3000))
FEW = {"share_of_steps": 0.3, "n_clips": 2, "n_prompts": 1}


@pytest.fixture
def lab(profile, backbone, tmp_path):
    return Lab(replace(profile, clip_s=0.64), backbone, ToneEmbedder("clap:tones"), Place(tmp_path, "smoke"))


@pytest.fixture
def mixture(concept):
    concepts = (concept, replace(concept, name="taps", class_noun="violin", rare_word="qzv"))
    return Mixture(
        "tones", ("guitar", "violin"), ("a", "b"), (LOW + HIGH,) * 2, ((LOW,) * 2, (HIGH,) * 2), "like", concepts
    )


def test_a_run_has_rows_of_each_sound_by_both_embedders_and_is_not_repeated(lab, mixture, monkeypatch):
    folder = run_mixture(lab, mixture, "TI-PRIOR", 0, **FEW)
    table = mixtures_table(lab.place)
    assert list(table.columns) == COLUMNS and set(table["setup"]) == {"PRIOR"} and set(table["kind"]) == {"like"}
    counts = table.groupby("metric")["value"].size().to_dict()
    both_ears = dict.fromkeys(("closeness", "leakage", "difference"), 4)
    assert counts == {**both_ears, "both": 2, "clap_t": 2, "si_sdr": 2, "mel_l1": 2}
    assert set(table["sound"]) == {"guitar", "violin", "all"}
    assert len(list((folder / "clips").iterdir())) == 2 * (2 + 1) + 2
    assert load_adapter(folder / "word-2").words == "<violin>"
    monkeypatch.setattr(mixtures, "_learn", lambda *_: pytest.fail("learned again"))
    assert run_mixture(lab, mixture, "TI-PRIOR", 0, **FEW) == folder
    saving = replace(lab, profile=with_hyperparameters(lab.profile, "TI", checkpoint_every=1, max_grad_norm=1.0))
    assert run_mixture(saving, mixture, "TI-PRIOR", 0, **FEW) == folder
    with pytest.raises(ValueError, match=r"holds a finished run of other settings: .*n_clips was 2 and is now 3"):
        run_mixture(lab, mixture, "TI-PRIOR", 0, **FEW | {"n_clips": 3})
    monkeypatch.setattr(mixtures, "GUIDANCE", 3.0)
    with pytest.raises(ValueError, match=r"masks was .*'guidance': 2\.5.* and is now .*'guidance': 3\.0"):
        run_mixture(lab, mixture, "TI-PRIOR", 0, **FEW)


def test_references_bound_the_separation_and_the_words(lab, mixture):
    table = run_mixtures(lab, [mixture], mixtures.REFERENCES, [0], **FEW)
    means = table.groupby(["setup", "metric"])["value"].mean()
    assert means["stems", "si_sdr"] > 25 > means["class-noun", "si_sdr"] and means["mixture", "si_sdr"] < 1
    assert means["stems", "difference"] == pytest.approx(1, abs=0.01), "two bands far apart"
    assert means["mixture", "difference"] == pytest.approx(0, abs=1e-6), (
        "of two sounds, one's closeness is the other's leakage"
    )
    ear = ToneEmbedder("tones")
    parts = [ear.embed_clips(part) for part in mixture.parts]
    rows = table[
        (table["setup"] == "mixture") & (table["sound"] == "violin") & table["embedder"].str.startswith("clap")
    ]
    expected = word_scores(ear.embed_clips(mixture.clips), parts, 1)["leakage"]
    assert rows.set_index("metric")["value"]["leakage"] == pytest.approx(expected)


def test_words_that_were_learned_apart_are_used_at_once(lab, mixture):
    folder = run_mixture(lab, mixture, "LoRA+LoRA", 0, **FEW)
    table = mixtures.read_run_scores(folder)
    assert set(table["method"]) == {"LoRA+LoRA"} and set(table["setup"]) == {"apart"}
    assert {"both", "closeness", "si_sdr"} <= set(table["metric"])


def test_without_parts_words_are_learned_and_only_compared_with_prompts(lab, mixture):
    own = replace(mixture, parts=(), concepts=())
    table = mixtures.read_run_scores(run_mixture(lab, own, "TI-PRIOR", 0, **FEW, within="own"))
    assert set(table["metric"]) == {"clap_t"} and mixtures_table(lab.place).empty
    for name in ("TI+TI", "reference-stems"):
        with pytest.raises(ValueError, match=r"its parts are not known, and .* is about them"):
            run_mixture(lab, own, name, 0)
    with pytest.raises(ValueError, match="its parts are not known, so TI-STEMS has nothing"):
        run_mixture(lab, own, "TI-STEMS", 0)
    with pytest.raises(
        ValueError, match='"TI-BL" is not a run of mixtures; expected one of untrained-class-noun, TI-PROMPT'
    ):
        run_mixture(lab, mixture, "TI-BL", 0)
