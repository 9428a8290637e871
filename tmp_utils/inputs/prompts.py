"""What is asked of a model, for training and for generation.

Conventions: a template is an English sentence with one "{}" where the words for a concept go: a placeholder
token, a rare word and a class noun, or the class noun alone. All of them are rows of `data/prompts.csv`.

Prompt                : one template with its id, kind and family.
training_templates    : neutral sentences to learn a concept with (paper, section 3: "A recording of a S*").
reconstruction_prompt : the sentence that asks for the concept itself.
editability_prompts   : the sentences that ask for the concept in another setting.
fill                  : a template and words -> a prompt.
"""

from dataclasses import dataclass

import pandas as pd

from tmp_utils.inputs.profiles import DATA_DIR

KINDS = ("training", "reconstruction", "editability")
FAMILIES = ("genre", "recording", "accompaniment", "background", "mood")


@dataclass(frozen=True)
class Prompt:
    """One row of `data/prompts.csv`."""

    id: str
    kind: str
    family: str
    template: str


def training_templates() -> list[str]:
    """The neutral sentences that a concept is trained with, in the file's order."""
    return [prompt.template for prompt in _prompts("training")]


def reconstruction_prompt() -> Prompt:
    """The one sentence that asks for the concept as it is."""
    return _prompts("reconstruction")[0]


def editability_prompts(n: int | None = None) -> list[Prompt]:
    """The sentences that ask for the concept in another setting, in the file's order.

    Parameters
    ----------
    n : how many; None is all of them. Fewer are taken from the families in turn, so that `n=5` has one of
        each.

    Raises
    ------
    ValueError : `n` is not between 1 and the number there is.
    """
    prompts = _prompts("editability")
    if n is None:
        return prompts
    if not 1 <= n <= len(prompts):
        raise ValueError(f"n={n}: there are {len(prompts)} editability prompts; ask for 1 to {len(prompts)}.")
    rank: dict[str, int] = {}
    turns = []
    for prompt in prompts:
        rank[prompt.family] = rank.get(prompt.family, -1) + 1
        turns.append(rank[prompt.family])
    first_turns = sorted(range(len(prompts)), key=lambda i: (turns[i], i))[:n]
    return [prompts[i] for i in sorted(first_turns)]


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
    table = pd.read_csv(DATA_DIR / "prompts.csv", dtype=str, keep_default_na=False)
    return [Prompt(**row) for row in table[table["kind"] == kind].to_dict("records")]
