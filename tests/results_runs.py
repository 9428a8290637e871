"""Small finished runs, made with the real writers, and an embedder that hears them in no time."""

import numpy as np
import pandas as pd

from tmp_utils.files import write_csv
from tmp_utils.findings import results
from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.inputs.concepts import clips_hash, load_concept
from tmp_utils.inputs.prompts import editability_prompts, reconstruction_prompt
from tmp_utils.metrics.copies import CopyTest
from tmp_utils.metrics.embed import Embedder, unit_rows
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.place import Place

PROFILE = "smoke"
N_PROMPTS = 2
calibrate, copy_tests = CopyTest.calibrated, {}  # of clips that were seen before
SETUPS = (("DB", "BL"), ("DB", "MIX"), ("TI", "BL"))


class ToneEmbedder(Embedder):
    """Hears the share of energy in 16 bands in the first second; reads a prompt as a fixed band."""

    rate_hz, window = RATE_HZ, 10 * RATE_HZ

    def __init__(self, name, cache_dir=None):
        self.name, self.cache_dir = name, cache_dir

    def _embed_batch(self, windows):
        spectra = [np.abs(np.fft.rfft(window[:RATE_HZ])) ** 2 for window in windows]
        return unit_rows([[band.sum() for band in np.array_split(s, 16)] for s in spectra])

    def embed_prompts(self, prompts):
        return unit_rows(np.eye(16)[[len(prompt) % 16 for prompt in prompts]])


def use_tone_embedder(monkeypatch):
    """Let every spec load a tone embedder of that name; returns the list of those that were loaded."""
    loaded = []

    def load(spec, device="cpu", cache_dir=None):
        loaded.append(spec)
        return ToneEmbedder(f"{spec}@1", cache_dir)

    monkeypatch.setattr("tmp_utils.metrics.embed.load_embedder", load)
    return loaded


def use_quick_ears(monkeypatch):
    """Let music readings be of the level alone, since Essentia has tests of its own; calibrate each copy test once."""

    def calibrated(training, coded):
        key = tuple(clip.tobytes() for clip in (*training, *coded))
        if key not in copy_tests:
            copy_tests[key] = calibrate(training, coded)
        return copy_tests[key]

    def read_music(clips, rate_hz):
        level = [20 * np.log10(np.sqrt(np.mean(np.square(clip)))) for clip in clips]
        return pd.DataFrame(
            {"tempo_bpm": 120.0, "level_lufs": level, "key": "A", "scale": "minor", "key_strength": 0.9}
        )

    monkeypatch.setattr("tmp_utils.metrics.music.read_music", read_music)
    monkeypatch.setattr(CopyTest, "calibrated", calibrated)


def tone(hz, seed, duration_s=1.0):
    rng, t = np.random.default_rng(seed), np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    noise = rng.normal(size=len(t))
    return (0.2 * np.sin(2 * np.pi * hz * t) + 0.02 * noise).astype(np.float32)


def make_concept(folder, name):
    folder = folder / name
    folder.mkdir(parents=True)
    (folder / "concept.toml").write_text('class_noun = "guitar"\n')
    for k in range(3):
        save_clip(folder / f"{k}.wav", tone(600 + 700 * k, k + sum(map(ord, name))))
    return folder


def make_run(runs_dir, concept, method, setup, seed=0, hz=900):
    """Write a run as the study does, without its metrics; of the concept's recordings, where there are any."""
    folder, own = Place(runs_dir, PROFILE).run(concept, method, setup, seed), runs_dir.parent / "own" / concept
    settings = {"concept": concept, "class_noun": "guitar", "rare_word": "sks", "method": method, "setup": setup}
    settings |= {"seed": seed, "embedder": "clap:pocket/judge@1", "n_editability_prompts": N_PROMPTS}
    settings |= {"reconstruction_clips": 2, "clips_per_prompt": 1}
    settings["clips_hash"] = clips_hash(load_concept(own)) if own.is_dir() else ""
    with open_run(folder, settings, say=lambda *_: None) as run, run.timed("generation_s"):
        (run.path / "clips").mkdir()
        rows = []
        for k, prompt in enumerate([reconstruction_prompt(), *editability_prompts(N_PROMPTS)]):
            for index in range(2 if prompt.kind == "reconstruction" else 1):
                file = f"{prompt.id}-{index}.wav"
                save_clip(run.path / "clips" / file, tone(hz + 500 * k + 90 * index, 10 * k + index + 100 * seed))
                asked = {"file": file, "prompt_id": prompt.id, "kind": prompt.kind, "family": prompt.family}
                asked |= {"prompt": prompt.template.format("sks guitar"), "index": index, "seed": seed}
                rows.append({**asked, "duration_s": 1.0, "peak": 0.25, "level_lufs": -20.0})
        write_csv(run.path / "clips" / "clips.csv", pd.DataFrame(rows))
        run.finish()
    return folder


def make_study(folder, concepts=("lute", "harp"), setups=SETUPS, seeds=(0,)):
    """Write runs of all setups, the untrained ones among them; returns the runs folder and the concepts' folders."""
    own = [make_concept(folder / "own", name) for name in concepts]
    for c, concept in enumerate(concepts):
        for seed in seeds:
            for k, (method, setup) in enumerate((*setups, ("untrained", "class-noun"))):
                make_run(folder / "runs", concept, method, setup, seed, hz=800 + 300 * k + 70 * c)
    return folder / "runs", own


def collect(study, **kwargs):
    """Return the table of a study that `make_study` made, without a word on the screen."""
    return results.collect_results(Place(study[0], PROFILE), study[1], say=lambda line: None, **kwargs)


def rows(table, **values):
    """Return the rows with these values."""
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def clip(study, variant="DB-BL", file="reconstruction-0.wav", concept="lute"):
    """Return the path of a run's clip."""
    return study[0] / PROFILE / concept / variant / "seed0" / "clips" / file
