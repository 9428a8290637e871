import pytest

from tmp_utils.metrics.names import digits_of, short_name, with_arrow


@pytest.mark.parametrize(
    ("metric", "name", "arrow", "digits"),
    [
        ("clap_a", "CLAP-A", "CLAP-A ↑", 3),
        ("fad", "FAD", "FAD ↓", 2),
        ("kad", "KAD", "KAD ↓", 2),
        ("tempo_agreement", "tempo agreement", "tempo agreement ↑", 2),
    ],
)
def test_a_metric_has_one_name_one_direction_and_its_decimals(metric, name, arrow, digits):
    assert (short_name(metric), with_arrow(metric), digits_of(metric)) == (name, arrow, digits)
