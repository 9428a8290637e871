"""Rendering of scores with a General MIDI synthesizer.

Conventions: a score is a ``pretty_midi.PrettyMIDI`` (times in seconds); a clip is mono float32 (n,) in [-1, 1] at
``RATE_HZ``. The synthesizer runs at twice that rate and its output is resampled, because SoundFont playback does not
band-limit. Two processes render the same clip up to the synthesizer's dither, about 80 dB down. Its reverb and chorus
are off, because rooms are simulated in ``acoustics``.
"""

import functools
import os
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, resampled

SOUNDFONT_VARIABLE = "TMP_SOUNDFONT"
SOUNDFONT_PLACES = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/opt/homebrew/share/soundfonts/FluidR3_GM.sf2",
)
SYNTH_RATE_HZ = 2 * RATE_HZ
N_CHANNELS, DRUM_BANK = 16, 128
SYNTH_GAIN = 0.4
PEAK = 0.9


def find_soundfont() -> Path:
    """Find the FluidR3 SoundFont (MIT licence, Frank Wen) by ``TMP_SOUNDFONT``, or where packages put it.

    Raises
    ------
    FileNotFoundError : there is none; the message names the package to install.
    """
    places = [os.environ[SOUNDFONT_VARIABLE]] if os.environ.get(SOUNDFONT_VARIABLE) else SOUNDFONT_PLACES
    for place in map(Path, places):
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"No SoundFont at {', '.join(map(str, places))}. Install Debian's fluidsynth and fluid-soundfont-gm, or set "
        f"{SOUNDFONT_VARIABLE} to a FluidR3_GM.sf2. Only rebuilding the pocket corpus or the stand-in clips needs it."
    )


def find_synthesizer() -> tuple[ModuleType, Path]:
    """Find FluidSynth's bindings, which load its library when they are imported, and the SoundFont.

    Raises
    ------
    ImportError, FileNotFoundError : the bindings, the library or the SoundFont is missing; the message says how to
        install it.
    """
    try:
        import fluidsynth
    except (ImportError, OSError) as error:
        raise ImportError(
            f"FluidSynth cannot be loaded ({error}). Install its library (`apt-get install fluidsynth`) and bindings "
            "(`pip install pyfluidsynth`). Only rebuilding the pocket corpus or the stand-in clips needs them."
        ) from error
    return fluidsynth, find_soundfont()


@contextmanager
def _synthesizer():
    """A new synthesizer, since one that has played before renders differently; it reads only the samples it needs."""
    fluidsynth, soundfont = find_synthesizer()
    synth = fluidsynth.Synth(samplerate=float(SYNTH_RATE_HZ), gain=SYNTH_GAIN)
    try:
        synth.setting("synth.reverb.active", 0)
        synth.setting("synth.chorus.active", 0)
        synth.setting("synth.dynamic-sample-loading", 1)
        yield synth, synth.sfload(str(soundfont))
    finally:
        synth.delete()


def _events(midi, synth, soundfont_id: int) -> list[tuple[float, int, callable]]:
    """Every note, bend and controller of every part as (time, order, action); note-offs sort before note-ons."""
    events, channels = [], iter(range(N_CHANNELS))
    for part in midi.instruments:
        channel = next(channels)
        synth.program_select(channel, soundfont_id, DRUM_BANK if part.is_drum else 0, part.program)
        synth.pitch_bend(channel, 0)
        for note in part.notes:
            events.append((note.start, 1, functools.partial(synth.noteon, channel, note.pitch, note.velocity)))
            events.append((note.end, 0, functools.partial(synth.noteoff, channel, note.pitch)))
        for bend in part.pitch_bends:
            events.append((bend.time, 0, functools.partial(synth.pitch_bend, channel, bend.pitch)))
        for change in part.control_changes:
            events.append((change.time, 0, functools.partial(synth.cc, channel, change.number, change.value)))
    return sorted(events, key=lambda event: event[:2])


def render_midi(midi, duration_s: float = CLIP_S) -> np.ndarray:
    """The first ``duration_s`` seconds of a score of at most 16 parts; a drum part's program is its kit.

    Returns
    -------
    Mono float32 (n,), peak at most 0.9; an empty score is silence, to the synthesizer's dither.
    """
    n_total, done, chunks = round(duration_s * SYNTH_RATE_HZ), 0, []
    with _synthesizer() as (synth, soundfont_id):
        for time_s, _, action in _events(midi, synth, soundfont_id):
            upto = min(int(time_s * SYNTH_RATE_HZ), n_total)
            if upto > done:
                chunks.append(synth.get_samples(upto - done))
                done = upto
            action()
        chunks.append(synth.get_samples(n_total - done))
    stereo = np.concatenate(chunks).reshape(-1, 2).astype(np.float32) / 32768.0
    clip = resampled(stereo.mean(axis=1), SYNTH_RATE_HZ, RATE_HZ)
    peak = float(np.abs(clip).max(initial=0.0))
    return clip * (PEAK / peak) if peak > PEAK else clip
