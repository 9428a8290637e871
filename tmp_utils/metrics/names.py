"""What each metric is called, wherever a person reads it.

Conventions: a metric's key is its name in the column ``metric`` of a results table; arrows point to the better values.

NAMES      : key -> short name, as in the paper's Table 1.
TITLES     : key -> name with unit and direction, for an axis.
AGREEMENTS : keys of Figure 5 -> name and tolerance, in the order of its columns.
TABLE_1    : the keys of the paper's Table 1, in its order.
short_name, with_arrow, digits_of : of any key.
"""

NAMES = {"clap_a": "CLAP-A", "clap_t": "CLAP-T", "fad": "FAD", "kad": "KAD"}
TITLES = {
    "clap_a": "CLAP-A (cosine, higher is closer)",
    "clap_t": "CLAP-T (cosine, higher is closer)",
    "fad": "FAD (squared embedding distance, lower is closer)",
    "kad": "KAD (100 × squared discrepancy, lower is closer)",
    "nearest_training": "Cosine to the nearest training clip",
}
AGREEMENTS = {
    "tempo_agreement": ("Tempo", "5 BPM"),
    "tempo_octave_agreement": ("Tempo, octaves allowed", "4 %"),
    "level_agreement": ("Loudness", "2.5 LU"),
    "key_agreement": ("Key", ""),
    "scale_agreement": ("Scale", ""),
}
TABLE_1 = ("clap_a", "fad", "clap_t")
LOWER_IS_BETTER = ("fad", "kad")


def short_name(metric: str) -> str:
    """Return a metric's short name; of one that has none, its key in words."""
    return NAMES.get(metric, metric.replace("_", " "))


def with_arrow(metric: str) -> str:
    """Return the short name with an arrow to the better values: "CLAP-A ↑", "FAD ↓"."""
    return f"{short_name(metric)} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def digits_of(metric: str) -> int:
    """Return how many decimals of a metric are worth reading."""
    return 3 if metric.startswith("clap") else 2
