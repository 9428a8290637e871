"""AudioLDM folders with random weights: the right shapes without a download.

Conventions: what is written is what `AudioLDMPipeline.from_pretrained` and `backbone.load_backbone` load.
Nothing here has learned anything; it is for tests, for timing, and for measuring memory. `python -m tmp_utils
fake-backbone runs/fake-paper` writes one of the paper's size with a profile that names it: `profile=paper` runs end to
end, and only the sound is missing.

SIZES           : "tiny" (tests, a fraction of a second on a CPU) and "audioldm-m" (the size of
    cvssp/audioldm-m-full).
blank_pipeline  : size and seed -> AudioLDMPipeline.
write_blank     : the same, saved as a folder.
write_fake_paper : such a folder at AudioLDM-M's size, and the profile that runs the study with it.
blank_tokenizer : a RoBERTa tokenizer of bytes and a few words.
"""

import argparse
from pathlib import Path

import torch

from tmp_utils.files import write_text
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.pipelines import quiet

WORDS = (
    "a",
    "recording",
    "of",
    "the",
    "sound",
    "guitar",
    "drums",
    "string",
    "instrument",
    "in",
    "jazz",
    "song",
)
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

# Numbers of cvssp/audioldm-m-full's own configuration files (https://huggingface.co/cvssp/audioldm-m-full).
SIZES = {
    "tiny": {
        "unet": {
            "block_out_channels": (8, 16),
            "cross_attention_dim": (8, 16),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
            "sample_size": 128,
        },
        "vae": {
            "block_out_channels": (4, 4, 4, 8),
            "latent_channels": 4,
            "norm_num_groups": 2,
            "layers_per_block": 1,
        },
        "scaling_factor": 0.9,
        "text": {
            "vocab_size": 400,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "projection_dim": 12,
            "max_position_embeddings": 66,
            "initializer_factor": 5.0,
        },
        "vocoder": {
            "upsample_initial_channel": 32,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1]],
            "initializer_range": 0.15,
        },
    },
    "audioldm-m": {
        "unet": {
            "block_out_channels": (192, 384, 576, 960),
            "cross_attention_dim": (192, 384, 576, 960),
            "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
            "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
            "layers_per_block": 2,
            "attention_head_dim": 8,
            "sample_size": 128,
        },
        "vae": {"block_out_channels": (128, 256, 512), "latent_channels": 8, "layers_per_block": 2},
        "scaling_factor": 0.9138255715370178,
        "text": {"projection_dim": 512},
        "vocoder": {
            "upsample_initial_channel": 1024,
            "resblock_kernel_sizes": [3, 7, 11],
            "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        },
    },
}


def blank_tokenizer(model_max_length: int = 512):
    """A RoBERTa tokenizer whose vocabulary is the 256 bytes, RoBERTa's special tokens, and `WORDS`."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import RobertaTokenizerFast

    bpe = ByteLevelBPETokenizer()
    words = [f" {word}" for word in WORDS] * 2
    bpe.train_from_iterator(words, vocab_size=380, special_tokens=SPECIALS, show_progress=False)
    bpe._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return RobertaTokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=model_max_length)


def blank_pipeline(size: str = "tiny", seed: int = 0, prediction_type: str = "epsilon"):
    """An `AudioLDMPipeline` with random weights.

    Parameters
    ----------
    size : a key of `SIZES`.
    prediction_type : what the UNet is taken to predict: "epsilon" as AudioLDM does, "v_prediction" or
        "sample".

    Raises
    ------
    ValueError : no such size.
    """
    if size not in SIZES:
        raise ValueError(f'size "{size}": expected one of {", ".join(SIZES)}.')
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(SIZES[size], prediction_type)


def _build(numbers: dict, prediction_type: str):
    from diffusers import AudioLDMPipeline, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import (
        ClapTextConfig,
        ClapTextModelWithProjection,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
    )

    text = ClapTextConfig(**numbers["text"])
    channels, levels = numbers["vae"]["latent_channels"], len(numbers["vae"]["block_out_channels"])
    return AudioLDMPipeline(
        vae=AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            scaling_factor=numbers["scaling_factor"],
            **numbers["vae"],
        ),
        text_encoder=ClapTextModelWithProjection(text),
        tokenizer=blank_tokenizer(text.max_position_embeddings - 2),
        unet=UNet2DConditionModel(
            in_channels=channels,
            out_channels=channels,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=text.projection_dim,
            class_embeddings_concat=True,
            **numbers["unet"],
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
            prediction_type=prediction_type,
        ),
        vocoder=SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=64,
                sampling_rate=16_000,
                upsample_rates=[5, 4, 2, 2, 2],
                upsample_kernel_sizes=[16, 16, 8, 4, 4],
                normalize_before=False,
                **numbers["vocoder"],
            )
        ),
    )


def write_blank(folder: str | Path, size: str = "tiny", seed: int = 0, prediction_type: str = "epsilon") -> Path:
    """Save a blank pipeline as safetensors; the same seed gives the same weights."""
    pipe = blank_pipeline(size, seed, prediction_type)
    with quiet():
        pipe.save_pretrained(folder, safe_serialization=True)
    return Path(folder)


AUDIBLE = 1000.0
FAKE_PAPER = """# AudioLDM-M's size with random weights: profile "paper" but for its sound, its steps and its judge.
# TMP_PROFILES={path} make study PROFILE=paper
[paper]
backbone = "{backbone}"
embedder = "clap:pocket/judge"
inference_steps = 2
reconstruction_clips = 2
clips_per_prompt = 1
n_editability_prompts = 2

[paper.methods]
"""


def write_fake_paper(folder: Path, size: str = "audioldm-m") -> Path:
    """Write `folder/<size>` and `folder/profiles.toml`; returns the latter, for `TMP_PROFILES`.

    The profile trains every method for two steps of one clip, so that a CPU can run it.
    """
    folder = Path(folder).resolve()
    backbone = folder / size
    if not (backbone / "model_index.json").exists():
        pipe = blank_pipeline(size)
        pipe.vocoder.conv_post.weight.data.mul_(AUDIBLE)  # random weights are all but silent, and silence is an error
        with quiet():
            pipe.save_pretrained(backbone, safe_serialization=True)
    path = folder / "profiles.toml"
    methods = "".join(
        f"{name} = {{ steps = 2, batch_size = 1 }}\n" for name in load_profile("paper").methods if name != "TI-DB"
    )
    methods += "TI-DB = { steps = 2, batch_size = 1, ti_steps = 2 }\n"
    return write_text(path, FAKE_PAPER.format(path=path, backbone=backbone.as_posix()) + methods)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("folder", type=Path, help="where the backbone and its profiles.toml go")


def main(options: argparse.Namespace) -> None:
    """Write the fake backbone."""
    written = write_fake_paper(options.folder)
    print(f"Written. Now: TMP_PROFILES={written} make study PROFILE=paper RUNS={written.parent / 'runs'}")
