"""Each metric has one key, one name and one direction, whichever embedder measures it."""

import pytest

from tmp_utils.metrics.names import TITLES, digits_of, key_of, metric_of, short_name, with_arrow

CLAP, MUSICNN = "clap:pocket/judge@6101cea5", "musicnn:MTT@49589384"


@pytest.mark.parametrize(
    ("metric", "name", "arrow", "digits"),
    [
        ("clap_a", "CLAP-A", "CLAP-A ↑", 3),
        ("fad", "FAD", "FAD ↓", 2),
        ("kad", "KAD", "KAD ↓", 2),
        ("musicnn_a", "MusiCNN-A", "MusiCNN-A ↑", 3),
        ("musicnn_fad", "FAD (MusiCNN)", "FAD (MusiCNN) ↓", 2),
        ("clap_a_matched", "CLAP-A, level matched", "CLAP-A, level matched ↑", 3),
        ("copied", "copied", "copied ↓", 2),
        ("tempo_agreement", "tempo agreement", "tempo agreement ↑", 2),
    ],
)
def test_a_metric_has_one_name_one_direction_and_its_decimals(metric, name, arrow, digits):
    assert (short_name(metric), with_arrow(metric), digits_of(metric)) == (name, arrow, digits)


@pytest.mark.parametrize(
    ("metric", "embedder", "key"),
    [
        ("clap_a", CLAP, "clap_a"),
        ("clap_a", MUSICNN, "musicnn_a"),
        ("fad", MUSICNN, "musicnn_fad"),
        ("fad", "vggish@10086976", "fad"),
        ("clap_a", f"{CLAP}+level", "clap_a_matched"),
        ("kad", f"{MUSICNN}+level", "musicnn_kad_matched"),
    ],
)
def test_scores_that_do_not_compare_have_keys_of_their_own(metric, embedder, key):
    assert key_of(metric, embedder) == key
    assert metric_of(key) == metric
    assert TITLES[metric].split(" (")[1] == TITLES.get(key, TITLES[metric]).split(" (")[1]


def test_comparisons_with_coded_clips_have_keys_of_their_own():
    assert key_of("clap_a", f"{MUSICNN}+level", coded=True) == "musicnn_a_matched_coded"
    assert key_of("ceiling_a", CLAP, coded=True) == "ceiling_a_coded"
    assert metric_of("musicnn_a_matched_coded") == metric_of("clap_a_coded") == "clap_a"
