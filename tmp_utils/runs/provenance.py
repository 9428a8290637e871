"""What made a result: the code, the packages, the machine.

Conventions: plain JSON values; what is not known is None, never invented. No paths and no people in it.
"""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

PUBLISHED = "data/published"
PROJECT_DIR = Path(__file__).resolve().parents[2]  # of the checkout, which holds `data/` and `notebooks/`
RECORDED = (
    *("tmp-utils", "numpy", "scipy", "torch", "diffusers", "transformers", "peft", "laion-clap", "essentia"),
    *("pyloudnorm", "pandas", "plotly", "jupyterlab", "ipywidgets", "papermill"),
)


def provenance() -> dict:
    """Return `versions`, `commit` and `machine` as one mapping."""
    return {"versions": dict(versions()), "commit": commit(), "machine": dict(machine())}


@functools.cache
def versions() -> dict[str, str | None]:
    """Return the versions of Python and the packages that decide a result; None for one not installed."""
    installed = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = None
    return installed


@functools.cache
def commit() -> str | None:
    """Return the git commit of the code, with "+changes" if tracked files differ; None outside a checkout.

    Published tables do not count: no run reads them, and a command that writes one would otherwise mark itself.
    """
    head = _git("rev-parse", "HEAD")
    if head is None or not (PROJECT_DIR / ".git").exists():
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{PUBLISHED}")
    return head + ("+changes" if changed else "")


def machine() -> dict:
    """Return the system, the processor, the cores this process may use, the memory in GB, the GPU if any."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
    }


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _processor() -> str | None:
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or None


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)


def _gpu() -> str | None:
    """Return the GPU's name if torch is loaded already and sees one; torch is not imported just to ask."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
