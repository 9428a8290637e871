"""What learning changes: the baselines of both methods beside the untrained model, in one table.

Conventions: means over the concepts and seeds that the untrained model and both baselines have. Differences from the
untrained model are paired by concept; intervals are Student's over concepts; p-values are corrected by Holm's rule over
the table. Agreement in tempo and key counts for concepts whose own clips agree (`metrics.table.readable`).
"""

import pandas as pd

from tmp_utils.findings.comparisons import BASELINE
from tmp_utils.findings.verdicts import ALPHA, MIN_CONCEPTS, UNDECIDED, UNIT
from tmp_utils.findings.words import bracketed, in_digits
from tmp_utils.metrics.intervals import holm, paired_difference
from tmp_utils.metrics.table import CODEC, REFERENCE, UNTRAINED, readable, whole_runs

METHOD_NAMES = {"DB": "DreamBooth", "TI": "Textual Inversion"}
SCORES = {  # alone: clips of "a recording of" the concept
    "clap_a": "alone: like the concept (CLAP-A)",
    "musicnn_a_coded": "alone: like the concept (MusiCNN)",
    "clap_a_edits": "in edits: like the concept (CLAP-A)",
    "musicnn_a_edits_coded": "in edits: like the concept (MusiCNN)",
    "clap_t": "in edits: follows the prompt (CLAP-T)",
    "tempo_agreement": "alone: the concept's tempo (share of clips)",
    "key_agreement": "alone: the concept's key (share of clips)",
}


def gains(results: pd.DataFrame) -> pd.DataFrame:
    """Compare both baselines with the untrained model.

    Returns
    -------
    Text, a row a score: score, concepts (their number), untrained, "DreamBooth", "Textual Inversion" and codec (what a
    perfect copy would have; empty where there is none), means; then "<method> − untrained", with its interval and
    "undecided" where it is not significant. Scores that fewer than `MIN_CONCEPTS` concepts have are left out.
    """
    rows, p_values = [], []
    for metric, about in SCORES.items():
        whole = whole_runs(readable(results), metric, references=True)
        untrained = whole[whole["method"] == UNTRAINED]
        sides = {
            name: whole[(whole["method"] == method) & (whole["setup"] == BASELINE)]
            for method, name in METHOD_NAMES.items()
        }
        common = untrained[UNIT]
        for side in sides.values():
            common = common.merge(side[UNIT])
        if common["concept"].nunique() < MIN_CONCEPTS:
            continue
        codec = whole[(whole["method"] == REFERENCE) & (whole["setup"] == CODEC)]
        parts = {"untrained": untrained, **sides, "codec": codec}
        parts = {name: part.merge(common, on=UNIT) for name, part in parts.items()}
        means = {name: in_digits(part["value"].mean()) if len(part) else "" for name, part in parts.items()}
        changes = {name: paired_difference(parts[name], parts["untrained"], on=UNIT, levels=UNIT[:1]) for name in sides}
        p_values += [change.p_value for change in changes.values()]
        differences = {f"{name} − untrained": change for name, change in changes.items()}
        rows.append({"score": about, "concepts": common["concept"].nunique()} | means | differences)
    corrected = iter(holm(p_values))
    for row in rows:
        for name in METHOD_NAMES.values():
            change = row[column := f"{name} − untrained"]
            sure = "" if next(corrected) < ALPHA else f", {UNDECIDED}"
            row[column] = bracketed(change.value, change.ci_low, change.ci_high) + sure
    return pd.DataFrame(rows)
