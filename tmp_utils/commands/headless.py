"""One notebook executed without a browser, with its progress on the terminal.

Conventions: the kernel is the Python that runs this, whatever kernels are installed elsewhere; it starts in the
notebook's folder, as in JupyterLab, with a private runtime folder. The executed copy takes its name when it is
complete, with plain HTML in place of its widgets; a failed one is `<name>-failed.ipynb`. Profiles whose files are all
shipped run without a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tmp_utils.commands import Unfinished
from tmp_utils.commands.widgets import without_widgets
from tmp_utils.files import write_text

KERNEL = "python3"
ENGINE = "static-widgets"
START_TIMEOUT_S = 120
OFFLINE_PROFILES = {"pocket", "smoke"}  # everything they need is shipped
LIBRARY, LIBRARY_HEAD = "plotly.min.js", 200  # characters by which it is known
NO_LIBRARY = f"The figures of this page need {LIBRARY}, which lies beside the notebook. Put both into one folder."
FOREIGN = re.compile(r'<script[^>]*\bsrc="https?://[^"]*"[^>]*></script>')
LINE_CHARS = 110
REDRAW_S, REPEAT_S = 1.0, 30.0  # how often the line is written: on a terminal, over itself; in a log, below the last


class NotebookFailed(Unfinished):
    """A notebook stopped before its end; the message says where and why."""


def declared_parameters(notebook: str | Path) -> dict[str, str]:
    """Return the parameters a notebook declares, with their default values as written.

    Raises
    ------
    ValueError : it has no cell, or more than one, tagged "parameters".
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
    label: str = "",
    environment: Mapping[str, str] | None = None,
) -> float:
    """Execute `notebook` with `parameters`, write the executed copy to `output`, and return the seconds it took.

    Parameters
    ----------
    label : what the progress line begins with.
    environment : environment variables for the kernel, beside the present ones.

    Raises
    ------
    NotebookFailed : a cell raised or the kernel died; the message says where the executed part is.
    """
    output = Path(output)
    failed = output.with_name(f"{output.stem}-failed.ipynb")
    for leftover in output.parent.glob(f".{output.stem}.*.partial.ipynb"):
        leftover.unlink()  # of a process that was killed
    partial = output.with_name(f".{output.stem}.{os.getpid()}.partial.ipynb")
    if parameters.get("profile") in OFFLINE_PROFILES:
        environment = {"HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"), **(environment or {})}
    start_s = time.monotonic()
    try:
        with private_jupyter(environment or {}) as folder:
            _papermill(Path(notebook), partial, parameters, Progress(label or output.stem), folder)
        _make_static(partial)
        partial.replace(output)
    except NotebookFailed as error:
        partial.replace(failed)
        raise NotebookFailed(f"{error}. Executed up to the error: {failed}") from error
    finally:
        partial.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    return round(time.monotonic() - start_s, 1)


def _make_static(notebook: Path) -> None:
    """Replace an executed notebook's widgets, and put plotly.js beside it instead of into it, where it would take 5 MB.

    Exported to HTML, the notebook loads it from there, or says that it is missing; JupyterLab draws figures by itself.
    Nothing is loaded from a server, MathJax neither, which plotly would load for formulas that no figure has.
    """
    import nbformat
    from plotly.offline import get_plotlyjs

    content, source = nbformat.read(notebook, as_version=4), get_plotlyjs()
    replaced = without_widgets(content)
    tags = (
        f'<script src="{LIBRARY}"></script><script>window.Plotly || document.readyState === "loading" && '
        f'document.write("<p><b>{NO_LIBRARY}</b></p>")</script>'
    )
    shared = False
    for output in (output for cell in content.cells for output in cell.get("outputs", [])):
        html = output.get("data", {}).get("text/html", "")
        if source[:LIBRARY_HEAD] in html:
            output["data"]["text/html"], shared = tags, True
        elif FOREIGN.search(html):
            output["data"]["text/html"], shared = FOREIGN.sub("", html), True
    if replaced or shared:
        write_text(notebook, nbformat.writes(content) + "\n")
    beside = notebook.with_name(LIBRARY)
    if shared and (not beside.is_file() or beside.stat().st_size != len(source.encode())):
        write_text(beside, source)


def _register_engine() -> None:
    """Register papermill's engine with a client that leaves what widgets capture in their cells' outputs.

    Otherwise nbclient sends captured outputs back to the kernel while the cell runs; now and then the cell's reply is
    lost then, and the notebook waits for ever. In an executed copy no kernel would answer to the widget anyway.
    """
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class Client(PapermillNotebookClient):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.widget_registry = {}

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(
            cls, nb_man, kernel_name, start_timeout=60, execution_timeout=None, input_path=None, **options
        ):
            limits = {"startup_timeout": start_timeout, "timeout": execution_timeout}
            return Client(nb_man, kernel_name=kernel_name, **limits, **options).execute()

    papermill_engines.register(ENGINE, Engine)


def _papermill(notebook: Path, output: Path, parameters: Mapping, progress: Progress, folder: Path) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    _register_engine()
    manager = {}
    if os.name != "nt":  # ports can collide with another run's; sockets in a private folder do not
        manager = {"transport": "ipc", "ip": str(folder / "socket")}
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters=dict(parameters),
            kernel_name=KERNEL,
            engine_name=ENGINE,
            language="python",
            cwd=str(notebook.parent),
            progress_bar={"file": progress, "bar_format": "cell {n_fmt}/{total_fmt}"},
            stdout_file=progress,
            stderr_file=progress,
            start_timeout=START_TIMEOUT_S,
            config=Config({"KernelManager": manager}),
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookFailed(f"cell {error.cell_index + 1} raised {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        message = "its kernel stopped: interrupted, or out of memory. Finished work is kept; run again"
        raise NotebookFailed(message) from error
    finally:
        progress.close()


@contextlib.contextmanager
def private_jupyter(environment: Mapping[str, str]) -> Iterator[Path]:
    """Give the kernels started in the block this Python and a private runtime folder."""
    with tempfile.TemporaryDirectory(prefix="tmp-") as folder:
        spec = Path(folder) / "kernels" / KERNEL
        spec.mkdir(parents=True)
        # A kernel that is asked to stop logs that as an error; what cells raise is reported otherwise.
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
    """A file for papermill's bar and for what a notebook prints; the last line of both is shown, with the time.

    Papermill's bar stands still during a long cell; the last line that the cell printed shows that it is running.
    """

    def __init__(self, label: str, stream: TextIO | None = None):
        self.label, self.stream, self.start_s = label, sys.stdout if stream is None else stream, time.monotonic()
        self.is_terminal = self.stream.isatty()
        self.shown_s = -REPEAT_S
        self.write("starting")

    def write(self, text: str) -> None:
        """Show the last line of `text`, unless another was shown a moment ago."""
        lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
        elapsed_s = time.monotonic() - self.start_s
        if lines and elapsed_s - self.shown_s >= (REDRAW_S if self.is_terminal else REPEAT_S):
            self.shown_s = elapsed_s
            line = f"{self.label}  {elapsed_s:.0f} s  {lines[-1]}"[:LINE_CHARS]
            self.stream.write(f"\r\x1b[K{line}" if self.is_terminal else f"{line}\n")
            self.stream.flush()

    def flush(self) -> None:
        """Part of being a file; every line is flushed as it is shown."""

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self.is_terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
