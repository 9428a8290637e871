"""The identity of a run: all that decides its result, as `run.json` stores it under "parameters".

Conventions: JSON values; two identities are equal in any order of their keys, whether or not they hold defaults or
hyperparameters that the setup does not use. What needs no loaded model comes from
`identity_of`, so that a grid can tell without loading any whether a run is finished; `with_models` adds the rest.
What decides an adapter, within a run or without one, is `Adapter.identity`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tmp_utils.files import plain
from tmp_utils.inputs.concepts import Concept, clips_hash
from tmp_utils.inputs.profiles import Profile, Setup, decisive, method_of
from tmp_utils.metrics.table import UNTRAINED

if TYPE_CHECKING:
    import numpy as np

    from tmp_utils.metrics.embed import Embedder
    from tmp_utils.model.adapter import Adapter
    from tmp_utils.model.backbone import Backbone

CLASS_NOUN = "class-noun"  # the untrained backbone's only setup: its prompts hold the class noun
TRANSFER = "transfer"  # the method of a sweep's run
OF_A_SETUP = ("method", "setup", "note")  # columns of data/setups.csv that name a setup and do not vary it
HASH_CHARS = 10  # of a hash in a file's or folder's name


def identity_of(profile: Profile, concept: Concept, seed: int, setup: Setup | None = None) -> dict[str, Any]:
    """Return the identity of a setup's run; without a setup, of the untrained reference."""
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
    names = {"method": setup.method, "setup": setup.setup, "varied": varied}
    return common | names | {"hyperparameters": named(profile, setup.method, setup.prior_weight)}


def named(profile: Profile, method: str, prior_weight: float = 0) -> dict[str, Any]:
    """Return those hyperparameters that a profile names and that decide what is learned (`profiles.decisive`).

    Defaults stay out, so that an identity's hash is the same when a later version has more of them.
    """
    values = profile.method(method)
    return {name: value for name, value in decisive(values, method, prior_weight).items() if name in values}


def sweep_identity(
    profile: Profile,
    adapter: Adapter,
    setup: str,
    sources: Mapping[str, np.ndarray],
    strengths: Sequence[float],
    methods: Sequence[str],
    seed: int,
    sampling: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the identity of a style-transfer sweep.

    Parameters
    ----------
    sources : clips (n,) by name.
    sampling : prompt, guidance scale and steps.
    """
    return {
        **sampling,
        "concept": adapter.concept,
        "method": TRANSFER,
        "setup": setup,
        "adapter": adapter.hyperparameters | {"seed": adapter.seed, "name": adapter.name},
        "sources": {name: hashlib.sha256(clip.tobytes()).hexdigest()[:12] for name, clip in sources.items()},
        "strengths": [float(strength) for strength in strengths],
        "methods": list(methods),
        "seed": seed,
        "clip_s": profile.clip_s,
    }


def with_models(identity: Mapping[str, Any], embedder: Embedder, backbone: Backbone) -> dict[str, Any]:
    """Return an identity with the names of the models that decide the result, too."""
    return {**identity, "embedder": embedder.name, "backbone_hash": str(backbone.hash)}


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return an identity's SHA-256 in hexadecimal."""
    return hashlib.sha256(json.dumps(plain(identity), sort_keys=True).encode()).hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys in which two identities differ, each with both values in words."""
    before, now = _resolved(before), _resolved(now)
    missing = object()
    return {
        key: f"{key} was {before.get(key)!r} and is now {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key, missing) != now.get(key, missing)
    }


def _resolved(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with all hyperparameters that decide its result, defaults among them, and no others."""
    match identity := plain(identity):
        case {"method": method, "varied": varied, "hyperparameters": values}:
            return identity | {"hyperparameters": decisive(values, method, varied["prior_weight"])}
        case {"adapter": values, "setup": str(name)}:  # of a sweep
            return identity | {"adapter": decisive(values, method_of(name), values.get("prior_weight", 0))}
        case {"setup": {"method": method, "hyperparameters": values} as setup}:  # of a mixture
            return identity | {"setup": setup | {"hyperparameters": decisive(values, method)}}
        case {"setup": {"hyperparameters": methods} as setup}:  # of a mixture whose words are learned apart
            resolved = {method: decisive(values, method) for method, values in methods.items()}
            return identity | {"setup": setup | {"hyperparameters": resolved}}
    return identity
