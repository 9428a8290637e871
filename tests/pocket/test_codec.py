"""The table of the codec: chains whose losses are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.concepts import load_clips, load_concept
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.pocket import codec

pytest.importorskip("essentia")


def values(table, chain):
    return table[table.chain == chain].set_index("measure").value


def two_clips(name):
    concept = load_concept(name)
    return replace(concept, clips=concept.clips[:2])


def test_a_chain_that_only_lowers_the_level_loses_level_agreement_and_nothing_else():
    chains = {"real": codec.CHAINS["real"], "quiet": lambda backbone, clips: clips * np.float32(0.5)}
    table = codec.codec_table(None, [two_clips("sitar")], chains, log=lambda *_: None)
    real, quiet = values(table, "real"), values(table, "quiet")
    assert quiet["level_difference_lu"] == pytest.approx(20 * np.log10(0.5), abs=0.05)
    assert real["level_agreement"] == 1.0 and quiet["level_agreement"] == 0.0
    for measure in ("key_agreement", "scale_agreement", "tempo_agreement"):
        assert quiet[measure] == real[measure]


def test_a_concept_without_harmony_has_no_key():
    chains = {"real": codec.CHAINS["real"]}
    table = codec.codec_table(None, [two_clips("taiko")], chains, log=lambda *_: None)
    assert "key_agreement" not in set(table.measure) and "tempo_agreement" in set(table.measure)


def test_griffin_lim_is_more_accurate_from_true_magnitudes_than_from_a_mel():
    clip = load_clips(load_concept("koto"), 1)[0][None, : 2 * RATE_HZ]
    vocoder_only = SimpleNamespace(vocoder=GriffinLimVocoder(), device="cpu")
    real = GriffinLimVocoder().analyse(torch.from_numpy(clip)).abs()
    errors = []
    for name in ("true magnitudes", "true mel"):
        made = codec.CHAINS[name](vocoder_only, clip)
        assert made.shape == clip.shape
        errors.append(torch.linalg.norm(GriffinLimVocoder().analyse(torch.from_numpy(made)).abs() - real))
    assert errors[0] < 0.5 * errors[1]
