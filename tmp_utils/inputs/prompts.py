"""Prompts, for training and for generation.

Conventions: a template is an English sentence with one "{}" where the words for a concept go: a placeholder
token, a rare word and a class noun, or the class noun alone. All of them are rows of `data/prompts.csv`.

Prompt                : one template with its id, kind and family.
training_templates    : neutral sentences to learn a concept with (paper, section 3: "A recording of a S*").
reconstruction_prompt : the prompt for the concept itself.
editability_prompts   : the prompts for the concept in another setting.
fill                  : a template and words -> a prompt.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.tables import Name, read_rows, validate

RECONSTRUCTION, EDITABILITY = "reconstruction", "editability"  # kinds of prompts that clips are generated from


def _template(text: str) -> str:
    fill(text, "")
    return text


@dataclass(frozen=True, config={"extra": "forbid"})
class Prompt:
    """One row of `data/prompts.csv`."""

    id: Name
    kind: Literal["training", "reconstruction", "editability"]
    family: Name
    template: Annotated[str, AfterValidator(_template)]


def training_templates() -> list[str]:
    """The neutral sentences that a concept is trained with, in the file's order."""
    return [prompt.template for prompt in _prompts("training")]


def reconstruction_prompt() -> Prompt:
    """The prompt for the concept itself."""
    return _prompts(RECONSTRUCTION)[0]


def editability_prompts(n: int | None = None) -> list[Prompt]:
    """The prompts for the concept in another setting, in the file's order.

    Parameters
    ----------
    n : how many; None is all of them. Fewer are taken from the families in turn, so that `n=5` has one of
        each.

    Raises
    ------
    ValueError : `n` is not between 1 and their number.
    """
    prompts = _prompts(EDITABILITY)
    if n is None:
        return prompts
    if not 1 <= n <= len(prompts):
        raise ValueError(f"n={n}: there are {len(prompts)} editability prompts; ask for 1 to {len(prompts)}.")
    families = [prompt.family for prompt in prompts]
    turns = [families[:i].count(family) for i, family in enumerate(families)]
    first = sorted(range(len(prompts)), key=lambda i: (turns[i], i))[:n]
    return [prompts[i] for i in sorted(first)]


def fill(template: str, words: str) -> str:
    """Put the words for a concept into a template.

    Raises
    ------
    ValueError : the template does not have exactly one "{}".
    """
    if template.count("{}") != 1:
        raise ValueError(f'"{template}" has {template.count("{}")} places for a concept; write "{{}}" once.')
    return template.replace("{}", words)


def _prompts(kind: str) -> list[Prompt]:
    path = DATA_DIR / "prompts.csv"
    prompts = [validate(Prompt, row, f"{path}, {row['id']}") for row in read_rows(path, "id")]
    if not (prompts := [prompt for prompt in prompts if prompt.kind == kind]):
        raise ValueError(f"{path}: no {kind} prompt. Restore the file (`git checkout -- data`).")
    return prompts
