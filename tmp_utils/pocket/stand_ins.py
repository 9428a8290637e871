"""The stand-in concepts: clips rendered for this project, which anyone may use and share.

Conventions: a clip is mono float32 (n,) at 16 kHz, 10 s long. The five clips of a concept are five takes of one player,
with the same instrument, licks and habits; the phrases differ, and slightly the tempo, level, room and microphone.
Beats and solos can be rendered in any number of takes; tunes have five, since each begins at another bar.

render_stand_in   : one take of one concept.
render_background : one environmental sound for the MIX setup.
write_stand_ins   : clips of concepts, as `data/clips` has them.
write_backgrounds : all of `data/backgrounds`.
microphone        : a room, a tilt and a noise floor for one take.

`python -m tmp_utils stand-ins` writes them all (needs FluidSynth and FluidR3, see `render.find_synthesizer`);
`--only koto sitar --takes 26 --folder runs/more_clips` writes more takes of some, for `how-many`.
"""

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretty_midi
from scipy import signal
from tqdm.auto import tqdm

from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, match_loudness, save_clip
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.pocket import acoustics
from tmp_utils.pocket.render import find_synthesizer, render_midi
from tmp_utils.pocket.stand_in_beats import GROOVES, beat
from tmp_utils.pocket.stand_in_solos import PLAYERS, solo
from tmp_utils.pocket.stand_in_tunes import TUNES, play

TAKE_S = 10.0  # the paper's clips are 10 s
N_TAKES = 5
LEVEL_LUFS = -21.0
PEAK = 0.9
STAND_INS = (*GROOVES, *PLAYERS, *TUNES)


def render_stand_in(name: str, index: int, seed: int = 0) -> np.ndarray:
    """Render take `index`, from 0, of a stand-in concept.

    Returns
    -------
    float32 (160000,), peak at most 0.9.

    Raises
    ------
    ValueError : unknown name, or a take that a tune does not have.
    """
    _check(name, index + 1)
    concept_seed = [seed, zlib.crc32(name.encode())]
    rng = np.random.default_rng([*concept_seed, index])
    midi = pretty_midi.PrettyMIDI()
    parts = _parts(name, index, np.random.default_rng(concept_seed), rng)
    midi.instruments = [_playable(part) for part in parts]
    level_lufs = LEVEL_LUFS + np.random.default_rng(concept_seed).uniform(-3, 3) + rng.uniform(-1, 1)
    return _to_level(microphone(render_midi(midi, duration_s=TAKE_S), rng), level_lufs)


def _check(name: str, n_takes: int) -> None:
    """Raise ValueError for an unknown name, or more takes than a tune has."""
    if name not in STAND_INS:
        raise ValueError(f'unknown stand-in "{name}"; expected one of {", ".join(STAND_INS)}.')
    if name in TUNES and n_takes > N_TAKES:
        more = ", ".join((*GROOVES, *PLAYERS))
        raise ValueError(f"{name}: a tune has {N_TAKES} takes, not {n_takes}; these have any number: {more}.")


def _parts(name: str, index: int, style, rng) -> list[pretty_midi.Instrument]:
    if name in GROOVES:
        return beat(GROOVES[name], rng, TAKE_S)
    if name in PLAYERS:
        return solo(PLAYERS[name], style, rng, TAKE_S)
    return play(TUNES[name], index, rng, TAKE_S)


def _playable(part: pretty_midi.Instrument) -> pretty_midi.Instrument:
    """End each note where its pitch is struck again, as on a string; drop notes and bends after the end of the take."""
    part.notes = sorted((note for note in part.notes if note.start < TAKE_S), key=lambda note: note.start)
    part.pitch_bends = [bend for bend in part.pitch_bends if bend.time < TAKE_S]
    sounding: dict[int, pretty_midi.Note] = {}
    for note in part.notes:
        if note.pitch in sounding:
            before = sounding[note.pitch]
            before.end = min(before.end, max(note.start - 0.002, before.start + 0.001))
        sounding[note.pitch] = note
    return part


def microphone(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Record a take in a slightly different room, with another distance and microphone; direct sound dominates.

    Returns
    -------
    float32 (n,): up to a quarter of it furnished room, tilted by at most 3 dB, with noise at -66 dB of full scale.
    """
    wet = rng.uniform(0.05, 0.25)
    roomy = (1 - wet) * clip + wet * acoustics.furnished_room(clip, rng)
    low = signal.sosfiltfilt(signal.butter(1, 1200, fs=RATE_HZ, output="sos"), roomy)
    tilted = low + (roomy - low) * 10 ** (rng.uniform(-3, 3) / 20)
    return (tilted + rng.normal(0, 5e-4, len(clip))).astype(np.float32)


def _to_level(clip: np.ndarray, level_lufs: float) -> np.ndarray:
    clip = match_loudness(clip, level_lufs)
    return (clip * min(1.0, PEAK / np.abs(clip).max())).astype(np.float32)


def _wind(n: int, rng) -> np.ndarray:
    gusts = 0.3 + np.abs(signal.sosfilt(signal.butter(2, 0.4, fs=RATE_HZ, output="sos"), rng.standard_normal(n) * 60))
    return gusts * acoustics._filter(rng.standard_normal(n), "bandpass", (120, 900), order=1)


def _room_hum(n: int, rng) -> np.ndarray:
    seconds = np.arange(n) / RATE_HZ
    mains = sum(np.sin(2 * np.pi * 50 * k * seconds + rng.uniform(0, 6)) / k for k in (1, 2, 3, 4, 6))
    return mains + 0.6 * acoustics._filter(rng.standard_normal(n), "lowpass", 500, order=1)


def _street(n: int, rng) -> np.ndarray:
    """Passing cars over a steady rumble."""
    rumble = acoustics._filter(rng.standard_normal(n), "lowpass", 220, order=2)
    street, seconds = rumble / rumble.std(), np.arange(n) / RATE_HZ
    for _ in range(4):
        passing = np.exp(-(((seconds - rng.uniform(0, n / RATE_HZ)) / rng.uniform(0.8, 1.6)) ** 2))
        tyres = acoustics._filter(rng.standard_normal(n), "bandpass", (200, 2500), order=1)
        street += rng.uniform(0.8, 2.0) * passing * tyres / tyres.std()
    return street


BACKGROUNDS = {
    "crowd": acoustics.crowd_sound,
    "footsteps": acoustics.footsteps_sound,
    "rain": acoustics.rain_sound,
    "room_hum": _room_hum,
    "street": _street,
    "wind": _wind,
}


def render_background(name: str, seed: int = 0) -> np.ndarray:
    """Render one of `BACKGROUNDS`, float32 (163840,), peak at most 0.9."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return _to_level(BACKGROUNDS[name](round(CLIP_S * RATE_HZ), rng), LEVEL_LUFS)


def write_stand_ins(
    folder: Path, seed: int = 0, names: Sequence[str] = STAND_INS, n_takes: int = N_TAKES
) -> list[Path]:
    """Write `clips/<name>/<name>_1.ogg` to 5 under a folder; of ten takes or more the numbers begin with zeros.

    Returns
    -------
    the paths written, in order.
    """
    for name in names:
        _check(name, n_takes)
    find_synthesizer()
    paths, digits = [], len(str(n_takes))
    for name in tqdm(names, desc="stand-ins", unit="concept"):
        (folder / "clips" / name).mkdir(parents=True, exist_ok=True)
        for index in range(n_takes):
            path = folder / "clips" / name / f"{name}_{index + 1:0{digits}d}.ogg"
            paths.append(save_clip(path, render_stand_in(name, index, seed)))
    return paths


def write_backgrounds(folder: Path, seed: int = 0) -> list[Path]:
    """Write `backgrounds/<name>.ogg` under a folder; return the paths."""
    (folder / "backgrounds").mkdir(parents=True, exist_ok=True)
    return [save_clip(folder / "backgrounds" / f"{name}.ogg", render_background(name, seed)) for name in BACKGROUNDS]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--folder", type=Path, default=DATA_DIR, help="where clips/ and backgrounds/ go")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rendering (default: 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these concepts, and no backgrounds")
    parser.add_argument("--takes", type=int, default=N_TAKES, help=f"clips of each concept (default: {N_TAKES})")


def main(options: argparse.Namespace) -> None:
    """Write every stand-in and background, or only some concepts."""
    paths = write_stand_ins(options.folder, options.seed, options.only or STAND_INS, options.takes)
    paths += [] if options.only else write_backgrounds(options.folder, options.seed)
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{len(paths)} clips, {megabytes:.1f} MB, in {options.folder}")
