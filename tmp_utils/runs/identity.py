"""What decides a run's result, as its manifest keeps it: a run is done where all of it is the same.

Conventions: JSON values. The backbone and the embedder decide it too; they are loaded by whoever makes the run and are
added there, so that a grid can tell without loading either whether a finished run is of these settings.

settings_of : profile + concept + seed, and a setup -> settings.
differing   : the settings in which a manifest's parameters are others.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tmp_utils.files import plain
from tmp_utils.inputs.concepts import Concept, clips_hash
from tmp_utils.inputs.profiles import Profile, Setup
from tmp_utils.metrics.table import UNTRAINED

CLASS_NOUN = "class-noun"  # the untrained backbone's only setup: it is asked for the class noun
OF_A_SETUP = ("method", "setup", "note")  # columns of data/setups.csv that name a setup and do not vary it


def settings_of(profile: Profile, concept: Concept, seed: int, setup: Setup | None = None) -> dict[str, Any]:
    """Return what decides a run of a setup; of the untrained backbone, the reference, without one."""
    common = {
        "concept": concept.name,
        "class_noun": concept.class_noun,
        "rare_word": concept.rare_word,
        "clips": [path.name for path in concept.clips],
        "clips_hash": clips_hash(concept),
        "seed": seed,
        "guidance_scale": profile.guidance_scale,
        "inference_steps": profile.inference_steps,
        "scheduler": profile.scheduler,
        "reconstruction_clips": profile.reconstruction_clips,
        "clips_per_prompt": profile.clips_per_prompt,
        "n_editability_prompts": profile.n_editability_prompts,
        "clip_s": profile.clip_s,
    }
    if setup is None:
        return common | {"method": UNTRAINED, "setup": CLASS_NOUN}
    varied = {name: value for name, value in asdict(setup).items() if name not in OF_A_SETUP}
    own = {"method": setup.method, "setup": setup.setup, "varied": varied}
    return common | own | {"hyperparameters": profile.method(setup.method)}


def differing(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return the names of settings that a manifest's parameters lack or have with another value."""
    missing = object()
    return [name for name, value in plain(settings).items() if parameters.get(name, missing) != value]
