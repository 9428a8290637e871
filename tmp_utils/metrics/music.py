"""Tempo, loudness, key and scale of a clip, and whether a generated clip agrees with a concept's clips.

Conventions: clips are mono float arrays (n,) in [-1, 1] at ``rate_hz``; tempo in beats per minute, level
in LUFS of one channel (a full-scale 997 Hz sine reads -3.01). A reading that cannot be made is ``nan`` (numbers) or
``None`` (names); Essentia itself reads 738 BPM on silence, and A minor with strength 0.
Readings are Essentia's (https://essentia.upf.edu), all at 44.1 kHz, which its rhythm extractor assumes.

tempo_bpm, level_lufs, key_and_scale : one reading of one clip.
read_music  : all readings of several clips, one row a clip.
MusicTarget : the readings of the training clips, with which a generated clip should agree.
agreement   : one row a generated clip: whether it agrees with the target, by the rules of the paper (section 3).
agreement_names : its columns, for a concept.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from tmp_utils.inputs.audio import resampled

MUSIC_RATE_HZ = 44100  # RhythmExtractor2013 has no rate parameter: it assumes this one
MIN_MUSIC_S = 1.0  # below this Essentia reads a tempo of 0 and keys of chance
SILENT_PEAK = 1e-4  # -80 dBFS
# Sine chords read 0.8. Noise and drums read 0.35-0.8, so the catalogue's `harmonic` has to gate as well.
MIN_KEY_STRENGTH = 0.4
GATE_LUFS = -70.0  # BS.1770's absolute gate; Essentia reads just this where nothing lies above it
TEMPO_TOLERANCE_BPM = 5.0  # paper, section 3
OCTAVE_FACTORS = (1 / 3, 1 / 2, 1, 2, 3)  # MIREX audio tempo estimation, "accuracy 2"
OCTAVE_TOLERANCE = 0.04  # MIREX: 4 % of the target tempo times the factor
LEVEL_TOLERANCE_LU = 2.5  # paper, section 3

_ENHARMONIC = {"Db": "C#", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb"}


def _essentia():
    """Return ``essentia.standard``, quietly, or say how to get it."""
    try:
        import essentia
    except ImportError as error:
        raise ImportError(
            "Tempo, loudness and key need essentia, which is not installed. It has wheels for Python "
            "3.9-3.13 on Linux x86-64 and macOS: pip install essentia==2.1b6.dev1389. There are none for "
            "Windows or Linux on Arm: run this part in WSL or on Colab, or leave the music metrics out."
        ) from error
    essentia.log.infoActive = False
    import essentia.standard

    return essentia.standard


def for_essentia(clip: np.ndarray, rate_hz: int) -> np.ndarray | None:
    """Return the clip (m,) as float32 at 44.1 kHz, or None where it is silent or under 1 s.

    Raises
    ------
    ValueError : the clip is not one channel, or holds NaN or infinite samples.
    """
    clip = np.asarray(clip, dtype=np.float32)
    if clip.ndim != 1:
        raise ValueError(
            f"a clip of shape {clip.shape} arrived; expected one channel (n,). Average its channels first."
        )
    if not np.isfinite(clip).all():
        raise ValueError("the clip holds NaN or infinite samples; its file is broken. Generate or record it again.")
    if len(clip) < MIN_MUSIC_S * rate_hz or np.abs(clip).max(initial=0.0) < SILENT_PEAK:
        return None
    return resampled(clip, rate_hz, MUSIC_RATE_HZ)


def tempo_bpm(clip: np.ndarray, rate_hz: int) -> float:
    """Return the tempo in beats per minute (RhythmExtractor2013); nan for silence and under 1 s."""
    samples = for_essentia(clip, rate_hz)
    bpm = 0.0 if samples is None else float(_essentia().RhythmExtractor2013(method="multifeature")(samples)[0])
    return bpm if bpm > 0 else float("nan")


def level_lufs(clip: np.ndarray, rate_hz: int) -> float:
    """Return the EBU R 128 integrated loudness in LUFS of this one channel.

    It is nan for silence, under 1 s, and where all of the clip lies under the absolute gate of -70 LUFS.

    Agrees with ``audio.loudness_lufs`` (pyloudnorm) within 0.1 LU.
    """
    if (samples := for_essentia(clip, rate_hz)) is None:
        return float("nan")
    one_channel = np.stack([samples, np.zeros_like(samples)], axis=1)
    level = float(_essentia().LoudnessEBUR128(sampleRate=MUSIC_RATE_HZ)(one_channel)[2])
    return level if level > GATE_LUFS else float("nan")


def key_and_scale(clip: np.ndarray, rate_hz: int) -> tuple[str | None, str | None, float]:
    """Return (tonic, "major" or "minor", strength in [0, 1]) by harmonic pitch class profiles.

    Tonic and scale are None where the strength is below ``MIN_KEY_STRENGTH``, on silence and under 1 s.
    Essentia's default profile (bgate); the tonic is spelled one way only (C#, Eb, F#, Ab, Bb).
    """
    if (samples := for_essentia(clip, rate_hz)) is None:
        return None, None, 0.0
    key, scale, strength = _essentia().KeyExtractor(sampleRate=MUSIC_RATE_HZ)(samples)
    if strength < MIN_KEY_STRENGTH:
        return None, None, float(strength)
    return _ENHARMONIC.get(key, key), scale, float(strength)


@lru_cache(maxsize=32)  # every run of a concept is compared with the same training clips
def _reading(samples: bytes, shape: tuple[int, ...], rate_hz: int) -> tuple:
    clip = np.frombuffer(samples, np.float32).reshape(shape)
    return tempo_bpm(clip, rate_hz), level_lufs(clip, rate_hz), *key_and_scale(clip, rate_hz)


def read_music(clips: Sequence[np.ndarray], rate_hz: int) -> pd.DataFrame:
    """Return one row a clip: tempo_bpm, level_lufs, key, scale, key_strength."""
    rows = [_reading(np.asarray(clip, np.float32).tobytes(), np.shape(clip), rate_hz) for clip in clips]
    table = pd.DataFrame(rows, columns=["tempo_bpm", "level_lufs", "key", "scale", "key_strength"])
    names = ["key", "scale"]
    table[names] = table[names].astype(object).where(table[names].notna(), None)
    return table


def _strongest(names: Sequence, strengths: Sequence[float]) -> str | None:
    """Return the most common name; of equally common ones, the one of greatest strength."""
    votes = defaultdict(lambda: (0, 0.0))
    for name, strength in zip(names, strengths, strict=True):
        if isinstance(name, str):
            count, total = votes[name]
            votes[name] = (count + 1, total + strength)
    return max(sorted(votes), key=lambda name: votes[name]) if votes else None


@dataclass(frozen=True)
class MusicTarget:
    """The readings of a concept's training clips together.

    ``tempo_bpm`` is the mean reading (the paper's rule) and ``tempo_median_bpm`` a middle one, for the
    octave-tolerant rule: loops often read at 1/2 or 2/3 of their tempo, and the mean of such readings fits no clip.
    """

    tempo_bpm: float
    tempo_median_bpm: float
    level_lufs: float
    key: str | None
    scale: str | None

    @classmethod
    def of(cls, readings: pd.DataFrame) -> "MusicTarget":
        """Return the target of a table made by ``read_music`` from the training clips."""
        tempos, levels = readings["tempo_bpm"].dropna(), readings["level_lufs"].dropna()
        return cls(
            tempo_bpm=float(tempos.mean()) if len(tempos) else float("nan"),
            tempo_median_bpm=float(tempos.sort_values().iloc[len(tempos) // 2]) if len(tempos) else float("nan"),
            level_lufs=float(levels.mean()) if len(levels) else float("nan"),
            key=_strongest(readings["key"], readings["key_strength"]),
            scale=_strongest(readings["scale"], readings["key_strength"]),
        )


def tempo_agrees(bpm: float, target_bpm: float) -> bool:
    """Return whether two tempi lie within 5 BPM (the paper's rule); an undefined one agrees with none."""
    return bool(abs(bpm - target_bpm) <= TEMPO_TOLERANCE_BPM)


def tempo_agrees_by_octave(bpm: float, target_bpm: float) -> bool:
    """Return whether the tempo lies within 4 % of 1/3, 1/2, 1, 2, 3 times the target (MIREX, accuracy 2)."""
    targets = np.array(OCTAVE_FACTORS) * target_bpm
    return bool((np.abs(bpm - targets) <= OCTAVE_TOLERANCE * targets).any())


def agreement_names(tempo: bool, harmony: bool) -> list[str]:
    """Return the columns of `agreement` for a concept with or without a constant tempo and harmony."""
    of_tempo = ["tempo_agreement", "tempo_octave_agreement"] * tempo
    return ["level_agreement", *of_tempo, *["key_agreement", "scale_agreement"] * harmony]


def agreement(readings: pd.DataFrame, target: MusicTarget, *, tempo: bool = True, harmony: bool = True) -> pd.DataFrame:
    """Return one row a generated clip, 1.0 where it agrees with the target and 0.0 where not.

    Parameters
    ----------
    readings : of the generated clips, from ``read_music``.
    target : of the training clips.
    tempo, harmony : whether the concept has a constant tempo, and whether it is harmonic (the catalogue says which).

    Returns
    -------
    Columns level_agreement and, where they make sense, tempo_agreement, tempo_octave_agreement, key_agreement,
    scale_agreement. An undefined reading does not agree; a column whose target is undefined is nan.
    """
    columns = {"level_agreement": (readings["level_lufs"] - target.level_lufs).abs() <= LEVEL_TOLERANCE_LU}
    defined = {"level_agreement": np.isfinite(target.level_lufs)}
    if tempo:
        tempos = readings["tempo_bpm"]
        columns["tempo_agreement"] = tempos.map(lambda bpm: tempo_agrees(bpm, target.tempo_bpm))
        columns["tempo_octave_agreement"] = tempos.map(lambda bpm: tempo_agrees_by_octave(bpm, target.tempo_median_bpm))
        defined |= dict.fromkeys(("tempo_agreement", "tempo_octave_agreement"), np.isfinite(target.tempo_bpm))
    if harmony:
        columns["key_agreement"] = readings["key"] == target.key
        columns["scale_agreement"] = readings["scale"] == target.scale
        defined |= {"key_agreement": target.key is not None, "scale_agreement": target.scale is not None}
    table = pd.DataFrame(columns, index=readings.index).astype(float)
    table.loc[:, [not defined[name] for name in table.columns]] = float("nan")
    return table
