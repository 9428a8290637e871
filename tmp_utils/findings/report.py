"""One page with the results of a study, to open in any browser without a network, on a phone too.

Conventions: the page is `<runs_dir>/<profile>/report/index.html`. It holds charts with one copy of plotly.js, clips as
Ogg Vorbis, and styles; the charts and clips of further concepts are in `report/parts/`, one file for each part that can
be unfolded, and nothing else is loaded. This module collects what the page shows; `report.html` is its jinja2 template,
which escapes all text. Missing parts are listed. The answer comes first; wide tables are folded. Clips are chosen by
rule, none by ear.
"""

import hashlib
import json
from pathlib import Path

import jinja2
import pandas as pd

from tmp_utils.figures.look import setup_label
from tmp_utils.figures.sound import mel_spectrogram, peak_db
from tmp_utils.files import write_text
from tmp_utils.findings import charts, listen, narrative
from tmp_utils.findings.claims import beside, claims, compared, in_counts, judged_both_ways, with_numbers
from tmp_utils.findings.comparisons import BASELINE, comparable, every_metric, failures, setup_cells
from tmp_utils.findings.gains import METHOD_NAMES, gains
from tmp_utils.findings.page import page_figure, plotly_source
from tmp_utils.findings.published import RESULTS, read_published, read_results
from tmp_utils.findings.words import SMOKE_WARNING
from tmp_utils.inputs.audio import CLIP_S, load_clip
from tmp_utils.inputs.concepts import are_stand_ins
from tmp_utils.inputs.credits import credits_of
from tmp_utils.inputs.prompts import RECONSTRUCTION
from tmp_utils.metrics.names import TABLE_1, with_arrow
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import provenance

HERE = Path(__file__).parent
PLANES = ("metrics_figure_3", "db_clap_plane")  # the first one available is shown beside the comparison
PLANE_HEIGHT_PX, SPECTROGRAM_HEIGHT_PX = 430, 190
PARTS = "parts"
MAX_RUNS, CLIPS_PER_RUN = 12, 2
PUBLISHED, THESE = "published", "these runs"
STAND_INS = {
    "pocket": "the pocket model, a small AudioLDM that this project trained from scratch, not the paper's "
    "AudioLDM-Medium. Rendered stand-ins are concepts whose clips were rendered, not recorded",
    "smoke": "the pocket model and far too few steps and prompts to learn anything. This page only shows "
    "that every part runs; its numbers mean nothing",
}


def write_report(place: Place) -> Path:
    """Write the page of a profile's runs; returns its path.

    Raises
    ------
    FileNotFoundError : there is nothing under `<runs_dir>/<profile>`.
    """
    folder, profile = place.folder, place.profile
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist, so there is nothing to report. Run `make study` first.")
    results = read_results(place) if (folder / RESULTS).exists() else None
    published, runs = read_published(profile), place.runs()
    recordings = user_concepts(place).values()
    clips, clips_fault = _clips(place)
    files = charts.figure_files(folder)
    plane = next((path for name in PLANES for path in files if path.stem == name), None)
    one_concept = sum(path.stem == PLANES[-1] for path in files) == 1  # its plane is that of all runs
    rest = [path for path in files if path != plane and path.stem not in (PLANES if one_concept else ())]
    every = place.table() if results is None else results
    parts = {}

    def kept(html: str) -> str:
        """Keep a part of the page for a file of its own, and return the file's name."""
        name = (
            f"{PARTS}/{hashlib.sha256(html.encode()).hexdigest()[:12]}.js"  # the old page keeps its own until the end
        )
        parts[name] = f"part({json.dumps(name)}, {json.dumps(html)});\n"
        return name

    page = _template().render(
        kept=kept,
        profile=profile,
        stand_in=STAND_INS.get(profile),
        warning=SMOKE_WARNING if profile == narrative.SMOKE else "",
        here=results is not None and _in_words(results),
        published=published is not None and _in_words(published) | {"setups": _setups(comparable(published))},
        examples=_examples(clips, recordings),
        plane=plane and charts.chart(plane, PLANE_HEIGHT_PX),
        columns=[with_arrow(metric) for metric in TABLE_1],
        setups=results is not None and _setups(results),
        failed=results is not None and _table(failures(results)),
        source="the runs' metrics.csv" if results is None else RESULTS,
        every_metric=len(every) and _table(every_metric(every)),
        findings=_findings({PUBLISHED: published, THESE: results}),
        figures=charts.figures(rest),
        clips_fault=clips_fault,
        sample=_sample(clips, recordings),
        credits=_credits(clips, recordings),
        **_making(place, runs),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        plotly=plotly_source() if files or len(clips) else "",
    )
    (folder / "report" / PARTS).mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        write_text(folder / "report" / name, content)
    written = write_text(folder / "report" / "index.html", page)
    for path in (folder / "report" / PARTS).glob("*.js"):
        if f"{PARTS}/{path.name}" not in parts:
            path.unlink()
    return written


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html")


def _in_words(table: pd.DataFrame) -> dict:
    return {
        "answer": narrative.answer(table),
        "gains": _table(gains(table)),
        "comparison": " ".join(narrative.comparisons(table)),
        "conditions": narrative.conditions(table),
    }


def _clips(place: Place) -> tuple[pd.DataFrame, str]:
    """Return the clips of all runs, and what is wrong with a listing that cannot be used."""
    try:
        return listen.run_clips(place), ""
    except FileNotFoundError:
        return pd.DataFrame(), ""
    except ValueError as error:  # the page says so, and shows the rest
        return pd.DataFrame(), str(error)


def _examples(clips: pd.DataFrame, recordings: listen.Recordings) -> list[dict]:
    """Return a concept's first clip, and its first reconstruction before training and after each method's baseline.

    It is of the first concept and seed that has a baseline; all generated ones start from the same noise.
    """
    if clips.empty:
        return []
    first = clips[(clips["prompt_id"] == RECONSTRUCTION) & (clips["index"] == 0)]
    learned = first[first["method"].isin(METHOD_NAMES) & (first["setup"] == BASELINE)]
    if learned.empty:
        return []
    unit = ["concept", "seed"]
    concept, seed = learned.sort_values(unit)[unit].iloc[0]
    same = (first["concept"] == concept) & (first["seed"] == seed)
    kind = "a rendered stand-in" if are_stand_ins([concept]) else "a recording"
    shown = [
        {"title": f"The concept: {concept}", "text": f"One of its clips, {kind}", "path": path, "damage": ""}
        for path in listen.concept_clips(concept, recordings)[:1]
    ]
    titles = {UNTRAINED: "Before training"} | {m: f"After {METHOD_NAMES[m]}" for m in ("TI", "DB")}
    for method, title in titles.items():
        rows = first[same & (first["method"] == method) & first["setup"].isin([BASELINE, "class-noun"])]
        for row in rows.head(1).itertuples():
            text = f"“{row.prompt}”, {setup_label(method, row.setup)}, seed {seed}"
            shown.append({"title": title, "text": text, "path": row.path, "damage": row.damage})
    credited = [credit.line for credit in credits_of(listen.find_concept(concept, recordings))]
    return _with_spectrograms([{**clip, "credits": credited} for clip in shown])


def _with_spectrograms(shown: list[dict]) -> list[dict]:
    """Add a player and a spectrogram, all on one colour scale; a clip that cannot be used has words only."""
    sounds = {}
    for k, clip in enumerate(shown):
        clip["player"] = listen.player(clip["path"], clip["damage"], clip["title"])
        if "<audio" in clip["player"]:
            sounds[k] = load_clip(clip["path"])
    for k, sound in sounds.items():
        fig = mel_spectrogram(sound, top_db=peak_db(*sounds.values())).update_traces(showscale=False)
        fig.update_xaxes(title=None, range=[0, CLIP_S]).update_yaxes(title=None)
        shown[k]["chart"] = page_figure(fig, f"{shown[k]['title']}, mel spectrogram", SPECTROGRAM_HEIGHT_PX)
    return shown


def _sample(clips: pd.DataFrame, recordings: listen.Recordings) -> dict | None:
    """Return by concept players for the first clips of runs spread evenly over all, and for the concept itself."""
    if clips.empty:
        return None
    runs = list(clips.groupby(listen.RUN, sort=True))
    chosen = runs[:: max(1, -(-len(runs) // MAX_RUNS))]
    shown: dict[str, list] = {concept: [] for (concept, *_), _ in chosen}
    for concept, players in shown.items():
        for path in listen.concept_clips(concept, recordings)[:1]:
            label = f"{concept}: the concept"
            players.append({"title": label, "text": "one of its clips", "player": listen.player(path, label=label)})
    for (concept, method, setup, _), rows in chosen:
        title = f"{concept}: {METHOD_NAMES.get(method, method)} {setup}"
        for row in rows.drop_duplicates("prompt_id").head(CLIPS_PER_RUN).itertuples():
            text = f"“{row.prompt}”"
            sound = listen.player(row.path, row.damage, f"{title}, {text}")
            shown[concept].append({"title": title, "text": text, "player": sound})
    return {"clips": list(shown.items()), "n_runs": len(chosen), "of": len(runs), "per_run": CLIPS_PER_RUN}


def _credits(clips: pd.DataFrame, recordings: listen.Recordings) -> dict[str, list[str]]:
    """Return by concept the lines that credit the recordings that its runs learned from; none for rendered ones."""
    if clips.empty:
        return {}
    setups = (clips["method"] + "-" + clips["setup"].astype(str)).groupby(clips["concept"]).unique()
    concepts = {name: listen.find_concept(name, recordings) for name in setups.index}
    return {name: [credit.line for credit in credits_of(concept, setups[name])] for name, concept in concepts.items()}


def _table(frame: pd.DataFrame) -> dict:
    """Return a table's header and its rows, as the template writes them."""
    header = [str(name).replace("_", " ") for name in frame.columns]
    return {"header": header, "rows": list(frame.itertuples(index=False, name=None))} if len(frame) else {}


def _setups(results: pd.DataFrame) -> list[dict]:
    """Return Table 1's rows: setup, and for each metric our value, its interval and the paper's number."""
    rows = []
    for row in setup_cells(results).to_dict("records"):
        cells = [(*row[metric].partition(" ")[::2], row[f"{metric}_paper"]) for metric in TABLE_1]
        rows.append({"setup": setup_label(row["method"], row["setup"]), "cells": cells})
    return rows


def _findings(tables: dict[str, pd.DataFrame | None]) -> dict:
    """Return the verdicts of the tables of results that there are: beside each other, in words and with numbers."""
    known = {name: table for name, table in tables.items() if table is not None}
    if not known:
        return {}
    judged = judged_both_ways(known)
    words = [
        {"name": name, "counts": in_counts(table), "n": len(claims(table)), "table": _table(with_numbers(table))}
        for name, table in judged.items()
    ]
    return {"beside": _table(beside(judged)), "words": words, "table": _table(compared(judged))}


def _making(place: Place, runs: list[Path]) -> dict:
    """Return how the results were made: executed notebooks, and facts about runs, code and machine."""
    records = place.executions()
    notebooks = [
        {
            "notebook": name,
            "minutes": f"{record['elapsed_s'] / 60:.1f}",
            "parameters": ", ".join(f"{k} = {v}" for k, v in record["parameters"].items() if k != "runs_dir"),
        }
        for name, record in records.items()
    ]
    manifests, made = [read_manifest(run) for run in runs], provenance()
    backbones = [manifest["backbone"] for manifest in manifests if manifest.get("backbone")]
    names = sorted({f"{Path(backbone['id']).name} ({backbone['hash'][:12]})" for backbone in backbones})
    minutes = sum(manifest["timings"].get("total_s", 0) for manifest in manifests) / 60
    facts = {
        "runs": f"{len(runs)}, {minutes:.1f} minutes in all",
        "backbone": "; ".join(names) or "not recorded",
        "commit": made["commit"] or "not a git checkout",
        "machine": ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in made["machine"].items() if v is not None),
        "versions": ", ".join(f"{k} {v}" for k, v in made["versions"].items() if v is not None),
    }
    return {"facts": facts, "notebooks": _table(pd.DataFrame(notebooks))}
