"""The plane of CLAP-A and CLAP-T: similarity to the concept against similarity to the prompt (the paper's Fig. 3).

clap_plane    : results -> the plane, with intervals, references and the Pareto front.
pareto_front  : the points that no other point exceeds on both axes.
label_offsets : positions of labels that cover neither points nor each other.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from operator import itemgetter

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tmp_utils.figures.look import GREY, INK, METHOD_SYMBOLS, faded, method_colour, styled
from tmp_utils.figures.study import error_bar, noted, runs_and_bars, summary
from tmp_utils.metrics.names import AXES, NAMES, REFERENCES, SIMILARITIES

# Labels are placed for the size of the plane between its axes, by the width of the whole figure: in a notebook, and
# (in the figure's meta, as right, down, far of the first annotations) on a phone and on the report's page.
AREA_PX, AREAS_PX = (690, 360), {390: (255, 290), 1088: (1010, 335)}
POINT_PX, CHARACTER_PX = 8, (7.5, 15)  # half a point, and a character's width and height
NEAR, REACHES = 1.0, (1.0, 2.2, 3.6, 5.0)  # how far from its point a label may be; past NEAR a line leads to it
DIRECTIONS = [(1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1)]
NEAR_SPANS = 0.35  # a reference that is further from the points than this share of their spread gets no line
CLOSE = 0.2  # lines that are nearer, as a share of the plot's width, share the room above it
SHARES = {"left": 0, "center": 0.5, "right": 1}  # of a label's width that lie left of its place
FAR_PX2 = 1  # how much covered area one more step of reach is worth


def clap_plane(
    results: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    title: str = "Reconstruction against editability",
    note: str = "",
) -> go.Figure:
    """Return CLAP-A against CLAP-T, one point a setup with its intervals, references and the Pareto front.

    ``references`` are ceiling_a (vertical), ceiling_t and floor_t (horizontal): lines where they are near the points,
    else numbers at the edge that they lie beyond; nan ones are left out.
    """
    sides = [summary(results, metric).set_index(["method", "setup"]) for metric in SIMILARITIES]
    table = sides[0].join(sides[1], lsuffix="_a", rsuffix="_t", how="inner").reset_index()
    if table.empty:
        raise ValueError("no setup has both clap_a and clap_t; score its reconstruction and editability clips first.")
    table["label"] = _labels(table)
    references = {name: value for name, value in (references or {}).items() if np.isfinite(value)}
    fig = go.Figure()
    front = table.iloc[pareto_front(table["value_a"], table["value_t"])]
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    fig.add_scatter(x=front["value_a"], y=front["value_t"], mode="lines", line=line, name="Pareto front")
    fig.data[-1].hoverinfo = "skip"
    for method, group in table.groupby("method", sort=False):
        bars = {}
        for axis, suffix in (("error_x", "_a"), ("error_y", "_t")):
            part = group[[f"{name}{suffix}" for name in ("value", "ci_low", "ci_high")]]
            part.columns = ["value", "ci_low", "ci_high"]
            bars[axis] = error_bar(part) | {"color": faded(method_colour(method), 0.35)}
        fig.add_scatter(
            x=group["value_a"],
            y=group["value_t"],
            mode="markers",
            marker={"size": 12, "color": method_colour(method), "line": {"color": "white", "width": 1}}
            | {"symbol": METHOD_SYMBOLS.get(method, "circle")},
            name=method,
            customdata=np.stack([group["setup"], group["n_runs_a"]], axis=1),
            hovertemplate=f"{method} %{{customdata[0]}}<br>{NAMES['clap_a']} %{{x:.3f}}, {NAMES['clap_t']} %{{y:.3f}}"
            "<br>%{customdata[1]} runs<extra></extra>",
            **bars,
        )
    ranges = [_range(table, references, suffix) for suffix in ("_a", "_t")]
    _name_points(fig, table, references, ranges)
    _reference_lines(fig, references, ranges)
    fig.update_xaxes(title=AXES["clap_a"], range=ranges[0])
    fig.update_yaxes(title=AXES["clap_t"], range=ranges[1])
    about = table.rename(columns={"n_concepts_a": "n_concepts", "n_runs_a": "n_runs", "ci_low_a": "ci_low"})
    fig = styled(fig, title, noted(note, runs_and_bars(about)), height=540)
    return fig.update_layout(legend={"x": 1.01, "y": 1}, margin={"r": 130, "t": fig.layout.margin.t + CHARACTER_PX[1]})


def pareto_front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Return the indices of points that no other point beats on both axes, from left to right."""
    points = np.column_stack([x, y])
    beaten = [((points >= p).all(1) & (points > p).any(1)).any() for p in points]
    return sorted(np.flatnonzero(~np.array(beaten)).tolist(), key=lambda i: points[i, 0])


def label_offsets(
    points: np.ndarray,
    labels: Sequence[str],
    area_px: tuple[float, float] | None = None,
    occupied: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> list[tuple[np.ndarray, bool]]:
    """Return for each label the vector from its point to its middle, and whether it is far from it.

    Labels are placed one after another where they cover the least of points, of labels before them and of what lies
    outside the area.

    Parameters
    ----------
    points : (n, 2), in pixels, y upwards.
    labels : sequence of str
    area_px : the size of the plot.
    occupied : boxes (lowest corner, highest corner) that are in use already.
    """
    taken = [*((point - POINT_PX, point + POINT_PX) for point in points), *occupied]
    area = (np.zeros(2), np.array(area_px)) if area_px else None
    placed = []
    for point, label in zip(points, labels, strict=True):
        half = np.array([CHARACTER_PX[0] * len(label), CHARACTER_PX[1]]) / 2
        best = None
        for reach, direction in product(REACHES, DIRECTIONS):
            offset = np.multiply(direction, half + POINT_PX * reach)
            box = (point + offset - half, point + offset + half)
            outside = np.prod(2 * half) - _overlap(box, area) if area else 0
            cost = sum(_overlap(box, other) for other in taken) + 3 * outside + FAR_PX2 * (reach - NEAR)
            if best is None or cost < best[0]:
                best = cost, offset, reach > NEAR, box
        placed.append(best[1:3])
        taken.append(best[3])
    return placed


def _overlap(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the area that two boxes (lowest corner, highest corner) share."""
    return float(np.prod(np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None)))


def _labels(table: pd.DataFrame) -> list[str]:
    """Return a point's name: its setup, or its method where that has no other setup."""
    only = table.groupby("method")["setup"].transform("size") == 1
    beyond = only & ~table["method"].isin(["TI", "DB"])
    return table["setup"].mask(beyond, table["method"].str.removeprefix("DB-")).tolist()


def _range(table: pd.DataFrame, references: Mapping[str, float], suffix: str) -> list[float]:
    """Return an axis that holds all points and bars, and the references that are near them."""
    shown = table[[f"{name}{suffix}" for name in ("value", "ci_low", "ci_high")]].to_numpy(float)
    held = shown[np.isfinite(shown)].tolist()
    reach = NEAR_SPANS * max(np.ptp(held), 0.1)
    ends = min(held) - reach, max(held) + reach
    held += [value for name, value in references.items() if name.endswith(suffix) and ends[0] <= value <= ends[1]]
    margin = 0.05 * max(np.ptp(held), 0.1)
    return [min(held) - margin, max(held) + margin]


def _name_points(fig: go.Figure, table: pd.DataFrame, references: Mapping, ranges: Sequence[Sequence[float]]) -> None:
    offsets = _offsets(table, references, ranges, AREA_PX)
    for row, (right, down, far) in zip(table.itertuples(), offsets, strict=True):
        line = {"arrowhead": 0, "arrowwidth": 1, "arrowcolor": GREY if far else "rgba(0,0,0,0)", "standoff": POINT_PX}
        where = {"x": row.value_a, "y": row.value_t, "ax": right, "ay": down}
        paper = {"bgcolor": "rgba(255,255,255,0.8)", "borderpad": 0}  # readable over the bars
        fig.add_annotation(text=row.label, font={"size": 12, "color": INK}, **paper, **where, **line)
    others = {str(width): _offsets(table, references, ranges, area) for width, area in AREAS_PX.items()}
    fig.update_layout(meta={"label_offsets": others})


def _offsets(table: pd.DataFrame, references: Mapping, ranges: Sequence, area_px: tuple) -> list:
    """Return (right, down, far) of each point's label on a plot of this size, clear of the references' labels."""
    columns = [table["value_a"], table["value_t"]]
    scaled = [(v - low) / (high - low) * px for v, (low, high), px in zip(columns, ranges, area_px, strict=True)]
    boxes = []
    for label in _reference_labels(references, ranges):
        size = np.multiply(CHARACTER_PX, [len(label["text"]), 1])
        corner = np.array([label["x"], label["y"]]) * area_px + [0, CHARACTER_PX[1] * label["row"]]
        corner -= size * [SHARES[label["xanchor"]], label["yanchor"] == "top"]
        boxes.append((corner, corner + size))
    offsets = label_offsets(np.column_stack(scaled), table["label"], area_px, boxes)
    return [(float(right), float(-up), bool(far)) for (right, up), far in offsets]


def _reference_labels(references: Mapping[str, float], ranges: Sequence[Sequence[float]]) -> list[dict]:
    """Return each reference's label: its text, place (shares of the plot) and anchors.

    Labels of vertical lines stand above the plot, those of horizontal ones at its left, and those of references beyond
    an axis in its corner. Above neighbours, the left line's label ends there and the right one's begins there.
    """
    labels = []
    for name, value in references.items():
        vertical = name.endswith("_a")
        low, high = ranges[0 if vertical else 1]
        share, text = (value - low) / (high - low), REFERENCES[name]
        if inside := 0 <= share <= 1:
            x, y = (share, 1.0) if vertical else (0.0, share)
            anchors = ("center" if vertical else "left", "bottom")
        else:
            text += f" {value:.2f} {('←', '→')[share > 1] if vertical else ('↓', '↑')[share > 1]}"
            x, y = (float(share > 1), 0.0) if vertical else (0.0, float(share > 1))
            anchors = ("right" if x else "left", "top" if y else "bottom")
        label = {"text": text, "x": x, "y": y, "xanchor": anchors[0], "yanchor": anchors[1]}
        row = sum((other["x"], other["y"]) == (x, y) for other in labels)  # in a corner, one above the other
        labels.append(label | {"value": value if inside else None, "vertical": vertical, "row": -row if y else row})
    above = sorted((label for label in labels if label["vertical"] and label["value"] is not None), key=itemgetter("x"))
    for left, right in pairwise(above):
        if right["x"] - left["x"] < CLOSE:
            left["xanchor"] = "right" if left["xanchor"] == "center" else "center"
            left["row"], right["xanchor"] = int(left["xanchor"] == "center"), "left"
    return labels


def _reference_lines(fig: go.Figure, references: Mapping[str, float], ranges: Sequence[Sequence[float]]) -> None:
    style, font = {"dash": "dot", "color": GREY}, {"color": "#5B616A", "size": 12}
    for label in _reference_labels(references, ranges):
        if label["value"] is not None:
            draw = fig.add_vline if label["vertical"] else fig.add_hline
            draw(label["value"], line=style)
        place = {name: label[name] for name in ("text", "x", "y", "xanchor", "yanchor")}
        shift = {"xshift": -3 if label["xanchor"] == "right" else 3 * (label["xanchor"] == "left")}
        shift["yshift"] = CHARACTER_PX[1] * label["row"]
        paper = {"xref": "paper", "yref": "paper", "bgcolor": "rgba(255,255,255,0.8)", "borderpad": 0}
        fig.add_annotation(showarrow=False, font=font, **paper, **place, **shift)
