"""A test that is passed with headphones and failed with loudspeakers, after Woods et al. (2017).

Three tones of 200 Hz follow each other, and one is 6 dB softer: which is the softest? One of the others has its two
channels in opposite phase. Loudspeakers send both channels to each ear, where these cancel, so that this tone seems
the softest; each side of headphones plays only its own. At 200 Hz that holds where one loudspeaker is up to 0.2 m
nearer than the other, and with a single one.

Conventions: an order is three letters, one a tone: "p" plain, "q" quiet, "a" antiphase. A round has six trials, one of
each order. Sounds are float32 (n, 2) at 16 kHz.

Source: K. J. P. Woods, M. H. Siegel, J. Traer, J. H. McDermott: Headphone screening to facilitate web-based auditory
experiments. Attention, Perception, & Psychophysics 79 (2017), 2064-2072, https://doi.org/10.3758/s13414-017-1361-2.
"""

import hashlib
import io
import itertools
from collections.abc import Sequence

import numpy as np
import soundfile

from tmp_utils.inputs.audio import RATE_HZ

ORDERS = tuple("".join(order) for order in itertools.permutations("apq"))
N_TRIALS, N_RIGHT = 6, 5  # a guess passes a round in 13 of 729 cases
TONE_HZ, TONE_S, RAMP_S, GAP_S = 200, 1.0, 0.1, 0.5
QUIET_DB = -6.0
AMPLITUDE = 0.2  # of a plain tone


def tones(order: str) -> np.ndarray:
    """float32 (64000, 2): three tones in their order."""
    time_s = np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ
    ramp = np.clip(np.minimum(time_s, TONE_S - time_s) / RAMP_S, 0, 1)
    tone = AMPLITUDE * np.sin(np.pi / 2 * ramp) ** 2 * np.sin(2 * np.pi * TONE_HZ * time_s)
    gains = {"p": (1.0, 1.0), "q": (10 ** (QUIET_DB / 20),) * 2, "a": (1.0, -1.0)}
    gap = np.zeros((round(GAP_S * RATE_HZ), 2))
    parts = [part for letter in order for part in (gap, tone[:, None] * np.array(gains[letter]))]
    return np.concatenate(parts[1:]).astype(np.float32)


def flac(order: str) -> bytes:
    """The tones as a 16-bit stereo flac file."""
    data = io.BytesIO()
    soundfile.write(data, tones(order), RATE_HZ, format="FLAC", subtype="PCM_16")
    return data.getvalue()


def trials(code: str, number: int) -> list[str]:
    """The orders of round `number` (from 0) of a participant, drawn from their code."""
    digest = hashlib.sha256(f"headphones/{number}/{code}".encode()).digest()
    return [str(order) for order in np.random.default_rng(list(digest)).permutation(ORDERS)]


def passed(orders: Sequence[str], answers: Sequence[int]) -> bool:
    """Whether enough of a round's answers (0, 1 or 2: which tone was the softest) are right."""
    return sum(order[k] == "q" for order, k in zip(orders, answers, strict=True)) >= N_RIGHT
