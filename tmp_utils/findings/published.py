"""Results tables as files: read exactly as they were written, and published with what made them.

Conventions: a table is a CSV of `metrics.RESULT_COLUMNS`. A published one begins with lines "# key: value" (profile,
commit, command) and lies in ``data/published``. Empty text is empty text and no missing value.

read_results   : the table of a profile.
read_published : a published table, or None where it was not made yet.
read_table     : any table, with its facts in ``attrs``.
publish        : a profile's table to a file, with the commits and the command that made it.
grown          : a table and the runs that only an earlier one has.
commits        : of the code that made the runs of a profile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import explain_os_errors, write_text
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.metrics.table import IDENTITY, POOLED, check_one_embedder, read_table
from tmp_utils.runs.folder import read_manifest
from tmp_utils.runs.place import Place

RESULTS = "results.csv"
PUBLISHED_DIR = DATA_DIR / "published"
AND = "; "  # between the commands of a table that grew
AGREE = 1e-3  # how far a run's values may lie from its published ones; on one kind of CPU they are equal


def read_results(place: Place) -> pd.DataFrame:
    """Return the results table of a profile, as it was last collected.

    Raises
    ------
    FileNotFoundError
        If it was not collected yet.
    """
    path = place.folder / RESULTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; notebooks/05_metrics.ipynb or `make study` writes it.")
    return read_table(path)


def read_published(name: str = "pocket") -> pd.DataFrame | None:
    """Return the table ``data/published/<name>.csv``; None where it was not made yet."""
    path = PUBLISHED_DIR / f"{name}.csv"
    return read_table(path) if path.is_file() else None


def publish(place: Place, path: str | Path, command: str, grow: bool = False) -> Path:
    """Write a profile's table to `path`, led by lines "# key: value" that say what made it.

    With `grow`, the runs that only the table at `path` has stay in it (`grown`).
    """
    table, made_by, by = read_results(place), set(commits(place)), [command]
    if grow:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist, so there is no table to grow. Publish without --grow.")
        earlier = read_table(path)
        if earlier.attrs.get("profile") != place.profile:
            raise ValueError(
                f"{path} does not say that it is of the profile {place.profile}; only a published table grows."
            )
        table = grown(table, earlier)
        made_by |= set(earlier.attrs["commit"].split(", "))
        by = list(dict.fromkeys([*earlier.attrs["command"].split(AND), command]))
    facts = {"profile": place.profile, "commit": ", ".join(sorted(made_by)), "command": AND.join(by)}
    lead = "".join(f"# {key}: {value}\n" for key, value in facts.items())
    with explain_os_errors(Path(path).parent):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, lead + table.to_csv(index=False, lineterminator="\n"))


def grown(table: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the rows of the runs that only `earlier` has.

    Pooled distances need all clips at hand, so those of `earlier` are left out.

    Raises
    ------
    ValueError
        If a run of both tables differs by more than `AGREE`, lost a score, or was scored by another embedder.
    """
    earlier = earlier[earlier["concept"] != POOLED]
    keys = [*IDENTITY, "prompt", "metric"]
    here = pd.MultiIndex.from_frame(table[list(IDENTITY)])
    only = ~pd.MultiIndex.from_frame(earlier[list(IDENTITY)]).isin(here)
    known = earlier[~only & (earlier["status"] == "ok")].merge(table, on=keys, how="left", suffixes=("_earlier", ""))
    if len(lost := known[known["status"] != "ok"]):
        first = lost.fillna({"note": "not there"}).iloc[0]
        raise ValueError(
            f"{len(lost)} published scores of runs that are here too are failed or missing here, such as the "
            f"{first['metric']} of {_run(first)}: {first['note']}. Mend those runs, or leave them out."
        )
    differ = known[~np.isclose(known["value"], known["value_earlier"], rtol=0, atol=AGREE)]
    if len(differ):
        first = differ.iloc[0]
        raise ValueError(
            f"{len(differ)} of {len(known)} values of runs that are in both tables differ, such as the "
            f"{first['metric']} of {_run(first)}: {first['value']:.4f}, and {first['value_earlier']:.4f} before. One "
            "table must not hold both; publish these runs without the others."
        )
    return check_one_embedder(pd.concat([table, earlier[only]], ignore_index=True))


def _run(row: pd.Series) -> str:
    return f"{row['concept']} {row['method']} {row['setup']}, seed {row['seed']}"


def commits(place: Place) -> list[str]:
    """Return the commits of the code that made the runs of a profile, sorted."""
    manifests = map(read_manifest, place.runs())
    return sorted({str(manifest.get("commit") or "not a git checkout") for manifest in manifests})


def published_path(profile: str) -> Path:
    """Return where a profile's table lies."""
    return DATA_DIR / "published" / f"samplers-{profile}.csv"


def read_samplers(profile: str) -> pd.DataFrame | None:
    """Return a profile's published table, or None if it was not measured."""
    path = published_path(profile)
    return pd.read_csv(path) if path.exists() else None
