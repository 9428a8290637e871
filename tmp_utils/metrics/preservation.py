"""What a transferred clip keeps of its source, and at which strengths it is best balanced.

Conventions: clips are mono float arrays (n,) at 16 kHz. Correlations are Pearson's, in [-1, 1], and do not
change with gain; they are nan for a silent source. *Curves* are a table with one row a clip:
source, seed, strength in [0, 1], and a column for each measure. Similarities are CLAP-A.

chroma_correlation : whether the harmony stays: 12 pitch classes, ten times a second.
onset_correlation  : whether the rhythm stays: onset strength, a hundred times a second.
mean_curve         : a measure over strength, with intervals over sources.
at_equal_likeness  : how close to the target each method comes at the same similarity to the source.
crossing_point     : the strength from which a clip is closer to the target than to its source.
sweet_spot         : the strengths at which source and target are balanced best.
landmarks          : the last two with intervals.
transfer_balance   : the balance in each fifth of the strengths, of which the paper's sweet spot is one.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tmp_utils.inputs.audio import HOP, N_FFT, RATE_HZ, mel_filters
from tmp_utils.metrics.intervals import LEVEL, mean_over_units

CHROMA_N_FFT, CHROMA_HOP = 4096, 1600  # 256 ms separate semitones from 110 Hz up
CHROMA_RANGE_HZ = (110.0, 3520.0)  # A2 to A7
TUNING_HZ = 440.0
QUIET = 1e-3  # -60 dB: a frame this far below the clip's loudest has no harmony
ONSET_GAIN = 1000.0  # log(1 + gain * mel / peak): sounds 60 dB below the peak hardly count
ONSET_BLUR_FRAMES = 11  # a Hann window of 0.11 s tolerates the usual 50 ms either way
FIFTHS = {f"{low:.1f}-{low + 0.2:.1f}": (low, low + 0.2) for low in (0.0, 0.2, 0.4, 0.6, 0.8)}
SHARE_OF_GREATEST = 0.8  # balance; straight lines from 1 to 0 and from 0 to 1 then give the paper's 0.4-0.6
N_RESAMPLES = 500
UNITS = ("source", "seed")


def spectra(clip: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Return magnitudes (frames, n_fft / 2 + 1), the clip padded with half a frame of silence at both ends."""
    padded = np.pad(np.asarray(clip, dtype=np.float64), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.abs(np.fft.rfft(frames * np.hanning(n_fft), axis=1))


def _pair(clip: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    clip, source = np.asarray(clip), np.asarray(source)
    if clip.ndim != 1 or clip.shape != source.shape:
        raise ValueError(
            f"shapes {clip.shape} and {source.shape} arrived; expected clip and source (n,) of one length. Crop the "
            "longer with audio.fit_length."
        )
    if not (np.isfinite(clip).all() and np.isfinite(source).all()):
        raise ValueError("a clip holds NaN or infinite samples; its file is broken. Make it again.")
    return clip, source


def chroma(clip: np.ndarray) -> np.ndarray:
    """Magnitude by pitch class (frames, 12), C first, ten frames a second, A = 440 Hz."""
    hz = np.fft.rfftfreq(CHROMA_N_FFT, 1 / RATE_HZ)
    inside = (hz >= CHROMA_RANGE_HZ[0]) & (hz <= CHROMA_RANGE_HZ[1])
    pitch_class = (np.round(12 * np.log2(hz[inside] / TUNING_HZ)).astype(int) + 9) % 12
    return spectra(clip, CHROMA_N_FFT, CHROMA_HOP)[:, inside] @ np.eye(12)[pitch_class]


def chroma_correlation(clip: np.ndarray, source: np.ndarray) -> float:
    """Return the mean, over frames in which the source sounds, of the correlation of the two chromas.

    A frame in which the clip is silent counts as 0. Nan for a silent source.
    """
    of_clip, of_source = (chroma(sound) for sound in _pair(clip, source))
    sounding = of_source.sum(1) > QUIET * of_source.sum(1).max()
    if not sounding.any():
        return float("nan")
    of_clip = np.where((of_clip.sum(1) > QUIET * of_clip.sum(1).max())[:, None], of_clip, 0.0)
    return float(_row_correlations(of_clip[sounding], of_source[sounding]).mean())


def _row_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each pair of rows; 0 where one is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norms, out=np.zeros(len(a)), where=norms > 0)


def onset_envelope(clip: np.ndarray) -> np.ndarray:
    """Return by how much the mel bands grow louder, frame by frame (100 a second), blurred over a tenth of a second."""
    mel = spectra(clip, N_FFT, HOP) @ mel_filters().T
    peak = mel.max()
    rises = np.diff(np.log1p(ONSET_GAIN * mel / (peak if peak > 0 else 1.0)), axis=0).clip(min=0).mean(1)
    blur = np.hanning(ONSET_BLUR_FRAMES + 2)
    return np.convolve(rises, blur / blur.sum(), mode="same")


def onset_correlation(clip: np.ndarray, source: np.ndarray) -> float:
    """Return the correlation of the two onset envelopes; 0 for a silent clip, nan for a silent source."""
    of_clip, of_source = (onset_envelope(sound)[None] for sound in _pair(clip, source))
    return float(_row_correlations(of_clip, of_source)[0]) if of_source.any() else float("nan")


def mean_curve(curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a measure over strength with intervals over sources, or over the seeds of one source.

    Returns
    -------
    strength, value, ci_low, ci_high (nan where there is a single row), n (sources).
    """
    rows = []
    for strength, group in curves.groupby("strength", sort=True):
        mean = mean_over_units(group, column, UNITS)
        rows.append((strength, mean.value, mean.ci_low, mean.ci_high, mean.n))
    return pd.DataFrame(rows, columns=["strength", "value", "ci_low", "ci_high", "n"])


def at_equal_likeness(curves: pd.DataFrame, n_levels: int = 3) -> pd.DataFrame:
    """Return how close to the target each transfer method comes at the same similarities to the source.

    Parameters
    ----------
    curves : transfer, source, seed, strength, source_similarity, target_similarity; one row a clip.
    n_levels : number of similarities to the source, spread over those that every method reaches on average.

    Returns
    -------
    source_similarity, transfer, target_similarity, ci_low, ci_high, n (paths that reach it). A path is a source and
    seed from strength 0 to 1, its points joined by straight lines; where it turns back, the first crossing counts.
    """
    means = curves.groupby(["transfer", "strength"])["source_similarity"].mean().groupby("transfer")
    low, high = means.min().max(), means.max().min()
    rows = []
    for level in low + (high - low) * np.arange(1, n_levels + 1) / (n_levels + 1):
        for method, of_method in curves.groupby("transfer", sort=False):
            reached = []
            for unit, path in of_method.groupby(list(UNITS), sort=True):
                value = _at_likeness(path.sort_values("strength"), level)
                if np.isfinite(value):
                    reached.append({**dict(zip(UNITS, unit, strict=True)), "value": value})
            if reached:
                mean = mean_over_units(pd.DataFrame(reached), levels=UNITS)
                rows.append((level, method, mean.value, mean.ci_low, mean.ci_high, len(reached)))
    return pd.DataFrame(rows, columns=["source_similarity", "transfer", "target_similarity", "ci_low", "ci_high", "n"])


def _at_likeness(path: pd.DataFrame, level: float) -> float:
    """Return the similarity to the target where a path first has a similarity to the source; nan if it never has."""
    likeness, target = path["source_similarity"].to_numpy(float), path["target_similarity"].to_numpy(float)
    passes = np.flatnonzero((likeness[:-1] - level) * (likeness[1:] - level) <= 0)
    if len(passes) == 0:
        return float("nan")
    k = passes[0]
    step = likeness[k + 1] - likeness[k]
    return float(target[k] + (target[k + 1] - target[k]) * ((level - likeness[k]) / step if step else 0.0))


def crossing_point(strengths: np.ndarray, to_source: np.ndarray, to_target: np.ndarray) -> float:
    """Return the least strength at which the clip is as close to the target as to its source.

    Parameters
    ----------
    strengths : (n,), rising.
    to_source, to_target : (n,), similarities at them, joined by straight lines.

    Returns
    -------
    The first strength at which to_target - to_source is no longer negative; nan if it always is.
    """
    strengths, lead = np.asarray(strengths, float), np.asarray(to_target, float) - np.asarray(to_source, float)
    ahead = np.flatnonzero(lead >= 0)
    if len(ahead) == 0:
        return float("nan")
    k = ahead[0]
    if k == 0:
        return float(strengths[0])
    step = lead[k - 1] / (lead[k - 1] - lead[k])
    return float(strengths[k - 1] + step * (strengths[k] - strengths[k - 1]))


class SweetSpot(NamedTuple):
    """The strength of the best balance, and the range around it that is nearly as good; nan if there is none."""

    best: float
    low: float
    high: float


def balance(to_source: np.ndarray, to_target: np.ndarray) -> np.ndarray:
    """Return the smaller of the two similarities, each scaled to [0, 1] between its least and greatest value.

    At 0 one of them is at its least, at 1 both would be at their greatest; nan where one of them never changes.
    """
    both = np.stack([to_source, to_target]).astype(float)
    low, high = both.min(1, keepdims=True), both.max(1, keepdims=True)
    if not (high > low).all():
        return np.full(both.shape[1], np.nan)
    return ((both - low) / (high - low)).min(0)


def sweet_spot(strengths: np.ndarray, to_source: np.ndarray, to_target: np.ndarray) -> SweetSpot:
    """Return the range of strengths around the greatest `balance` in which it stays above `SHARE_OF_GREATEST` of it.

    The curves are joined by straight lines and read at every hundredth. With 0.8, two straight lines
    give 0.4 to 0.6, the range that the paper reads off its Figure 4; another range is therefore due to the curves and
    not to this rule. The range is nan where the last clip is not further from the source, or not closer to the target,
    than the first.
    """
    strengths, to_source, to_target = (np.asarray(values, float) for values in (strengths, to_source, to_target))
    if not (to_source[-1] < to_source[0] and to_target[-1] > to_target[0]):
        return SweetSpot(*[float("nan")] * 3)
    grid = np.linspace(strengths[0], strengths[-1], round(100 * (strengths[-1] - strengths[0])) + 1)
    balances = balance(np.interp(grid, strengths, to_source), np.interp(grid, strengths, to_target))
    best = int(balances.argmax())
    below = np.flatnonzero(balances < SHARE_OF_GREATEST * balances[best] - 1e-9)
    low = below[below < best].max(initial=-1) + 1
    high = below[below > best].min(initial=len(grid)) - 1
    return SweetSpot(*(float(grid[k]) for k in (best, low, high)))


def landmarks(curves: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the crossing point and the sweet spot of the mean curves, with intervals over sources and seeds.

    Parameters
    ----------
    curves : source, seed, strength, source_similarity, target_similarity; every source and seed at every strength.

    Returns
    -------
    Index crossing, best, low, high; columns value, ci_low, ci_high and defined, the share of the resamples in which the
    point exists. Sources are drawn with replacement, then seeds within each, and the interval is the percentiles of the
    points that exist; nan with a single source and seed.
    """
    wide = curves.pivot_table(index=list(UNITS), columns="strength", values=["source_similarity", "target_similarity"])
    if wide.isna().any(axis=None):
        raise ValueError("a source and seed lacks a strength; run the same strengths for all of them.")
    both = np.stack([wide["source_similarity"].to_numpy(), wide["target_similarity"].to_numpy()], axis=1)
    strengths = wide["source_similarity"].columns.to_numpy(float)
    groups = list(wide.reset_index().groupby("source").indices.values())
    values = _points(strengths, groups, both)
    rng = np.random.default_rng(seed)
    drawn = [_points(strengths, _drawn(groups, rng), both) for _ in range(N_RESAMPLES if len(wide) > 1 else 0)]
    rows = []
    for k, value in enumerate(values):
        column = np.array([point[k] for point in drawn])
        known = column[~np.isnan(column)]
        ends = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
        rows.append((value, *ends, len(known) / len(drawn) if drawn else np.nan))
    return pd.DataFrame(rows, ["crossing", "best", "low", "high"], ["value", "ci_low", "ci_high", "defined"])


def _drawn(groups: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.choice(groups[k], len(groups[k])) for k in rng.integers(0, len(groups), len(groups))]


def _points(strengths: np.ndarray, groups: list[np.ndarray], both: np.ndarray) -> tuple[float, ...]:
    """Crossing, best, low and high of the mean over sources of the means over seeds of both (units, 2, n)."""
    to_source, to_target = np.mean([both[group].mean(0) for group in groups], axis=0)
    return (crossing_point(strengths, to_source, to_target), *sweet_spot(strengths, to_source, to_target))


def transfer_balance(curves: pd.DataFrame) -> pd.Series:
    """Return how well source and concept are balanced in each fifth of the strengths.

    "Better at 0.4 to 0.6 than elsewhere" would be no test: at both ends the balance is 0 by its definition, so the
    middle wins wherever the best strength lies. Fifths beside each other are a fair comparison.

    Parameters
    ----------
    curves : strength in [0, 1], source_similarity, target_similarity; one row a clip.

    Returns
    -------
    By the names in `FIFTHS` ("0.4-0.6"): the mean `balance` of the mean curves, over the strengths there; nan where
    there is none.
    """
    means = curves.groupby("strength")[["source_similarity", "target_similarity"]].mean()
    balances = pd.Series(balance(*means.to_numpy().T), means.index)
    if len(means) < 3 or balances.isna().any():
        spans = (means.max() - means.min()).tolist()
        raise ValueError(f"{len(means)} strengths with spans {spans}: expected 3 or more that differ.")
    return pd.Series({name: balances.loc[low - 1e-9 : high + 1e-9].mean() for name, (low, high) in FIFTHS.items()})
