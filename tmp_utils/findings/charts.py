"""The charts that notebooks saved, with captions and in the notebooks' order, as the page shows them."""

from itertools import groupby
from pathlib import Path

import plotly.io

from tmp_utils.findings.page import page_figure

OTHERS = "Others"
PLANE = "Each point is a setup: further right sounds more like the concept, higher up follows prompts better."
FIGURES = {
    "What can be learned (notebook 01)": {
        "two_clips": "Two clips of the concept, frequency over time. What they share is what has to be learned.",
        "mix": "A clip alone and with rain mixed in: the rain fills the gaps between the notes.",
    },
    "Textual Inversion (notebook 02)": {
        "ti_before_after": "Two clips from the same noise: one for the class noun, one for the learned word.",
        "ti_what_moves": "Over the steps of a training: CLAP-A, how far the word's vector has turned, and the loss.",
        "ti_clap_a": "How close each setup comes to the concept's clips; further right is closer.",
        "ti_clap_t": "How well each setup follows a prompt; further right is better.",
        "ti_strength": "One adapter at several strengths: 0 is the class noun, 1 what was learned.",
    },
    "DreamBooth (notebook 03)": {
        "db_clap_plane": PLANE,
        "db_before_after": "Two clips from the same noise: the class noun before training, the rare word after it.",
        "db_language_drift": "Where a bar lies wholly right of the untrained one, "
        "the class noun has drifted to the concept.",
        "db_learning_path": "Over the steps of a training: how close clips are to the concept and to the prompt.",
        "how_many": "CLAP-A and CLAP-T while training on 1 to 20 clips, from the published table.",
    },
    "Style transfer (notebook 04)": {
        "transfer_round_trip": "A source, and the same source after the model's codec alone.",
        "transfer_half_way": "The source changed half way to the concept, and all the way, which starts from noise.",
        "figure4_transfer": "Similarity to the source and to the concept, from strength 0 to 1.",
        "transfer_preservation": "How much of the source's melody and rhythm remains at each strength.",
        "transfer_methods": "Three ways to start a transfer. Solid: similarity to the source; dotted: to the concept.",
        "transfer_trade_off": "Further right keeps more of the source; higher up comes closer to the concept.",
    },
    "All runs together (notebook 05)": {
        "metrics_figure_3": PLANE,
        "metrics_concepts": "Each small dot is one concept: a mean hides how far they lie apart.",
        "metrics_concepts_published": "Each small dot is one concept of the table published with the project.",
        "metrics_memorisation": "Right of the dotted line, clips are closer to a training clip than another take is.",
        "metrics_kad": "Distance between each setup's clips and the concept's clips, as sets; further left is closer.",
        "metrics_figure_5": "Share of clips that have the concept's tempo, loudness, key and scale.",
    },
    "Listeners (notebook 06)": {
        "preference": "Which clips listeners preferred, with intervals; diamonds are the paper's percentages.",
        "agreement": "Each point is a question. In the tinted quadrants listeners and CLAP prefer the same clip.",
        "claims": "The paper's difference between the methods, by how similar one person's answers may be.",
        "power": "The chance that a study with this many listeners detects a true difference.",
    },
}


def figure_files(folder: Path) -> list[Path]:
    """Return the saved figures in the order of the notebooks; those of one concept after those of all."""
    order = {stem: (k, j) for k, group in enumerate(FIGURES.values()) for j, stem in enumerate(group)}
    paths = [path for part in ("figures", "survey/figures") for path in (folder / part).rglob("*.json")]

    def place(path: Path) -> tuple:
        group, within = order.get(path.stem, (len(FIGURES), 0))
        return group, _concept(path), within, path

    return sorted(paths, key=place)


def _concept(path: Path) -> str:
    return "" if path.parent.name == "figures" else path.parent.name


def _group(path: Path) -> str:
    return next((group for group, captions in FIGURES.items() if path.stem in captions), OTHERS)


def figures(files: list[Path]) -> list[dict]:
    """Return the charts by notebook and concept."""
    return [
        {"group": group, "parts": [(concept, list(map(chart, of))) for concept, of in groupby(of_group, _concept)]}
        for group, of_group in groupby(files, _group)
    ]


def chart(path: Path, height_px: int | None = None) -> dict:
    """Return a saved figure as the page's template draws it, with its caption."""
    caption = FIGURES.get(_group(path), {}).get(path.stem, path.stem.replace("_", " "))
    try:
        return page_figure(plotly.io.read_json(path), caption, height_px)
    except ValueError as error:  # the page says so, and shows the others
        return {"error": f"{path.name} is not a plotly figure: {error}"}
