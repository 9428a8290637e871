"""Pipelines with random weights: the right shapes without a download.

Conventions: nothing here has learned anything; it is for tests, for timing, and for measuring memory.

blank_pipeline  : name and seed -> a pipeline of `architectures.ARCHITECTURES`.
built           : an entry of that table -> pipeline.
without_zeros   : a pipeline in which every part matters.
TOKENIZERS      : tokenizers of a few words, letters and bytes, by kind; `blank_tokenizer` is RoBERTa's.
"""

import json

import torch

from tmp_utils.model.architectures import ARCHITECTURES
from tmp_utils.model.pipelines import class_of, quiet

WORDS = ("a", "recording", "of", "the", "sound", "guitar", "drums", "string", "instrument", "in", "jazz", "song")
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LETTERS = [chr(code) for code in range(33, 127)]


def blank_tokenizer(limit: int = 512):
    """A RoBERTa tokenizer whose vocabulary is the 256 bytes, RoBERTa's special tokens, and `WORDS`."""
    from tokenizers.processors import RobertaProcessing
    from transformers import RobertaTokenizerFast

    bpe = _byte_pairs([f" {word}" for word in WORDS], 380, SPECIALS)
    bpe.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return RobertaTokenizerFast(tokenizer_object=bpe, model_max_length=limit)


def _byte_pairs(texts: list[str], size: int, specials: list[str]):
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts * 2, vocab_size=size, special_tokens=specials, show_progress=False)
    return bpe._tokenizer


def _t5_tokenizer(limit: int):
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS] + [(letter, -5.0) for letter in LETTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=limit)


def _gemma_tokenizer():
    from transformers import GemmaTokenizer

    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    return GemmaTokenizer(vocab={name: k for k, name in enumerate(names)}, merges=[])


def _qwen_tokenizer():
    from diffusers import AceStepPipeline
    from transformers import Qwen2Tokenizer

    form = AceStepPipeline._format_prompt(AceStepPipeline, " ".join(WORDS))
    model = json.loads(_byte_pairs(list(form), 340, ["<|endoftext|>"]).to_str())["model"]
    return Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


TOKENIZERS = {"roberta": blank_tokenizer, "t5": _t5_tokenizer, "gemma": _gemma_tokenizer, "qwen": _qwen_tokenizer}


def blank_pipeline(size: str = "tiny", seed: int = 0, prediction_type: str = "epsilon"):
    """A pipeline with random weights.

    Parameters
    ----------
    size : a key of `ARCHITECTURES`.
    prediction_type : what a UNet is taken to predict: "epsilon" as AudioLDM does, "v_prediction" or "sample"; other
        families know by themselves.

    Raises
    ------
    ValueError : no such size.
    """
    if size not in ARCHITECTURES:
        raise ValueError(f'size "{size}": expected one of {", ".join(ARCHITECTURES)}.')
    entry = ARCHITECTURES[size]
    kind, numbers = entry["scheduler"]
    if kind == "DDIMScheduler":
        entry = {**entry, "scheduler": (kind, {**numbers, "prediction_type": prediction_type})}
    return built(entry, seed)


def built(entry: dict, seed: int = 0):
    """The pipeline of an entry; the same seed gives the same weights."""
    import diffusers

    pipeline, parts = entry["pipeline"], {part: of for part, of in entry.items() if part != "pipeline"}
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {part: _made(pipeline, kind, numbers) for part, (kind, numbers) in parts.items()}
        return getattr(diffusers, pipeline)(**made)


def _made(pipeline: str, kind: str, numbers: dict):
    if kind in TOKENIZERS:
        return TOKENIZERS[kind](**numbers)
    made = class_of(pipeline, kind)
    if config := getattr(made, "config_class", None):  # of transformers' models
        return made(config(**numbers))
    if issubclass(made, torch.nn.Module):
        return made(**numbers)
    with torch.device("cpu"):  # a scheduler needs its numbers, also where weights are on "meta"
        return made(**numbers)


@torch.no_grad()
def without_zeros(pipe):
    """The pipeline, with small random numbers for every parameter and buffer that is zero before it has learned."""
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            for weight in (*part.parameters(), *part.buffers()):
                if weight.is_floating_point() and not weight.any():
                    weight.normal_(0, 0.1)
    return pipe
