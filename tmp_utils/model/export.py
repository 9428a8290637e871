"""Adapters for programs that know nothing of this one.

Conventions: what is written is what plain diffusers reads, with a card (`card`) beside it. A new word of several
vectors is spelt "<x> <x>_1 <x>_2" in prompts there, since AudioLDM's pipeline has no textual-inversion loader that
would spell it out.

export_textual_inversion : adapter -> diffusers' textual-inversion safetensors.
export_lora              : adapter -> the weights that peft, `load_lora_adapter` and `load_lora_weights` read.
export_pipeline          : adapter + backbone -> a whole pipeline folder.
with_new_words           : a tokenizer and a text encoder that know the applied adapter's words.
"""

import copy
import shutil
from pathlib import Path

import torch

from tmp_utils.files import whole_folder, write_tensors
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone, placeholder_tokens
from tmp_utils.model.card import check_card, write_card
from tmp_utils.model.pipelines import VOCODER_CHOICE, quiet, weighty_parts
from tmp_utils.model.tensors import EMBEDDING, LORA_A, LORA_B

WHOLE = ("text_encoder", "unet", "vae", "vocoder")  # parts with weights


def export_textual_inversion(adapter: Adapter, path: str | Path, clip: str | Path | None = None) -> Path:
    """Write {placeholder: (n_vectors, d)}, which `TextualInversionLoaderMixin.load_textual_inversion` reads.

    Parameters
    ----------
    clip : a sound file of the adapter, for the card; it is copied.

    Raises
    ------
    ValueError : the adapter holds more than a new word, or none.
    FileExistsError : the file's folder has a `README.md` that is not this adapter's card.
    """
    if set(adapter.tensors) != {EMBEDDING}:
        raise ValueError(
            f"{adapter.name}: only an adapter that is a new word and nothing else can be a textual-inversion file. "
            "Use export_pipeline."
        )
    return _write_file(adapter, path, {adapter.placeholder: adapter.tensors[EMBEDDING]}, "word", clip)


def export_lora(adapter: Adapter, path: str | Path, clip: str | Path | None = None) -> Path:
    """Write low-rank updates as peft names them, after the part that they belong to: "unet." or "transformer.".

    The card says how to load them: by the UNet's own loader, or by peft into a transformer. A pipeline with
    `load_lora_weights`, such as ACE-Step's, takes the file as it is.


    Raises
    ------
    ValueError : the adapter is not low-rank.
    FileExistsError : as `export_textual_inversion`.
    """
    if not adapter.tensors or not all(name.endswith((LORA_A, LORA_B)) for name in adapter.tensors):
        raise ValueError(f"{adapter.name}: not low-rank updates. Use export_pipeline.")
    return _write_file(adapter, path, adapter.tensors, "lora", clip)


def _write_file(adapter: Adapter, path: str | Path, tensors: dict, kind: str, clip: str | Path | None) -> Path:
    """Write tensors, and the adapter's card beside them."""
    path = Path(path)
    check_card(adapter, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()})
    write_card(adapter, path.parent, kind, path.name, clip)
    return path


def export_pipeline(adapter: Adapter, backbone: Backbone, folder: str | Path, clip: str | Path | None = None) -> Path:
    """Write a folder that `AudioLDMPipeline.from_pretrained` loads and that sounds like the adapter.

    The vocoder, and the choice of it, are copied from the backbone's folder.

    Raises
    ------
    ValueError : a pipeline of other parts.
    """
    folder, parts = Path(folder), tuple(weighty_parts(backbone.folder))
    if parts != WHOLE:
        raise ValueError(
            f"{backbone.id} has the parts {', '.join(parts)}; only a pipeline of {', '.join(WHOLE)} is exported whole. "
            "Use export_lora for low-rank updates, or the adapter's own folder."
        )
    with whole_folder(folder) as part, adapter.applied(backbone), quiet():
        backbone.unet.save_pretrained(part / "unet")
        backbone.vae.save_pretrained(part / "vae")
        backbone.scheduler.save_pretrained(part / "scheduler")
        tokenizer, text_encoder = with_new_words(backbone)
        tokenizer.save_pretrained(part / "tokenizer")
        text_encoder.save_pretrained(part / "text_encoder")
        shutil.copytree(backbone.folder / "vocoder", part / "vocoder")
        for name in ("model_index.json", VOCODER_CHOICE):
            if (backbone.folder / name).is_file():
                shutil.copy(backbone.folder / name, part / name)
        write_card(adapter, part, "pipeline", clip=clip)
    return folder


def with_new_words(backbone: Backbone):
    """Tokenizer and text encoder, in copies that know the placeholders, if any."""
    if not backbone.overrides:
        return backbone.tokenizer, backbone.text_encoder
    sizes = {placeholder: len(rows) for placeholder, rows in backbone.overrides.items()}
    tokenizer, text_encoder = backbone.tokenizer_with(sizes), copy.deepcopy(backbone.text_encoder)
    words = text_encoder.get_input_embeddings().weight
    if len(tokenizer) > len(words):
        text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for placeholder, rows in backbone.overrides.items():
        ids = tokenizer.convert_tokens_to_ids(placeholder_tokens(placeholder, len(rows)))
        with torch.no_grad():
            text_encoder.get_input_embeddings().weight[ids] = rows.to(words)
    return tokenizer, text_encoder
