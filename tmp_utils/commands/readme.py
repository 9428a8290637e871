"""The numbers in the README, made from results and from the records of executed notebooks: `make readme-figures`.

Conventions: results are the published table's, or `<runs_dir>/<profile>/results.csv`; the notebooks' minutes are those
of `<runs_dir>/<profile>/notebooks`, and are kept in `data/published/minutes.csv`. Each replaces the text between a pair
of markers in README.md, and nothing else in it. The picture is the plane of CLAP-A and CLAP-T as PNG, drawn by a
headless Chromium through kaleido. Nothing is written if a part cannot be made; without executed notebooks, their table
stays as it is.
"""

import argparse
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from tmp_utils import figures
from tmp_utils.commands.bench import evening, once
from tmp_utils.files import explain_os_errors, write_bytes, write_csv, write_text
from tmp_utils.findings import mixtures, narrative
from tmp_utils.findings.comparisons import comparable
from tmp_utils.findings.markdown import (
    COMMIT_CHARS,
    about,
    answer_block,
    claims_table,
    how_many_block,
    listed,
    mixtures_block,
    setups_table,
)
from tmp_utils.findings.published import (
    PUBLISHED_DIR,
    commits,
    how_many_path,
    published_path,
    read_if_there,
    read_published,
    read_results,
)
from tmp_utils.findings.words import caption
from tmp_utils.metrics.table import check_one_embedder, read_table, references
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR
from tmp_utils.runs.session import COLUMNS as MINUTES_COLUMNS
from tmp_utils.runs.session import MINUTES, in_words, read_minutes

# Names of the markers.
ANSWER, RESULTS, MIXTURES, HOW_MANY = "answer", "results", "mixtures", "how-many"
NOTEBOOKS, GPU, ONCE = "notebooks", "gpu", "once"
README, PICTURE = PROJECT_DIR / "README.md", PUBLISHED_DIR / "readme.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH_PX, HEIGHT_PX, SCALE = 900, 560, 2


def make_readme_figures(
    results: pd.DataFrame,
    facts: dict[str, str],
    readme: Path,
    picture: Path,
    others: Mapping[str, str] | None = None,
    second_seed: pd.DataFrame | None = None,
) -> None:
    """Draw the picture and write it, the answer, findings and tables into the README.

    Picture and Table 1 are over the concepts that all setups have, the others over all.

    Parameters
    ----------
    results : a results table of one profile and embedder.
    facts : "commit" of the code that made the runs, and where known the "command".
    others : name of a pair of markers -> what else is to stand between them.
    second_seed : runs of the baselines with another seed, of some of the concepts.

    Raises
    ------
    FileNotFoundError, ValueError : there is no README, or not one pair of markers in it, or nothing to show in the
        table.
    RuntimeError : there is no browser to draw with.
    """
    text = _read(readme)
    shown = comparable(results)
    place = picture.relative_to(readme.parent).as_posix()
    drawn = f"![CLAP-A against CLAP-T: reconstruction against editability of every setup]({place})"
    findings = listed(narrative.in_short(results, second_seed))
    block = [drawn, findings, setups_table(shown), about(results, facts), claims_table(results)]
    blocks = {ANSWER: answer_block(results), RESULTS: "\n\n".join(filter(None, block)), **(others or {})}
    for name, new in blocks.items():
        text = replace_block(text, name, new)
    note = caption(shown, ", ".join(sorted(results["profile"].unique())))
    write_png(figures.clap_plane(check_one_embedder(shown), references(shown), note=note), picture)
    write_text(readme, text)


def minutes_table(notebooks: Sequence[Path], records: Mapping[str, Mapping], profile: str) -> pd.DataFrame:
    """Return the minutes of each notebook that was executed, as `session.read_minutes` does.

    Parameters
    ----------
    records : name of an executed copy -> elapsed_s, found, commit and machine, as `make study` writes them. Several
        copies of a notebook (one for each concept or seed) are averaged. One that found runs of an earlier try was
        quicker than it is for a reader, and is left out.
    """
    rows = []
    for path in notebooks:
        if of := [record for name, record in records.items() if name.startswith(path.stem) and not record.get("found")]:
            minutes = round(sum(record["elapsed_s"] for record in of) / len(of) / 60)
            commit, machine = str(of[0]["commit"])[:COMMIT_CHARS], _machine(of[0]["machine"])
            rows.append(dict(zip(MINUTES_COLUMNS, (profile, path.stem, minutes, commit, machine), strict=True)))
    return pd.DataFrame(rows, columns=MINUTES_COLUMNS)


def with_minutes(known: pd.DataFrame, timed: pd.DataFrame, notebooks: Sequence[Path]) -> pd.DataFrame:
    """Return the known minutes with those that were timed now in place of the same profile's and notebook's."""
    both = pd.concat([known, timed]).drop_duplicates(["profile", "notebook"], keep="last")
    ranked = both.assign(rank=both["notebook"].map({path.stem: k for k, path in enumerate(notebooks)}))
    return ranked.dropna(subset="rank").sort_values(["profile", "rank"])[MINUTES_COLUMNS]


def notebooks_table(notebooks: Sequence[Path], timed: pd.DataFrame) -> str:
    """Return one row for each notebook: its name, the question in its title, and its minutes, of `minutes_table`."""
    lines, minutes = ["| notebook | question | minutes |", "|---|---|---|"], timed.set_index("notebook")["minutes"]
    for path in notebooks:
        shown = in_words(minutes[path.stem]) if path.stem in minutes else "not timed"
        title = json.loads(path.read_text("utf-8"))["cells"][0]["source"][0].removeprefix("# ").strip()
        lines.append(f"| [`{path.stem}`](notebooks/{path.name}) | {title} | {shown} |")
    of = timed[["commit", "machine"]].drop_duplicates().sort_values(["commit", "machine"])
    made = "; ".join(f"commit {row.commit}, {row.machine}" for row in of.itertuples())
    return "\n".join([*lines, "", f"*Minutes of the latest timed runs: {made}.*"])


def _machine(machine: Mapping) -> str:
    kind = machine.get("gpu") or machine.get("processor") or "unknown processor"
    return f"{machine.get('cores', '?')} cores ({kind})"


def write_png(fig: go.Figure, path: Path) -> Path:
    """Draw a figure as PNG, whole or not at all.

    Raises
    ------
    RuntimeError : Chromium or kaleido is not there; the message says how to get it.
    """
    browser = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or not Path(browser).is_file():
        raise RuntimeError(
            f"no browser to draw the picture with: none of {', '.join(BROWSERS)} is installed. Install Chromium by "
            "your system (apt install chromium), or name a browser: BROWSER_PATH=/path/to/chrome make readme-figures."
        )
    try:
        import kaleido
    except ImportError as error:
        raise RuntimeError("drawing a PNG needs kaleido, which is not installed: pip install kaleido.") from error
    with explain_os_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    size = {"format": "png", "width": WIDTH_PX, "height": HEIGHT_PX, "scale": SCALE}
    # Chromium refuses its sandbox to root, as in a container; the page drawn is our own and loads nothing.
    image = kaleido.calc_fig_sync(fig, opts=size, kopts={"path": browser, "enable_sandbox": False})
    return write_bytes(path, image)


def replace_block(text: str, name: str, block: str) -> str:
    """Return `text` with what stands between the markers of this name replaced by `block`.

    Raises
    ------
    ValueError : there is not exactly one pair of markers, in their order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(
            f"README: {text.count(begin)} {begin} and {text.count(end)} {end} in it; expected one of each, in this "
            f"order, on lines of their own. Put them where the {name} belong."
        )
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def _read(readme: Path) -> str:
    if not readme.is_file():
        raise FileNotFoundError(f"{readme} does not exist. Write it first, with markers in it.")
    return readme.read_text(encoding="utf-8")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--live", action="store_true", help="use the runs' own results even if a table is published")


def main(options: argparse.Namespace) -> None:
    """Make the README's picture, tables and findings."""
    published, place = published_path(options.profile), Place(options.runs_dir, options.profile)
    second_seed = None
    if published.is_file() and not options.live:
        results = read_table(published)
        facts, second_seed = dict(results.attrs), read_published(f"second-seed-{options.profile}")
    else:
        results = read_results(place)
        facts = {"commit": ", ".join(commits(place.runs())), "command": "make study"}
    blocks, minutes = {}, None
    if (of_mixtures := mixtures.read_published_mixtures(options.profile)) is not None:
        blocks[MIXTURES] = mixtures_block(of_mixtures)
    if (curves := read_if_there(how_many_path(options.profile))) is not None:
        blocks[HOW_MANY] = how_many_block(curves, options.profile, results)
    if len(rows := evening.read_gpu(PUBLISHED_DIR / evening.TABLE.name)):
        blocks[GPU] = evening.gpu_in_words(rows)
    if len(rows := once.read_once(PUBLISHED_DIR / once.TABLE.name)):
        blocks[ONCE] = once.once_in_words(rows)
    if records := place.executions():
        folder = PROJECT_DIR / "notebooks"
        notebooks = [*folder.glob("quickstart.ipynb"), *sorted(folder.glob("0*.ipynb"))]
        timed = minutes_table(notebooks, records, options.profile)
        minutes = with_minutes(read_minutes(PUBLISHED_DIR / MINUTES.name), timed, notebooks)
        blocks[NOTEBOOKS] = notebooks_table(notebooks, minutes[minutes["profile"] == options.profile])
    make_readme_figures(results, facts, README, PICTURE, blocks, second_seed)
    if minutes is None:
        print(f"No executed notebooks in {place.folder}: the minutes in {README.name} stay as they are.")
    else:
        write_csv(PUBLISHED_DIR / MINUTES.name, minutes)
    print(f"{README.name} and {PICTURE.relative_to(PROJECT_DIR)} are up to date.")
