"""What a participant may do next, whoever shows it: the web page or a notebook.

Conventions: listening is timed here, by this process's own clock, between the first and the last moment that a
player reports to play; a clip that was never sent counts as unheard whatever a player says. One clip plays at a
time. Positions count from 0. What a participant is told holds no variant, no file name and no other's answers.

Rules    : how much listening is required, and how many participants are let in.
Sessions : consent, volume check, listening, answers, in that order.
Refused  : a step that is not allowed, with words for the participant.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmp_utils.survey.questions import ASKED, CHOICES, Placement, Question, Questionnaire
from tmp_utils.survey.store import AlreadyAnswered, Store, tidy_code

MIN_HEARD_S = 0.02  # whatever is required, a clip that was never played has not been heard
DEVICES = ("headphones", "earbuds", "loudspeakers")


@dataclass(frozen=True)
class Rules:
    """required_s : seconds of every clip to be heard before answering (all of it, if shorter).

    tolerance_s : how much of that a slow connection may take away; max_participants : who can join.
    """

    required_s: float = 5.0
    tolerance_s: float = 0.3
    max_participants: int = 1000


class Refused(ValueError):
    """A step that is not allowed now; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass
class _Listening:
    """What one participant has heard of the question at `position`, by this process's clock."""

    position: int
    shown: float
    heard_s: dict[str, float]
    sent: set[str] = field(default_factory=set)
    playing: str | None = None
    since: float = 0.0


class Sessions:
    """The sessions of all participants of one study.

    Parameters
    ----------
    source : "web" or "notebook", stored with every participant.
    clock : seconds, never going back.
    """

    def __init__(
        self,
        questionnaire: Questionnaire,
        store: Store,
        rules: Rules = Rules(),
        source: str = "web",
        clock: Callable[[], float] = time.monotonic,
    ):
        self.questionnaire, self.store, self.rules, self.source, self.clock = questionnaire, store, rules, source, clock
        self._listening: dict[str, _Listening] = {}
        self._lock = threading.RLock()

    def start(self, consent: Any) -> dict:
        """Let a new participant in, and return their state with their code."""
        if consent is not True:
            raise Refused(400, "To take part, please agree first.")
        with self._lock:
            if self._kept(self.store.n_participants) >= self.rules.max_participants:
                raise Refused(503, "The study has all the participants it needs. Thank you for coming.")
            code = self._kept(lambda: self.store.add_participant(self.source))
        return self.state(code)

    def state(self, code: Any) -> dict:
        """What to show a participant now: the volume check, a question, or thanks."""
        code, who = self._participant(code)
        total = len(who["plan"])
        state = {"code": code, "total": total, "position": who["answered"]}
        if who["checked_utc"] is None:
            return {**state, "stage": "check"}
        if who["answered"] >= total:
            return {**state, "stage": "done"}
        question = self.questionnaire.question(who["plan"][who["answered"]].question)
        asked = {"kind": question.kind, "asked": ASKED[question.kind], "prompt": question.prompt}
        with self._lock:
            listening = self._current(code, who["answered"], question)
            return {**state, "stage": "question", **asked, **self._report(listening, question)}

    def check(self, code: Any, device: Any, beeps: Any) -> dict:
        """Take the number of beeps heard; a wrong one is told and can be tried again."""
        code, who = self._participant(code)
        if device not in DEVICES or isinstance(beeps, bool) or not isinstance(beeps, int):
            raise Refused(400, "Please say what you listen with, and how many beeps you heard.")
        if who["checked_utc"] is None:
            passed = beeps == self._beeps(code)
            self._kept(lambda: self.store.check(code, device, passed))
            if not passed:
                raise Refused(409, "That is not the number of beeps there were. Turn it up a little, and try again.")
        return self.state(code)

    def check_clip(self, code: Any) -> Path:
        """The participant's own volume check."""
        code, _ = self._participant(code)
        return self.questionnaire.clip(self.questionnaire.checks[self._beeps(code)])

    def clip(self, code: Any, position: Any, slot: Any) -> Path:
        """The file behind a slot of the current question, noted as sent."""
        code, placement, question = self._question(code, position)
        if slot not in question.slots:
            raise Refused(404, "There is no such clip.")
        with self._lock:
            self._current(code, position, question).sent.add(slot)
        return self.questionnaire.clip(question.files[placement.role(slot)])

    def listen(self, code: Any, position: Any, slot: Any, playing: Any) -> dict:
        """Note that a player has started or stopped, and return what counts as heard."""
        code, _, question = self._question(code, position)
        if slot not in question.slots or not isinstance(playing, bool):
            raise Refused(400, "The player sent something that is not understood. Please reload the page.")
        with self._lock:
            listening = self._current(code, position, question)
            if slot not in listening.sent:
                raise Refused(425, "That clip has not been loaded yet. Please play it again.")
            if playing or listening.playing == slot:
                self._credit(listening, question)
                listening.playing, listening.since = (slot if playing else None), self.clock()
            return self._report(listening, question)

    def answer(self, code: Any, position: Any, choice: Any) -> dict:
        """Store an answer to the current question and return the next state."""
        if choice not in CHOICES:
            raise Refused(400, f"Please answer one of: {', '.join(CHOICES)}.")
        code, placement, question = self._question(code, position)
        with self._lock:
            listening = self._current(code, position, question)
            self._credit(listening, question)
            if missing := self._missing(listening, question):
                raise Refused(409, f"Please listen to {_listed(missing)} first.")
            times = {f"heard_{slot}_s": round(s, 2) for slot, s in listening.heard_s.items()}
            times["elapsed_s"] = round(self.clock() - listening.shown, 2)
        try:
            self._kept(lambda: self.store.answer(code, placement, position, choice, times))
        except AlreadyAnswered as error:
            raise Refused(409, "You have answered this question already; the first answer counts.") from error
        return self.state(code)

    def _participant(self, code: Any) -> tuple[str, dict]:
        tidy = tidy_code(code) if isinstance(code, str) else None
        who = self._kept(lambda: self.store.participant(tidy)) if tidy else None
        if who is None:
            raise Refused(404, "That code is not known here. Please check it: it reads like K7QF3-MX2AB.")
        return tidy, who

    def _question(self, code: Any, position: Any) -> tuple[str, Placement, Question]:
        """The question at `position`, if that is the one to be answered now."""
        code, who = self._participant(code)
        if who["checked_utc"] is None:
            raise Refused(409, "Please do the volume check first.")
        if isinstance(position, bool) or not isinstance(position, int):
            raise Refused(400, "The page sent something that is not understood. Please reload it.")
        if position < who["answered"]:
            raise Refused(409, "You have answered this question already; the first answer counts.")
        if position != who["answered"] or position >= len(who["plan"]):
            raise Refused(404, "There is no such question now. Please reload the page.")
        placement = who["plan"][position]
        return code, placement, self.questionnaire.question(placement.question)

    def _current(self, code: str, position: int, question: Question) -> _Listening:
        listening = self._listening.get(code)
        if listening is None or listening.position != position:
            heard_s = dict.fromkeys(question.slots, 0.0)
            listening = self._listening[code] = _Listening(position, self.clock(), heard_s)
        return listening

    def _credit(self, listening: _Listening, question: Question) -> None:
        """Count what has played since the last report, at most the clip's length at a time."""
        if listening.playing is not None:
            played_s = min(self.clock() - listening.since, question.slot_s(listening.playing))
            listening.heard_s[listening.playing] += played_s
            listening.since = self.clock()

    def _missing(self, listening: _Listening, question: Question) -> list[str]:
        return [
            slot
            for slot, heard_s in listening.heard_s.items()
            if slot not in listening.sent
            or heard_s < max(MIN_HEARD_S, self._required_s(question, slot) - self.rules.tolerance_s)
        ]

    def _required_s(self, question: Question, slot: str) -> float:
        return min(self.rules.required_s, question.slot_s(slot))

    def _report(self, listening: _Listening, question: Question) -> dict:
        return {
            "slots": list(question.slots),
            "required_s": {slot: self._required_s(question, slot) for slot in question.slots},
            "missing": self._missing(listening, question),
        }

    def _beeps(self, code: str) -> int:
        """How many beeps a participant's own check has."""
        numbers = sorted(self.questionnaire.checks)
        return numbers[hashlib.sha256(f"beeps/{code}".encode()).digest()[0] % len(numbers)]

    def _kept(self, use: Callable[[], Any]) -> Any:
        """Use the database; say it in the participant's words where the disk is full, which stops reading too."""
        try:
            return use()
        except sqlite3.OperationalError as error:
            raise Refused(
                507,
                "Nothing can be saved now, because the study's disk is full or busy. Everything you "
                "answered before is safe. Please keep your code, tell the organiser, and try again.",
            ) from error


def _listed(slots: list[str]) -> str:
    names = [{"reference": "the reference", "a": "clip A", "b": "clip B"}[slot] for slot in slots]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
