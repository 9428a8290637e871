"""Assembly of the trained parts into ``data/pocket``: a diffusers pipeline in half precision, and the judge.

Conventions: weights are safetensors in float16 on disk; the configs name float32, so every library loads them in single
precision. ``vocoder_choice.json`` names the vocoder that the study uses, with the comparison behind the choice.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tmp_utils.files import whole_folder, write_json
from tmp_utils.inputs.audio import log_mel, loudness_lufs
from tmp_utils.metrics.preservation import chroma_correlation
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.spectrum import SpectrumVocoder, save_spectrum
from tmp_utils.pocket import architecture, clap

SIZE_LIMIT_BYTES = 32_000_000
COMPARED_CLIPS = 48
REPORTS = (
    "README.md",
    "proof.csv",
    "codec.csv",
    "copies.csv",
)  # about the earlier model, until the stages that measure run again


@torch.no_grad()
def compare_vocoders(vocoders: dict, vae, clips: np.ndarray, judge) -> dict[str, dict[str, float]]:
    """Compare real clips with those that each vocoder makes of their latents.

    Parameters
    ----------
    vocoders : by name, unscaled latents (b, 16, t, 8) to waveforms (b, n).
    vae : diffusers.AutoencoderKL
    clips : float32 (b, n).
    judge : transformers.ClapModel

    Returns
    -------
    Means per vocoder: ``similarity`` (cosine of the judge's embeddings), ``chroma`` (correlation) and
    ``level_difference_lu`` (negative is quieter than the real clips).
    """
    latents = [vae.encode(log_mel(torch.from_numpy(clip)[None])[:, None]).latent_dist.mean for clip in clips]
    real, measured = embed_clips(judge, clips), {}
    for name, vocoder in vocoders.items():
        made = np.stack([vocoder(row).reshape(-1)[: clips.shape[1]].numpy() for row in latents])
        levels = [loudness_lufs(a) - loudness_lufs(b) for a, b in zip(made, clips, strict=True)]
        measured[name] = {
            "similarity": (embed_clips(judge, made) * real).sum(1).mean().item(),
            "chroma": float(np.nanmean([chroma_correlation(a, b) for a, b in zip(made, clips, strict=True)])),
            "level_difference_lu": float(np.nanmean(levels)),
        }
    return measured


def of_latents(vocoder, vae):
    """A function from latents to clips, of a vocoder for the log-mels that the VAE decodes, or also for latents."""

    def clips(latents: torch.Tensor) -> torch.Tensor:
        mels = vae.decode(latents).sample[:, 0]
        return vocoder.from_latents(latents, mels) if isinstance(vocoder, SpectrumVocoder) else vocoder(mels)

    return clips


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
    target: Path, *, tokenizer, clap_model, judge, vae, scale: float, unet, vocoder, spectrum, clips: np.ndarray
) -> Path:
    """Write the pocket model's folder.

    Parameters
    ----------
    target : replaced when everything is written.
    scale : the latents' ``scaling_factor``.
    spectrum : model.spectrum.SpectrumNet
        Its weights go into the vocoder's folder, beside the HiFi-GAN's.
    clips : held-out clips (b, n) on which the vocoders are compared.

    Raises
    ------
    ValueError : the folder is larger than 32 MB.
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
        save_spectrum(spectrum, part / "vocoder")
        vocoders = {
            "hifigan": vocoder.eval(),
            "griffin-lim": GriffinLimVocoder(),
            "spectrum": SpectrumVocoder(spectrum),
        }
        measured = compare_vocoders({name: of_latents(v, vae) for name, v in vocoders.items()}, vae, clips, judge)
        best = max(measured, key=lambda name: measured[name]["similarity"] + measured[name]["chroma"])
        choice = {"vocoder": best, "measured": measured, "n_clips": len(clips)}
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
