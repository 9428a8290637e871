"""The notebook's clip browser."""

import numpy as np
import pytest

from tmp_utils.findings import listen as browser
from tmp_utils.inputs.audio import load_clip
from tmp_utils.inputs.concepts import load_concept


@pytest.fixture
def shown(monkeypatch):
    paths = []
    monkeypatch.setattr(browser, "_show_clip", lambda concept, path: paths.append((concept.name, path.stem)))
    return paths


def test_the_browser_opens_on_the_first_clip_of_the_concept_asked_for(shown):
    browser.clip_browser(concept="rumba")
    assert shown == [("rumba", "rumba_1")]


def test_choosing_another_clip_or_concept_shows_it_once(shown):
    menus = browser.clip_browser(["rumba", "sitar"]).children[0].children
    menus[1].value = load_concept("rumba").clips[3]
    menus[0].value = "sitar"
    assert shown == [("rumba", "rumba_1"), ("rumba", "rumba_4"), ("sitar", "sitar_1")]


def test_facts_leave_out_a_key_where_nothing_is_harmonic_and_a_tempo_where_none_is_kept():
    drums, flute = load_concept("rumba"), load_concept("shakuhachi")
    assert "BPM" in browser.clip_facts(load_clip(drums.clips[0]), drums)
    assert "m" not in browser.clip_facts(load_clip(drums.clips[0]), drums).partition("BPM")[2]
    assert "BPM" not in browser.clip_facts(load_clip(flute.clips[0]), flute)
    assert "strength" in browser.clip_facts(load_clip(flute.clips[0]), flute)


def test_a_sine_at_minus_20_reads_so_and_the_time_is_in_seconds():
    clip = (0.1413 * np.sin(2 * np.pi * 997 * np.arange(32_000) / 16_000)).astype("float32")
    assert browser.clip_facts(clip, load_concept("shakuhachi")).startswith("2.0 s, -20.")
