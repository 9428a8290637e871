"""From runs to a questionnaire: which pairs are drawn, and how their clips are made to sound alike.

Conventions: every clip of a questionnaire is mono, 16 kHz, 16-bit flac, and made like the others of its question
(`stimuli`).
"""

import hashlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import explain_os_errors, write_bytes, write_json, write_text
from tmp_utils.inputs.audio import CLIP_S, CLIP_SUFFIX, RATE_HZ, load_clip, save_clip
from tmp_utils.inputs.concepts import Concept, load_concept
from tmp_utils.inputs.credits import credits_of
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.inputs.recordings import load_recordings
from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.integrity import check_files
from tmp_utils.runs.place import Place
from tmp_utils.survey.about import About, consent
from tmp_utils.survey.headphones import ORDERS, flac, tones
from tmp_utils.survey.pairs import VARIANTS, find_pairs
from tmp_utils.survey.questions import (
    CORRECT,
    CREDITS_FILE,
    FOIL,
    KINDS,
    STUDY_FILE,
    Question,
    Questionnaire,
    content_hash,
    load_questionnaire,
    questionnaire_content,
    survey_dir,
)
from tmp_utils.survey.stimuli import alike, pink_noise

LEARNED_FROM = "Generated clips are by models that learned from these recordings."
N_PER_KIND = 10  # the paper's: half of 20 questions


def build_questionnaire(
    place: Place,
    variants: Sequence[str] = VARIANTS,
    n_per_kind: int = N_PER_KIND,
    seed: int = 0,
    about: About | None = None,
    concepts: Mapping[str, Concept] | None = None,
) -> Questionnaire:
    """Build a questionnaire from the runs of a profile; the same runs and settings give the same one.

    Parameters
    ----------
    n_per_kind : questions of either kind, spread over all concepts and prompts; a practice question and two catch
        trials are added.
    seed : which pairs are drawn.
    about : who runs the study, and the rest of what participants read; None says nothing of it.
    concepts : concepts that are in no catalogue, by the name their runs give; `collection.user_concepts` if None.

    Raises
    ------
    ValueError : the runs hold too few pairs with sound in them, or n_per_kind is below 1.
    """
    if n_per_kind < 1:
        raise ValueError(f"n_per_kind={n_per_kind}: expected at least one question of either kind.")
    about, pairs = about or About(), find_pairs(place, variants)
    concepts = user_concepts(place) if concepts is None else concepts
    root = survey_dir(place)
    with explain_os_errors(root):
        root.mkdir(parents=True, exist_ok=True)
    with explain_os_errors(root), tempfile.TemporaryDirectory(dir=root, prefix=".") as temporary:
        folder = Path(temporary) / "questionnaire"
        (folder / "clips").mkdir(parents=True)
        maker = _Maker(folder / "clips", seed, place.runs_dir, dict(concepts))
        questions = [q for kind in KINDS for q in maker.draw(pairs[pairs["kind"] == kind], kind, n_per_kind)]
        questions += maker.catch_trials()
        questionnaire = Questionnaire(
            folder=folder,
            version="",
            seed=seed,
            variants=tuple(variants),
            questions=tuple(questions),
            headphones={order: maker.save_tones(order) for order in ORDERS},
            consent=consent(len(questions), _minutes(questions), about),
            left_out=tuple(maker.left_out),
            about=about,
            practice=maker.practice(),
        )
        content = questionnaire_content(questionnaire)
        version = content_hash(content, folder)
        final = root / f"study-{version}"
        if not final.exists():
            write_json(folder / STUDY_FILE, {"version": version, **content})
            folder.rename(final)
        if lines := maker.credits(variants):
            write_text(final / CREDITS_FILE, "\n".join(lines) + "\n")
    (final / STUDY_FILE).touch()  # the one that was built last is the newest, also if it was there before
    if questionnaire.left_out:
        warnings.warn(
            f"{len(questionnaire.left_out)} pairs were left out because one of their clips cannot be played: "
            + "; ".join(questionnaire.left_out),
            stacklevel=2,
        )
    return load_questionnaire(final)


def _minutes(questions: Sequence[Question]) -> int:
    return 2 + round(sum(2 * q.duration_s + q.reference_s + 4 for q in questions) / 60)


class _Maker:
    """Writes the clips of questions into `folder` and remembers which pairs could not be used."""

    def __init__(self, folder: Path, seed: int, runs_dir: Path, concepts: dict[str, Concept]):
        self.folder, self.seed, self.runs_dir, self.concepts = folder, seed, runs_dir, concepts
        self.left_out: list[str] = []
        self.used: Counter = Counter()  # how often a concept was drawn, by name, for questions of either kind

    def draw(self, pairs: pd.DataFrame, kind: str, n: int) -> list[Question]:
        """Draw `n` pairs of one kind, spread over variants, concepts, prompt families and prompts."""
        rng = np.random.default_rng([self.seed, KINDS.index(kind)])
        rest = pairs.iloc[rng.permutation(len(pairs))].to_dict("records")
        used: Counter = Counter()
        questions: list[Question] = []
        while rest and len(questions) < n:
            pair = min(rest, key=lambda row: _turn(row, used, self.used))
            rest.remove(pair)
            try:
                questions.append(self.question(pair, f"{kind[0]}{len(questions) + 1:02d}", rng))
                used.update(_marks(pair))
                self.used[pair["concept"]] += 1
            except (ValueError, FileNotFoundError) as error:
                name = f"{pair['concept']}, {pair['prompt_id']}, {pair['index']}"
                self.left_out.append(f"{name}: {str(error).replace(f'{self.runs_dir}/', '')}")
        if len(questions) < n:
            lower = f"Lower n_per_kind (SURVEY='--n-per-kind {len(questions)}' with make), or make"
            raise ValueError(
                f"{len(questions)} usable {kind} pairs; n_per_kind={n} needs {n}. "
                f"{lower if questions else 'Make'} more runs. Left out: {'; '.join(self.left_out) or 'none'}."
            )
        return questions

    def question(self, pair: dict, question_id: str, rng: np.random.Generator) -> Question:
        """Make one question of a pair."""
        concept = self.concept(pair["concept"])
        paths = {"first": Path(pair["file_first"]), "second": Path(pair["file_second"])}
        for path in paths.values():
            check_files(path.parents[1], f"clips/{path.name}")
        clips = {role: load_clip(path, duration_s=CLIP_S) for role, path in paths.items()}
        sources = {role: self.short(path) for role, path in paths.items()}
        if pair["kind"] == "reconstruction":
            recordings = load_recordings(concept)
            reference = recordings[rng.integers(len(recordings))]
            clips["reference"], sources["reference"] = reference.clip, self.short(reference.path)
        names = {key: pair[key] for key in ("kind", "concept", "prompt_id", "first", "second")}
        words = "" if "reference" in clips else _prompt(pair, concept)
        return self.finished(question_id, clips, sources, prompt=words, catch=False, **names)

    def catch_trials(self) -> list[Question]:
        """One question of either kind with only one right answer: the concept itself, or hiss."""
        names, hiss = sorted(self.used), pink_noise(self.seed)
        turns = [(f"c{k + 1:02d}", kind, names[k % len(names)]) for k, kind in enumerate(KINDS)]
        return [self.sure(*turn, hiss, "pink noise") for turn in turns]

    def practice(self) -> Question:
        """A question that shows how the page works: the reference itself, or tones."""
        return self.sure("p01", KINDS[0], sorted(self.used)[-1], tones("ppp")[:, 0], "tones")

    def sure(self, question_id: str, kind: str, name: str, foil: np.ndarray, source: str) -> Question:
        """Make a question with only one right answer, the concept's own recording."""
        concept = self.concept(name)
        real = load_clip(concept.clips[0], duration_s=CLIP_S)
        clips = {"first": real, "second": foil, **({"reference": real} if kind == KINDS[0] else {})}
        return self.finished(
            question_id,
            clips,
            {"first": concept.clips[0].name, "second": source},
            kind=kind,
            catch=True,
            concept=name,
            prompt_id="catch",
            prompt=fill(reconstruction_prompt().template, concept.class_noun) if kind == KINDS[1] else "",
            first=CORRECT,
            second=FOIL,
        )

    def finished(self, question_id: str, clips: dict, sources: dict, **names) -> Question:
        """Make clips of one question alike, write them, and return the question."""
        made, level_lufs = alike(clips)
        files = {role: self.save(clip, f"{question_id}/{role}") for role, clip in made.items()}
        numbers = {
            "duration_s": round(len(made["first"]) / RATE_HZ, 3),
            "reference_s": round(len(made.get("reference", ())) / RATE_HZ, 3),
            "level_lufs": round(level_lufs, 2),
        }
        return Question(id=question_id, files=files, sources=sources, **numbers, **names)

    def save(self, clip: np.ndarray, name: str) -> str:
        """Write a clip under a name that says nothing."""
        token = hashlib.sha256(f"{self.seed}/{name}/".encode() + clip.tobytes()).hexdigest()[:20]
        return save_clip(self.folder / f"{token}{CLIP_SUFFIX}", clip).name

    def save_tones(self, order: str) -> str:
        """Write one sound of the headphone test, likewise."""
        token = hashlib.sha256(f"{self.seed}/headphones/{order}".encode()).hexdigest()[:20]
        return write_bytes(self.folder / f"{token}{CLIP_SUFFIX}", flac(order)).name

    def concept(self, name: str) -> Concept:
        if name not in self.concepts:
            self.concepts[name] = load_concept(name)
        return self.concepts[name]

    def credits(self, variants: Sequence[str]) -> list[str]:
        """Lines that credit the recordings that are played or were learned from; none for other concepts."""
        credits = [credit for name in sorted(self.used) for credit in credits_of(self.concept(name), variants)]
        lines = list(dict.fromkeys(credit.line for credit in credits))
        return [*lines, LEARNED_FROM] if lines else []

    def short(self, path: Path) -> str:
        """A path under the runs folder in short; the name alone of any other."""
        return path.relative_to(self.runs_dir).as_posix() if path.is_relative_to(self.runs_dir) else path.name


def _turn(row: Mapping, used: Counter, concepts: Counter) -> list[int]:
    """How often each mark of a row was drawn, and its concept for questions of the other kind too."""
    return [used[mark] for mark in _marks(row)[:2]] + [concepts[row["concept"]]] + [used[m] for m in _marks(row)[2:]]


def _marks(row: Mapping) -> list[tuple]:
    """What a draw is spread over, the most important first: variants, concept, family, prompt, seed."""
    names = (("first", "second"), ("concept",), ("family",), ("prompt_id",), ("seed",))
    return [tuple((name, row[name]) for name in group) for group in names]


def _prompt(pair: Mapping, concept: Concept) -> str:
    """What participants read: an editability prompt with the class noun in the placeholder's place."""
    templates = {prompt.id: prompt.template for prompt in editability_prompts()}
    if pair["prompt_id"] not in templates:
        raise ValueError(f'prompt "{pair["prompt_id"]}" is not an editability prompt of data/prompts.csv')
    return fill(templates[pair["prompt_id"]], pair["class_noun"] or concept.class_noun)
