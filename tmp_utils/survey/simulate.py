"""A simulated rater: answers that no person gave, for trying a questionnaire and its analysis.

Conventions: everything made here says `source` "simulated rater", and its participants are called SIM-001 and
so on. A rater first says None or Cannot decide with fixed chances, and else prefers the first variant with
log-odds of effect + taste + the item's pull + the pull of side A. A careless one answers at random.

Rater             : what a simulated rater prefers.
example_questions : twenty questions and two catch trials that need no runs.
simulate_answers  : answers of many raters, each in their own order and with their own sides.
simulate_scores   : scores of a metric that partly agrees with the raters.
write_example     : the files in data/survey/ (`python -m tmp_utils simulate`).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils import __version__
from tmp_utils.files import write_csv
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.metrics.names import short_name
from tmp_utils.survey.analysis import SIMULATED
from tmp_utils.survey.questions import CHOICES, CORRECT, FOIL, KINDS, Placement, Question, Questionnaire, plan
from tmp_utils.survey.store import COLUMNS

EXAMPLE_DIR = DATA_DIR / "survey"
EXAMPLE_VERSION = "example"


@dataclass(frozen=True)
class Rater:
    """What a simulated rater prefers.

    log_odds : preference for the first variant, for each kind of question.
    none, cannot_decide : chance of those answers; careless : share of raters who answer at random.
    participant_sd, item_sd : spread of tastes and of items, in log-odds; side_a : pull of the left clip.
    """

    log_odds: Mapping[str, float] = field(default_factory=lambda: {"reconstruction": 1.2, "editability": 0.2})
    none: float = 0.12
    cannot_decide: float = 0.08
    careless: float = 0.06
    participant_sd: float = 0.4
    item_sd: float = 0.6
    side_a: float = 0.15

    def effect(self, question: Question) -> float:
        """Log-odds that the first variant of a question is preferred."""
        return self.log_odds[question.kind]


def example_questions(variants: Sequence[str] = ("DB-BL", "TI-BL"), n_per_kind: int = 10) -> Questionnaire:
    """Questions like the paper's, about the shipped concepts, without any clips."""
    from tmp_utils.inputs.concepts import catalogue
    from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt

    shipped = catalogue().query("shipped")
    concepts = list(shipped[["name", "class_noun"]].itertuples(index=False))
    prompts = editability_prompts()
    pairs = [(a, b) for i, a in enumerate(variants) for b in variants[i + 1 :]]
    questions = []
    for kind in KINDS:
        for k in range(n_per_kind):
            concept, prompt = concepts[k % len(concepts)], prompts[(2 * k + k // 10) % len(prompts)]
            words = fill(prompt.template, concept.class_noun) if kind == "editability" else ""
            prompt_id = prompt.id if words else reconstruction_prompt().id
            names = (f"{kind[0]}{k + 1:02d}", kind, False, concept.name, prompt_id, words, *pairs[k % len(pairs)])
            questions.append(_without_clips(names))
        words = fill(reconstruction_prompt().template, concepts[0].class_noun) if kind == "editability" else ""
        names = (f"c{len(questions) // n_per_kind:02d}", kind, True, concepts[0].name, "catch", words, CORRECT, FOIL)
        questions.append(_without_clips(names))
    return Questionnaire(Path(), EXAMPLE_VERSION, 0, tuple(variants), tuple(questions), consent=())


def _without_clips(names: tuple) -> Question:
    reference = {"reference": ""} if names[1] == "reconstruction" else {}
    return Question(*names, files=reference, sources={}, duration_s=10.24, reference_s=10.24, level_lufs=-23.0)


def simulate_answers(
    questionnaire: Questionnaire, n_participants: int = 34, rater: Rater | None = None, seed: int = 0
) -> pd.DataFrame:
    """Answers of simulated raters to every question, with the columns of exported answers."""
    rater = rater or Rater()
    rng = np.random.default_rng([seed, 1])
    pulls = _item_pulls(questionnaire, rater, seed)
    rows = []
    for number in range(n_participants):
        code, taste = f"SIM-{number + 1:03d}", rng.normal(0, rater.participant_sd)
        careless = rng.random() < rater.careless
        for position, placement in enumerate(plan(questionnaire, f"{code}/{seed}")):
            question = questionnaire.question(placement.question)
            side = rater.side_a if placement.first_is_a else -rater.side_a
            log_odds = 6.0 if question.catch else rater.effect(question) + taste + pulls[question.id] + side
            choice = _choice(rater, log_odds, placement.first_is_a, question.catch, careless, rng)
            rows.append(_row(code, question, placement, position, choice, rng))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _choice(rater: Rater, log_odds: float, first_is_a: bool, catch: bool, careless: bool, rng) -> str:
    draws = rng.random(2)
    if careless:
        return CHOICES[int(4 * draws[0])]
    if not catch and draws[0] < rater.none + rater.cannot_decide:
        return "None" if draws[0] < rater.none else "Cannot decide"
    first = draws[1] < 1 / (1 + np.exp(-log_odds))
    return "A" if first == first_is_a else "B"


def _row(code: str, question: Question, placement: Placement, position: int, choice: str, rng) -> dict:
    sides = [getattr(question, placement.role(slot)) for slot in "ab"]
    names = ("kind", "catch", "concept", "prompt_id", "prompt", "first", "second")
    heard_s = {f"heard_{slot}_s": round(float(rng.uniform(5, 10)), 2) for slot in question.slots}
    return {
        **{"participant": code, "question": question.id, "position": position, "choice": choice},
        **{name: getattr(question, name) for name in names},
        **{"side_a": sides[0], "side_b": sides[1]},
        "preferred": dict(zip("AB", sides, strict=True)).get(choice, choice),
        **heard_s,
        "elapsed_s": round(sum(heard_s.values()) + float(rng.uniform(1, 5)), 2),
        **{"answered_utc": "", "device": SIMULATED, "check_attempts": 1, "source": SIMULATED},
        **{"app_version": __version__, "study_version": EXAMPLE_VERSION},
    }


def _item_pulls(questionnaire: Questionnaire, rater: Rater, seed: int) -> dict[str, float]:
    """How much each question's own clips speak for the first variant, in log-odds."""
    pulls = np.random.default_rng([seed, 2]).normal(0, rater.item_sd, len(questionnaire.questions))
    return {question.id: float(pull) for question, pull in zip(questionnaire.questions, pulls, strict=True)}


def simulate_scores(
    questionnaire: Questionnaire, rater: Rater | None = None, seed: int = 0, noise: float = 0.6
) -> pd.DataFrame:
    """Scores of both clips whose difference follows the effect and the items' pulls, with noise (log-odds).

    Returns
    -------
    The columns of `analysis.pair_scores`; `embedder` is "simulated rater".
    """
    rater = rater or Rater()
    rng, pulls, rows = np.random.default_rng([seed, 3]), _item_pulls(questionnaire, rater, seed), []
    for question in (question for question in questionnaire.questions if not question.catch):
        log_odds = rater.effect(question) + pulls[question.id] + rng.normal(0, noise)
        metric, level = (
            (short_name("clap_a"), 0.7) if question.kind == "reconstruction" else (short_name("clap_t"), 0.3)
        )
        sides = [round(level + sign * 0.02 * log_odds, 4) for sign in (1, -1)]
        rows.append([question.id, short_name(metric), *sides, SIMULATED])
    return pd.DataFrame(rows, columns=["question", "metric", "score_first", "score_second", "embedder"])


def write_example(folder: str | Path = EXAMPLE_DIR) -> list[Path]:
    """Write example_answers.csv and example_scores.csv; returns their paths."""
    questionnaire = example_questions()
    tables = {"example_answers": simulate_answers(questionnaire), "example_scores": simulate_scores(questionnaire)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [write_csv(Path(folder) / f"{name}.csv", table) for name, table in tables.items()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--folder", type=Path, default=EXAMPLE_DIR, help="where the two tables go")


def main(options: argparse.Namespace) -> None:
    """Write the example tables."""
    print(*write_example(options.folder), sep="\n")
