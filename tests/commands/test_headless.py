"""A notebook executed without a browser: what it declares, and the line that says how far it is."""

import io
import re

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


WIDGETS = """
import ipywidgets as widgets
from tqdm.notebook import tqdm

list(tqdm(range(3)))
output = widgets.Output()
with output:
    print("captured")
menu = widgets.Dropdown(options=["harp", "<koto>"], value="<koto>", description="concept")
words = [widgets.HTML("<audio controls src='data:,'></audio>"), widgets.Checkbox(description="I agree")]
widgets.VBox([widgets.HBox([menu]), output, *words, widgets.Button(description="Start")])
"""


def test_an_executed_copy_shows_in_plain_html_what_its_widgets_showed(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WIDGETS)])
    nbformat.write(notebook, tmp_path / "widget.ipynb")
    headless.execute(tmp_path / "widget.ipynb", tmp_path / "done.ipynb", {})
    executed = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    captured, static = executed.cells[0].outputs
    assert captured["text"] == "captured\n" and "widgets" not in executed.metadata
    assert set(static["data"]) == {"text/html", "text/plain"}
    html = static["data"]["text/html"]
    shown = ["<b>&lt;koto&gt;</b> (of harp, &lt;koto&gt;)", "<audio controls", "☐ I agree", "<button disabled>Start"]
    assert [html.index(part) for part in shown] == sorted(html.index(part) for part in shown)


def test_the_library_of_figures_lies_beside_an_executed_notebook_and_not_in_it(tmp_path):
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

    outputs = [
        nbformat.v4.new_output("display_data", {"text/html": f"<script>{get_plotlyjs()}</script>"}),
        nbformat.v4.new_output(
            "display_data", {"text/html": go.Figure().to_html(include_mathjax="cdn", include_plotlyjs=False)}
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    headless._make_static(tmp_path / "executed.ipynb")
    (cell,) = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    library, figure = (output.data["text/html"] for output in cell.outputs)
    assert library.startswith('<script src="plotly.min.js"></script>') and len(library) < 300
    assert "The figures of this page need plotly.min.js" in library and "http" not in library
    assert "plotly-graph-div" in figure and not re.findall(r'src="https?:', figure)
    assert (tmp_path / "plotly.min.js").read_text(encoding="utf-8") == get_plotlyjs()
