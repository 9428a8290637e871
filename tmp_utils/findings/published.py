"""Results tables as files, and the tables that are published with the project.

Conventions: a table is a CSV of `metrics.RESULT_COLUMNS`. A published one begins with lines "# key: value" (profile,
commit, command) and lies in ``data/published``. Tables are read to the last digit; empty text is no missing value.
"""

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.figures.look import setup_label
from tmp_utils.files import explain_os_errors, file_sha256, write_bytes, write_csv, write_text
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.metrics.table import IDENTITY, POOLED, check_one_embedder, read_table
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place

RESULTS = "results.csv"
PUBLISHED_DIR = DATA_DIR / "published"
AND = "; "  # between the commands of a table that grew
AGREE = 1e-3  # how far a run's values may lie from its published ones; on one kind of CPU they are equal


def read_results(place: Place) -> pd.DataFrame:
    """Return the results table of a profile, as it was last collected.

    Raises
    ------
    FileNotFoundError : it was not collected yet.
    ValueError : it is not as it was written.
    """
    path = place.folder / RESULTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; notebooks/05_metrics.ipynb or `make study` writes it.")
    if not is_whole(path):
        raise ValueError(
            f"{path}: damaged (its content is not what was written). Write it again from the runs: python -m tmp_utils "
            f'results --profile {place.profile} --runs-dir "{place.runs_dir}"'
        )
    return read_table(path)


def write_checked(path: Path, table: pd.DataFrame) -> None:
    """Write a table and, beside it, its SHA-256."""
    _digest(path).unlink(missing_ok=True)  # between the two files there is none, and nothing to contradict
    write_csv(path, table)
    write_text(_digest(path), file_sha256(path))


def is_whole(path: Path) -> bool:
    """Return whether a table is as `write_checked` wrote it; one without a SHA-256 counts as whole."""
    return not _digest(path).is_file() or _digest(path).read_bytes() == file_sha256(path).encode()


def _digest(path: Path) -> Path:
    return path.with_suffix(".sha256")


def published_path(profile: str) -> Path:
    """Return the path of a profile's published table of results."""
    return PUBLISHED_DIR / f"{profile}.csv.gz"


def read_published(profile: str) -> pd.DataFrame | None:
    """Return a profile's published table of results; None where there is none."""
    path = published_path(profile)
    return read_table(path) if path.is_file() else None


def publish(place: Place, path: str | Path, command: str, grow: bool = False) -> Path:
    """Write a profile's table to `path`, with profile, commits and commands in lines "# key: value" at its head.

    With `grow`, the runs that only the table at `path` has stay in it (`grown`).
    """
    path, table = Path(path), read_results(place)
    by_commit, by_command = set(commits(place.runs())), [command]
    if grow:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, so there is no table to grow. Publish without --grow.")
        earlier = read_table(path)
        if earlier.attrs.get("profile") != place.profile:
            raise ValueError(
                f"{path} is not a published table of the profile {place.profile}; only such a table can grow."
            )
        table = grown(table, earlier)
        by_commit |= set(earlier.attrs["commit"].split(", "))
        by_command = list(dict.fromkeys([*earlier.attrs["command"].split(AND), command]))
    facts = {"profile": place.profile, "commit": ", ".join(sorted(by_commit)), "command": AND.join(by_command)}
    return write_published(path, table, facts)


def write_published(path: Path, table: pd.DataFrame, facts: Mapping[str, str]) -> Path:
    """Write a table with lines "# key: value" at its head, which `metrics.table.read_header` reads; .csv.gz packed."""
    head = "".join(f"# {key}: {value}\n" for key, value in facts.items())
    content = (head + table.to_csv(index=False, lineterminator="\n")).encode()
    with explain_os_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def grown(table: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the rows of the runs that only `earlier` has.

    Pooled distances need the clips of all their runs, which no table has. They compare only with each other, so they
    are those of the table that pools more; their notes say of how many concepts.

    Raises
    ------
    ValueError : a run in both has values that differ by more than `AGREE`, lost a score, or was scored by another
        embedder.
    """
    here, there = (of.loc[of["concept"] == POOLED, "n"].sum() for of in (table, earlier))
    if there > here:
        table = table[table["concept"] != POOLED]
    else:
        earlier = earlier[earlier["concept"] != POOLED]
    keys = [*IDENTITY, "prompt", "metric"]
    runs_here = pd.MultiIndex.from_frame(table[list(IDENTITY)])
    only = ~pd.MultiIndex.from_frame(earlier[list(IDENTITY)]).isin(runs_here)
    known = earlier[~only & (earlier["status"] == "ok")].merge(table, on=keys, how="left", suffixes=("_earlier", ""))
    if len(lost := known[known["status"] != "ok"]):
        first = lost.fillna({"note": "missing"}).iloc[0]
        raise ValueError(
            f"{len(lost)} published scores failed or are missing in these runs, such as the "
            f"{first['metric']} of {_run(first)}: {first['note']}. Repair those runs, or leave them out."
        )
    differ = known[~np.isclose(known["value"], known["value_earlier"], rtol=0, atol=AGREE)]
    if len(differ):
        first = differ.iloc[0]
        raise ValueError(
            f"{len(differ)} of {len(known)} values of runs that are in both tables differ, such as the "
            f"{first['metric']} of {_run(first)}: {first['value']:.4f}, and {first['value_earlier']:.4f} before. One "
            "table cannot hold both; publish these runs without --grow."
        )
    return check_one_embedder(pd.concat([table, earlier[only]], ignore_index=True))


def _run(row: pd.Series) -> str:
    return f"{row['concept']} {setup_label(row['method'], row['setup'])}, seed {row['seed']}"


def commits(folders: Iterable[Path]) -> list[str]:
    """Return the commits of the code that made runs, sorted."""
    manifests = map(read_manifest, folders)
    return sorted({str(manifest.get("commit") or "not a git checkout") for manifest in manifests})


def samplers_path(profile: str) -> Path:
    """Return the path of a profile's comparison of samplers."""
    return PUBLISHED_DIR / f"samplers-{profile}.csv"


def read_samplers(profile: str) -> pd.DataFrame | None:
    """Return a profile's comparison of samplers, or None if it was not measured."""
    return read_if_there(samplers_path(profile))


def how_many_path(profile: str) -> Path:
    """Return the path of a profile's trainings on several numbers of clips (`runs.how_many`)."""
    return PUBLISHED_DIR / f"how-many-{profile}.csv"


def read_if_there(path: str | Path) -> pd.DataFrame | None:
    """Return a table of trainings on several numbers of clips, or None if there is none."""
    return pd.read_csv(path, float_precision="round_trip") if Path(path).exists() else None
