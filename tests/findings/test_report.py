"""One page that says what was found first, and what failed."""

import re
from html import escape

from results_runs import PROFILE, clip, collect, rows

from tmp_utils import figures
from tmp_utils.figures.tables import setup_cells
from tmp_utils.findings import narrative, report
from tmp_utils.findings.verdicts import paper_table, verdicts
from tmp_utils.runs.place import Place


def test_the_report_says_what_failed_and_why_and_nothing_where_none_did(study):
    collect(study)
    assert "Failed, and why" not in report.write_report(Place(study[0], PROFILE)).read_text(encoding="utf-8")
    clip(study, file="genre-jazz-0.wav").unlink()
    collect(study)
    html = report.write_report(Place(study[0], PROFILE)).read_text(encoding="utf-8")
    assert "Failed, and why (2 rows)" in html and "genre-jazz-0.wav: missing" in html


def test_the_report_shows_results_and_verdicts_as_tables_and_names_a_clip_that_is_gone(study):
    table = collect(study)
    clip(study).unlink()
    html = report.write_report(Place(study[0], PROFILE)).read_text(encoding="utf-8")
    value = rows(table, concept="harp", method="DB", setup="MIX", metric="clap_a")["value"].item()
    assert f"<td>{value:.3f} [" in html and "reconstruction-0.wav is missing" in html
    assert html.count("<td>undecided at this n</td>") == len(verdicts(table)) and "paper agrees" in html
    assert html.index("The paper's findings") < html.index("<h2>Listen") < html.index("<th>versions</th>")


def test_the_report_begins_with_what_was_found_and_folds_its_wide_tables(study):
    table = collect(study)
    plane = figures.clap_plane(table)
    for name in ("metrics_figure_3", "metrics_findings"):
        figures.save_figure(plane, study[0] / PROFILE / "figures", name)
    html = report.write_report(Place(study[0], PROFILE)).read_text(encoding="utf-8")
    first, _, rest = html.partition("<h2>Table 1</h2>")
    assert escape(narrative.headline(table)[0]) in first and "whose numbers mean nothing" in first
    assert first.index("class='lead'") < first.index("<figure>") < first.index("harp: DreamBooth BL")
    assert first.index("harp: Textual Inversion BL") < first.index("harp: untrained class-noun")
    assert first.index("harp: DreamBooth BL") < first.index("harp: Textual Inversion BL") and first.count("<audio") == 3
    assert html.count("<figure>") == 1 and narrative.PLANE in first
    row = setup_cells(table, paper_table("table1")).iloc[0]
    assert f"<td>{row['clap_a'].partition(' ')[0]} <span>[" in rest and f"paper {row['clap_a_paper']}" in rest
    tables = re.findall(r"(<details>|</details>|<div class='wide'>)", rest[: rest.index("<h2>Figures")])
    assert tables.count("<div class='wide'>") == 2
    assert all(tables[k - 1] == "<details>" for k, tag in enumerate(tables) if tag == "<div class='wide'>")
