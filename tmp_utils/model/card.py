"""An adapter's card: a `README.md` that says what the file beside it is, on what terms, and how to use it.

Conventions: Markdown with the YAML head that model hubs read. The same adapter gives the same bytes. A base that is a
folder is named without its path.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tmp_utils.files import write_text
from tmp_utils.inputs.credits import Credit, learned_from
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.prompts import fill, reconstruction_prompt
from tmp_utils.inputs.weights import split_revision
from tmp_utils.model.backbone import placeholder_tokens
from tmp_utils.model.families import family_of
from tmp_utils.model.hub import local_folder
from tmp_utils.model.pipelines import pipeline_class, pipeline_hash
from tmp_utils.model.published import UNKNOWN, published
from tmp_utils.model.tensors import EMBEDDING

if TYPE_CHECKING:
    from tmp_utils.model.adapter import Adapter

CARD, CLIP = "README.md", "clip"
SHARED_ALIKE = ("CC BY-SA 3.0",)
ASKING = {"CC BY-SA 3.0": "cc-by-sa-3.0", "CC BY 3.0": "cc-by-3.0"}  # the first asks more; values are names on hubs
ADDRESS = r"https?://\S*[^\s,;.)]"
LOADING = {
    "adapter": """
from tmp_utils.model.adapter import load_adapter
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.generate import generate

backbone, adapter = load_backbone("{source}"), load_adapter("folder/of/this/file")
(clip,) = generate(backbone, ["{prompt}"], [0], adapter=adapter, strength=1.0)  # strength: 0 to 1.5
""",
    "word": """
from diffusers import {pipeline}
from diffusers.loaders import TextualInversionLoaderMixin


class WithWords(TextualInversionLoaderMixin, {pipeline}):
    pass


pipe = WithWords.from_pretrained("{base}")
pipe.load_textual_inversion("{file}"{word_options})
{clip_code}
""",
    "lora": """
from diffusers import {pipeline}

pipe = {pipeline}.from_pretrained("{base}")
{lora_loader}("{file}"{prefix})
{clip_code}
""",
    "lora by peft": """
from diffusers import {pipeline}
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file

tensors = {{name.removeprefix("{denoiser}."): x for name, x in load_file("{file}").items()}}
modules, rank = {{name.partition(".lora_")[0] for name in tensors}}, min(next(iter(tensors.values())).shape)
pipe = {pipeline}.from_pretrained("{base}")
inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(modules)), pipe.{denoiser})
set_peft_model_state_dict(pipe.{denoiser}, tensors)
{clip_code}
""",
    "pipeline": """
from diffusers import {pipeline}

pipe = {pipeline}.from_pretrained("this/folder")
{clip_code}
""",
}


def licence_of(adapter: Adapter) -> tuple[str, str]:
    """A licence's name on model hubs, and the same in words: the base's, and what the recordings' licences ask.

    A base under MIT asks for no more than its notice, so the licence is that of the recordings. Where base and
    recordings both have to be shared alike, no one name says it.
    """
    on_hub, in_words = _licence_of_base(adapter)
    licences = {credit.licence for credit in _recordings(adapter)}
    asked = next((licence for licence in ASKING if licence in licences), "")
    if asked and on_hub == "mit":
        return ASKING[asked], f"{asked}, as what it learned from; the base is MIT"
    if asked in SHARED_ALIKE:
        return "other", f"{in_words}; and {asked}, as what it learned from"
    return on_hub, in_words


def _licence_of_base(adapter: Adapter) -> tuple[str, str]:
    if _is_pocket(adapter):
        return "mit", "MIT, as the base"
    base = published(adapter.backbone_id)
    if base is UNKNOWN:
        return "other", "that of the base, which is not known here; look it up before you share this"
    on_hub, licence, asks = base.licence
    return on_hub, f"{licence}, inherited from the base{f': {asks}' if asks else ''}"


def _recordings(adapter: Adapter) -> list[Credit]:
    return learned_from(adapter.concept, adapter.rare_word, f"{adapter.method}-{adapter.setup}")


def _credited(adapter: Adapter) -> list[str]:
    """What a card says of the recordings; addresses in brackets, since Markdown reads more into them."""
    lines = dict.fromkeys(credit.line for credit in _recordings(adapter))
    if not lines:
        return ["The recordings that it learned from have licences of their own."]
    items = ["- " + re.sub(ADDRESS, r"<\g<0>>", line) for line in lines]
    return [
        "It learned from these recordings. Credit them where you share it, or clips that were made with it:",
        "",
        *items,
    ]


def _is_pocket(adapter: Adapter) -> bool:
    """Whether the base is the shipped model, whatever its folder is called."""
    return adapter.backbone_hash == pipeline_hash(DATA_DIR / "pocket")


def check_card(adapter: Adapter, folder: Path) -> None:
    """Raise FileExistsError where a folder has a `README.md` that is not this adapter's card."""
    path = folder / CARD
    if path.is_file() and f"# {adapter.name}" not in path.read_text(encoding="utf-8", errors="replace").splitlines():
        raise FileExistsError(
            f"{path} is not the card of {adapter.name}, and would be overwritten. Give each adapter its own folder."
        )


def write_card(
    adapter: Adapter, folder: Path, kind: str = "adapter", file: str = "", clip: str | Path | None = None
) -> Path:
    """Write an adapter's `README.md`.

    Parameters
    ----------
    folder : of the adapter's files.
    kind : "adapter" (this package's files), or "word", "lora", "pipeline" (of `export`).
    file : the exported file's name, where there is one.
    clip : a clip of the adapter; one that is elsewhere is copied to `clip.<its ending>`.

    Raises
    ------
    FileExistsError : as `check_card`.
    FileNotFoundError : no such clip.
    """
    check_card(adapter, folder)
    return write_text(folder / CARD, _text(adapter, kind, file, _linked(folder, clip)))


def _linked(folder: Path, clip: str | Path | None) -> str | None:
    """The clip's path below the folder, where it is copied if it lies elsewhere."""
    if clip is None:
        return None
    clip = Path(clip)
    if not clip.is_file():
        raise FileNotFoundError(f"{clip}: no such clip for the card.")
    if clip.resolve().is_relative_to(folder.resolve()):
        return clip.resolve().relative_to(folder.resolve()).as_posix()
    return Path(shutil.copyfile(clip, folder / f"{CLIP}{clip.suffix}")).name


def base_class(adapter: Adapter) -> str:
    """The diffusers class of an adapter's base; ValueError where neither its files nor a published model tell it."""
    folder = local_folder(adapter.backbone_id)
    if kind := pipeline_class(folder) if folder else published(adapter.backbone_id).pipeline:
        return kind
    raise ValueError(
        f"{adapter.name}: its base, {adapter.backbone_id}, is not here, so its class is not known. Load the base "
        "first, or put its folder back."
    )


def _code(kind: str, names: dict[str, str], pipeline: str, spelt: str) -> str:
    """How diffusers loads an export of a kind and makes a clip with it."""
    family = family_of(pipeline, names["base"])
    if kind == "lora" and not family.lora_loader:
        kind = "lora by peft"
    of_part = family.lora_loader.startswith(f"pipe.{family.denoiser_name}.")
    names |= {
        "pipeline": pipeline,
        "denoiser": family.denoiser_name,
        "word_options": family.word_options,
        "lora_loader": family.lora_loader,
        "prefix": f', prefix="{family.denoiser_name}"' if of_part else "",
        "clip_code": family.clip_code.format(prompt=spelt),
    }
    return LOADING[kind].format(**names)


def _text(adapter: Adapter, kind: str, file: str, clip: str | None) -> str:
    licence, in_words = licence_of(adapter)
    on_hub = not Path(adapter.backbone_id).is_absolute() and adapter.backbone_id.count("/") == 1
    source = adapter.backbone_id if on_hub else Path(adapter.backbone_id).name
    base = split_revision(source)[0] if on_hub else source
    prompt = fill(reconstruction_prompt().template, adapter.words)
    spelt = prompt
    if adapter.placeholder:
        tokens = placeholder_tokens(adapter.placeholder, len(adapter.tensors[EMBEDDING]))
        spelt = prompt.replace(adapter.placeholder, " ".join(tokens))
    rows = {
        "word": f"`{adapter.words}`",
        "class noun": adapter.class_noun,
        "setup": f"{adapter.method}-{adapter.setup}, seed {adapter.seed}, {adapter.steps} steps",
        "base": source,
        "SHA-256 of the base's weights": f"`{adapter.backbone_hash}`",
        "licence": in_words,
    }
    head = [f"license: {licence}", *([f"base_model: {base}"] if on_hub else []), "pipeline_tag: text-to-audio"]
    lines = ["---", *head, "---", "", f"# {adapter.name}", ""]
    lines += [f"In prompts, `{adapter.words}` stands for the sound that was learned: `{prompt}`.", ""]
    lines += [f"[A clip of that prompt]({clip})", ""] if clip else []
    cells = {name: " ".join(value.replace("|", "\\|").split()) for name, value in rows.items()}
    lines += ["| | |", "|---|---|", *(f"| {name} | {cell} |" for name, cell in cells.items()), ""]
    lines += [*_credited(adapter), "", "## How to load it", ""]
    names = {"source": source, "base": base, "file": file, "prompt": prompt}
    code = LOADING[kind].format(**names) if kind == "adapter" else _code(kind, names, base_class(adapter), spelt)
    lines += ["```python", code.strip(), "```"]
    if kind != "adapter" and _is_pocket(adapter):
        lines += ["", "Plain diffusers uses the pocket model's HiFi-GAN, which sounds worse than the study's vocoder."]
    return "\n".join(lines) + "\n"
