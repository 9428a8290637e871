"""The quickstart notebook, executed headless, and the page that it leaves.

Conventions: the page is `<runs_dir>/<profile>/quickstart.html`; of several concepts, `quickstart-<concept>.html` each.
It holds all that it shows and loads nothing. The notebook is executed each time; it takes about a minute.
"""

import argparse
import ast
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tmp_utils.commands import headless, study
from tmp_utils.commands.widgets import without_widgets
from tmp_utils.files import explain_os_errors, write_text
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.credits import folder_credit
from tmp_utils.runs.place import Place

LEFT_OUT = {"set-up", "parameters", "injected-parameters"}  # tags of cells without a sound or a result
# nbconvert's page without what it loads from elsewhere (require.js, MathJax, Mermaid), and readable on a phone.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}
<style>
body.jp-Notebook { max-width: 52rem; margin: 0 auto; padding: 0.5rem; }
.jp-Cell { padding: 0; }
.jp-RenderedMarkdown h2 { padding-top: 1rem; }
.jp-RenderedMarkdown small { overflow-wrap: anywhere; }
.jp-RenderedText pre { word-break: normal; overflow-wrap: anywhere; }
.jp-OutputArea-output { overflow-x: auto; }
audio { max-width: 100%; }
details summary { cursor: pointer; color: var(--jp-content-font-color2); font-family: var(--jp-content-font-family); }
</style>
{% endblock %}
{% block input %}<details><summary>Code</summary>{{ super() }}</details>{% endblock %}
"""


def page(notebook: Path, title: str, credits: Sequence[str] = ()) -> str:
    """Return an executed notebook as HTML, without set-up, parameters and progress bars, with the code folded.

    Parameters
    ----------
    credits : lines about the recordings that were learned from, for its end.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    without = {"enabled": True, "remove_cell_tags": LEFT_OUT}
    exporter = HTMLExporter(
        raw_template=TEMPLATE,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        config=Config({"TagRemovePreprocessor": without}),
    )
    content = nbformat.read(notebook, as_version=4)
    without_widgets(content)
    content.cells += [
        nbformat.v4.new_markdown_cell(f"<p><small>{escape(line, quote=False)}</small></p>") for line in credits
    ]
    html, _ = exporter.from_notebook_node(content, resources={"metadata": {"name": title}})
    return html


def credit_lines(execution: study.Execution) -> list[str]:
    """Return what a page says of the recording that a notebook was executed for; nothing of a user's own folder."""
    default = ast.literal_eval(headless.declared_parameters(execution.notebook)["concept"])
    concept = execution.parameters.get("concept", default)
    folder = Path(concept) if Path(concept).is_absolute() else load_concept(concept).clips[0].parent
    credit = folder_credit(folder)
    return [f"Recording: {credit.line} Clips after training are by a model that learned from it."] if credit else []


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--class-noun", default="", help='what the recordings of a folder are, such as "drum beat"')


def main(options: argparse.Namespace) -> None:
    """Execute the notebook for each concept and seed, and write its page."""
    place = Place(options.runs_dir, options.profile)
    folder, concepts = place.folder / "notebooks", [study.absolute(concept) for concept in options.concepts]
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for execution in study.executions([study.NOTEBOOKS_DIR / "quickstart.ipynb"], place, concepts, options.seeds):
        if options.class_noun:
            execution.parameters["class_noun"] = options.class_noun
        study.execute(execution, place, (), execution.name, force=True)
        html = page(folder / f"{execution.name}.ipynb", execution.name, credit_lines(execution))
        print(f"Listen: {write_text(place.folder / f'{execution.name}.html', html)}", flush=True)
