"""Run folders of short sines, to build questionnaires from."""

import numpy as np
import pandas as pd

from tmp_utils.files import write_csv, write_json
from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.prompts import editability_prompts, reconstruction_prompt
from tmp_utils.runs.place import Place
from tmp_utils.survey.headphones import trials

PROFILE = "smoke"


def sine(hz, duration_s=0.6, level=0.3):
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def make_run(runs_dir, concept, variant, n_prompts=3, n_clips=2, seed=0, duration_s=0.6, hz=400.0, noun="strange noun"):
    method, setup = variant.rsplit("-", 1)
    folder = Place(runs_dir, PROFILE).run(concept, method, setup, seed)
    (folder / "clips").mkdir(parents=True)
    rows = []
    for k, prompt in enumerate([reconstruction_prompt(), *editability_prompts(n_prompts)]):
        for index in range(n_clips):
            file = f"{prompt.id}-{index}.wav"
            level = 0.1 + 0.08 * k + 0.02 * index  # so that loudness has to be matched
            save_clip(folder / "clips" / file, sine(hz + 37 * k + 11 * index, duration_s, level))
            row = {"file": file, "prompt_id": prompt.id, "kind": prompt.kind, "family": prompt.family}
            sound = {"seed": 0, "duration_s": duration_s, "peak": level, "level_lufs": -20.0}
            rows.append({**row, "prompt": prompt.template.format("<secret>"), "index": index, **sound})
    write_csv(folder / "clips" / "clips.csv", pd.DataFrame(rows))
    manifest = {"parameters": {"concept": concept, "class_noun": noun}, "timings": {}, "files": {}}
    write_json(folder / "run.json", manifest | {"status": "complete"})
    return folder


def make_concept(folder, name, noun, hz):
    folder = folder / name
    folder.mkdir(parents=True)
    clips = tuple(save_clip(folder / f"{k}.wav", sine(hz + 5 * k, 0.7)) for k in range(2))
    return Concept(name, noun, "sks", "solo melodic", clips, True, True, True)


def make_runs(tmp_path, variants=("DB-BL", "TI-BL"), names=("lute", "gong"), **kwargs):
    """Runs of all variants for all concepts; returns the runs folder and the concepts by name."""
    concepts = {name: make_concept(tmp_path / "own", name, "strange noun", 300.0) for name in names}
    for c, name in enumerate(names):
        for v, variant in enumerate(variants):
            make_run(tmp_path / "runs", name, variant, hz=400 + 90 * c + 200 * v, **kwargs)
    return tmp_path / "runs", concepts


def right_answers(code, number=0):
    """Of a participant's round of the headphone test: where the quiet tone is."""
    return [order.index("q") for order in trials(code, number)]
