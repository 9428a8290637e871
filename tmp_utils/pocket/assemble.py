"""Assembly of the trained parts into ``data/pocket``: a diffusers pipeline in half precision, and the judge.

Conventions: weights are safetensors in float16 on disk; the configs name float32, so every library loads them in single
precision. ``vocoder_choice.json`` names the vocoder that the study uses, with the comparison behind the choice.

assemble : write the folder, with a comparison of the vocoders.
compare_vocoders : mel L1 and CLAP similarity to the real clips, for each vocoder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tmp_utils.files import whole_folder, write_json
from tmp_utils.inputs.audio import log_mel
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.pocket import architecture, clap

SIZE_LIMIT_BYTES = 25_000_000
COMPARED_CLIPS = 48
REPORTS = ("README.md", "proof.csv", "codec.csv")  # about the earlier model, until the stages that measure run again


@torch.no_grad()
def compare_vocoders(vocoders: dict, clips: np.ndarray, judge) -> dict[str, dict[str, float]]:
    """Compare the clips that vocoders make from true mels with the real clips.

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
        Per vocoder: ``mel_l1`` (natural log units) and ``similarity`` (mean cosine of the judge's embeddings).
    """
    waves = torch.from_numpy(clips)
    mels, real = log_mel(waves), embed_clips(judge, clips)
    measured = {}
    for name, vocoder in vocoders.items():
        made = torch.cat([vocoder(mel[None]).reshape(1, -1)[:, : waves.shape[1]] for mel in mels])
        similarity = (embed_clips(judge, made.numpy()) * real).sum(1).mean().item()
        measured[name] = {"mel_l1": (log_mel(made) - mels).abs().mean().item(), "similarity": similarity}
    return measured


def embed_clips(model, clips: np.ndarray) -> torch.Tensor:
    """Unit CLAP embeddings (b, d) of the first 10 s of clips (b, n)."""
    extractor = architecture.build_feature_extractor()
    mels = [
        extractor(clip[: clap.WINDOW_SAMPLES], sampling_rate=architecture.RATE_HZ)["input_features"][0][0]
        for clip in clips
    ]
    return clap.embed_features(model, np.stack(mels))


def _to_half(folder: Path) -> None:
    """Convert every weight file under ``folder`` to float16."""
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
        Replaced when everything is written.
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
    scheduler = architecture.build_scheduler()
    pipe = AudioLDMPipeline(vae, text_encoder, tokenizer, unet, scheduler, vocoder)
    with whole_folder(target) as part:
        pipe.save_pretrained(part, safe_serialization=True)
        judge.save_pretrained(part / "judge")
        ClapProcessor(architecture.build_feature_extractor(), tokenizer).save_pretrained(part / "judge")
        _to_half(part)
        measured = compare_vocoders({"hifigan": vocoder.eval(), "griffin-lim": GriffinLimVocoder()}, clips, judge)
        better = all(
            measured["hifigan"][key] * sign > measured["griffin-lim"][key] * sign
            for key, sign in (("similarity", 1), ("mel_l1", -1))
        )
        choice = {"vocoder": "hifigan" if better else "griffin-lim", "measured": measured, "n_clips": len(clips)}
        write_json(part / "vocoder_choice.json", choice)
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        if size > SIZE_LIMIT_BYTES:
            raise ValueError(
                f"{part}: {size / 1e6:.1f} MB, more than the {SIZE_LIMIT_BYTES / 1e6:.0f} MB that are shipped."
            )
        for name in REPORTS:
            if (target / name).exists():
                shutil.copy2(target / name, part / name)
    print(f"{target}: {size / 1e6:.1f} MB; vocoders: {json.dumps(measured)}", flush=True)
    return target
