"""Pipelines of the real classes with random weights, a few hundred kB each, at 4 or 16 kHz."""

import json

import torch
from diffusers import (
    AceStepPipeline,
    AceStepTransformer1DModel,
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderOobleck,
    AutoencoderSAME,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableAudio3DiTModel,
    StableAudio3Pipeline,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    GemmaTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    T5GemmaEncoderModel,
    T5Tokenizer,
)

from tmp_utils.model.blank import WORDS, blank_pipeline, blank_tokenizer

RATE_HZ = 4000
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1}
CHARACTERS = [chr(code) for code in range(32, 127)]


def t5_tokenizer(limit=128):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS] + [(letter, -5.0) for letter in CHARACTERS[1:]]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=limit)


def t5(tokenizer):
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_heads=2, num_layers=1))


def gemma_tokenizer():
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *CHARACTERS[1:]]
    return GemmaTokenizer(vocab={name: k for k, name in enumerate(names)}, merges=[])


def qwen_tokenizer():
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    form = AceStepPipeline._format_prompt(AceStepPipeline, " ".join(WORDS))
    bpe.train_from_iterator(form * 2, vocab_size=340, special_tokens=["<|endoftext|>"], show_progress=False)
    model = json.loads(bpe._tokenizer.to_str())["model"]
    return Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def oobleck(ratios=(8, 16)):
    return AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=list(ratios),
        decoder_channels=8,
        decoder_input_channels=4,
        channel_multiples=[1, 2],
        audio_channels=2,
        sampling_rate=RATE_HZ,
    )


def audioldm2():
    base, tokenizer = blank_pipeline(), t5_tokenizer()
    text = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 24, "max_position_embeddings": 200, "projection_dim": 12, "initializer_factor": 5.0}
    audio = {"spec_size": 8, "window_size": 4, "num_mel_bins": 8, "depths": [1, 1], "num_attention_heads": [1, 2]}
    audio |= {"patch_size": 2, "patch_stride": 2, "patch_embeds_hidden_size": 8, "hidden_size": 16}
    config = ClapConfig(text_config=text, audio_config={**audio, "projection_dim": 12}, projection_dim=12)
    return AudioLDM2Pipeline(
        vae=base.vae,
        text_encoder=ClapModel(config),
        text_encoder_2=t5(tokenizer),
        projection_model=AudioLDM2ProjectionModel(12, 16, 16),
        language_model=GPT2LMHeadModel(
            GPT2Config(vocab_size=50, n_positions=160, n_embd=16, n_layer=1, n_head=2, max_new_tokens=8)
        ),
        tokenizer=blank_tokenizer(128),
        tokenizer_2=tokenizer,
        feature_extractor=ClapFeatureExtractor(feature_size=8),
        unet=AudioLDM2UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=[[None, 16, 16], [None, 16, 16]],
            sample_size=32,
        ),
        scheduler=base.scheduler,
        vocoder=base.vocoder,
    )


def stable_audio_open():
    tokenizer = t5_tokenizer(64)
    return StableAudioPipeline(
        vae=oobleck(),
        text_encoder=t5(tokenizer),
        projection_model=StableAudioProjectionModel(16, 12, 0, 20),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=48,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_attention_heads=1,
            cross_attention_dim=8,
            cross_attention_input_dim=12,
            time_proj_dim=8,
            global_states_input_dim=24,
        ),
        scheduler=EDMDPMSolverMultistepScheduler(
            sigma_min=0.3, sigma_max=500, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction"
        ),
    )


def stable_audio_3(distilled=False):
    tokenizer = gemma_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "layer_types": ["full_attention"], "query_pre_attn_scalar": 8}
    config = T5GemmaConfig(encoder=text, decoder=text, vocab_size=len(tokenizer), is_encoder_decoder=False)
    return StableAudio3Pipeline(
        vae=AutoencoderSAME(
            patch_size=16,
            encoder_channels=8,
            encoder_c_mults=(2,),
            encoder_strides=(8,),
            encoder_transformer_depths=(1,),
            latent_dim=4,
            dim_heads=8,
            sampling_rate=RATE_HZ,
        ),
        text_encoder=T5GemmaEncoderModel(config),
        tokenizer=tokenizer,
        duration_embedder=StableAudio3DurationEmbedder(output_dim=16, fourier_dim=8),
        transformer=StableAudio3DiTModel(
            io_channels=4,
            embed_dim=16,
            depth=1,
            num_heads=2,
            cond_token_dim=16,
            global_cond_dim=16,
            local_add_cond_dim=5,
            timestep_features_dim=8,
            ff_mult=2,
            num_memory_tokens=2,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=distilled),
    )


def ace_step(turbo=False):
    tokenizer = qwen_tokenizer()
    size = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    size |= {"head_dim": 8, "sliding_window": 8}
    return AceStepPipeline(
        vae=oobleck((16, 64)),
        text_encoder=Qwen3Model(Qwen3Config(vocab_size=len(tokenizer), max_position_embeddings=512, **TEXT)),
        tokenizer=tokenizer,
        transformer=AceStepTransformer1DModel(
            num_hidden_layers=2, in_channels=12, audio_acoustic_hidden_dim=4, is_turbo=turbo, **size
        ),
        condition_encoder=AceStepConditionEncoder(
            text_hidden_dim=16,
            timbre_hidden_dim=4,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
            **size,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


TINY = {
    "audioldm2": audioldm2,
    "stable_audio_open": stable_audio_open,
    "stable_audio_3": stable_audio_3,
    "ace_step": ace_step,
}


def tiny_pipeline(name, **options):
    """A pipeline by its name; nothing in it is exactly zero, so that every part matters."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        pipe = TINY[name](**options)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                for weight in part.parameters():
                    if not weight.any():
                        weight.normal_(0, 0.1)
        if name == "ace_step":
            pipe.condition_encoder.silence_latent.normal_()
    return pipe
