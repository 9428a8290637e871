"""The parts of the pocket AudioLDM: the same classes as AudioLDM's, with a few million parameters.

Conventions: AudioLDM's audio geometry throughout (16 kHz, 64 mels, hop 160, 10.24 s). The VAE divides time and mels by
8, so a clip's latents are (16, 128, 8). Every function returns untrained weights.
"""

from tmp_utils.inputs.audio import F_MAX_HZ, HOP, N_FFT, N_MELS, RATE_HZ
from tmp_utils.model.architectures import DDIM, HIFIGAN, clap_unet, mel_vae

EMBEDDING_DIM = 128
TEXT_DIM, TEXT_LAYERS, TEXT_HEADS = 128, 3, 4
MAX_TOKENS = 48
VOCABULARY_SIZE = 1000
AUDIO_WIDTH, AUDIO_DEPTHS, AUDIO_HEADS, AUDIO_PATCH = 48, (1, 1, 2), (2, 4, 8), 8
CLAP_WINDOW_S = 10
VAE_CHANNELS, LATENT_CHANNELS = (16, 32, 64, 96), 16
UNET_CHANNELS, UNET_HEADS = (48, 96, 144), 4


def train_tokenizer(captions: list[str]):
    """RoBERTa's fast tokenizer with a byte-level, lower-casing BPE of captions; other text becomes bytes if need be."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizerFast

    bpe = ByteLevelBPETokenizer(lowercase=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator(
        captions, vocab_size=VOCABULARY_SIZE, min_frequency=2, special_tokens=special, show_progress=False
    )
    return RobertaTokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=MAX_TOKENS, cls_token="<s>")


def build_feature_extractor():
    """CLAP's log-mel front end at the study's rate: 10 s windows, 64 mels to 8 kHz."""
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=N_MELS,
        sampling_rate=RATE_HZ,
        hop_length=HOP,
        max_length_s=CLAP_WINDOW_S,
        fft_window_size=N_FFT,
        frequency_min=0,
        frequency_max=F_MAX_HZ,
        truncation="rand_trunc",
        padding="repeatpad",
    )


def build_clap(tokenizer):
    """A CLAP with a 3-layer text tower and a small HTSAT, 128-d joint space; the judge is one, too."""
    from transformers import ClapAudioConfig, ClapConfig, ClapModel, ClapTextConfig

    text = ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_DIM,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=TEXT_HEADS,
        intermediate_size=4 * TEXT_DIM,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=MAX_TOKENS + 2,
        projection_dim=EMBEDDING_DIM,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    audio = ClapAudioConfig(
        num_mel_bins=N_MELS,
        spec_size=256,
        patch_size=AUDIO_PATCH,
        patch_stride=[AUDIO_PATCH, AUDIO_PATCH],
        patch_embeds_hidden_size=AUDIO_WIDTH,
        depths=list(AUDIO_DEPTHS),
        num_attention_heads=list(AUDIO_HEADS),
        num_hidden_layers=len(AUDIO_DEPTHS),
        hidden_size=AUDIO_WIDTH * 2 ** (len(AUDIO_DEPTHS) - 1),
        window_size=8,
        projection_dim=EMBEDDING_DIM,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        enable_fusion=False,
    )
    config = ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=EMBEDDING_DIM)
    return ClapModel(config)


def build_vae():
    """A 4-level convolutional VAE of log-mels (1, frames, 64) to latents (16, frames/8, 8)."""
    from diffusers import AutoencoderKL

    numbers = {"layers_per_block": 1, "latent_channels": LATENT_CHANNELS, "norm_num_groups": 8, "sample_size": N_MELS}
    return AutoencoderKL(**mel_vae(VAE_CHANNELS, **numbers, mid_block_add_attention=False)[1])


def build_unet():
    """AudioLDM's UNet in small: the condition enters as a class embedding, concatenated to the timestep's."""
    from diffusers import UNet2DConditionModel

    _, numbers = clap_unet(
        LATENT_CHANNELS,
        EMBEDDING_DIM,
        sample_size=(128, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        cross_attention_dim=UNET_CHANNELS,
        attention_head_dim=UNET_HEADS,
        norm_num_groups=16,
    )
    return UNet2DConditionModel(**numbers)


def build_vocoder():
    """AudioLDM's HiFi-GAN with 128 channels at first, where the large one has 1024."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return SpeechT5HifiGan(SpeechT5HifiGanConfig(**{**HIFIGAN, "upsample_initial_channel": 128}))


def build_scheduler():
    """AudioLDM's DDIM schedule, predicting v: on a small model epsilon never learned to follow the text."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**DDIM, prediction_type="v_prediction")
