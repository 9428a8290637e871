"""A questionnaire (a built listening study) as it lies in its folder, and the order and sides each participant gets.

Conventions: the folder holds `study.json`, `clips/` with neutral names, `CREDITS.txt` where shipped recordings are
played or were learned from, and later `answers.sqlite`. The version is a hash of all that a participant sees or hears,
but for the credits. `first` and `second` are the variants of a question in the questionnaire's order; A and B are where
one participant hears them. Levels are in LUFS, durations in s.

Question, Questionnaire : two clips to compare; all of them, with what participants are told.
load_questionnaire      : folder -> Questionnaire, checked field by field and against its version.
find_questionnaires     : those that were built from a profile's runs.
newest_questionnaire    : the one that is served and read unless another is named.
new_code, tidy_code     : a participant's code; the one that was meant by what they typed.
Placement, plan         : one participant's order and sides, drawn from their code.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from tmp_utils.files import below, plain
from tmp_utils.inputs.audio import CLIP_SUFFIX
from tmp_utils.inputs.tables import validate
from tmp_utils.runs.place import Place
from tmp_utils.survey.about import STRICT, About
from tmp_utils.survey.headphones import ORDERS

KINDS = ("reconstruction", "editability")
CHOICES = ("A", "B", "None", "Cannot decide")
WORDING = {
    "reconstruction": "Which clip better matches the reference?",
    "editability": "Which clip better matches the description?",
}
CORRECT, FOIL = "correct", "foil"  # the two sides of a catch trial
STUDY_FILE, CREDITS_FILE = "study.json", "CREDITS.txt"
CODE_CHARS, ALPHABET = 10, "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that reads like another character
VERSION_CHARS = 12
Seconds = Annotated[float, Field(ge=0, le=600)]


@dataclass(frozen=True, config=STRICT)
class Question:
    """One question: two clips, and a reference clip or a prompt to compare them with.

    Attributes
    ----------
    id : "r01" (reconstruction), "e01" (editability), "c01" (catch trial), "p01" (practice).
    prompt : what a participant reads, with the class noun; empty for reconstruction.
    first, second : variants, or "correct" and "foil" in a catch trial.
    files : file in `clips/` of "first", "second" and, for reconstruction, "reference".
    sources : where those came from, for the analysis only; never sent to a participant.
    duration_s : of the two clips; reference_s : of the reference, 0 without one.
    level_lufs : of every clip.
    """

    id: Annotated[str, Field(pattern=r"^[a-z]\d+$")]
    kind: Literal[KINDS]
    catch: bool
    concept: str
    prompt_id: str
    prompt: str
    first: str
    second: str
    files: dict[Literal["first", "second", "reference"], str]
    sources: dict[str, str]
    duration_s: Annotated[Seconds, Field(gt=0)]
    reference_s: Seconds
    level_lufs: Annotated[float, Field(ge=-100, le=0)]

    @property
    def slots(self) -> tuple[str, ...]:
        """What there is to play: "reference" where there is one, "a" and "b"."""
        return ("reference", "a", "b") if "reference" in self.files else ("a", "b")

    def slot_s(self, slot: str) -> float:
        """How long the clip in a slot lasts, in seconds."""
        return self.reference_s if slot == "reference" else self.duration_s


@dataclass(frozen=True, config=STRICT)
class Questionnaire:
    """A listening study.

    consent : paragraphs that a participant agrees to; about : who runs the study, and the rest of what they read.
    headphones : file of each sound of the headphone test, by its order.
    left_out : pairs that could not be used, and why.
    practice : a question that comes first and does not count.
    """

    folder: Path
    version: str
    seed: int
    variants: tuple[str, ...]
    questions: tuple[Question, ...]
    consent: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    about: About = About()
    practice: Question | None = None
    headphones: dict[Literal[ORDERS], str] = field(default_factory=dict)

    def question(self, question_id: str) -> Question:
        """The question of that id."""
        for question in self.all_questions():
            if question.id == question_id:
                return question
        raise ValueError(f"there is no question {question_id!r} in {self.folder}; these answers are not to it.")

    def all_questions(self) -> Iterator[Question]:
        """The practice question, where there is one, and the others."""
        yield from (self.practice,) if self.practice else ()
        yield from self.questions

    @property
    def n_practice(self) -> int:
        """How many questions come first and do not count: 1 or 0."""
        return int(self.practice is not None)

    @property
    def credits(self) -> list[str]:
        """Lines that credit recordings; shown at the end, so that they do not say before what is played."""
        path = self.folder / CREDITS_FILE
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []

    def clip(self, file: str) -> Path:
        """The path of one of the questionnaire's clips.

        Raises
        ------
        ValueError : the name, or a link of that name, leads out of the questionnaire's clips.
        """
        clips = self.folder / "clips"
        path = below(clips, file)
        if path.suffix != CLIP_SUFFIX or not path.resolve().is_relative_to(clips.resolve()):
            raise ValueError(f"{file!r} is not a sound file in {clips}. A questionnaire plays only its own clips.")
        return path


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
    """Hash of a questionnaire's content and of the bytes of its clips."""
    whole = hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode())
    for path in sorted(path for path in (folder / "clips").glob(f"*{CLIP_SUFFIX}") if path.is_file()):
        whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:VERSION_CHARS]


def questionnaire_content(questionnaire: Questionnaire) -> dict:
    """What `study.json` holds beside the version."""
    content = asdict(questionnaire)
    del content["folder"], content["version"]
    return plain(content)


def load_questionnaire(folder: str | Path) -> Questionnaire:
    """Read a questionnaire from its folder.

    Raises
    ------
    FileNotFoundError : there is none in the folder, or one of its clips is missing.
    ValueError : a field has a value that is not allowed, a name leads out of the folder, or a clip or the file was
        changed since it was built.
    """
    folder = Path(folder)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {STUDY_FILE} in it, so no listening study. Build one from runs: `make survey`."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("version", None)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: damaged, it is no JSON object. Build the questionnaire again.") from error
    questionnaire = validate(Questionnaire, {"folder": folder, "version": version, **content}, str(path))
    _check_whole(questionnaire, path)
    files = {name for question in questionnaire.all_questions() for name in question.files.values()}
    try:
        clips = [questionnaire.clip(name) for name in sorted({*files, *questionnaire.headphones.values()})]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if missing := [clip for clip in clips if not clip.is_file()]:
        raise FileNotFoundError(f"{missing[0]}: no such file. Restore the folder, or build the questionnaire again.")
    if content_hash(content, folder) != version:
        raise ValueError(
            f"{folder}: the questionnaire or its clips were changed since version {version} was built, so answers "
            "would not be to the same questions. Restore the folder, or build another questionnaire."
        )
    return questionnaire


def _check_whole(questionnaire: Questionnaire, path: Path) -> None:
    """Refuse what is valid field by field, and still cannot be asked."""
    faults = []
    ids = [question.id for question in questionnaire.all_questions()]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        faults.append(f"questions {', '.join(twice)} are in it twice")
    if missing := set(KINDS) - {question.kind for question in questionnaire.questions if not question.catch}:
        faults.append(f"it has no questions of kind {' and '.join(sorted(missing))}")
    for question in questionnaire.all_questions():
        roles = {"first", "second", *(["reference"] if question.kind == "reconstruction" else [])}
        if set(question.files) != roles:
            faults.append(f"question {question.id} has files of {sorted(question.files)}; expected {sorted(roles)}")
    if set(questionnaire.headphones) != set(ORDERS):
        faults.append(f"headphones has {', '.join(questionnaire.headphones)}; expected {', '.join(ORDERS)}")
    if faults:
        raise ValueError(f"{path}: {'; '.join(faults)}. Build the questionnaire again.")


def survey_dir(place: Place) -> Path:
    """Where the questionnaires of a profile lie: `<runs_dir>/<profile>/survey`."""
    return place.folder / "survey"


def find_questionnaires(place: Place) -> list[Path]:
    """Folders of the questionnaires built from a profile's runs, the oldest first."""
    files = survey_dir(place).glob(f"study-*/{STUDY_FILE}")
    return [path.parent for path in sorted(files, key=lambda path: (path.stat().st_mtime, path))]


def newest_questionnaire(place: Place) -> Questionnaire | None:
    """The questionnaire that was built last, or None; its answers stay with it when runs are added."""
    folders = find_questionnaires(place)
    return load_questionnaire(folders[-1]) if folders else None


def new_code() -> str:
    """A random participant's code of 49 bits, such as "K7QF3-MX2AB"."""
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS)))


def tidy_code(typed: str) -> str | None:
    """The code that was meant by what somebody typed, or None if it cannot be one."""
    letters = re.sub(r"[\s-]", "", typed.upper()) if len(typed) <= 4 * CODE_CHARS else ""
    return _grouped(letters) if len(letters) == CODE_CHARS and set(letters) <= set(ALPHABET) else None


def _grouped(letters: str) -> str:
    return f"{letters[: CODE_CHARS // 2]}-{letters[CODE_CHARS // 2 :]}"


def plan(questionnaire: Questionnaire, code: str) -> list[Placement]:
    """The order and the sides of one participant, drawn from the version and the participant's code.

    Practice comes first. The two kinds are blocks, in either order. Within a block the order is random, a catch
    trial is never first, and each variant is A as often as B (to within one).
    """
    digest = hashlib.sha256(f"{questionnaire.version}/{code}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    blocks = [placement for kind in rng.permutation(KINDS) for placement in _block(questionnaire, str(kind), rng)]
    practice = [Placement(questionnaire.practice.id, bool(rng.integers(2)))] if questionnaire.practice else []
    return practice + blocks


def _block(questionnaire: Questionnaire, kind: str, rng: np.random.Generator) -> list[Placement]:
    block = [question for question in questionnaire.questions if question.kind == kind]
    counted = [question.id for question in block if not question.catch]
    catches = [question.id for question in block if question.catch]
    order = [str(question) for question in rng.permutation(counted)]
    for catch in catches:
        order.insert(int(rng.integers(1, len(order) + 1)), catch)
    n = len(counted)  # of an odd number the last side is drawn
    sides = rng.permutation([True, False] * (n // 2) + [bool(rng.integers(2))] * (n % 2))
    sides = {question: bool(side) for question, side in zip(counted, sides, strict=True)}
    sides |= {catch: bool(rng.integers(2)) for catch in catches}
    return [Placement(question, sides[question]) for question in order]
