"""All that a GPU can tell: `make bench-gpu`, and `make gpu-evening` within a quarter of an hour.

Conventions: everything is measured at AudioLDM-M's size with random weights (`full_size`, `finite`). Each row is
written as soon as it is known, with device, date and commit; a row that is there already is not measured again, so what
was cut short is continued by the same command. No measurement begins that would not end within the minutes given.
`gpu.csv` is in the runs folder; an evening's is in `data/published`, and `make readme-figures` shows it in the README.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tmp_utils.commands.bench.finite import PARTS, finite_row
from tmp_utils.commands.bench.full_size import FP16, Measurement, blank_backbone, half_precision, measured, planned
from tmp_utils.files import check_writable, write_csv
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.runs.provenance import provenance

TABLE = DATA_DIR / "published" / "gpu.csv"
KEYS = ["device", "commit", "size", "what", "precision", "compiled", "concepts"]
NUMBERS = ["seconds", "seconds_per_concept", "tflop_per_s", "share_of_peak", "peak_memory_mb", "largest"]
COLUMNS = [*KEYS, "latents", *NUMBERS, "date", "status"]
LATE = "no time left"
RESERVED_S = {False: 60, True: 180}  # kept free for a measurement, by whether it is compiled


def evening(size: str, device: str, path: Path, minutes: float) -> Iterator[dict]:
    """Measure what is missing in the table, write it row by row, and yield each row.

    Returns
    -------
    `COLUMNS`; what there was no time for comes last, with the status `LATE`.

    Raises
    ------
    OSError : the table cannot be written; nothing was measured.
    """
    check_writable(path)
    end, made = time.monotonic() + 60 * minutes, provenance()
    facts = {"device": made["machine"]["gpu"] or device, "commit": str(made["commit"]), "size": size}
    rows = read_gpu(path)
    done = set(rows[KEYS].itertuples(index=False, name=None))
    missing = [each for each in _all(device) if (*facts.values(), *each) not in done]
    backbone, late = blank_backbone(size, device) if missing else None, []
    for each in missing:
        if time.monotonic() + RESERVED_S[each.compiled] > end:
            late.append({**facts, **each._asdict(), "status": LATE})
            continue
        if (part := each.what.partition(", each")[0]) in PARTS:
            row = finite_row(backbone, part, each.precision)
        else:
            row = measured(backbone, each)
        date = datetime.now(UTC).date().isoformat()
        row = {name: ({**facts, **row, "date": date}).get(name) for name in COLUMNS}
        rows = pd.concat([rows, pd.DataFrame([row], columns=COLUMNS).astype(object)], ignore_index=True)
        write_csv(path, rows)
        yield row
    yield from late


def _all(device: str) -> list[Measurement]:
    """Steps and clips, what half precision does to every part, and last what has to be compiled."""
    halves = dict.fromkeys([half_precision(device), *([FP16] if device == "cuda" else [])])
    finite = [Measurement(f"{part}, each intermediate", name, False, 1) for name in halves for part in PARTS]
    return sorted([*planned(device), *finite], key=lambda each: each.compiled)


def read_gpu(path: Path = TABLE) -> pd.DataFrame:
    """Return the table, `COLUMNS`; no rows where nothing was measured."""
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, dtype={"commit": str}, float_precision="round_trip")[COLUMNS].astype(object)


def gpu_in_words(rows: pd.DataFrame) -> str:
    """Return the table as the README shows it: the newest row of each measurement on each device."""
    rows = rows.drop_duplicates([name for name in KEYS if name != "commit"], keep="last")
    parts = []
    for (device, size), of in rows.groupby(["device", "size"], sort=False):
        lines = [f"On {device}, {', '.join(sorted(set(of['date'])))}, at the size of {size} with random weights:", ""]
        lines += ["| what | precision | words in a batch | seconds | peak memory (GB) |", "|---|---|---:|---:|---:|"]
        timed = of[of["seconds"].notna()]
        for row in timed.itertuples():
            kind = f"{row.precision}, compiled" if row.compiled else row.precision
            memory = "–" if pd.isna(row.peak_memory_mb) else f"{row.peak_memory_mb / 1e3:.1f}"
            lines.append(f"| {row.what} | {kind} | {row.concepts} | {row.seconds:.3f} | {memory} |")
        finite = of[of["what"].str.endswith("each intermediate")]
        for precision, looked_at in finite.groupby("precision", sort=False):
            wrong = looked_at[looked_at["status"] != "ok"]
            failures = "; ".join(f"{row.what.partition(',')[0]}: {row.status}" for row in wrong.itertuples())
            lines += ["", f"In {precision}, {failures or 'all intermediate results of every part are finite'}."]
        failed = of[of["seconds"].isna() & ~of.index.isin(finite.index)]
        lines += [f"\n{row.what}, {row.precision}, {row.concepts} words: {row.status}" for row in failed.itertuples()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
