"""A listening study as it lies in its folder, and the order and sides each participant gets.

Conventions: a study folder holds `questionnaire.json`, `clips/` with neutral names, and later `answers.sqlite`. Its
version is a hash of all that a participant sees or hears. `first` and `second` are the variants of a question
in the study's own order; A and B are where one participant hears them. Levels are in LUFS, durations in s.

Question, Questionnaire : what is asked.
load_questionnaire      : folder -> Questionnaire, checked against its version.
find_questionnaires    : the studies built from a profile's runs.
newest_questionnaire    : the one that is served and read unless another is named.
Placement, plan : one participant's order and sides, drawn from their code.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tmp_utils.files import plain
from tmp_utils.runs.place import Place

KINDS = ("reconstruction", "editability")
CHOICES = ("A", "B", "None", "Cannot decide")
ASKED = {
    "reconstruction": "Which clip better matches the reference?",
    "editability": "Which clip better matches the description?",
}
CORRECT, FOIL = "correct", "foil"  # the two sides of a catch trial
STUDY_FILE = "study.json"
VERSION_CHARS = 12


@dataclass(frozen=True)
class Question:
    """One question: two clips, and a reference clip or a prompt to compare them with.

    Attributes
    ----------
    id : "r01" (reconstruction), "e01" (editability), "c01" (catch trial).
    prompt : what a participant reads, with the class noun; empty for reconstruction.
    first, second : variants, or "correct" and "foil" in a catch trial.
    files : file in `clips/` of "first", "second" and, for reconstruction, "reference".
    sources : where those came from, for the analysis only; never sent to a participant.
    duration_s : of the two clips; reference_s : of the reference, 0 without one.
    level_lufs : of every clip.
    """

    id: str
    kind: str
    catch: bool
    concept: str
    prompt_id: str
    prompt: str
    first: str
    second: str
    files: dict[str, str]
    sources: dict[str, str]
    duration_s: float
    reference_s: float
    level_lufs: float

    @property
    def slots(self) -> tuple[str, ...]:
        """What there is to play: "reference" where there is one, "a" and "b"."""
        return ("reference", "a", "b") if "reference" in self.files else ("a", "b")

    def slot_s(self, slot: str) -> float:
        """How long the clip in a slot lasts, in seconds."""
        return self.reference_s if slot == "reference" else self.duration_s


@dataclass(frozen=True)
class Questionnaire:
    """A listening study; `checks` are the volume checks, by how many beeps each has."""

    folder: Path
    version: str
    seed: int
    variants: tuple[str, ...]
    questions: tuple[Question, ...]
    checks: dict[int, str]
    consent: tuple[str, ...]
    contact: str
    left_out: tuple[str, ...]

    def question(self, question_id: str) -> Question:
        """The question of that id."""
        return next(question for question in self.questions if question.id == question_id)

    def clip(self, file: str) -> Path:
        """The path of one of the study's clips."""
        return self.folder / "clips" / file


@dataclass(frozen=True)
class Placement:
    """One question as one participant gets it; `first_is_a` says on which side."""

    question: str
    first_is_a: bool

    def role(self, slot: str) -> str:
        """Which of "reference", "first" and "second" is played from a slot."""
        if slot == "reference":
            return slot
        return "first" if (slot == "a") == self.first_is_a else "second"


def content_hash(content: dict, folder: Path) -> str:
    """Hash of a study's content and of the bytes of its clips."""
    whole = hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode())
    for path in sorted((folder / "clips").iterdir()):
        whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:VERSION_CHARS]


def questionnaire_content(questionnaire: Questionnaire) -> dict:
    """What `questionnaire.json` holds beside the version."""
    content = asdict(questionnaire)
    del content["folder"], content["version"]
    return plain(content)


def load_questionnaire(folder: str | Path) -> Questionnaire:
    """Read a study from its folder.

    Raises
    ------
    FileNotFoundError : there is no study in the folder.
    ValueError : its file is damaged, or a clip or the file was changed since it was built.
    """
    folder = Path(folder)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {STUDY_FILE} in it, so no listening study. Build one from runs: `make survey`."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("version")
        questionnaire = _from_content(folder, version, content)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}). Delete its folder and build the study again.") from error
    if content_hash(content, folder) != version:
        raise ValueError(
            f"{folder}: the study or its clips were changed since version {version} was built, so answers "
            "would not be to the same questions. Restore the folder, or build a new study."
        )
    return questionnaire


def _from_content(folder: Path, version: str, content: dict) -> Questionnaire:
    return Questionnaire(
        folder=folder,
        version=version,
        seed=content["seed"],
        variants=tuple(content["variants"]),
        questions=tuple(Question(**question) for question in content["questions"]),
        checks={int(beeps): file for beeps, file in content["checks"].items()},
        consent=tuple(content["consent"]),
        contact=content["contact"],
        left_out=tuple(content["left_out"]),
    )


def studies_dir(place: Place) -> Path:
    """Where the studies of a profile lie: `<runs_dir>/<profile>/survey`."""
    return place.folder / "survey"


def find_questionnaires(place: Place) -> list[Path]:
    """Folders of the studies built from a profile's runs, the oldest first."""
    found = studies_dir(place).glob(f"study-*/{STUDY_FILE}")
    return [path.parent for path in sorted(found, key=lambda path: (path.stat().st_mtime, path))]


def newest_questionnaire(place: Place) -> Questionnaire | None:
    """The study of a profile that was built last, or None; its answers stay with it when runs are added."""
    found = find_questionnaires(place)
    return load_questionnaire(found[-1]) if found else None


def plan(questionnaire: Questionnaire, code: str) -> list[Placement]:
    """The order and the sides of one participant, drawn from the study's version and the participant's code.

    The two kinds are blocks, in either order. Within a block the order is random, a catch trial is never
    first, and each variant is A as often as B (to within one).
    """
    digest = hashlib.sha256(f"{questionnaire.version}/{code}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    return [placement for kind in rng.permutation(KINDS) for placement in _block(questionnaire, str(kind), rng)]


def _block(questionnaire: Questionnaire, kind: str, rng: np.random.Generator) -> list[Placement]:
    asked = [question.id for question in questionnaire.questions if question.kind == kind and not question.catch]
    catches = [question.id for question in questionnaire.questions if question.kind == kind and question.catch]
    order = [str(question) for question in rng.permutation(asked)]
    for catch in catches:
        order.insert(int(rng.integers(1, len(order) + 1)), catch)
    sides = dict(zip(asked, _balanced(len(asked), rng), strict=True))
    sides |= {catch: bool(rng.integers(2)) for catch in catches}
    return [Placement(question, sides[question]) for question in order]


def _balanced(n: int, rng: np.random.Generator) -> Sequence[bool]:
    """As many True as False, in random order; of an odd number the last is drawn."""
    sides = [True, False] * (n // 2) + [bool(rng.integers(2))] * (n % 2)
    return [bool(side) for side in rng.permutation(sides)]
