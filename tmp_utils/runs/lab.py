"""What the runs of a profile share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Profile, Setup, load_profile
from tmp_utils.metrics.embed import Embedder, check_embedder, load_embedder
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.model.backbone import Backbone, load_backbone
from tmp_utils.model.device import check_memory
from tmp_utils.model.generate import generate
from tmp_utils.model.hub import check_pipeline, weight_bytes
from tmp_utils.runs.disk import WHOLE_DENOISER
from tmp_utils.runs.identity import CLASS_NOUN, identity_of, with_models
from tmp_utils.runs.mirror import Mirror, open_mirror
from tmp_utils.runs.place import Place
from tmp_utils.runs.score import study_embedders

WEIGHT_COPIES = 4  # in single precision where all weights are trained: value, gradient and AdamW's two moments
SMALL_BYTES = 300_000_000  # of a denoiser that fits on every GPU
ACTIVATION_BYTES = 1_500_000_000  # of a batch of 4, with gradient checkpointing, and of torch itself


@dataclass(eq=False)
class Lab:
    """What all runs of a profile share: backbone, embedder and place; load it once.

    Attributes
    ----------
    embedder : scores the clips; never the CLAP that conditions the pocket backbone.
    place : where the runs are.
    mirror : where they are copied to.
    """

    profile: Profile
    backbone: Backbone
    embedder: Embedder
    place: Place
    mirror: Mirror | None = None

    @classmethod
    def load(cls, profile: str | Profile, runs_dir: str | Path = "runs", mirror: str | Path = "") -> Lab:
        """Load the backbone and the embedder of a profile, named or made by hand; restore its runs from a mirror.

        Raises
        ------
        RuntimeError, OSError, ValueError, ImportError : the machine or the disk lacks what the profile needs: all of it
            is named, and nothing was downloaded.
        """
        profile = load_profile(profile) if isinstance(profile, str) else profile
        _check_needs(profile)
        place = Place(runs_dir, profile.name)
        copies = open_mirror(mirror, place)
        backbone = load_backbone(profile)
        embedder = load_embedder(profile.embedder, str(backbone.device), place.cache / "embeddings")
        return cls(profile, backbone, embedder, place, copies)

    @cached_property
    def embedders(self) -> list[Embedder]:
        """The embedders that score every run; the first is `embedder`."""
        return study_embedders(self.embedder)

    def check_memory(self, methods: Iterable[str]) -> None:
        """Check that the GPU can train these methods; OutOfMemory says which others and which profile it can."""
        if self.backbone.device.type == "cuda" and (whole := sorted(set(methods) & set(WHOLE_DENOISER))):
            remedy = 'Textual Inversion needs less, and the profile "pocket" fits.'
            check_memory(memory_bytes(self.profile, WEIGHT_COPIES), f"training with {', '.join(whole)}", remedy)

    def generate(self, prompts: list[str], seeds: list[int], adapter=None, **options) -> list[np.ndarray]:
        """Clips (n,) at the profile's steps, guidance and duration; everything else is as in `model.generate`."""
        options |= {"steps": self.profile.inference_steps, "guidance_scale": self.profile.guidance_scale}
        options |= {"clip_s": self.profile.clip_s, "progress": False}
        return generate(self.backbone, prompts, seeds, adapter=adapter, **options)

    def run_folder(self, concept: Concept, setup: Setup | None, seed: int) -> Path:
        """The folder of a run; without a setup, of the untrained reference."""
        method, name = (setup.method, setup.setup) if setup else (UNTRAINED, CLASS_NOUN)
        return self.place.run(concept.name, method, name, seed)

    def identity(self, concept: Concept, setup: Setup | None, seed: int) -> dict:
        """All that decides a run; without a setup, the untrained reference."""
        return with_models(identity_of(self.profile, concept, seed, setup), self.embedder, self.backbone)


def memory_bytes(profile: Profile, weight_copies: int = 1) -> int:
    """Return about how much GPU memory a profile needs; 0 of a small model, which fits on every GPU.

    Parameters
    ----------
    weight_copies : how many values there are for each of the denoiser's weights.
    """
    denoiser, others = weight_bytes(profile.backbone)
    return weight_copies * denoiser + others + ACTIVATION_BYTES if denoiser > SMALL_BYTES else 0


def _check_needs(profile: Profile) -> None:
    """Raise what is missing for a profile, before the first byte is downloaded; of several things, all in one error."""
    needs = (
        lambda: (
            profile.device in ("auto", "cuda")
            and check_memory(memory_bytes(profile), f'profile "{profile.name}"', 'The profile "pocket" fits.')
        ),
        lambda: check_pipeline(profile.backbone, gpu_expected=profile.device == "auto"),
        lambda: check_embedder(profile.embedder),
    )
    faults = []
    for check in needs:
        try:
            check()
        except (RuntimeError, OSError, ValueError, ImportError) as error:
            faults.append(error)
    if len(faults) > 1:
        lines = "".join(f"\n- {fault}" for fault in faults)
        raise RuntimeError(f'profile "{profile.name}" cannot start here; nothing was downloaded:{lines}') from faults[0]
    if faults:
        raise faults[0]
