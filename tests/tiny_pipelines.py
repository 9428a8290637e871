"""Pipelines of the real classes with random weights, a few hundred kB each, at 4 or 16 kHz."""

import torch

from tmp_utils.model.architectures import (
    ARCHITECTURES,
    COSINE,
    DDIM,
    TINY_CLAP,
    TINY_HIFIGAN,
    TINY_VAE,
    TWO_LEVELS,
    flow,
)
from tmp_utils.model.blank import built, without_zeros

TINY_T5 = {"vocab_size": 200, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": 1}
TINY_TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8}
TINY_TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1}
TINY_GEMMA = {**TINY_TEXT, "vocab_size": 200, "layer_types": ["full_attention"], "query_pre_attn_scalar": 8}
TINY_OOBLECK = {"encoder_hidden_size": 8, "decoder_channels": 8, "decoder_input_channels": 4, "sampling_rate": 4000}
TINY_OOBLECK |= {"channel_multiples": [1, 2]}
TINY_ACE = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
TINY_ACE |= {"head_dim": 8, "sliding_window": 8}
TINY_BOTH = (  # of sounds and of texts
    "ClapModel",
    {
        "text_config": {**TINY_CLAP, "intermediate_size": 24, "max_position_embeddings": 200},
        "audio_config": {
            "spec_size": 8,
            "window_size": 4,
            "num_mel_bins": 8,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "patch_size": 2,
            "patch_stride": 2,
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "projection_dim": 12,
        },
        "projection_dim": 12,
    },
)

TINY = {
    "musicldm": {
        **ARCHITECTURES["tiny"],
        "pipeline": "MusicLDMPipeline",
        "text_encoder": TINY_BOTH,
        "feature_extractor": ("ClapFeatureExtractor", {"feature_size": 8}),
    },
    "audioldm2": {
        "pipeline": "AudioLDM2Pipeline",
        "vae": TINY_VAE,
        "text_encoder": TINY_BOTH,
        "text_encoder_2": ("T5EncoderModel", TINY_T5),
        "projection_model": (
            "AudioLDM2ProjectionModel",
            {"text_encoder_dim": 12, "text_encoder_1_dim": 16, "langauge_model_dim": 16},
        ),
        "language_model": (
            "GPT2LMHeadModel",
            {"vocab_size": 50, "n_positions": 160, "n_embd": 16, "n_layer": 1, "n_head": 2, "max_new_tokens": 8},
        ),
        "tokenizer": ("roberta", {"limit": 128}),
        "tokenizer_2": ("t5", {"limit": 128}),
        "feature_extractor": ("ClapFeatureExtractor", {"feature_size": 8}),
        "unet": (
            "AudioLDM2UNet2DConditionModel",
            {
                "in_channels": 4,
                "out_channels": 4,
                **TWO_LEVELS,
                "cross_attention_dim": [[None, 16, 16]] * 2,
                "sample_size": 32,
            },
        ),
        "scheduler": ("DDIMScheduler", DDIM),
        "vocoder": ("SpeechT5HifiGan", TINY_HIFIGAN),
    },
    "stable_audio_open": {
        "pipeline": "StableAudioPipeline",
        "vae": ("AutoencoderOobleck", {**TINY_OOBLECK, "downsampling_ratios": [8, 16]}),
        "text_encoder": ("T5EncoderModel", TINY_T5),
        "projection_model": (
            "StableAudioProjectionModel",
            {"text_encoder_dim": 16, "conditioning_dim": 12, "min_value": 0, "max_value": 20},
        ),
        "tokenizer": ("t5", {"limit": 64}),
        "transformer": (
            "StableAudioDiTModel",
            {
                "sample_size": 48,
                "in_channels": 4,
                "out_channels": 4,
                "num_layers": 1,
                "attention_head_dim": 8,
                "num_attention_heads": 2,
                "num_key_value_attention_heads": 1,
                "cross_attention_dim": 8,
                "cross_attention_input_dim": 12,
                "time_proj_dim": 8,
                "global_states_input_dim": 24,
            },
        ),
        "scheduler": ("EDMDPMSolverMultistepScheduler", COSINE),
    },
    "stable_audio_3": {
        "pipeline": "StableAudio3Pipeline",
        "vae": (
            "AutoencoderSAME",
            {
                "patch_size": 16,
                "encoder_channels": 8,
                "encoder_c_mults": (2,),
                "encoder_strides": (8,),
                "encoder_transformer_depths": (1,),
                "latent_dim": 4,
                "dim_heads": 8,
                "sampling_rate": 4000,
            },
        ),
        "text_encoder": (
            "T5GemmaEncoderModel",
            {"encoder": TINY_GEMMA, "decoder": TINY_GEMMA, "vocab_size": 200, "is_encoder_decoder": False},
        ),
        "tokenizer": ("gemma", {}),
        "duration_embedder": ("StableAudio3DurationEmbedder", {"output_dim": 16, "fourier_dim": 8}),
        "transformer": (
            "StableAudio3DiTModel",
            {
                "io_channels": 4,
                "embed_dim": 16,
                "depth": 1,
                "num_heads": 2,
                "cond_token_dim": 16,
                "global_cond_dim": 16,
                "local_add_cond_dim": 5,
                "timestep_features_dim": 8,
                "ff_mult": 2,
                "num_memory_tokens": 2,
            },
        ),
        "scheduler": flow(),
    },
    "ace_step": {
        "pipeline": "AceStepPipeline",
        "vae": ("AutoencoderOobleck", {**TINY_OOBLECK, "downsampling_ratios": [16, 64]}),
        "text_encoder": ("Qwen3Model", {**TINY_TEXT, "vocab_size": 340, "max_position_embeddings": 512}),
        "tokenizer": ("qwen", {}),
        "transformer": (
            "AceStepTransformer1DModel",
            {"num_hidden_layers": 2, "in_channels": 12, "audio_acoustic_hidden_dim": 4, **TINY_ACE},
        ),
        "condition_encoder": (
            "AceStepConditionEncoder",
            {
                "text_hidden_dim": 16,
                "timbre_hidden_dim": 4,
                "num_lyric_encoder_hidden_layers": 1,
                "num_timbre_encoder_hidden_layers": 1,
                **TINY_ACE,
            },
        ),
        "scheduler": flow(shift=1.0),
    },
}


def tiny_pipeline(name, **changes):
    """A pipeline by its name; `changes` are arguments of a part, by its name."""
    entry = {**TINY[name]}
    for part, numbers in changes.items():
        entry[part] = (entry[part][0], {**entry[part][1], **numbers})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return without_zeros(built(entry))
