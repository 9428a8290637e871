"""Whether a backbone of full size runs at all, and what it takes: every part of a run once, on this machine.

Conventions: `python -m tmp_utils bench --once --backbone folder`. Clips last `CLIP_S`; a training step has one latent
and gradient checkpointing, a clip one guided step of the reverse process. Seconds are of the processor, all its threads
together, so that what else the machine does is not in them. Memory is the most that the process held, in GB; None
where the system does not say (only Linux does). Rows go to `data/published/once.csv`, where a model's new rows replace
its old ones.
"""

import gc
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tmp_utils.commands.bench.full_size import blank_run
from tmp_utils.files import check_writable, write_csv
from tmp_utils.findings.words import plural
from tmp_utils.inputs.audio import CLIP_S
from tmp_utils.inputs.profiles import DATA_DIR, Hyperparameters
from tmp_utils.model.backbone import Backbone, load_backbone
from tmp_utils.model.generate import generate
from tmp_utils.personalize import loop
from tmp_utils.personalize.loop import prepared_denoiser
from tmp_utils.runs.provenance import provenance

TABLE = DATA_DIR / "published" / "once.csv"
COLUMNS = ["model", "what", "seconds", "peak_memory_gb", "processor", "threads", "commit", "date"]
STEPS = ("TI", "DB-LoRA")  # methods whose steps are taken
ONE_LATENT = {"lr": 1e-4, "steps": 1, "batch_size": 1, "gradient_checkpointing": True, "precision": "fp32"}
PEAK, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def once(folder: Path, path: Path = TABLE, clip_s: float = CLIP_S) -> Iterator[dict]:
    """Load, encode, take a step of each method of `STEPS`, generate; each row is written as soon as it is known.

    Returns
    -------
    `COLUMNS`.

    Raises
    ------
    RuntimeError : a loss or a clip that is not finite.
    OSError : the table cannot be written; nothing was loaded.
    """
    check_writable(path)
    made = provenance()
    facts = {"processor": made["machine"]["processor"], "threads": torch.get_num_threads(), "commit": made["commit"]}
    facts = {"model": folder.name, **facts, "date": datetime.now(UTC).date().isoformat()}
    rows, loaded = read_once(path), []
    rows = rows[rows["model"] != folder.name]
    load = [("load", lambda: loaded.append(load_backbone(folder, "cpu")))]
    for what, action in itertools.chain(load, _parts(loaded, clip_s)):
        gc.collect()
        if RESET.exists():
            RESET.write_text("5")  # the peak begins again
        before = time.process_time()
        action()
        row = {"what": what, "seconds": round(time.process_time() - before, 1), "peak_memory_gb": _peak_gb()}
        row = {name: {**facts, **row}[name] for name in COLUMNS}
        rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
        write_csv(path, rows)
        yield row


def _peak_gb() -> float | None:
    if not PEAK.exists():
        return None
    kilobytes = next(line.split()[1] for line in PEAK.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(kilobytes) * 1024 / 1e9, 1)


def _parts(loaded: list[Backbone], clip_s: float) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured after loading, and how it is done."""
    (backbone,) = loaded
    noise = np.random.default_rng(0).normal(0, 0.1, round(clip_s * backbone.rate_hz)).astype(np.float32)
    yield "a clip to latents", lambda: _finite(backbone.moments([noise])[0])
    for method in STEPS:
        yield f"{method} step", lambda method=method: _step(backbone, method, clip_s)
    options = {"steps": 1, "clip_s": clip_s, "batch_size": 1, "precision": "fp32", "progress": False}
    yield "a clip in 1 step", lambda: _finite(generate(backbone, ["a jazz song"], [0], **options)[0])


def _step(backbone: Backbone, method: str, clip_s: float) -> None:
    hyperparameters = Hyperparameters.of(ONE_LATENT, method)
    with prepared_denoiser(backbone, hyperparameters):
        run = blank_run(backbone, method, hyperparameters, clip_s)
        loop.step([run])
    _finite(run.adapter.history[-1]["loss"])


def _finite(values) -> None:
    if not np.isfinite(np.asarray(values)).all():
        raise RuntimeError("values that are not finite.")


def read_once(path: Path = TABLE) -> pd.DataFrame:
    """Return the table, `COLUMNS`; no rows where nothing was measured."""
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, float_precision="round_trip")[COLUMNS]


def once_in_words(rows: pd.DataFrame) -> str:
    """Return the table as the README shows it: a row a model, seconds and GB of each part; then where it was made."""
    lines = [f"| random weights | {' | '.join(rows['what'].unique())} |", f"|---|{'---:|' * rows['what'].nunique()}"]
    for model, of in rows.groupby("model", sort=False):
        known = of.assign(memory=of["peak_memory_gb"].map(lambda gb: f", {gb:.1f} GB" if gb == gb else ""))
        cells = {row.what: f"{row.seconds:.0f} s{row.memory}" for row in known.itertuples()}
        lines.append(f"| `{model}` | {' | '.join(cells.get(what, '–') for what in rows['what'].unique())} |")
    where = rows[["processor", "threads", "commit", "date"]].drop_duplicates().itertuples()
    machines = ((f"{row.processor}, {plural(row.threads, 'thread')}", row) for row in where)
    made = dict.fromkeys(f"{machine}, commit {_short(str(row.commit))}, {row.date}" for machine, row in machines)
    return "\n".join([*lines, "", f"*Seconds of the processor and highest memory: {'; '.join(made)}.*"])


def _short(commit: str) -> str:
    """The first characters of a commit, and whether there were changes to it."""
    number, plus, changes = commit.partition("+")
    return f"{number[:10]}{plus}{changes}"
