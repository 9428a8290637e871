"""One page of what a study found, to open in any browser without a network.

Conventions: the page is `<runs_dir>/<profile>/report/index.html`. It holds everything it shows: figures with
one copy of plotly.js, clips as data, styles; it loads nothing. All text from files is escaped. What was not
made yet is said to be missing, not left out.

write_report  : build the page and write it, whole or not at all.
results_table : the tidy results (or the runs' own metrics) as one row a setup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd

from tmp_utils.concepts import list_concepts, load_concept
from tmp_utils.files import slug, write_text
from tmp_utils.provenance import provenance
from tmp_utils.published import read_results
from tmp_utils.runs import collect, find_runs, read_manifest, resolve_runs_dir

MAX_RUNS_HEARD = 12
CLIPS_PER_RUN = 2
OVER_ALL_PROMPTS = {"", "all"}
FINDING_NUMBERS = ["paper_a", "paper_b", "ours_a", "ours_b", "difference", "ci_low", "ci_high", "p_holm"]
MIME = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
STAND_INS = {
    "pocket": "the pocket model, a small AudioLDM trained from scratch by this project, and not the paper's "
    "AudioLDM-Medium; the shipped concept clips are rendered stand-ins, and not the paper's recordings",
    "smoke": "the pocket model and far too few steps and prompts to learn anything: this page only shows "
    "that every part runs, and its numbers mean nothing",
}
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2430; background: #fff; max-width: 62rem;
       margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin-bottom: .3rem; }
h2 { margin-top: 2.6rem; font-size: 1.3rem; }
.note { background: #fdf6e3; border-left: 4px solid #d9a400; padding: .7rem 1rem; }
.quiet, figcaption { color: #5a6472; font-size: .92rem; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e3e7ec; }
th, td { white-space: nowrap; vertical-align: top; }
th { font-weight: 600; border-bottom-color: #98a2b0; } td.words { white-space: normal; }
figure { margin: 1.5rem 0; } audio { width: 18rem; height: 2.2rem; vertical-align: middle; }
"""


def write_report(runs_dir: str | Path, profile: str) -> Path:
    """Write the page of a profile's runs; returns its path.

    Raises
    ------
    FileNotFoundError
        If there is nothing under `<runs_dir>/<profile>`.
    """
    folder = resolve_runs_dir(runs_dir) / slug(profile)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist, so there is nothing to report. Run `make study` first.")
    body = [
        f"<h1>Personalising text-to-music generation</h1><p class='quiet'>profile “{escape(profile)}”</p>",
        _what_this_is(profile),
        "<h2>Results</h2>" + _results(folder, runs_dir, profile),
        "<h2>The paper's findings</h2>" + _findings(folder),
        "<h2>Figures</h2>" + _figures(folder / "figures"),
        "<h2>Listen</h2>" + _clips(find_runs(runs_dir, profile)),
        "<h2>How it was made</h2>" + _making(folder),
    ]
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Text-to-music personalisation: {escape(profile)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    (folder / "report").mkdir(exist_ok=True)
    return write_text(folder / "report" / "index.html", page)


def results_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each concept, method and setup, one column for each metric and embedder.

    Parameters
    ----------
    results : tidy table
        Columns profile, concept, method, setup, seed, prompt, metric, value, n, ci_low, ci_high, embedder.

    Returns
    -------
    DataFrame of text
        A value over all prompts if there is one, else the mean over prompts; the mean over seeds; the
        interval where one value stands alone, since intervals cannot be averaged.
    """
    keys = ["concept", "method", "setup"]
    table = results.assign(
        prompt=results.get("prompt", pd.Series("", index=results.index)).fillna("").astype(str),
        column=results["metric"] + " (" + results.get("embedder", pd.Series("")).fillna("no embedder") + ")",
    )
    cells = {}
    for (row, column), group in table.groupby([table[keys].apply(tuple, axis=1), "column"], sort=False):
        whole = group[group["prompt"].isin(OVER_ALL_PROMPTS)]
        cells.setdefault(row, {})[column] = _value(whole if len(whole) else group)
    shown = pd.DataFrame.from_dict(cells, orient="index").fillna("")
    shown.index = pd.MultiIndex.from_tuples(shown.index, names=keys)
    return shown.reset_index()


def _value(rows: pd.DataFrame) -> str:
    values = rows["value"].dropna()
    if values.empty:
        said = rows["status"].dropna().unique() if "status" in rows else []
        return ", ".join(map(str, said)) or "undefined"
    low, high = rows.iloc[0].reindex(["ci_low", "ci_high"])
    if len(rows) == 1 and pd.notna(low) and pd.notna(high):
        return f"{values.iloc[0]:.3f} [{low:.3f}, {high:.3f}]"
    failed = int((rows["status"] == "failed").sum()) if "status" in rows else 0
    told = [f"mean of {len(values)}"] * (len(values) > 1) + [f"{failed} failed"] * (failed > 0)
    return f"{values.mean():.3f}" + (f" ({', '.join(told)})" if told else "")


def _what_this_is(profile: str) -> str:
    if profile not in STAND_INS:
        return ""
    return f"<p class='note'><b>What stands in for what.</b> Made with {escape(STAND_INS[profile])}.</p>"


def _results(folder: Path, runs_dir: str | Path, profile: str) -> str:
    path = folder / "results.csv"
    results = read_results(runs_dir, profile) if path.exists() else collect(runs_dir, profile)
    if results.empty:
        return _missing("results", "notebooks that measure")
    source = "results.csv" if path.exists() else "the runs' metrics.csv"
    return (
        f"<div class='wide'>{_table(results_table(results))}</div><p class='quiet'>From {source}. In "
        "brackets: the interval of that value. Compare values of one embedder only.</p>"
    )


def _findings(folder: Path) -> str:
    """Return the verdicts as a table; the results they are computed from are those shown above it."""
    from tmp_utils.findings import verdicts

    if not (folder / "results.csv").exists():
        return _missing("verdicts", "notebook 05")
    judged = verdicts(read_results(folder.parent, folder.name))
    numbers = judged[FINDING_NUMBERS].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    shown = judged[["claim", "metric", "a", "b"]].join(numbers).join(judged[["n_concepts", "verdict", "paper_agrees"]])
    return (
        f"<div class='wide'>{_table(shown.rename(columns=lambda name: name.replace('_', ' ')))}</div>"
        "<p class='quiet'>Difference: a minus b, with its 95 % interval; p after Holm's correction. “Paper agrees”: "
        "whether the paper's own Table 1 says what its text says.</p>"
    )


def _figures(folder: Path) -> str:
    """Return all saved figures, with plotly.js once."""
    import plotly.io

    shown = []
    for path in sorted(folder.rglob("*.json")):
        try:
            figure = plotly.io.read_json(path)
        except ValueError as error:  # seen on the page, and no reason to lose the others
            reason = escape(f"{path.name} is not a plotly figure: {error}")
            shown.append(f"<p class='note'>{reason}</p>")
            continue
        script = not any("<figure" in part for part in shown)
        html = plotly.io.to_html(figure, full_html=False, include_plotlyjs=script, default_height=480)
        shown.append(f"<figure>{html}<figcaption>{escape(_caption(path, folder))}</figcaption></figure>")
    return "".join(shown) or _missing("figures", "notebooks")


def _caption(path: Path, folder: Path) -> str:
    """Return a figure's name in words, with the concept whose folder it lies in."""
    return ", ".join(path.relative_to(folder).with_suffix("").parts).replace("_", " ")


def _clips(runs: list[Path]) -> str:
    """Return players for the first clips of some runs, spread evenly over all, and for the concepts' own."""
    heard = [run for run in runs if (run / "clips" / "clips.csv").exists() or (run / "clips.csv").exists()]
    step = max(1, -(-len(heard) // MAX_RUNS_HEARD))
    own = [_own_clip(concept) for concept in sorted({run.parts[-3] for run in heard[::step]})]
    rows = [*filter(None, own), *(row for run in heard[::step] for row in _players(run))]
    if not rows:
        return _missing("clips", "notebooks that generate")
    head = "<tr><th>concept</th><th>setup</th><th>asked for</th><th>clip</th></tr>"
    chosen = f"{len(heard[::step])} of {len(heard)} runs, {CLIPS_PER_RUN} clips of each at most."
    return f"<div class='wide'><table>{head}{''.join(rows)}</table></div><p class='quiet'>{chosen}</p>"


def _own_clip(concept: str) -> str:
    """Return a player for a shipped concept's first clip; nothing for others, whose clips may be anywhere."""
    if concept not in list_concepts():
        return ""
    player = _player(load_concept(concept).clips[0])
    return f"<tr><td>{concept}</td><td>the concept itself</td><td></td><td>{player}</td></tr>"


def _players(run: Path) -> Iterable[str]:
    listing = run / "clips.csv" if (run / "clips.csv").exists() else run / "clips" / "clips.csv"
    clips = pd.read_csv(listing).drop_duplicates("prompt_id").head(CLIPS_PER_RUN)
    for clip in clips.itertuples():
        path = next((p for p in (run / "clips" / clip.file, run / clip.file) if p.exists()), None)
        words = "".join(f"<td class='words'>{escape(str(w))}</td>" for w in (*run.parts[-3:-1], clip.prompt))
        yield f"<tr>{words}<td>{_player(path)}</td></tr>"


def _player(path: Path | None) -> str:
    if path is None:
        return "missing"
    sound = base64.b64encode(path.read_bytes()).decode()
    return f"<audio controls preload='none' src='data:{MIME[path.suffix.lower()]};base64,{sound}'></audio>"


def _making(folder: Path) -> str:
    records = sorted((folder / "notebooks").glob("*.json"))
    notebooks = []
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        parameters = ", ".join(f"{k} = {v}" for k, v in record["parameters"].items() if k != "runs_dir")
        notebooks.append(
            {"notebook": path.stem, "minutes": f"{record['elapsed_s'] / 60:.1f}", "parameters": parameters}
        )
    runs = [read_manifest(run) for run in find_runs(folder.parent, folder.name)]
    made = provenance()
    minutes = sum(run["timings"].get("total_s", 0) for run in runs) / 60
    facts = {
        "runs": f"{len(runs)}, {minutes:.1f} minutes in all",
        "backbone": "; ".join(sorted({_backbone(run) for run in runs if run.get("backbone")})) or "not recorded",
        "commit": made["commit"] or "not a git checkout",
        "machine": ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in made["machine"].items() if v is not None),
        "versions": ", ".join(f"{k} {v}" for k, v in made["versions"].items() if v is not None),
    }
    lines = "".join(f"<tr><th>{k}</th><td class='words'>{escape(v)}</td></tr>" for k, v in facts.items())
    table = _table(pd.DataFrame(notebooks)) if notebooks else _missing("executed notebooks", "study")
    return f"<div class='wide'>{table}</div><table>{lines}</table>"


def _backbone(manifest: dict) -> str:
    return f"{Path(manifest['backbone']['id']).name} ({manifest['backbone']['hash'][:12]})"


def _table(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, escape=True)


def _missing(what: str, maker: str) -> str:
    return f"<p class='quiet'>No {what} yet: the {maker} did not run for this profile.</p>"
