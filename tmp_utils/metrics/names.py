"""What each metric is called, wherever a person reads it.

Conventions: a metric's key is its name in the column ``metric`` of a results table; arrows point to the better values.
Scores of two embedders, or of clips at their own and at matched levels, do not compare, so they have keys of their own.

NAMES      : key -> short name, as in the paper's Table 1.
TITLES     : key -> name with unit and direction, for an axis.
AXES       : key -> name with what it compares, for an axis beside another.
REFERENCES : key of a reference level -> its short name.
AGREEMENTS : keys of Figure 5 -> name and tolerance, in the order of its columns.
SIMILARITIES : the two that most tables compare.
TABLE_1    : the keys of the paper's Table 1, in its order.
key_of, metric_of : metric and embedder -> key, and back.
short_name, with_arrow, digits_of : of any key.
"""

MUSICNN = "musicnn:"  # begins the name of the second embedder
SECOND, MATCHED = "musicnn_", "_matched"  # begins the keys of the second embedder; ends those of level-matched clips
CODED = "_coded"  # ends the keys of comparisons with the concept's clips after the codec
LEVEL_MATCHED = "+level"  # ends the name of an embedder of level-matched clips
NAMES = {"clap_a": "CLAP-A", "clap_t": "CLAP-T", "fad": "FAD", "kad": "KAD"}
NAMES |= {"clap_a_edits": "CLAP-A of edits", "musicnn_a_edits_coded": "MusiCNN-A of edits, codec on both sides"}
NAMES |= {"musicnn_a": "MusiCNN-A", "musicnn_fad": "FAD (MusiCNN)", "musicnn_kad": "KAD (MusiCNN)"}
NAMES |= {"clap_a_coded": "CLAP-A, codec on both sides", "musicnn_a_coded": "MusiCNN-A, codec on both sides"}
NAMES |= {"clap_a_matched": "CLAP-A, level matched", "musicnn_a_matched": "MusiCNN-A, level matched"}
TITLES = {
    "clap_a": "CLAP-A (cosine, higher is closer)",
    "clap_t": "CLAP-T (cosine, higher is closer)",
    "fad": "FAD (squared embedding distance, lower is closer)",
    "kad": "KAD (100 × squared discrepancy, lower is closer)",
    "musicnn_a": "MusiCNN-A (cosine, higher is closer)",
    "musicnn_fad": "FAD by MusiCNN (squared embedding distance, lower is closer)",
    "musicnn_kad": "KAD by MusiCNN (100 × squared discrepancy, lower is closer)",
    "clap_a_matched": "CLAP-A, level matched (cosine, higher is closer)",
    "musicnn_a_matched": "MusiCNN-A, level matched (cosine, higher is closer)",
    "clap_a_coded": "CLAP-A, codec on both sides (cosine, higher is closer)",
    "musicnn_a_coded": "MusiCNN-A, codec on both sides (cosine, higher is closer)",
    "copied": "Share of clips that are copies of a training clip",
    "nearest_training": "Cosine to the nearest training clip",
}
AXES = {
    "clap_a": f"{NAMES['clap_a']}: similarity to the concept's clips (cosine)",
    "clap_t": f"{NAMES['clap_t']}: similarity to the prompt (cosine)",
}
REFERENCES = {
    "ceiling_a": "ceiling",
    "ceiling_t": "ceiling",
    "floor_t": "floor",
    "untrained_a": "untrained",
    "codec_a": "codec",
}
AGREEMENTS = {
    "tempo_agreement": ("Tempo", "±5 BPM"),
    "tempo_octave_agreement": ("Tempo, octaves allowed", "±4 %"),
    "level_agreement": ("Loudness", "±2.5 LU"),
    "key_agreement": ("Key", ""),
    "scale_agreement": ("Scale", ""),
}
SIMILARITIES = ("clap_a", "clap_t")  # of reconstruction, of editability
TABLE_1 = ("clap_a", "fad", "clap_t")
LOWER_IS_BETTER = ("fad", "kad", "copied")


def key_of(metric: str, embedder: str, coded: bool = False) -> str:
    """Return the key of a metric when an embedder of this name measures it, beside coded clips or the clips themselves.

    >>> key_of("clap_a", "musicnn:MTT@49589384"), key_of("clap_a", "clap:pocket/judge@6101cea5+level")
    ('musicnn_a', 'clap_a_matched')
    """
    if embedder.startswith(MUSICNN):
        metric = SECOND + metric.removeprefix("clap_")
    return metric + MATCHED * embedder.endswith(LEVEL_MATCHED) + CODED * coded


def metric_of(key: str) -> str:
    """Return the metric of a key, whatever the embedder: of "musicnn_a", "clap_a"."""
    metric = key.removesuffix(CODED).removesuffix(MATCHED)
    if not metric.startswith(SECOND):
        return metric
    metric = metric.removeprefix(SECOND)
    return f"clap_{metric}" if metric in ("a", "a_edits") else metric


def short_name(metric: str) -> str:
    """Return a metric's short name; of one that has none, its key in words."""
    return NAMES.get(metric, metric.replace("_", " "))


def with_arrow(metric: str) -> str:
    """Return the short name with an arrow to the better values: "CLAP-A ↑", "FAD ↓"."""
    return f"{short_name(metric)} {'↓' if metric_of(metric) in LOWER_IS_BETTER else '↑'}"


def digits_of(metric: str) -> int:
    """Return how many decimals of a metric are worth reading."""
    return 3 if metric_of(metric).startswith("clap") else 2
