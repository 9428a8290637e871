"""``python -m tmp_utils fake-backbone FOLDER``: a model of published size with random weights, and a profile to run it.

`make study` then runs end to end, and only the sound is missing. Every method is trained for two steps of one clip, so
that a CPU can run it.
"""

import argparse
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch

from tmp_utils.files import whole_folder, write_text
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.architectures import FULL_SIZE
from tmp_utils.model.blank import blank_pipeline, without_zeros
from tmp_utils.model.pipelines import quiet

SINGLE_BELOW = 4e9  # bytes of weights that are written in single precision; more are written in bf16
AUDIBLE = 1000.0
FAKE = """# {size} with random weights: profile "{profile}" but for its sound, its steps and its judge.
# TMP_PROFILES={path} make study PROFILE={profile}
[{table}]
backbone = "{backbone}"
device = "cpu"
embedder = "clap:pocket/judge"
inference_steps = 2
reconstruction_clips = 2
clips_per_prompt = 1
n_editability_prompts = 2

[{table}.methods]
"""


def n_parameters(size: str) -> int:
    """How many parameters a blank pipeline has; none is made."""
    with torch.device("meta"):
        parts = blank_pipeline(size).components.values()
    return sum(weight.numel() for part in parts if isinstance(part, torch.nn.Module) for weight in part.parameters())


def memory_bytes() -> float:
    """The machine's memory; infinite where the system does not say (Windows)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("inf")


def check_room(size: str, folder: Path) -> torch.dtype:
    """What number format a blank pipeline is written in.

    Raises
    ------
    MemoryError, OSError : the machine's memory does not hold it in single precision, or the folder's disk has no room.
    """
    n = n_parameters(size)
    dtype = torch.float32 if 4 * n < SINGLE_BELOW else torch.bfloat16
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    needs = f"{size}: {n / 1e6:.0f} M parameters, {n * dtype.itemsize / 1e9:.1f} GB on disk, "
    needs += f"{4 * n / 1e9:.1f} GB in memory"
    print(f"{needs}, without what a step or a clip takes.", flush=True)
    if (memory := memory_bytes()) < 4 * n:
        raise MemoryError(f"{needs}; this machine has {memory / 1e9:.1f} GB of memory. Choose a smaller one.")
    if free < n * dtype.itemsize:
        raise OSError(f"{needs}; {free / 1e9:.1f} GB are free for {folder}. Free some space, or name another disk.")
    return dtype


@contextmanager
def _made_in(dtype: torch.dtype):
    """Let new parameters be of a type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def write_fake(folder: Path, size: str = "audioldm-m") -> Path:
    """Write `folder/<size>` and `folder/profiles.toml`; returns the latter, for `TMP_PROFILES`.

    Raises
    ------
    MemoryError, OSError : as `check_room`.
    """
    folder = Path(folder).resolve()
    backbone, profile = folder / size, FULL_SIZE.get(size, "paper")
    if not (backbone / "model_index.json").exists():
        with _made_in(check_room(size, folder)):
            pipe = without_zeros(blank_pipeline(size))
        if hasattr(pipe, "vocoder"):
            pipe.vocoder.conv_post.weight.data.mul_(AUDIBLE)  # it is all but silent, and silence is an error
        with quiet(), whole_folder(backbone) as part:
            pipe.save_pretrained(part)
    path = folder / "profiles.toml"
    steps = "steps = 2, batch_size = 1, accumulation = 1"
    methods = "".join(f"{name} = {{ {steps} }}\n" for name in load_profile(profile).methods if name != "TI-DB")
    methods += f"TI-DB = {{ {steps}, ti_steps = 2 }}\n"
    table = json.dumps(profile)
    head = FAKE.format(size=size, profile=profile, table=table, path=path, backbone=backbone.as_posix())
    return write_text(path, head + methods)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("folder", type=Path, help="where the backbone and its profiles.toml go")
    parser.add_argument("--family", choices=FULL_SIZE, default="audioldm-m", help="which one (default: audioldm-m)")


def main(options: argparse.Namespace) -> None:
    """Write the fake backbone."""
    written = write_fake(options.folder / options.family, options.family)
    profile = FULL_SIZE[options.family]
    print(f"Written. Now: TMP_PROFILES={written} make study PROFILE={profile} RUNS={written.parent / 'runs'}")
