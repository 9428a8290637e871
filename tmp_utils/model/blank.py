"""Pipelines with random weights: the right shapes without a download.

Conventions: what is written is what diffusers and `backbone.load_backbone` load. Nothing here has learned anything; it
is for tests, for timing, and for measuring memory. `make fake-backbone FAMILY=ace-step-1.5` writes one of published
size with a profile that names it: `make study` runs end to end, and only the sound is missing.

blank_pipeline  : name and seed -> a pipeline of `architectures.ARCHITECTURES`.
built           : an entry of that table -> pipeline.
without_zeros   : a pipeline in which every part matters.
write_fake      : name -> a folder of published size, and the profile that runs the study with it.
check_room      : whether memory and disk suffice for it.
TOKENIZERS      : tokenizers of a few words, letters and bytes, by kind; `blank_tokenizer` is RoBERTa's.
"""

import argparse
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch

from tmp_utils.files import whole_folder, write_text
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.architectures import ARCHITECTURES, FULL_SIZE
from tmp_utils.model.pipelines import class_of, quiet

WORDS = ("a", "recording", "of", "the", "sound", "guitar", "drums", "string", "instrument", "in", "jazz", "song")
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LETTERS = [chr(code) for code in range(33, 127)]
SINGLE_BELOW = 4e9  # bytes of weights that are written in single precision; more are written in bf16


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


AUDIBLE = 1000.0
FAKE = """# {size} with random weights: profile "{profile}" but for its sound, its steps and its judge.
# TMP_PROFILES={path} make study PROFILE={profile}
[{table}]
backbone = "{backbone}"
device = "cpu"
embedder = "clap:pocket/judge"
inference_steps = 2
reconstruction_clips = 2
clips_per_prompt = 1
n_editability_prompts = 2

[{table}.methods]
"""


def n_parameters(size: str) -> int:
    """How many parameters a blank pipeline has; none is made."""
    with torch.device("meta"):
        parts = blank_pipeline(size).components.values()
    return sum(weight.numel() for part in parts if isinstance(part, torch.nn.Module) for weight in part.parameters())


def memory_bytes() -> float:
    """The machine's memory; infinite where the system does not say (Windows)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("inf")


def check_room(size: str, folder: Path) -> torch.dtype:
    """What number format a blank pipeline is written in.

    Raises
    ------
    MemoryError, OSError : the machine's memory does not hold it in single precision, or the folder's disk has no room.
    """
    n = n_parameters(size)
    dtype = torch.float32 if 4 * n < SINGLE_BELOW else torch.bfloat16
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    needs = f"{size}: {n / 1e6:.0f} M parameters, {n * dtype.itemsize / 1e9:.1f} GB on disk, "
    needs += f"{4 * n / 1e9:.1f} GB in memory"
    print(f"{needs}, without what a step or a clip takes.", flush=True)
    if (memory := memory_bytes()) < 4 * n:
        raise MemoryError(f"{needs}; this machine has {memory / 1e9:.1f} GB of memory. Choose a smaller one.")
    if free < n * dtype.itemsize:
        raise OSError(f"{needs}; {free / 1e9:.1f} GB are free for {folder}. Free some space, or name another disk.")
    return dtype


@contextmanager
def _made_in(dtype: torch.dtype):
    """Let new parameters be of a type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def write_fake(folder: Path, size: str = "audioldm-m") -> Path:
    """Write `folder/<size>` and `folder/profiles.toml`; returns the latter, for `TMP_PROFILES`.

    The profile trains every method for two steps of one clip, so that a CPU can run it.

    Raises
    ------
    MemoryError, OSError : as `check_room`.
    """
    folder = Path(folder).resolve()
    backbone, profile = folder / size, FULL_SIZE.get(size, "paper")
    if not (backbone / "model_index.json").exists():
        with _made_in(check_room(size, folder)):
            pipe = without_zeros(blank_pipeline(size))
        if hasattr(pipe, "vocoder"):
            pipe.vocoder.conv_post.weight.data.mul_(AUDIBLE)  # it is all but silent, and silence is an error
        with quiet(), whole_folder(backbone) as part:
            pipe.save_pretrained(part)
    path = folder / "profiles.toml"
    steps = "steps = 2, batch_size = 1, accumulation = 1"
    methods = "".join(f"{name} = {{ {steps} }}\n" for name in load_profile(profile).methods if name != "TI-DB")
    methods += f"TI-DB = {{ {steps}, ti_steps = 2 }}\n"
    table = json.dumps(profile)
    head = FAKE.format(size=size, profile=profile, table=table, path=path, backbone=backbone.as_posix())
    return write_text(path, head + methods)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("folder", type=Path, help="where the backbone and its profiles.toml go")
    parser.add_argument("--family", choices=FULL_SIZE, default="audioldm-m", help="which one (default: audioldm-m)")


def main(options: argparse.Namespace) -> None:
    """Write the fake backbone."""
    written = write_fake(options.folder / options.family, options.family)
    profile = FULL_SIZE[options.family]
    print(f"Written. Now: TMP_PROFILES={written} make study PROFILE={profile} RUNS={written.parent / 'runs'}")
