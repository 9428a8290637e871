"""Adapters for programs that know nothing of this one.

Conventions: what is written is what plain diffusers reads, with a card (`card`) beside it. A new word of several
vectors is spelt "<x> <x>_1 <x>_2" in prompts there, since AudioLDM's pipeline has no textual-inversion loader that
would spell it out.

export_textual_inversion : adapter -> diffusers' textual-inversion safetensors.
export_lora              : adapter -> the weights that peft, `load_lora_adapter` and `load_lora_weights` read.
export_pipeline          : adapter + backbone -> a whole pipeline folder.
with_new_words           : tokenizers and text encoders that know the applied adapter's words.
"""

import copy
import shutil
from pathlib import Path

import torch

from tmp_utils.files import whole_folder, write_tensors
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone, placeholder_tokens
from tmp_utils.model.card import CARD, base_class, check_card, write_card
from tmp_utils.model.families import family_of
from tmp_utils.model.pipelines import quiet
from tmp_utils.model.tensors import EMBEDDING, LORA_A, LORA_B


def export_textual_inversion(adapter: Adapter, path: str | Path, clip: str | Path | None = None) -> Path:
    """Write {placeholder: (n_vectors, d)}, which `TextualInversionLoaderMixin.load_textual_inversion` reads.

    Parameters
    ----------
    clip : a sound file of the adapter, for the card; it is copied.

    Raises
    ------
    ValueError : the adapter holds more than a new word, or none; or its word has vectors of two text encoders.
    FileExistsError : the file's folder has a `README.md` that is not this adapter's card.
    """
    if set(adapter.tensors) != {EMBEDDING}:
        raise ValueError(
            f"{adapter.name}: only an adapter that is a new word and nothing else can be a textual-inversion file. "
            "Use export_pipeline."
        )
    if len(family_of(base_class(adapter), adapter.backbone_id).vocabularies) > 1:
        raise ValueError(
            f"{adapter.name}: a word of this base has vectors of two text encoders, and diffusers' loader reads those "
            "of one. Use export_pipeline."
        )
    return _write_file(adapter, path, {adapter.placeholder: adapter.tensors[EMBEDDING]}, "word", clip)


def export_lora(adapter: Adapter, path: str | Path) -> Path:
    """Write low-rank updates as peft names them, after the part that they belong to: "unet." or "transformer.".

    The card says how to load them: by diffusers' loader, or by peft where the pipeline has none.

    Raises
    ------
    ValueError : the adapter is not low-rank.
    FileExistsError : as `export_textual_inversion`.
    """
    if not adapter.tensors or not all(name.endswith((LORA_A, LORA_B)) for name in adapter.tensors):
        raise ValueError(f"{adapter.name}: not low-rank updates. Use export_pipeline.")
    return _write_file(adapter, path, adapter.tensors, "lora")


def _write_file(adapter: Adapter, path: str | Path, tensors: dict, kind: str, clip: str | Path | None = None) -> Path:
    """Write tensors, and the adapter's card beside them."""
    path = Path(path)
    check_card(adapter, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()})
    write_card(adapter, path.parent, kind, path.name, clip)
    return path


def export_pipeline(adapter: Adapter, backbone: Backbone, folder: str | Path) -> Path:
    """Write a folder that `DiffusionPipeline.from_pretrained` loads and that sounds like the adapter.

    What an adapter cannot change is copied from the backbone's folder.
    """
    folder, kept = Path(folder), [backbone.denoiser_name, *(name for both in backbone.vocabularies for name in both)]
    with whole_folder(folder) as part, adapter.applied(backbone), quiet():
        shutil.copytree(backbone.folder, part, dirs_exist_ok=True, ignore=lambda _, names: {*names} & {*kept, CARD})
        for name, of in {backbone.denoiser_name: backbone.denoiser, **with_new_words(backbone)}.items():
            of.save_pretrained(part / name)
        write_card(adapter, part, "pipeline")
    return folder


def with_new_words(backbone: Backbone) -> dict[str, object]:
    """The pipeline's tokenizers and text encoders by name, in copies that know the placeholders, if any."""
    vectors = torch.cat(list(backbone.overrides.values())) if backbone.overrides else None
    sizes = {placeholder: len(rows) for placeholder, rows in backbone.overrides.items()}
    parts, first = {}, 0
    for names in backbone.vocabularies:
        tokenizer, encoder = (getattr(backbone.pipe, name) for name in names)
        if vectors is not None:
            tokenizer, encoder = backbone.tokenizer_with(sizes, tokenizer), copy.deepcopy(encoder)
            inner = getattr(encoder, "text_model", encoder)
            if len(tokenizer) > len(inner.get_input_embeddings().weight):
                inner.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            table = inner.get_input_embeddings().weight
            words = [word for placeholder, n in sizes.items() for word in placeholder_tokens(placeholder, n)]
            with torch.no_grad():
                columns = slice(first, first + table.shape[1])
                table[tokenizer.convert_tokens_to_ids(words)] = vectors[:, columns].to(table)
            first += table.shape[1]
        parts |= dict(zip(names, (tokenizer, encoder), strict=True))
    return parts
