"""Static stand-ins for widgets, which need a kernel, in executed notebooks, which have none.

Conventions: a stand-in is plain HTML with what the widget showed when the notebook was executed: the choice of a menu
among its options, the players below it. It is part of the notebook, so exporting to HTML needs no network. Progress
bars of finished work are left out. What a widget captured is in its cell's outputs already.
"""

from html import escape

import nbformat

VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"
NO_KERNEL = "<p><em>In a running notebook these can be used; this copy shows what was chosen.</em></p>"


def without_widgets(notebook: nbformat.NotebookNode) -> int:
    """Replace in place each widget by its stand-in, and return how many there were."""
    models = notebook.metadata.pop("widgets", {}).get(STATE, {}).get("state", {})
    replaced = 0
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        kept = []
        for output in cell.outputs:
            if VIEW not in output.get("data", {}):
                kept.append(output)
                continue
            replaced += 1
            html = _stand_in(output["data"][VIEW]["model_id"], models)
            if html:
                shown = {"text/html": html + NO_KERNEL, "text/plain": output["data"].get("text/plain", "")}
                kept.append(nbformat.v4.new_output("display_data", data=shown))
        cell.outputs = kept
    return replaced


def _stand_in(model_id: str, models: dict) -> str:
    """Return a widget's stand-in; empty for a progress bar, and where nothing is to be seen."""
    model = models.get(model_id.removeprefix("IPY_MODEL_"), {})
    kind, state = model.get("model_name", ""), model.get("state", {})
    label = escape(state.get("description") or "")
    if "children" in state:
        kinds = [models.get(child.removeprefix("IPY_MODEL_"), {}).get("model_name", "") for child in state["children"]]
        if any(name.endswith("ProgressModel") for name in kinds):
            return ""
        return "".join(_stand_in(child, models) for child in state["children"])
    if "_options_labels" in state:
        options, index = state["_options_labels"], state.get("index")
        chosen = "nothing chosen" if index is None else options[index]
        return f"<p>{label}: <b>{escape(str(chosen))}</b> (of {escape(', '.join(map(str, options)))})</p>"
    if kind == "HTMLModel":
        return f"<div>{state['value']}</div>" if state.get("value") else ""
    if kind == "CheckboxModel":
        return f"<p>{'☑' if state.get('value') else '☐'} {label}</p>"
    if kind == "ButtonModel":
        return f"<p><button disabled>{label}</button></p>"
    return f"<p>{label}: {escape(str(state.get('value', '')))}</p>" if label else ""
