"""A tiny CLAP with random weights, and clips of noise of several lengths."""

import numpy as np
import pytest
import torch

RATE_HZ = 16000
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "recording", "of", "sitar", "drum"]


def write_clap(folder, seed, fusion=False):
    """Save a tiny random ClapModel, its extractor at 16 kHz and a word tokenizer; return the folder."""
    import tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sound = {"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 1], "spec_size": 64}
    sound |= {"num_mel_bins": 16, "hidden_size": 16, "window_size": 4, "enable_fusion": fusion}
    torch.manual_seed(seed)
    config = ClapConfig(
        text_config=text | {"vocab_size": len(WORDS), "max_position_embeddings": 32, "projection_dim": 12},
        audio_config=sound | {"projection_dim": 12},
        projection_dim=12,
    )
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE_HZ,
        hop_length=640,
        max_length_s=10,
        frequency_max=8000,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_max_length=30
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_clap():
    """(folder, seed, fusion) -> the folder with a tiny CLAP in it."""
    return write_clap


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    return write_clap(tmp_path_factory.mktemp("judge"), seed=0)


@pytest.fixture(scope="module")
def embedder(judge):
    from tmp_utils.metrics.embed import load_embedder

    return load_embedder(f"clap:{judge}")


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, size=int(s * RATE_HZ)).astype(np.float32) for s in (3.0, 10.0, 10.24, 17.0)]
