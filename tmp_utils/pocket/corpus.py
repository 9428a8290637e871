"""The pocket corpus: captioned music, rendered from scores that are drawn from a seed.

Conventions: clip k of a corpus depends only on (seed, k), so any clip can be rendered again alone and the number of
processes does not matter. Clips are ``CLIP_S`` long at ``RATE_HZ``. On disk they are int16, in one memory-mapped array.
"""

import json
import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pretty_midi
from scipy import signal
from tqdm.auto import tqdm

from tmp_utils.files import write_csv, write_json
from tmp_utils.inputs.audio import CLIP_S, HOP, RATE_HZ
from tmp_utils.pocket import acoustics, captions, grooves, scores
from tmp_utils.pocket.instruments import BY_NAME, Instrument
from tmp_utils.pocket.render import find_synthesizer, render_midi

MAN = Instrument("man singing", (), 53, 43, 62, "sustain")
OCTAVE = 12
CLIP_SAMPLES = round(CLIP_S * RATE_HZ)
HOLDOUT_OFFSET = 1_000_000  # held-out clips are numbered from here, so no training clip is among them
PARTNERS = {
    "accompaniment-guitar": "classical guitar",
    "accompaniment-synth": "synth bass",
    "accompaniment-saxophone": "alto saxophone",
}
GENRES = {"metal": "heavy metal", "hiphop": "hip hop"}
EFFECTS = {
    "recording-room": acoustics.small_room,
    "recording-cathedral": acoustics.cathedral,
    "recording-water": acoustics.under_water,
    "recording-gramophone": acoustics.gramophone,
    "background-rain": acoustics.rain,
    "background-footsteps": acoustics.footsteps,
    "background-crowd": acoustics.crowd,
}


def _subject_parts(subject, key, tempo_bpm, rng, alone: bool) -> list:
    """The part or parts of the subject itself, for playing alone or with a band."""
    if subject.kind == "beat":
        return [grooves.drum_part(subject.groove, tempo_bpm, CLIP_S, rng, level=1.1)]
    if subject.kind == "percussion":
        return [grooves.tom_part(tempo_bpm, CLIP_S, rng)]
    if subject.kind == "classical":
        return scores.chorale(tempo_bpm, CLIP_S, rng)
    if alone:
        return scores.solo(subject.instrument, key, tempo_bpm, CLIP_S, rng)
    return [scores.melody(subject.instrument, key, tempo_bpm, CLIP_S, rng, legato=0.9, velocity=112)]


def _mood_parts(subject, happy: bool, rng) -> list:
    """Happy: major, fast, high, detached, hands clapping along. Sad: minor, slow, low, soft, legato."""
    key = scores.draw_key(rng, ("major",) if happy else ("minor",))
    tempo_bpm = float(rng.uniform(140, 175) if happy else rng.uniform(46, 60))
    claps = [grooves.clap_part(tempo_bpm, CLIP_S, rng)] if happy else []
    if subject.kind == "beat":
        return [grooves.drum_part(subject.groove, tempo_bpm, CLIP_S, rng, level=1.1 if happy else 0.6), *claps]
    if subject.kind == "percussion":
        return [grooves.tom_part(tempo_bpm, CLIP_S, rng), *claps]
    if subject.kind == "classical":
        return scores.chorale(tempo_bpm, CLIP_S, rng, key) + claps
    played, middle = subject.instrument, (subject.instrument.low + subject.instrument.high) // 2
    if played.high - played.low >= OCTAVE:
        played = replace(played, low=middle - 3) if happy else replace(played, high=middle + 3)
    legato, velocity = (0.5, 114) if happy else (1.0, 72)
    return [scores.melody(played, key, tempo_bpm, CLIP_S, rng, 1.0, legato, velocity), *claps]


def _tempo(subject, low_bpm: float, high_bpm: float, rng) -> float:
    if subject.kind == "beat":
        return scores.draw_tempo(subject.groove, rng)
    return float(rng.uniform(low_bpm, high_bpm))


def _accompaniment(context, key, tempo_bpm, rng) -> list:
    kind = context.split("-")[1]
    if kind in ("rock", "hiphop", "jazz"):
        return [grooves.drum_part(GENRES.get(kind, kind), tempo_bpm, CLIP_S, rng, level=0.9)]
    if kind == "singer":
        part = scores.melody(MAN, key, tempo_bpm, CLIP_S, rng, velocity=108, legato=1.0)
        part.control_changes.append(pretty_midi.ControlChange(1, 60, 0.0))
        return [part]
    partner = BY_NAME[PARTNERS[context]]
    progression = scores.PROGRESSIONS[int(rng.integers(len(scores.PROGRESSIONS)))]
    if kind == "guitar":
        return [scores.arpeggio(partner, key, progression, tempo_bpm, CLIP_S, rng, 95)]
    if kind == "synth":
        figure = str(rng.choice(["sixteenths", "octaves"]))
        return [scores.bass_line(partner, key, progression, figure, tempo_bpm, CLIP_S, rng, 100)]
    return [scores.melody(partner, key, tempo_bpm, CLIP_S, rng, velocity=92)]


def _score(subject, context, rng) -> pretty_midi.PrettyMIDI:
    """All parts of one clip."""
    family, _, kind = context.partition("-")
    if family == "genre":
        genre = GENRES.get(kind, kind)
        tempo_bpm = scores.draw_tempo(genre, rng)
        key = scores.draw_key(rng, ("major", "minor"))
        lead = _subject_parts(subject, key, tempo_bpm, rng, alone=False)
        parts = scores.arrangement(genre, tempo_bpm, CLIP_S, rng, lead, key)
    elif family == "accompaniment":
        bounds = {"rock": (105, 140), "hiphop": (82, 98), "jazz": (120, 170)}.get(kind, (75, 130))
        tempo_bpm = _tempo(subject, *bounds, rng)
        key = scores.draw_key(rng, ("major", "minor"))
        parts = _subject_parts(subject, key, tempo_bpm, rng, alone=False)
        parts += _accompaniment(context, key, tempo_bpm, rng)
    elif family == "mood":
        parts = _mood_parts(subject, kind == "happy", rng)
    else:
        bounds = {"tempo-fast": (150, 185), "tempo-slow": (50, 68)}.get(context, (75, 140))
        tempo_bpm = float(rng.uniform(*bounds)) if family == "tempo" else _tempo(subject, *bounds, rng)
        parts = _subject_parts(subject, scores.draw_key(rng), tempo_bpm, rng, alone=True)
    midi = pretty_midi.PrettyMIDI()
    midi.instruments = parts
    return midi


def _microphone(clip, rng) -> np.ndarray:
    """Draw a microphone and its distance: a gentle tilt of the spectrum, and a level."""
    low = signal.sosfilt(signal.butter(1, 600, fs=RATE_HZ, output="sos"), clip)
    tilted = clip + rng.uniform(-0.4, 0.6) * low + rng.uniform(-0.3, 0.5) * (clip - low)
    peak = np.abs(tilted).max()
    return (tilted * (10 ** (-rng.uniform(1, 9) / 20) / max(peak, 1e-6))).astype(np.float32)


def render_clip(seed: int, k: int) -> tuple[np.ndarray, str, str]:
    """Draw and render clip `k` of the corpus of a seed: float32 (163840,), its caption and its context."""
    rng = np.random.default_rng([seed, k])
    subject, context = captions.draw_subject(rng), captions.draw_context(rng)
    text = captions.caption(subject, context, rng)
    clip = render_midi(_score(subject, context, rng))
    if context in EFFECTS:
        clip = EFFECTS[context](clip, rng)
    return _microphone(clip, rng), text, context


@dataclass(frozen=True)
class Corpus:
    """A rendered corpus.

    Attributes
    ----------
    clips : int16 (n_clips, 163840).
    table : one row a clip: caption, context.
    seed, first : of the drawing; clip k of this corpus is clip `first + k` of that seed.
    """

    clips: np.memmap
    table: pd.DataFrame
    seed: int
    first: int

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open a corpus that ``render_corpus`` has finished; ``FileNotFoundError`` if there is none."""
        folder = Path(folder)
        if not (folder / "corpus.csv").exists():
            raise FileNotFoundError(f"No corpus in {folder}: run `make pocket STAGE=corpus` first.")
        table = pd.read_csv(folder / "corpus.csv")
        shape = (len(table), CLIP_SAMPLES)
        request = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        clips = np.memmap(folder / "clips.int16", np.int16, "r", shape=shape)
        return cls(clips, table, request["seed"], request["first"])

    def noun(self, k: int) -> str:
        """What clip k's caption says that plays: drawn again, as `render_clip` drew it."""
        return captions.draw_subject(np.random.default_rng([self.seed, self.first + k])).noun

    def clip(self, k: int) -> np.ndarray:
        """Clip k as float32 (163840,) in [-1, 1]."""
        return self.clips[k].astype(np.float32) / 32768.0


def _render_row(args) -> tuple[np.ndarray, str, str]:
    clip, text, context = render_clip(*args)
    return (clip * 32767).round().astype(np.int16), text, context


def render_corpus(folder: Path, n_clips: int, seed: int, first: int = 0, n_processes: int | None = None) -> Corpus:
    """Render clips ``first`` to ``first + n_clips`` of a corpus into ``folder``, unless all are there already."""
    folder = Path(folder)
    request = {"seed": seed, "n_clips": n_clips, "first": first, "clip_samples": CLIP_SAMPLES, "hop": HOP}
    if (folder / "corpus.json").exists() and json.loads((folder / "corpus.json").read_text()) == request:
        return Corpus.open(folder)
    find_synthesizer()  # or its error, before an earlier corpus is overwritten
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.json").unlink(missing_ok=True)  # until all clips are rendered, it would name others
    clips = np.memmap(folder / "clips.int16", np.int16, "w+", shape=(n_clips, CLIP_SAMPLES))
    rows, jobs = [], [(seed, first + k) for k in range(n_clips)]
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        for k, (clip, text, context) in enumerate(
            tqdm(pool.imap(_render_row, jobs, chunksize=8), total=n_clips, desc=f"rendering {folder.name}")
        ):
            clips[k] = clip
            rows.append({"caption": text, "context": context})
    clips.flush()
    write_csv(folder / "corpus.csv", rows)
    write_json(folder / "corpus.json", request)
    return Corpus.open(folder)
