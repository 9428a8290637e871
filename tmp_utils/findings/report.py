"""One page of what a study found, to open in any browser without a network, on a phone too.

Conventions: the page is `<runs_dir>/<profile>/report/index.html`. It holds everything it shows: figures with
one copy of plotly.js, clips as data, styles; it loads nothing. All text from files is escaped. What was not
made yet is said to be missing, not left out. What was found comes first; wide tables are folded.

write_report : build the page and write it, whole or not at all.
"""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from pathlib import Path

import pandas as pd

from tmp_utils.figures.tables import COLUMNS, setup_cells
from tmp_utils.files import write_text
from tmp_utils.findings import narrative
from tmp_utils.findings.comparisons import every_metric, failures
from tmp_utils.findings.page import page_figure, plotly_script
from tmp_utils.findings.published import RESULTS, read_published, read_results
from tmp_utils.findings.report_clips import clips_of_runs, telling_clips
from tmp_utils.findings.verdicts import MIN_CONCEPTS, paper_table, verdicts
from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.folder import read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import provenance

STYLE = Path(__file__).with_suffix(".css")
PLANES = ("metrics_figure_3", "db_clap_plane")  # the first that is there is shown first
PLANE_HEIGHT_PX = 430
TABLES = {"metrics_table_1", "metrics_table_1_published", "metrics_findings"}  # figures that the page has as text
OTHERS = "Others"
FINDING_NUMBERS = ["paper_a", "paper_b", "ours_a", "ours_b", "difference", "ci_low", "ci_high", "p_holm"]
STAND_INS = {
    "pocket": "the pocket model, a small AudioLDM trained from scratch by this project, and not the paper's "
    "AudioLDM-Medium; the shipped concept clips are rendered stand-ins, and not the paper's recordings",
    "smoke": "the pocket model and far too few steps and prompts to learn anything: this page only shows "
    "that every part runs, and its numbers mean nothing",
}


def write_report(place: Place) -> Path:
    """Write the page of a profile's runs; returns its path.

    Raises
    ------
    FileNotFoundError
        If there is nothing under `<runs_dir>/<profile>`.
    """
    folder, profile = place.folder, place.profile
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist, so there is nothing to report. Run `make study` first.")
    results = read_results(place) if (folder / RESULTS).exists() else None
    runs, files = place.runs(), _figure_files(folder)
    own, published = user_concepts(place), read_published(profile)
    more = narrative.headline(published) if published is not None else ("", "")
    plane = next((path for name in PLANES for path in files if path.stem == name), None)
    heard = telling_clips(runs, own) or _missing("clips of both methods", "notebooks 02 and 03")
    body = [
        f"<h1>Can a text-to-music model learn a new sound?</h1><p class='quiet'>Profile “{escape(profile)}”</p>",
        _found(results, more),
        f"<div class='first'><div>{_figure(plane, PLANE_HEIGHT_PX)}</div><div>{heard}</div></div>",
        _what_this_is(profile),
        "<h2>Table 1</h2>" + _table_1(results, published, more[1]) + _failed(results) + _every_metric(results, place),
        "<h2>The paper's findings</h2>" + _findings(results),
        "<h2>Figures</h2>" + _figures(folder, [path for path in files if path != plane and path.stem not in TABLES]),
        "<h2>Listen</h2>" + (clips_of_runs(runs, own) or _missing("clips", "notebooks that generate")),
        "<h2>How it was made</h2>" + _making(folder, runs),
    ]
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Text-to-music personalisation: {escape(profile)}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}</style>{plotly_script() if files else ''}</head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    (folder / "report").mkdir(exist_ok=True)
    return write_text(folder / "report" / "index.html", page)


def _found(results: pd.DataFrame | None, more: tuple[str, str]) -> str:
    """Return what was found in a sentence and what that is of; under it `more`, what the published table says."""
    what, of = narrative.headline(results) if results is not None else ("", "")
    if not what:
        return _missing("comparison of DreamBooth and Textual Inversion", "notebooks 02, 03 and 05, or one of them,")
    told = f"<p class='lead'>{escape(what)}</p><p class='quiet'>{escape(of)}</p>"
    if more[0]:
        told += f"<p><b>Of more runs, published with the project:</b> {escape(more[0])}</p>"
    return told


def _what_this_is(profile: str) -> str:
    if profile not in STAND_INS:
        return ""
    return f"<p class='note'><b>What stands in for what.</b> Made with {escape(STAND_INS[profile])}.</p>"


def _table_1(results: pd.DataFrame | None, published: pd.DataFrame | None, of: str) -> str:
    if results is None:
        return _missing("results", "notebook 05")
    told = _setups(results)
    if published is not None:
        told += _folded("The published table, of more runs", f"<p class='quiet'>{escape(of)}</p>{_setups(published)}")
    return told


def _setups(results: pd.DataFrame) -> str:
    """Return a table of four columns: setup, and each metric with its interval and the paper's number below it."""
    names = "".join(f"<th>{name}</th>" for name in COLUMNS.values())
    rows = []
    for row in setup_cells(results, paper_table("table1")).to_dict("records"):
        cells = [f"<td>{escape(row['method'])} {escape(row['setup'])}</td>"]
        for metric in COLUMNS:
            value, _, interval = escape(row[metric]).partition(" ")
            below = f"<span>{interval}</span><span class='quiet'>paper {escape(row[f'{metric}_paper'])}</span>"
            cells.append(f"<td>{value} {below}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table class='setups'><tr><th>Setup</th>{names}</tr>{''.join(rows)}</table>"
    how = "↑ higher, ↓ lower is closer; in brackets 95 % intervals. The paper's judge and clips differ: compare orders."
    return f"{table}<p class='quiet'>{how}</p>"


def _failed(results: pd.DataFrame | None) -> str:
    """Return the rows that failed with their reasons, folded; nothing where none did."""
    if results is None or (failed := failures(results)).empty:
        return ""
    told = (
        "<p class='quiet'>Left out of every mean. Make the clips again and run notebook 05: no other number moves.</p>"
    )
    return _folded(f"Failed, and why ({len(failed)} rows)", told + _wide(failed))


def _every_metric(results: pd.DataFrame | None, place: Place) -> str:
    source = "the runs' metrics.csv" if results is None else RESULTS
    results = place.table() if results is None else results
    if results.empty:
        return _missing("measurements", "notebooks that measure")
    told = f"<p class='quiet'>From {source}. In brackets: the interval of that value. Compare one embedder only.</p>"
    return _folded("Every metric of every setup", _wide(every_metric(results)) + told)


def _findings(results: pd.DataFrame | None) -> str:
    """Return the verdicts in words and folded as a table, computed from the results shown above."""
    if results is None:
        return _missing("verdicts", "notebook 05")
    judged = verdicts(results)
    lines = narrative.findings_in_words(judged)
    counts = ", ".join(f"{len(found)} {verdict}" for verdict, found in lines.items())
    told = [f"<p>Of {len(judged)} claims of the paper: {counts}."]
    if judged["n_concepts"].max() < MIN_CONCEPTS:
        told.append(f" A verdict needs {MIN_CONCEPTS} concepts; fewer say nothing of the next one.")
    for verdict, found in lines.items():
        items = "".join(f"<li>{escape(line)}</li>" for line in found)
        told += [_folded(f"{verdict.capitalize()} ({len(found)})", f"<ul>{items}</ul>", len(found) < 8)] * bool(found)
    numbers = judged[FINDING_NUMBERS].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    shown = judged[["claim", "metric", "a", "b"]].join(numbers).join(judged[["n_concepts", "verdict", "paper_agrees"]])
    how = (
        "<p class='quiet'>Difference: a minus b, with its 95 % interval; p after Holm's correction. “Paper agrees”: "
        "whether the paper's own Table 1 says what its text says.</p>"
    )
    table = _wide(shown.rename(columns=lambda name: name.replace("_", " ")))
    return "".join(told) + _folded("The findings as a table", table + how)


def _figure_files(folder: Path) -> list[Path]:
    """Return the saved figures: in the order of the notebooks, a concept's own after those of all."""
    order = {stem: (k, j) for k, group in enumerate(narrative.FIGURES.values()) for j, stem in enumerate(group)}
    found = [path for part in ("figures", "survey/figures") for path in (folder / part).rglob("*.json")]

    def place(path: Path) -> tuple:
        group, within = order.get(path.stem, (len(narrative.FIGURES), 0))
        return group, _concept(path), within, path

    return sorted(found, key=place)


def _concept(path: Path) -> str:
    return "" if path.parent.name == "figures" else path.parent.name


def _figures(folder: Path, files: list[Path]) -> str:
    """Return the figures by notebook and concept; only the first concept's are not folded."""
    shown = []
    for group, of_group in groupby(files, _group):
        shown.append(f"<h3>{group}</h3>")
        first = True
        for concept, paths in groupby(of_group, _concept):
            inside = "".join(map(_figure, paths))
            shown.append(_folded(escape(concept), inside, first) if concept else inside)
            first = first and not concept
    return "".join(shown) or _missing("figures", "notebooks")


def _group(path: Path) -> str:
    return next((group for group, captions in narrative.FIGURES.items() if path.stem in captions), OTHERS)


def _figure(path: Path | None, height_px: int | None = None) -> str:
    import plotly.io

    if path is None:
        return _missing("plane of CLAP-A and CLAP-T", "notebooks 03 and 05, or one of them,")
    caption = narrative.FIGURES.get(_group(path), {}).get(path.stem, path.stem.replace("_", " "))
    try:
        return page_figure(plotly.io.read_json(path), caption, height_px)
    except ValueError as error:  # seen on the page, and no reason to lose the others
        return f"<p class='note'>{escape(f'{path.name} is not a plotly figure: {error}')}</p>"


def _making(folder: Path, runs: list[Path]) -> str:
    records = sorted((folder / "notebooks").glob("*.json"))
    notebooks = []
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        parameters = ", ".join(f"{k} = {v}" for k, v in record["parameters"].items() if k != "runs_dir")
        notebooks.append(
            {"notebook": path.stem, "minutes": f"{record['elapsed_s'] / 60:.1f}", "parameters": parameters}
        )
    manifests = [read_manifest(run) for run in runs]
    made = provenance()
    minutes = sum(run["timings"].get("total_s", 0) for run in manifests) / 60
    facts = {
        "runs": f"{len(runs)}, {minutes:.1f} minutes in all",
        "backbone": "; ".join(sorted({_backbone(run) for run in manifests if run.get("backbone")})) or "not recorded",
        "commit": made["commit"] or "not a git checkout",
        "machine": ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in made["machine"].items() if v is not None),
        "versions": ", ".join(f"{k} {v}" for k, v in made["versions"].items() if v is not None),
    }
    lines = "".join(f"<tr><th>{k}</th><td class='words'>{escape(v)}</td></tr>" for k, v in facts.items())
    table = _wide(pd.DataFrame(notebooks)) if notebooks else _missing("executed notebooks", "study")
    return f"<table>{lines}</table>{table}"


def _backbone(manifest: dict) -> str:
    return f"{Path(manifest['backbone']['id']).name} ({manifest['backbone']['hash'][:12]})"


def _wide(table: pd.DataFrame) -> str:
    return f"<div class='wide'>{table.to_html(index=False, border=0, escape=True)}</div>"


def _folded(summary: str, inside: str, is_open: bool = False) -> str:
    return f"<details{' open' * is_open}><summary>{summary}</summary>{inside}</details>"


def _missing(what: str, maker: str) -> str:
    return f"<p class='quiet'>No {what} yet: the {maker} did not run for this profile.</p>"
