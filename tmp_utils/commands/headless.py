"""One notebook executed without a browser, with its progress on the terminal.

Conventions: the kernel is the Python that runs this, whatever kernels are installed elsewhere; it starts in
the notebook's folder, as in JupyterLab, with a runtime folder of its own. Seconds are wall-clock seconds.

declared_parameters : what a notebook's parameters cell declares.
execute             : run a notebook with papermill and write the executed copy.
Progress            : a line that says which cell runs, since when, and what it printed last.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tmp_utils.commands import Unfinished

KERNEL = "python3"
START_TIMEOUT_S = 120
LINE_CHARS = 110
REDRAW_S = 1.0  # on a terminal, where the line is drawn over itself
REPEAT_S = 30.0  # in a log, where every line stays


class NotebookFailed(Unfinished):
    """A notebook stopped before its end; the message says where and why."""


def declared_parameters(notebook: str | Path) -> dict[str, str]:
    """Return the parameters a notebook declares, with their default values as written.

    Raises
    ------
    ValueError
        If it has no cell, or more than one, tagged "parameters".
    """
    import nbformat
    import papermill

    notebook = Path(notebook)
    content = nbformat.read(notebook, as_version=4)
    content.metadata.setdefault("kernelspec", {"name": KERNEL, "display_name": "Python 3", "language": "python"})
    tagged = sum("parameters" in cell.metadata.get("tags", []) for cell in content.cells)
    if tagged != 1:
        raise ValueError(
            f'{notebook.name} has {tagged} cells tagged "parameters" and needs exactly one. '
            "Tag it in JupyterLab: property inspector, cell tags."
        )
    declared = papermill.inspect_notebook(content)
    return {name: parameter["default"] for name, parameter in declared.items()}


def execute(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any],
    progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Execute `notebook` with `parameters` and write the executed copy to `output`, also when it fails.

    Parameters
    ----------
    environment : mapping, optional
        Environment variables for the kernel, beside the present ones.

    Raises
    ------
    NotebookFailed
        If a cell raised or the kernel died.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    transport = "tcp" if os.name == "nt" else "ipc"  # ports can collide with another run's; sockets do not
    with private_jupyter(environment or {}):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters=dict(parameters),
                kernel_name=KERNEL,
                language="python",
                cwd=str(Path(notebook).parent),
                progress_bar={"file": _Lines(progress.cell), "bar_format": "{n_fmt}/{total_fmt}"},
                stdout_file=_Lines(progress.said),
                stderr_file=_Lines(progress.said),
                start_timeout=START_TIMEOUT_S,
                config=Config({"KernelManager": {"transport": transport}}),
            )
        except papermill.PapermillExecutionError as error:
            message = f"cell {error.cell_index + 1} raised {error.ename}: {error.evalue}"
            raise NotebookFailed(message) from error
        except DeadKernelError as error:
            message = "its kernel stopped: interrupted, or out of memory. What is finished is kept; run again"
            raise NotebookFailed(message) from error


@contextlib.contextmanager
def private_jupyter(environment: Mapping[str, str]) -> Iterator[Path]:
    """Give the kernels started in the block this Python and a runtime folder of their own."""
    with tempfile.TemporaryDirectory(prefix="tmp-") as folder:
        spec = Path(folder) / "kernels" / KERNEL
        spec.mkdir(parents=True)
        # A kernel that is told to stop logs that as an error; what cells raise comes by another way.
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
        added = {"JUPYTER_PATH": folder, "JUPYTER_RUNTIME_DIR": str(Path(folder) / "r"), **environment}
        before = {name: os.environ.get(name) for name in added}
        os.environ.update(added)
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


class Progress:
    """A line that says which cell runs, for how long, and what was printed last; use it in a `with` block."""

    def __init__(self, label: str, stream: TextIO | None = None):
        self.label, self.stream = label, sys.stdout if stream is None else stream
        self.cells, self.last = "starting", ""
        self.start_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._print(f"{self.label} ...")
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._stop.set()
        self._thread.join()
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the line was made."""
        return time.monotonic() - self.start_s

    def cell(self, count: str) -> None:
        """Take note that `count` ("3/20") cells are complete."""
        self.cells = f"cell {count}"

    def said(self, line: str) -> None:
        """Take note of the last line that the notebook printed."""
        self.last = line

    def line(self) -> str:
        """Return the line as it stands."""
        return f"{self.label}  {self.cells}  {self.elapsed_s:.0f} s  {self.last}"[:LINE_CHARS].rstrip()

    def _tick(self) -> None:
        while not self._stop.wait(REDRAW_S if self.stream.isatty() else REPEAT_S):
            self._print(self.line())

    def _print(self, line: str) -> None:
        self.stream.write(f"\r\x1b[K{line}" if self.stream.isatty() else f"{line}\n")
        self.stream.flush()


class _Lines:
    """A file to write to that hands on its last line."""

    def __init__(self, hand_on: Callable[[str], None]):
        self.hand_on = hand_on

    def write(self, text: str) -> None:
        lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
        if lines:
            self.hand_on(lines[-1])

    def flush(self) -> None:
        pass
