"""Whether a generated clip is a copy of a training clip: the same sounds at the same times, in any key.

Conventions: clips are mono float arrays (n,) at 16 kHz. An alignment is a correlation in [-1, 1]. Generated clips are
decoded by a codec (VAE and vocoder), so the test is calibrated with the training clips after the same codec: those are
copies, and each of them is another take beside the other training clips.

An embedder's nearest neighbour cannot tell a copy from another take of the same sound: they are alike in what it
measures. Here the magnitudes of two clips in semitone bands, without what stays for a second or longer, are correlated
at every lag up to 3 s, up to 6 semitones apart, and at the speeds that go with 1 and 2 semitones up and down.

``data/pocket/copies.csv`` has the shares of planted copies and of other takes that the test calls copies, of shipped
concepts with the pocket's codec. What begins more than 3 s later is beyond it, and of copies of half a clip it misses
more than it finds. Over 100 clips, the cosines of the pocket's CLAP with the same rule found 47 % of the copies as
they are, and called 22 % of other takes copies.

semitone_bands   : clip -> magnitudes by semitone and time.
CopyTest         : the test of one concept, with its threshold.
planted_copies   : training clips -> copies of them in several disguises.
copy_test_power  : how many planted copies, and how many other takes, are called copies.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import soxr
from scipy.ndimage import uniform_filter1d
from scipy.signal import correlate

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.metrics.intervals import wilson
from tmp_utils.metrics.preservation import spectra

N_FFT, HOP = 4096, 800  # 256 ms, 20 frames a second
LOW_HZ, N_SEMITONES = 220.0, 48  # A3 to A7: four octaves
LOUDNESS_GAIN = 100.0  # log(1 + gain * magnitude / peak)
SUSTAINED_FRAMES = 20  # what stays for a second says little about which take it is
MAX_LAG_FRAMES, MAX_SHIFT = 60, 6
SPEEDS = tuple(2 ** (semitones / 12) for semitones in (-2, -1, 0, 1, 2))
MIN_ENERGY = 1e-9
MIN_CLIPS = 3
# Where the threshold lies between the best alignment of other takes (0) and the least one of copies (1).
POSITION = 0.4
SHIFT_S, SEMITONES = 0.3, 2
LATER_S = (2, 5)  # of the harder disguises; the second is beyond `MAX_LAG_FRAMES`
OTHER_TAKES = "other takes"


@lru_cache
def _semitone_bank() -> np.ndarray:
    """Return (2049, 48): triangles of equal sum, a semitone or a bin wide to either side."""
    hz = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)[:, None]
    centres = LOW_HZ * 2 ** (np.arange(N_SEMITONES) / 12)
    widths = np.maximum(centres * (2 ** (1 / 12) - 1), RATE_HZ / N_FFT)
    bank = (1 - np.abs(hz - centres) / widths).clip(0)
    return bank / bank.sum(0)


def semitone_bands(clip: np.ndarray) -> np.ndarray:
    """Return log-compressed magnitudes (frames, 48) of a clip relative to its peak, 20 frames a second, A3 to A7."""
    bands = spectra(clip, N_FFT, HOP) @ _semitone_bank()
    return np.log1p(LOUDNESS_GAIN * bands / max(bands.max(), MIN_ENERGY))


def _changes(bands: np.ndarray, speed: float = 1.0) -> np.ndarray:
    """Return bands read at a speed, without their means over a second."""
    at = np.arange(int((len(bands) - 1) / speed) + 1) * speed
    before = at.astype(int).clip(max=len(bands) - 2) if len(bands) > 1 else np.zeros(len(at), int)
    weight = (at - before)[:, None]
    read = bands[before] * (1 - weight) + bands[np.minimum(before + 1, len(bands) - 1)] * weight
    return read - uniform_filter1d(read, SUSTAINED_FRAMES, axis=0, mode="nearest")


def _best_correlation(rows: np.ndarray, others: np.ndarray) -> float:
    """Return the greatest correlation of (n, bands) and (m, bands) over lags and shifts.

    It is normalised where the two overlap, which has to be half of the shorter one or more.
    """
    n, m = len(rows), len(others)
    lags = np.arange(-MAX_LAG_FRAMES, MAX_LAG_FRAMES + 1)
    first, last = np.maximum(0, -lags), np.minimum(n, m - lags)  # of the rows that overlap
    enough = last - first >= max(1, min(n, m) // 2)
    lags, first, last = lags[enough], first[enough], last[enough]
    energies, other_energies = (np.r_[0, np.cumsum((each**2).sum(1))] for each in (rows, others))
    energy = (energies[last] - energies[first]) * (other_energies[last + lags] - other_energies[first + lags])
    across = correlate(others, rows, method="fft")
    across = across[n - 1 + lags, N_SEMITONES - 1 - MAX_SHIFT : N_SEMITONES + MAX_SHIFT]
    return float((across / np.sqrt(np.maximum(energy, MIN_ENERGY))[:, None]).max())


def _alignments(clips: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Return the alignments (n, m) of clips with others; 1 of the same clip, later, transposed or at another speed."""
    at_speeds = [[_changes(bands, speed) for speed in SPEEDS] for bands in map(semitone_bands, clips)]
    references = [_changes(semitone_bands(other)) for other in others]
    return np.array(
        [[max(_best_correlation(read, other) for read in reads) for other in references] for reads in at_speeds]
    )


def _threshold(aligned: np.ndarray) -> tuple[float, float, float]:
    """Return the threshold, the best alignment of other takes and the least of copies.

    `aligned` is (n, n): coded training clips with training clips, so that copies lie on its diagonal.
    """
    takes, copies = float(aligned[~np.eye(len(aligned), dtype=bool)].max()), float(np.diag(aligned).min())
    return takes + POSITION * max(copies - takes, 0.0), takes, copies


@dataclass(frozen=True)
class CopyTest:
    """The test of one concept.

    Attributes
    ----------
    training : the concept's clips.
    threshold : a clip whose alignment with a training clip is above it is a copy.
    takes, copies : the best alignment of other takes, and the least one of copies, in the calibration.
    """

    training: tuple[np.ndarray, ...]
    threshold: float
    takes: float
    copies: float

    @classmethod
    def calibrated(cls, training: Sequence[np.ndarray], coded: Sequence[np.ndarray]) -> "CopyTest":
        """Return the test of a concept's clips and the same clips after the codec, in the same order.

        Raises
        ------
        ValueError : there are fewer than three clips, or not as many coded ones.
        """
        _check_sets(training, coded)
        return cls(tuple(training), *_threshold(_alignments(coded, training)))

    @property
    def note(self) -> str:
        """What the threshold lies between, and a warning where it has no power."""
        numbers = f"threshold {self.threshold:.2f}; other takes up to {self.takes:.2f}, copies from {self.copies:.2f}"
        return numbers if self.copies > self.takes else f"{numbers}: copies cannot be told from other takes here"

    def rated(self, clips: Sequence[np.ndarray]) -> pd.DataFrame:
        """Return one row a clip: nearest (number of the training clip, from 0), alignment, copy (True or False)."""
        aligned = _alignments(clips, self.training)
        best = aligned.max(1)
        return pd.DataFrame({"nearest": aligned.argmax(1), "alignment": best, "copy": best > self.threshold})


def _check_sets(training: Sequence[np.ndarray], coded: Sequence[np.ndarray]) -> None:
    if len(training) < MIN_CLIPS or len(coded) != len(training):
        raise ValueError(
            f"{len(training)} training clips and {len(coded)} coded ones arrived; a copy test needs {MIN_CLIPS} or "
            "more clips, and each of them after the codec. Add recordings of the concept, or leave the test out."
        )


def planted_copies(
    training: Sequence[np.ndarray], codec: Callable[[np.ndarray], np.ndarray], harder: bool = False
) -> dict[str, list[np.ndarray]]:
    """Return copies of the training clips after the codec, in several disguises.

    Parameters
    ----------
    training : a concept's clips.
    codec : clip (n,) -> clip (n,), by VAE and vocoder.
    harder : also 2 and 5 s later, and the first half alone, followed by silence.

    Returns
    -------
    Name -> clips in the order of the training clips: as they are, 0.3 s later (what runs over comes first), and played
    2 semitones higher or lower (faster or slower, repeated or cut to their length).
    """

    def later(clip: np.ndarray, seconds: float) -> np.ndarray:
        return np.roll(clip, round(seconds * RATE_HZ))

    def played(clip: np.ndarray, semitones: float) -> np.ndarray:
        return np.resize(soxr.resample(clip, RATE_HZ, RATE_HZ * 2 ** (-semitones / 12)), len(clip))

    disguises = {
        "as it is": lambda clip: clip,
        f"{SHIFT_S} s later": lambda clip: later(clip, SHIFT_S),
        f"{SEMITONES} semitones higher": lambda clip: played(clip, SEMITONES),
        f"{SEMITONES} semitones lower": lambda clip: played(clip, -SEMITONES),
    }
    if harder:
        disguises |= {f"{seconds} s later": partial(later, seconds=seconds) for seconds in LATER_S}
        disguises["first half alone"] = lambda clip: np.where(np.arange(len(clip)) < len(clip) // 2, clip, 0)
    return {name: [codec(disguise(clip)) for clip in training] for name, disguise in disguises.items()}


def copy_test_power(
    concepts: Iterable[tuple[Sequence[np.ndarray], Sequence[np.ndarray], Mapping[str, Sequence[np.ndarray]]]],
) -> pd.DataFrame:
    """Return how many planted copies and how many other takes are called copies, over concepts.

    Parameters
    ----------
    concepts : iterable of (training, coded, planted)
        Of each concept: its clips, the same after the codec, and by kind copies of each of them in the same order, such
        as those of `planted_copies`.

    Returns
    -------
    Index kind, last "other takes"; n, called, share, ci_low, ci_high (Wilson). Each clip is tested with a threshold
    from the others. Beside them its coded self is another take (whose share is the rate of false alarms), beside all of
    them its planted copies are copies (whose shares are the power).
    """
    counts: dict[str, list[bool]] = {}
    for training, coded, planted in concepts:
        _check_sets(training, coded)
        aligned = _alignments(coded, training)
        of_kinds = {kind: _alignments(clips, training) for kind, clips in planted.items()}
        for i in range(len(training)):
            rest = [k for k in range(len(training)) if k != i]
            threshold = _threshold(aligned[np.ix_(rest, rest)])[0]
            for kind, of_kind in of_kinds.items():
                counts.setdefault(kind, []).append(bool(of_kind[i].max() > threshold))
            counts.setdefault(OTHER_TAKES, []).append(bool(aligned[i, rest].max() > threshold))
    kinds = [*(kind for kind in counts if kind != OTHER_TAKES), *([OTHER_TAKES] if counts else [])]
    rows = [(len(counts[kind]), sum(counts[kind])) for kind in kinds]
    table = pd.DataFrame(rows, index=pd.Index(kinds, name="kind"), columns=["n", "called"])
    ends = [wilson(called, n) for n, called in rows]
    return table.assign(
        share=table["called"] / table["n"], ci_low=[low for low, _ in ends], ci_high=[high for _, high in ends]
    )
