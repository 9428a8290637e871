"""Recording conditions of a clip: rooms, water, an old gramophone, and sounds in the background.

Conventions: clips are mono float32 (n,) at ``RATE_HZ``; every function takes ``(clip, rng)`` and returns a clip of the
same length at about the same level, peak at most ``PEAK``. Randomness comes only from ``rng``.

furnished_room, small_room, cathedral : convolution with a decaying-noise impulse response (Moorer, 1979) and early
                            reflections; the small room has bare walls, so it also flutters.
under_water, gramophone   : filters, modulation, saturation and surface noise.
rain, footsteps, crowd    : synthesised backgrounds (the sound alone: ``*_sound``), added at a stated level.
"""

import numpy as np
from scipy import signal

from tmp_utils.inputs.audio import RATE_HZ

PEAK = 0.9


def _rms(clip: np.ndarray) -> float:
    return float(np.sqrt(np.mean(clip**2)) + 1e-9)


def _settle(clip: np.ndarray, level_of: np.ndarray) -> np.ndarray:
    """Give ``clip`` the RMS level of ``level_of`` without letting its peak pass ``PEAK``."""
    clip = clip * (_rms(level_of) / _rms(clip))
    return (clip * min(1.0, PEAK / (np.abs(clip).max() + 1e-9))).astype(np.float32)


def _filter(clip: np.ndarray, kind: str, cutoff_hz, order: int = 4) -> np.ndarray:
    return signal.sosfilt(signal.butter(order, cutoff_hz, kind, fs=RATE_HZ, output="sos"), clip)


def _reverberate(clip, rng, decay_s: float, wet: float, damping_hz: float, predelay_s: float) -> np.ndarray:
    """Add a diffuse tail that falls 60 dB in ``decay_s`` and a few early reflections."""
    n = int(decay_s * RATE_HZ)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail = _filter(tail, "lowpass", damping_hz, order=1)
    start = int(predelay_s * RATE_HZ)
    response = np.concatenate([np.zeros(start), tail])
    for reflection in rng.integers(start // 2 + 1, 3 * start + 40, size=6):
        response[min(reflection, len(response) - 1)] += rng.choice([-1, 1]) * 3.0
    response /= np.sqrt(np.sum(response**2))
    echo = signal.oaconvolve(clip, response)[: len(clip)]
    return _settle((1 - wet) * clip + wet * echo, clip)


def furnished_room(clip, rng):
    """A furnished room at home: about 0.35 s of decay."""
    return _reverberate(clip, rng, rng.uniform(0.25, 0.45), 0.55, 4000, 0.004)


def small_room(clip, rng):
    """A small, bare room: about 0.6 s of decay, and a flutter echo between walls 1.2 to 2 m apart."""
    delay = int(rng.uniform(0.007, 0.012) * RATE_HZ)
    flutter = signal.lfilter([1.0], np.concatenate([[1.0], np.zeros(delay - 1), [-rng.uniform(0.6, 0.75)]]), clip)
    return _reverberate(_settle(flutter, clip), rng, rng.uniform(0.5, 0.7), 0.6, 3500, 0.004)


def cathedral(clip, rng):
    """A cathedral: 4 to 6 s of decay, more echo than direct sound."""
    return _reverberate(clip, rng, rng.uniform(4.0, 6.0), 0.85, 2500, 0.03)


def under_water(clip, rng):
    """A low-pass at about 400 Hz, slow swelling, a few bubbles."""
    seconds = np.arange(len(clip)) / RATE_HZ
    muffled = _filter(clip, "lowpass", rng.uniform(350, 500))
    swell = 1 + 0.35 * np.sin(2 * np.pi * rng.uniform(0.4, 0.9) * seconds + rng.uniform(0, 6))
    out = muffled * swell
    for start in rng.integers(0, len(clip) - 4000, size=14):
        t = np.arange(int(rng.uniform(800, 2400))) / RATE_HZ
        pitch_hz = rng.uniform(250, 600) * (1 + 4 * t)
        bubble = np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ) * np.exp(-t * 30) * (1 - np.exp(-t * 400))
        out[start : start + len(t)] += bubble[: len(out) - start] * _rms(muffled) * rng.uniform(0.6, 1.6)
    return _settle(out, clip)


def gramophone(clip, rng):
    """An old gramophone: narrow band, wow, horn saturation, hiss and crackle."""
    seconds = np.arange(len(clip)) / RATE_HZ
    wow = 0.0012 * np.sin(2 * np.pi * 1.3 * seconds + rng.uniform(0, 6)) * RATE_HZ
    worn = np.interp(np.arange(len(clip)) + wow, np.arange(len(clip)), clip)
    worn = _filter(worn, "bandpass", (400, 3200), order=3)
    worn = np.tanh(2.0 * worn / (4 * _rms(worn))) * 4 * _rms(worn) / 2.0
    level = _rms(worn)
    hiss = _filter(rng.standard_normal(len(clip)), "bandpass", (700, 6000), order=1) * level * 0.12
    crackle = np.zeros(len(clip))
    clicks = rng.integers(0, len(clip), size=220)
    crackle[clicks] = rng.standard_normal(220) * level * rng.uniform(1, 7, size=220)
    crackle = signal.lfilter([1.0], [1.0, -0.5], crackle)
    return _settle(worn + hiss + crackle, clip)


def rain_sound(n: int, rng) -> np.ndarray:
    """Steady rain (n,): a bright hiss and single drops."""
    hiss = _filter(rng.standard_normal(n), "bandpass", (900, 7000), order=2)
    drops = np.zeros(n)
    hits = rng.integers(0, n, size=n // 160)
    drops[hits] = rng.exponential(4.0, size=len(hits)) * rng.choice([-1, 1], size=len(hits))
    return hiss + _filter(drops, "bandpass", (1500, 6500), order=1)


def footsteps_sound(n: int, rng) -> np.ndarray:
    """Someone walking on a hard floor (n,): heel and sole, about two steps a second."""
    steps, time_s, period_s = np.zeros(n), rng.uniform(0, 0.3), rng.uniform(0.48, 0.62)
    while time_s < n / RATE_HZ - 0.3:
        for offset_s, strength, cutoff_hz in ((0.0, 1.0, (70, 400)), (0.07, 0.5, (500, 3000))):
            t = np.arange(int(0.12 * RATE_HZ)) / RATE_HZ
            knock = _filter(rng.standard_normal(len(t)) * np.exp(-t * 45), "bandpass", cutoff_hz, order=2)
            start = int((time_s + offset_s) * RATE_HZ)
            end = min(start + len(t), n)
            steps[start:end] += strength * (knock / _rms(knock))[: end - start]
        time_s += period_s * rng.uniform(0.95, 1.05)
    return steps


def crowd_sound(n: int, rng) -> np.ndarray:
    """A big crowd (n,): many murmuring voices as modulated formant noise, and applause."""
    crowd = np.zeros(n)
    for _ in range(10):
        envelope = np.repeat(rng.uniform(0, 1, size=n // 2000 + 2) ** 2, 2000)[:n]
        centre_hz = rng.uniform(300, 2200)
        voice = _filter(rng.standard_normal(n), "bandpass", (centre_hz * 0.8, centre_hz * 1.25), order=2)
        crowd += voice / _rms(voice) * np.convolve(envelope, np.ones(400) / 400, "same")
    claps = np.zeros(n)
    hits = rng.integers(0, n, size=n // 500)
    claps[hits] = rng.uniform(-1, 1, size=len(hits)) * 20
    claps = _filter(claps, "bandpass", (800, 3000), order=1)
    return crowd + 1.5 * claps / _rms(claps)


def _behind(clip, background, level_db: float) -> np.ndarray:
    """Add ``background`` so that it lies ``level_db`` below the clip."""
    return _settle(clip + background * (_rms(clip) / _rms(background)) * 10 ** (-level_db / 20), clip)


def rain(clip, rng):
    """Rain in the background, 2 to 7 dB below the music."""
    return _behind(clip, rain_sound(len(clip), rng), rng.uniform(2, 7))


def footsteps(clip, rng):
    """Footsteps near by, as loud as the music within 3 dB: most of the time between steps is silent."""
    return _behind(clip, footsteps_sound(len(clip), rng), rng.uniform(-3, 3))


def crowd(clip, rng):
    """In front of a big crowd, which is 0 to 5 dB below the music."""
    return _behind(clip, crowd_sound(len(clip), rng), rng.uniform(0, 5))
