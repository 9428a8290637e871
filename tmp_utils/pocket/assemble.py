"""Trained parts become ``data/pocket``: a diffusers pipeline in half precision, and the judge beside it.

Conventions: weights are safetensors in float16 on disk; configs say float32, so every library loads them into single
precision. ``vocoder_choice.json`` says which vocoder the study uses, and why.

assemble : write the folder under a temporary name, compare the vocoders, rename.
compare_vocoders : mel L1 and judged similarity of both on held-out clips.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tmp_utils.files import write_json
from tmp_utils.inputs.audio import log_mel
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.pocket import architecture, clap

SIZE_LIMIT_BYTES = 25_000_000
COMPARED_CLIPS = 48


@torch.no_grad()
def compare_vocoders(vocoders: dict, clips: np.ndarray, judge) -> dict[str, dict[str, float]]:
    """How close each vocoder's clips are to the real ones whose mels it was given.

    Parameters
    ----------
    vocoders : dict of name to module
        log-mels (b, frames, 64) to waveforms (b, n).
    clips : numpy.ndarray
        float32 (b, n).
    judge : transformers.ClapModel

    Returns
    -------
    dict
        Per vocoder: ``mel_l1`` (natural log units) and ``similarity`` (mean cosine by the judge).
    """
    waves = torch.from_numpy(clips)
    mels, real = log_mel(waves), embed_clips(judge, clips)
    found = {}
    for name, vocoder in vocoders.items():
        made = torch.cat([vocoder(mel[None]).reshape(1, -1)[:, : waves.shape[1]] for mel in mels])
        similarity = (embed_clips(judge, made.numpy()) * real).sum(1).mean().item()
        found[name] = {"mel_l1": (log_mel(made) - mels).abs().mean().item(), "similarity": similarity}
    return found


def embed_clips(model, clips: np.ndarray) -> torch.Tensor:
    """Unit CLAP embeddings (b, d) of the first 10 s of clips (b, n)."""
    extractor = architecture.build_feature_extractor()
    mels = [
        extractor(clip[: clap.WINDOW_SAMPLES], sampling_rate=architecture.RATE_HZ)["input_features"][0][0]
        for clip in clips
    ]
    return clap.embed_features(model, np.stack(mels))


def _to_half(folder: Path) -> None:
    """Rewrite every weight file under ``folder`` in float16."""
    for path in sorted(folder.rglob("*.safetensors")):
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def assemble(
    target: Path, *, tokenizer, clap_model, judge, vae, scale: float, unet, vocoder, clips: np.ndarray
) -> Path:
    """Write the pocket model's folder.

    Parameters
    ----------
    target : pathlib.Path
        Replaced as a whole, and only when everything is written.
    scale : float
        The latents' ``scaling_factor``.
    clips : numpy.ndarray
        Held-out clips (b, n) on which the vocoders are compared.

    Raises
    ------
    ValueError
        If the folder is larger than 25 MB.
    """
    from diffusers import AudioLDMPipeline
    from transformers import ClapProcessor, ClapTextModelWithProjection

    text_encoder = ClapTextModelWithProjection(clap_model.config.text_config)
    text_encoder.load_state_dict(
        {
            **{f"text_model.{k}": v for k, v in clap_model.text_model.state_dict().items()},
            **{f"text_projection.{k}": v for k, v in clap_model.text_projection.state_dict().items()},
        }
    )
    vae.register_to_config(scaling_factor=scale)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    scheduler = architecture.build_scheduler()
    pipe = AudioLDMPipeline(vae, text_encoder, tokenizer, unet, scheduler, vocoder)
    pipe.save_pretrained(part, safe_serialization=True)
    judge.save_pretrained(part / "judge")
    ClapProcessor(architecture.build_feature_extractor(), tokenizer).save_pretrained(part / "judge")
    _to_half(part)
    found = compare_vocoders({"hifigan": vocoder.eval(), "griffin-lim": GriffinLimVocoder()}, clips, judge)
    better = all(
        found["hifigan"][key] * sign > found["griffin-lim"][key] * sign
        for key, sign in (("similarity", 1), ("mel_l1", -1))
    )
    choice = {"vocoder": "hifigan" if better else "griffin-lim", "measured": found, "n_clips": len(clips)}
    write_json(part / "vocoder_choice.json", choice)
    size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    if size > SIZE_LIMIT_BYTES:
        raise ValueError(
            f"{part}: {size / 1e6:.1f} MB, more than the {SIZE_LIMIT_BYTES / 1e6:.0f} MB that are shipped."
        )
    for kept in ("README.md", "proof.csv"):
        if (target / kept).exists():
            shutil.copy2(target / kept, part / kept)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    print(f"{target}: {size / 1e6:.1f} MB; vocoders: {json.dumps(found)}", flush=True)
    return target
