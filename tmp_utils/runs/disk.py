"""How much runs write, and have written.

Conventions: bytes. A run is its clips (mono at the model's rate, 16 bits a sample; flac makes them smaller), its
adapter, and `OTHER_BYTES` for tables and the executed notebook. An adapter is as large as that of a finished run of its
method; before there is one, a method that changes the whole denoiser is counted with all its weights in single
precision, which is the most it can be. While such a run trains, its checkpoint is there too, with the optimiser's two
moments.
"""

import json
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from tmp_utils.inputs.profiles import Profile
from tmp_utils.model.hub import local_folder, weight_bytes
from tmp_utils.model.published import published
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place

ADAPTER = "adapter.safetensors"
WHOLE_DENOISER = ("DB", "TI-DB")  # methods whose adapter may hold all weights; those of the others are small
SMALL_BYTES, OTHER_BYTES = 10_000_000, 1_000_000
STUDY_MB = {"pocket": 250}  # what a study of one concept and one seed leaves at most
SOUNDS = (".flac", ".ogg", ".wav")


class Bytes(NamedTuple):
    """What runs write."""

    clips: int
    adapters: int
    checkpoints: int

    def __str__(self) -> str:
        parts = ("clips", self.clips), ("adapters", self.adapters), ("checkpoints while training", self.checkpoints)
        return ", ".join(f"{what} {n / 1e9:.1f} GB" if n >= 1e9 else f"{what} {n / 1e6:.0f} MB" for what, n in parts)


def expected_bytes(place: Place, profile: Profile, methods: Sequence[str], n_jobs: int = 1) -> Bytes:
    """Return what one run of each method writes; "" is the untrained reference, `n_jobs` how many train at once."""
    n_clips = profile.reconstruction_clips + profile.clips_per_prompt * profile.n_editability_prompts
    clips = len(methods) * (round(n_clips * profile.clip_s * rate_hz(profile) * 2) + OTHER_BYTES)
    trained, whole = [method for method in methods if method], weight_bytes(profile.backbone)[0]
    sizes = {method: whole if method in WHOLE_DENOISER else SMALL_BYTES for method in trained} | adapter_sizes(place)
    at_once = min(n_jobs, sum(method in WHOLE_DENOISER for method in trained))
    return Bytes(clips, sum(sizes[method] for method in trained), 3 * whole * at_once)


def adapter_sizes(place: Place) -> dict[str, int]:
    """Return the largest adapter of a profile's finished runs, by method."""
    sizes: dict[str, int] = {}
    for folder in place.runs():
        if (folder / ADAPTER).exists():
            method = read_manifest(folder)["parameters"]["method"]
            sizes[method] = max(sizes.get(method, 0), (folder / ADAPTER).stat().st_size)
    return sizes


def size_in_words(place: Place, n: int = 1) -> str:
    """Say what a profile's folder takes, beside the limit of `n` studies of one concept and seed."""
    megabytes = {"clips": 0.0, "adapters": 0.0, "the rest": 0.0}
    for path in (path for path in place.folder.rglob("*") if path.is_file()):
        kind = "adapters" if path.name == ADAPTER else "clips" if path.suffix in SOUNDS else "the rest"
        megabytes[kind] += path.stat().st_size / 1e6
    total, limit = sum(megabytes.values()), n * STUDY_MB.get(place.profile, inf)
    parts = ", ".join(f"{kind} {size:.0f}" for kind, size in megabytes.items())
    words = f"{place.folder} takes {total:.0f} MB ({parts})"
    if limit == inf:
        return f"{words}."
    if total < limit:
        return f"{words}, less than the {limit} MB that this study may leave."
    return f"{words}, more than the {limit} MB that this study may leave; are there other runs in it?"


def rate_hz(profile: Profile) -> int:
    """Return the rate of the backbone's clips; AudioLDM-M's for an unknown one of the hub."""
    if folder := local_folder(profile.backbone):
        for config in (folder / part / "config.json" for part in ("vae", "vocoder")):  # of samples; of mels
            if config.is_file() and (rate := json.loads(config.read_text(encoding="utf-8")).get("sampling_rate")):
                return rate
    return published(profile.backbone).rate_hz
