"""Pipelines in numbers: their parts' classes and sizes, from which `blank` builds them with random weights.

Conventions: an entry is the pipeline's diffusers class under "pipeline", and for every other part its class, in
diffusers or transformers (or a tokenizer of `blank.TOKENIZERS`), and the arguments that differ from that class's
defaults. "tiny" is an AudioLDM of a few hundred kB, for tests. The others have the published sizes, from:

audioldm-m           : huggingface.co/cvssp/audioldm-m-full, its configuration files.
audioldm2            : huggingface.co/cvssp/audioldm2-music; CLAP, T5 and GPT-2 as named in
    github.com/huggingface/diffusers/blob/main/scripts/convert_original_audioldm2_to_diffusers.py.
musicldm             : github.com/huggingface/diffusers/blob/main/scripts/convert_original_musicldm_to_diffusers.py, and
    huggingface.co/ucsd-reach/musicldm/blob/main/vae/config.json.
stable-audio-open    : diffusers' defaults and scripts/convert_stable_audio.py; T5 is t5-base.
stable-audio-3-small : github.com/Stability-AI/stable-audio-3/blob/main/optimized/mlx/models/defs/dit_mlx.py; the
    autoencoder is diffusers' default, the text encoder google/t5gemma-b-b-ul2.
ace-step-1.5         : diffusers' defaults (the base checkpoint); the text encoder is Qwen/Qwen3-Embedding-0.6B, the VAE
    makes 25 frames a second.
"""

FULL_SIZE = {  # names of those of published size, and the profile that uses each
    "audioldm-m": "paper",
    "musicldm": "musicldm",
    "audioldm2": "audioldm2",
    "stable-audio-open": "stable-audio-open",
    "stable-audio-3-small": "stable-audio-3-small",
    "ace-step-1.5": "ace-step-1.5",
}

FOUR_LEVELS = {
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
    "sample_size": 128,
}
TWO_LEVELS = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
HIFIGAN = {
    "model_in_dim": 64,
    "upsample_initial_channel": 1024,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "normalize_before": False,
}
TINY_HIFIGAN = {**HIFIGAN, "upsample_initial_channel": 32, "resblock_kernel_sizes": [3]}
TINY_HIFIGAN |= {"resblock_dilation_sizes": [[1]], "initializer_range": 0.15}
DDIM = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "steps_offset": 1}
DDIM |= {"clip_sample": False, "set_alpha_to_one": False}
COSINE = {"sigma_min": 0.3, "sigma_max": 500, "sigma_data": 1.0, "sigma_schedule": "exponential"}
COSINE |= {"prediction_type": "v_prediction"}


def mel_vae(channels: tuple[int, ...], **numbers) -> tuple[str, dict]:
    """A VAE of log-mels, an image of one channel, with so many channels at each level."""
    levels = {"block_out_channels": channels, "down_block_types": ("DownEncoderBlock2D",) * len(channels)}
    levels |= {"up_block_types": ("UpDecoderBlock2D",) * len(channels)}
    return "AutoencoderKL", {"in_channels": 1, "out_channels": 1, **levels, **numbers}


def clap_unet(n: int, text: int, **numbers) -> tuple[str, dict]:
    """AudioLDM's UNet of `n` latent channels, conditioned by a CLAP embedding of `text` numbers."""
    clap = {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": text}
    channels = {"in_channels": n, "out_channels": n, "class_embeddings_concat": True}
    return "UNet2DConditionModel", {**channels, **clap, **numbers}


def flow(**numbers) -> tuple[str, dict]:
    """A flow-matching scheduler whose times run from 0 to 1."""
    return "FlowMatchEulerDiscreteScheduler", {"num_train_timesteps": 1, **numbers}


AUDIOLDM_M, AUDIOLDM_S = (192, 384, 576, 960), (128, 256, 384, 640)  # channels of their UNets
TINY_CLAP = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY_CLAP |= {"projection_dim": 12, "initializer_factor": 5.0}
TINY_VAE = mel_vae((4, 4, 4, 8), latent_channels=4, norm_num_groups=2, scaling_factor=0.9)
MEL_VAE = mel_vae((128, 256, 512), latent_channels=8, layers_per_block=2, scaling_factor=0.9138255715370178)
CLAP_AUDIO = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}
T5_BASE = {"d_model": 768, "d_ff": 3072, "num_heads": 12, "num_layers": 12}
T5_LARGE = {"d_model": 1024, "d_ff": 2816, "num_heads": 16, "num_layers": 24, "feed_forward_proj": "gated-gelu"}
GEMMA = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "head_dim": 64, "vocab_size": 256_000}
GEMMA |= {"num_attention_heads": 12, "num_key_value_heads": 12, "query_pre_attn_scalar": 64}
QWEN = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "vocab_size": 151_669}
QWEN |= {"num_attention_heads": 16, "num_key_value_heads": 8}

ARCHITECTURES = {
    "tiny": {
        "pipeline": "AudioLDMPipeline",
        "vae": TINY_VAE,
        "text_encoder": (
            "ClapTextModelWithProjection",
            {**TINY_CLAP, "intermediate_size": 32, "max_position_embeddings": 66},
        ),
        "tokenizer": ("roberta", {"limit": 64}),
        "unet": clap_unet(4, 12, **TWO_LEVELS, cross_attention_dim=(8, 16), sample_size=128),
        "scheduler": ("DDIMScheduler", DDIM),
        "vocoder": ("SpeechT5HifiGan", TINY_HIFIGAN),
    },
    "audioldm-m": {
        "pipeline": "AudioLDMPipeline",
        "vae": MEL_VAE,
        "text_encoder": ("ClapTextModelWithProjection", {}),
        "tokenizer": ("roberta", {"limit": 512}),
        "unet": clap_unet(8, 512, **FOUR_LEVELS, block_out_channels=AUDIOLDM_M, cross_attention_dim=AUDIOLDM_M),
        "scheduler": ("DDIMScheduler", DDIM),
        "vocoder": ("SpeechT5HifiGan", HIFIGAN),
    },
    "musicldm": {
        "pipeline": "MusicLDMPipeline",
        "vae": mel_vae((128, 256, 512), latent_channels=8, layers_per_block=2, scaling_factor=1.075324296951294),
        "text_encoder": ("ClapModel", {"audio_config": CLAP_AUDIO}),
        "tokenizer": ("roberta", {"limit": 512}),
        "feature_extractor": ("ClapFeatureExtractor", {}),
        "unet": clap_unet(8, 512, **FOUR_LEVELS, block_out_channels=AUDIOLDM_S, cross_attention_dim=AUDIOLDM_S),
        "scheduler": ("DDIMScheduler", DDIM),
        "vocoder": ("SpeechT5HifiGan", HIFIGAN),
    },
    "audioldm2": {
        "pipeline": "AudioLDM2Pipeline",
        "vae": MEL_VAE,
        "text_encoder": ("ClapModel", {}),
        "text_encoder_2": ("T5EncoderModel", T5_LARGE),
        "projection_model": (
            "AudioLDM2ProjectionModel",
            {"text_encoder_dim": 512, "text_encoder_1_dim": 1024, "langauge_model_dim": 768},
        ),
        "language_model": ("GPT2LMHeadModel", {"max_new_tokens": 8}),
        "tokenizer": ("roberta", {"limit": 512}),
        "tokenizer_2": ("t5", {"limit": 128}),
        "feature_extractor": ("ClapFeatureExtractor", {}),
        "unet": (
            "AudioLDM2UNet2DConditionModel",
            {
                **FOUR_LEVELS,
                "in_channels": 8,
                "out_channels": 8,
                "block_out_channels": AUDIOLDM_S,
                "cross_attention_dim": [[None, 768, 1024]] * 4,
            },
        ),
        "scheduler": ("DDIMScheduler", DDIM),
        "vocoder": ("SpeechT5HifiGan", HIFIGAN),
    },
    "stable-audio-open": {
        "pipeline": "StableAudioPipeline",
        "vae": ("AutoencoderOobleck", {}),
        "text_encoder": ("T5EncoderModel", T5_BASE),
        "projection_model": (
            "StableAudioProjectionModel",
            {"text_encoder_dim": 768, "conditioning_dim": 768, "min_value": 0, "max_value": 512},
        ),
        "tokenizer": ("t5", {"limit": 128}),
        "transformer": ("StableAudioDiTModel", {}),
        "scheduler": ("EDMDPMSolverMultistepScheduler", COSINE),
    },
    "stable-audio-3-small": {
        "pipeline": "StableAudio3Pipeline",
        "vae": ("AutoencoderSAME", {}),
        "text_encoder": ("T5GemmaEncoderModel", {"encoder": GEMMA, "decoder": GEMMA, "is_encoder_decoder": False}),
        "tokenizer": ("gemma", {}),
        "duration_embedder": ("StableAudio3DurationEmbedder", {}),
        "transformer": (
            "StableAudio3DiTModel",
            {"embed_dim": 1024, "depth": 20, "num_heads": 16, "use_differential_attention": False},
        ),
        "scheduler": flow(),
    },
    "ace-step-1.5": {
        "pipeline": "AceStepPipeline",
        "vae": ("AutoencoderOobleck", {"downsampling_ratios": [2, 4, 4, 6, 10], "sampling_rate": 48_000}),
        "text_encoder": ("Qwen3Model", QWEN),
        "tokenizer": ("qwen", {}),
        "transformer": ("AceStepTransformer1DModel", {}),
        "condition_encoder": ("AceStepConditionEncoder", {}),
        "scheduler": flow(),
    },
}
