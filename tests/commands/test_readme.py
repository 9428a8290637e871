"""The README's picture and table come from results, by one command, and touch nothing else."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from results_runs import PROFILE, make_study, use_quick_ears, use_tone_embedder

from tmp_utils.commands import readme as readme_figures
from tmp_utils.commands import run
from tmp_utils.files import write_json
from tmp_utils.findings import markdown, narrative, results
from tmp_utils.findings.claims import claims
from tmp_utils.findings.comparisons import comparable
from tmp_utils.findings.gains import gains
from tmp_utils.findings.published import how_many_path, read_if_there, read_published
from tmp_utils.findings.verdicts import VERDICTS, verdicts
from tmp_utils.metrics.intervals import Interval
from tmp_utils.metrics.table import result_row, results_table
from tmp_utils.runs.mixtures import COLUMNS as MIXTURE_COLUMNS
from tmp_utils.runs.place import Place
from tmp_utils.runs.session import read_minutes

ANSWER = "<!-- answer:begin -->\n<!-- answer:end -->"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
BEGIN_NOTEBOOKS, END_NOTEBOOKS = "<!-- notebooks:begin -->", "<!-- notebooks:end -->"
FACTS = {"commit": "0123456789abcdef", "command": "make study"}


def table(n_concepts=3, seeds=(0, 1)):
    rows = []
    for concept in range(n_concepts):
        for seed in seeds:
            for k, (method, setup) in enumerate((("DB", "BL"), ("TI", "MW"), ("DB-LoRA", "BL"))):
                who = {"profile": "pocket", "concept": f"c{concept}", "method": method, "setup": setup, "seed": seed}
                for metric, value in (("clap_a", 0.5 + 0.1 * k), ("clap_t", 0.2 + 0.05 * k), ("fad", 10.0 + k)):
                    interval = Interval(value + concept / 100, 0, 1, 8)
                    rows.append(result_row(who, metric, interval, "judge@1"))
    return results_table(rows)


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    blocks = f"{ANSWER}\n\n{BEGIN}\nold\n{END}\n\n{BEGIN_NOTEBOOKS}\nold minutes\n{END_NOTEBOOKS}"
    path.write_text(f"# Title\n\nbefore\n\n{blocks}\n\nafter\n")
    return path


@pytest.fixture
def drawn(monkeypatch):
    """Draw without a browser; returns the figures. Findings, which take their time, are written where they are read."""
    figures = []
    monkeypatch.setattr(readme_figures, "answer_block", lambda results: "Answer.")
    monkeypatch.setattr(readme_figures, "claims_table", lambda results: "Claims.")
    monkeypatch.setattr(readme_figures.narrative, "in_short", lambda results, second_seed: ["Findings."])
    monkeypatch.setattr(readme_figures, "write_png", lambda fig, path: figures.append(fig) or path)
    return figures


def test_the_block_is_replaced_and_nothing_else(readme, drawn):
    picture = readme.parent / "data" / "published" / "readme.png"
    readme_figures.make_readme_figures(table(), FACTS, readme, picture)
    text = readme.read_text()
    rest = f"{END}\n\n{BEGIN_NOTEBOOKS}\nold minutes\n{END_NOTEBOOKS}\n\nafter\n"
    assert text.startswith(
        "# Title\n\nbefore\n\n<!-- answer:begin -->\nAnswer.\n<!-- answer:end -->\n\n" + BEGIN
    ) and text.endswith(rest)
    assert "old\n" not in text and "\n\n- Findings.\n" in text and "](data/published/readme.png)" in text
    readme_figures.make_readme_figures(table(), FACTS, readme, picture)
    assert readme.read_text() == text


def test_profile_n_seeds_commit_and_command_stand_under_the_table(readme, drawn):
    readme_figures.make_readme_figures(table(), FACTS, readme, readme.parent / "readme.png")
    line = "*Profile pocket: 3 concepts, 2 seeds, 8 clips per run for CLAP-A; commit 0123456789, `make study`*"
    assert line in readme.read_text()
    assert "3 concepts (recordings), 2 seeds" in drawn[0].layout.title.text
    grown = {"commit": "0123456789abcdef, fedcba9876543210", "command": "make study; make grid SEEDS=2"}
    readme_figures.make_readme_figures(table(), grown, readme, readme.parent / "readme.png")
    assert "commits 0123456789, fedcba9876; the table's first lines have the commands*" in readme.read_text()


def test_the_answer_and_its_table_are_computed_from_the_results():
    published = read_published("pocket")
    answer, rows = markdown.answer_block(published).split("\n\n")
    assert " ".join(answer.split()) == f"**{narrative.answer(published)}**"
    changes = gains(published)
    assert len(rows.splitlines()) == 2 + len(changes) and f"| {changes['DreamBooth − untrained'][0]} |" in rows


def test_the_readmes_tables_are_those_of_the_published_tables():
    published, text = read_published("pocket"), (Path(__file__).parents[2] / "README.md").read_text()
    assert markdown.answer_block(published) in text and markdown.claims_table(published) in text
    assert markdown.setups_table(comparable(published)) in text
    second_seed = read_published("second-seed-pocket")
    assert markdown.listed(narrative.in_short(published, second_seed)) in text
    assert markdown.how_many_block(read_if_there(how_many_path("pocket")), "pocket", published) in text


def test_the_readme_has_a_row_for_each_claim_and_part_those_that_are_not_decided_folded():
    published = read_published("pocket")
    judged = verdicts(published)
    shown, folded = markdown.claims_table(published).split("<details>")
    cells = {
        row[0]: row[1:]
        for part in (shown, folded)
        for row in (line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| "))
    }
    whole = claims(judged).set_index("claim")["verdict"]
    assert {claim: cells[claim][0].removesuffix(" |") for claim in whole.index} == whole.to_dict()
    assert all(f"| {claim} |" in (shown if kind in VERDICTS[:2] else folded) for claim, kind in whole.items())
    first = judged.iloc[0]
    assert f"difference {first['difference']:.3f} [{first['ci_low']:.3f}, " in cells[first["claim"]][1]
    assert f"over {first['n_concepts']} concepts; by MusiCNN {first['difference_second']:.3f} [" in shown


def test_the_minutes_are_those_of_the_records_and_the_questions_are_the_notebooks_titles(tmp_path):
    for name, title in (("01_data", "What?"), ("02_ti", "How?"), ("03_db", "Why?")):
        cells = [{"cell_type": "markdown", "source": [f"# {title}\n", "\n", "More."]}]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    made = {"commit": "0123456789abcdef", "machine": {"processor": "Chip", "cores": 2, "gpu": None}}
    records = {"01_data": 20, "02_ti-seed0": 200, "02_ti-seed1": 300}
    records = {name: made | {"elapsed_s": seconds, "found": []} for name, seconds in records.items()}
    records["02_ti-seed2"] = records["02_ti-seed0"] | {"elapsed_s": 2, "found": ["lute/TI-BL/seed2"]}  # a second try
    notebooks = sorted(tmp_path.glob("*.ipynb"))
    timed = readme_figures.minutes_table(notebooks, records, "pocket")
    lines = readme_figures.notebooks_table(notebooks, timed).splitlines()
    assert [line.split(" | ")[1:] for line in lines[2:5]] == [
        ["What?", "under 1 |"],
        ["How?", "4 |"],
        ["Why?", "not timed |"],
    ]
    assert lines[-1] == "*Minutes of the latest timed runs: commit 0123456789, 2 cores (Chip).*"


def test_the_block_of_mixtures_has_a_row_for_each_setup_a_verdict_and_what_made_it():
    values = {"PRIOR": (0.5, 0.61, 0.7), "ALONE": (0.3, 0.4, 0.5)}
    rows = [
        (f"m{k}", "like", "TI", setup, 0, "flute", "difference", value, 4, "clap:judge")
        for setup, of in values.items()
        for k, value in enumerate(of)
    ]
    mixed = pd.DataFrame(rows, columns=MIXTURE_COLUMNS)
    mixed.attrs = {"profile": "pocket", "commit": "0123456789abcdef, fedcba9876543210"}
    text = markdown.mixtures_block(mixed)
    assert "| TI ALONE | – | – | 0.40 [0.15, 0.65] | – | – |" in text
    assert "*Profile pocket: 3 mixtures, 1 seed; commits 0123456789, fedcba9876.*" in text
    assert "- Separating by masks of the frozen model: raises closeness minus leakage (TI PRIOR 0.60," in text
    assert text.endswith("- Undecided: 0 of 1 comparison; notebook 07 lists them.")


def test_failed_rows_are_counted():
    failed = result_row(
        dict.fromkeys(("profile", "concept", "method", "setup"), "pocket") | {"seed": 0}, "fad", None, "", note="x"
    )
    line = markdown.about(pd.concat([table(), results_table([failed])]), FACTS)
    assert "; 1 failed rows left out;" in line


def test_the_table_has_our_means_with_intervals_beside_the_papers_numbers():
    lines = markdown.setups_table(table()).splitlines()
    assert lines[0].startswith("The paper used another CLAP model") and lines[1] == ""
    lines = lines[2:]
    assert len({line.count("|") for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in cells] == ["DB BL", "TI MW", "DB-LoRA BL"]
    assert cells[0][1].startswith("0.51 [") and cells[0][2] == "0.80" and cells[1][6] == "16.61"
    assert cells[2][2] == "–"
    with pytest.raises(ValueError, match="make study"):
        markdown.setups_table(results_table([]))


def test_where_setups_have_other_concepts_the_table_is_over_those_that_all_have(readme, drawn):
    whole = table()
    first = whole["concept"].iloc[0]
    fewer = whole[(whole["setup"] == "BL") | (whole["concept"] == first)]
    readme_figures.make_readme_figures(fewer, FACTS, readme, readme.parent / "readme.png")
    assert markdown.setups_table(whole[whole["concept"] == first]) in readme.read_text()
    assert "*Profile pocket: 1 of 3 concepts, those that have all of the paper's setups, 2 seeds" in readme.read_text()


def test_without_one_pair_of_markers_nothing_is_written(tmp_path, drawn):
    readme = tmp_path / "README.md"
    with pytest.raises(FileNotFoundError, match="Write it first"):
        readme_figures.make_readme_figures(table(), FACTS, readme, tmp_path / "a.png")
    for text in ("no markers", f"{END}{BEGIN}", f"{BEGIN}{END}{END}"):
        readme.write_text(text)
        with pytest.raises(ValueError, match="expected one of each"):
            readme_figures.make_readme_figures(table(), FACTS, readme, tmp_path / "a.png")
        assert readme.read_text() == text
    assert drawn == []


def test_without_a_browser_the_readme_stays_as_it_was(readme, monkeypatch):
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    before = readme.read_text()
    with pytest.raises(RuntimeError, match=r"no browser to draw the picture with.*chromium"):
        readme_figures.make_readme_figures(table(), FACTS, readme, readme.parent / "a.png")
    assert readme.read_text() == before


def test_the_command_takes_the_runs_own_results_where_none_are_published(tmp_path, readme, drawn, monkeypatch, capsys):
    use_quick_ears(monkeypatch)
    use_tone_embedder(monkeypatch)
    runs_dir, own = make_study(tmp_path, ("lute",), (("DB", "BL"),))
    results.collect_results(Place(runs_dir, PROFILE), own, say=lambda line: None)
    for name, value in {"README": readme, "PICTURE": tmp_path / "p.png", "PROJECT_DIR": tmp_path}.items():
        monkeypatch.setattr(readme_figures, name, value)
    monkeypatch.setattr(readme_figures, "PUBLISHED_DIR", tmp_path)
    assert run(["readme", "--profile", PROFILE, "--runs-dir", str(runs_dir)]) == 0
    assert "*Profile smoke: 1 concept, 1 seed, 2 clips per run" in readme.read_text()
    assert "stay as they are" in capsys.readouterr().out and "old minutes" in readme.read_text()
    record = {
        "fingerprint": "f",
        "parameters": {},
        "runs": {},
        "elapsed_s": 61,
        "commit": None,
        "machine": {"processor": None, "cores": 1},
    }
    (runs_dir / PROFILE / "notebooks").mkdir()
    write_json(runs_dir / PROFILE / "notebooks" / "01_data.json", record)
    (tmp_path / "notebooks").mkdir()
    for name, title in (("01_data", "What?"), ("quickstart", "Hear?")):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": [{"source": [f"# {title}"]}]}))
    assert run(["readme", "--profile", PROFILE, "--runs-dir", str(runs_dir)]) == 0
    assert readme.read_text().index("| Hear? |") < readme.read_text().index("| What? | 1 |")
    assert "old minutes" not in readme.read_text()
    (row,) = read_minutes(tmp_path / "minutes.csv").to_dict("records")
    assert (row["profile"], row["notebook"], row["minutes"]) == (PROFILE, "01_data", 1)
    (runs_dir / PROFILE / "notebooks" / "01_data.json").rename(runs_dir / PROFILE / "notebooks" / "quickstart.json")
    assert run(["readme", "--profile", PROFILE, "--runs-dir", str(runs_dir)]) == 0
    assert list(read_minutes(tmp_path / "minutes.csv")["notebook"]) == ["quickstart", "01_data"]
    assert "| Hear? | 1 |" in readme.read_text() and "| What? | 1 |" in readme.read_text()
    before = readme.read_text().replace("Answer.", "An earlier answer.")
    readme.write_text(before)
    monkeypatch.setattr(readme_figures, "notebooks_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["readme", "--profile", PROFILE, "--runs-dir", str(runs_dir), "--live"])
    assert readme.read_text() == before
    assert run(["readme", "--profile", "paper", "--runs-dir", str(runs_dir)]) == 2
    assert "make study" in capsys.readouterr().err


@pytest.mark.skipif(not any(map(shutil.which, readme_figures.BROWSERS)), reason="no Chromium on this machine")
def test_the_picture_is_a_png_of_the_size_it_says(tmp_path):
    pytest.importorskip("kaleido")
    from tmp_utils.figures import clap_plane

    path = readme_figures.write_png(clap_plane(table()), tmp_path / "new" / "readme.png")
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (1800, 1120) and [p.name for p in path.parent.iterdir()] == ["readme.png"]


def test_the_block_of_numbers_of_clips_says_what_more_clips_bring_and_what_made_it():
    scores = {
        "clap_a": 0.8,
        "clap_a_more": 0.8,
        "clap_t": 0.5,
        "drift": 0.1,
        "validation_loss": 0.2,
        "clap_a_training": 0.8,
    }
    rows = [
        {
            "concept": "koto",
            "method": "DB",
            "n_clips": n,
            "seed": 0,
            "step": 80,
            "metric": metric,
            "commit": "0123456789ab",
        }
        | {"value": value - 0.1 * (n == 1)}
        for n in (1, 5)
        for metric, value in scores.items()
    ]
    block = markdown.how_many_block(pd.DataFrame(rows), "pocket", table())
    assert "| DB | 1 | 1 concept, held-out clips | undecided, −0.100 | – | undecided, −0.100 |" in block
    assert "- Stop rules need 6 whole concepts" in block
    assert block.endswith("*Profile pocket: 1 concept, 1 seed; commit 0123456789.*")
