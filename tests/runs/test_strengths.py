"""Scores over strengths, and of two adapters in one prompt."""

from dataclasses import replace

import pytest
from adapters import new_word
from results_runs import ToneEmbedder

from tmp_utils.runs.overfitting import measure_adapter
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab
from tmp_utils.runs.strengths import strength_path, two_concepts

pytestmark = pytest.mark.usefixtures("short_clips")


@pytest.fixture
def lab(profile, backbone, tmp_path):
    return Lab(replace(profile, clip_s=0.64), backbone, ToneEmbedder("clap:tones"), Place(tmp_path, "smoke"))


def test_a_path_begins_at_the_untrained_model_and_passes_through_what_was_learned(lab, concept, backbone):
    word = new_word(backbone, concept, 0)
    path = strength_path(lab, concept, word, 3, (0, 1, 1.5))
    assert list(path.columns) == ["strength", "metric", "value", "ci_low", "ci_high", "n", "embedder"]
    sizes = {"n_clips": 2, "n_prompts": 2}
    for strength, adapter in ((0, None), (1, word)):
        rows = [row["value"] for row in measure_adapter(lab, concept, adapter, 3, **sizes)]
        assert list(path[path["strength"] == strength]["value"]) == rows
    assert list(path["n"]) == [2] * 6


def test_two_concepts_are_each_compared_with_both(lab, concept, backbone):
    other = replace(concept, name="taps", class_noun="drum")
    words = [new_word(backbone, each, seed) for seed, each in enumerate((concept, other))]
    table, clips = two_concepts(lab, (concept, other), words, 0)
    assert list(table.index) == list(clips) == ["<tones>", "<taps>", "<tones> over a <taps>"]
    assert list(table.columns) == ["CLAP-A to tones", "CLAP-A to taps", "clips"]
    assert all(len(each) == 2 and each[0].shape == (10240,) for each in clips.values())
    assert table["CLAP-A to tones"].equals(table["CLAP-A to taps"].rename("CLAP-A to tones")), "they share their clips"
    with pytest.raises(ValueError, match='learned "taps", not "tones"'):
        two_concepts(lab, (concept, other), words[::-1], 0)
