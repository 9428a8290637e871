"""A notebook executed without a browser: what it declares, and the line that says how far it is."""

import io

import nbformat
import pytest

from tmp_utils.commands import headless


def test_a_notebook_needs_exactly_one_parameters_cell(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a: int = 1")])
    nbformat.write(notebook, tmp_path / "02_x.ipynb")
    with pytest.raises(ValueError, match=r'02_x.ipynb has 0 cells tagged "parameters"'):
        headless.declared_parameters(tmp_path / "02_x.ipynb")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_with_what_was_printed_last(monkeypatch):
    now = iter([0.0, 0.0, 0.5, 61.0, 62.0])
    monkeypatch.setattr(headless.time, "monotonic", lambda: next(now))
    progress = headless.Progress("[1/2] 01_data", Terminal())
    progress.write("too soon after the first line")
    progress.write("cell 3/20\rstep 2\r\n")
    progress.write("x" * 500)
    lines = progress.stream.getvalue().split("\r\x1b[K")[1:]
    assert lines[:2] == ["[1/2] 01_data  0 s  starting", "[1/2] 01_data  61 s  step 2"]
    assert len(lines) == 3 and len(lines[2]) == headless.LINE_CHARS
    progress.close()
    assert progress.stream.getvalue().endswith("\r\x1b[K")


def test_a_log_has_a_line_now_and_then_and_no_control_characters(monkeypatch):
    now = iter([0.0, 0.0, 10.0, 40.0])
    monkeypatch.setattr(headless.time, "monotonic", lambda: next(now))
    progress = headless.Progress("01_data", io.StringIO())
    progress.write("step 1\n")
    progress.write("step 4\n")
    progress.close()
    assert progress.stream.getvalue() == "01_data  0 s  starting\n01_data  40 s  step 4\n"


def test_what_a_widget_captures_is_in_the_executed_copy(tmp_path):
    cell = "import ipywidgets as widgets\noutput = widgets.Output()\nwith output:\n    print('captured')\noutput"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, tmp_path / "widget.ipynb")
    headless.execute(tmp_path / "widget.ipynb", tmp_path / "done.ipynb", {})
    (executed,) = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    assert executed.outputs[0]["text"] == "captured\n"
