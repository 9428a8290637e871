"""What a participant may do next, whoever shows it: the web page or a notebook.

Conventions: listening is timed here, by this process's clock, between the first and the last moment that a player
reports to play, and no more counts as heard than was sent of a clip. One clip plays at a time. Positions count from 0,
practice included. What a participant gets holds no variant, no file name and no other's answers.

Rules    : how much listening is required, and who is let in.
Sessions : consent, volume check, practice, listening and answers, closing questions, in that order.
Refused  : a step that is not allowed, with words for the participant.
"""

import hashlib
import ipaddress
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tmp_utils.survey.questions import CHOICES, WORDING, Placement, Question, Questionnaire
from tmp_utils.survey.store import WITHDRAWN, AlreadyAnswered, Store, tidy_code

MIN_HEARD_S = 0.02  # whatever is required, a clip that was never played has not been heard
DEVICES = ("headphones", "earbuds", "loudspeakers")
TRAINING = ("none", "under 3 years", "3 to 10 years", "over 10 years", "not said")
MAX_COMMENT_CHARS = 1000
PARAMETER_VALUE = re.compile(r"[A-Za-z0-9_.~-]{1,100}")
MAX_ADDRESSES = 10_000  # whose starts are remembered; the oldest go first


@dataclass(frozen=True)
class Rules:
    """How much listening is required, and who is let in.

    required_s : seconds of every clip to be heard before answering (all of it, if shorter).
    tolerance_s : how much of that a slow connection may take away.
    max_participants : how many who answered are enough; who only started is not counted.
    max_starts, starts_window_s : how many can start from one address within a time; a school shares one address.
    """

    required_s: float = 5.0
    tolerance_s: float = 0.3
    max_participants: int = 1000
    max_starts: int = 120
    starts_window_s: float = 600.0


class Refused(ValueError):
    """A step that is not allowed now; `status` is the HTTP status that says so, and `retry_after_s` when it will be."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None):
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


@dataclass
class _Coverage:
    """Which bytes of a clip were sent, as disjoint intervals [start, stop)."""

    size: int
    parts: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, stop: int) -> None:
        """Count bytes that were sent, each once."""
        apart = [(a, b) for a, b in self.parts if b < start or a > stop]
        joined = [(a, b) for a, b in self.parts if not (b < start or a > stop)] + [(start, stop)]
        self.parts = [*apart, (min(a for a, _ in joined), max(b for _, b in joined))] if stop > start else self.parts

    @property
    def share(self) -> float:
        """Fraction of the clip, in [0, 1]."""
        return sum(b - a for a, b in self.parts) / self.size


@dataclass
class _Listening:
    """What one participant has heard of the question at `position`, by this process's clock."""

    position: int
    shown: float
    heard_s: dict[str, float]
    coverage: dict[str, _Coverage] = field(default_factory=dict)
    playing: str | None = None
    since: float = 0.0


class Delivery(NamedTuple):
    """A clip's file, and what counts each stretch of bytes [start, stop) that was sent of it."""

    path: Path
    count: Callable[[int, int], None]


class Sessions:
    """The sessions of all participants of one questionnaire.

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
        self._starts: dict[str, list[float]] = {}
        self._lock = threading.RLock()

    def start(self, consent: Any, invitation: Any = None, recruitment: Any = None, address: str = "") -> dict:
        """Let a new participant in, or the one an invitation belongs to, and return their state with their code.

        Parameters
        ----------
        recruitment : parameters of the page's address; those that the questionnaire names are stored.
        address : where the participant comes from, to limit how many start from there; "" sets no limit.
        """
        if consent is not True:
            raise Refused(400, "To take part, please agree first.")
        with self._lock:
            self._limit_starts(address)
            if self.source != "web" or not self._stored(self.store.invitations):  # a supervisor needs no link
                invitation = None
                if self._stored(self.store.n_participants) >= self.rules.max_participants:
                    raise Refused(503, "The study has all the participants it needs. Thank you for coming.")
            elif not isinstance(invitation, str) or not invitation.isascii():
                raise Refused(403, "This study is by invitation. Please open the link that you were sent.")
            details = self._recruitment(recruitment)
            try:
                code = self._stored(lambda: self.store.add_participant(self.source, invitation, details))
            except KeyError as error:
                raise Refused(403, "This invitation is not known here. Please open the link as it was sent.") from error
        if code == WITHDRAWN:
            raise Refused(410, "The answers that belong to this link were deleted, and it cannot be used again.")
        return self.state(code)

    def _limit_starts(self, address: str) -> None:
        if not address:
            return
        now, window_s = self.clock(), self.rules.starts_window_s
        network = _network(address)
        recent = [when for when in self._starts.pop(network, []) if when > now - window_s]
        self._starts[network] = recent
        while len(self._starts) > MAX_ADDRESSES:
            del self._starts[next(iter(self._starts))]
        if len(recent) >= self.rules.max_starts:
            wait_s = int(recent[0] + window_s - now) + 1
            message = f"Many people have just started from your network. Please try again in {_minutes(wait_s)}."
            raise Refused(429, message, wait_s)
        recent.append(now)

    def _recruitment(self, parameters: Any) -> str:
        """Those parameters that the questionnaire names, as JSON; empty where there are none."""
        sent = parameters if isinstance(parameters, dict) else {}
        values = {name: str(sent[name]) for name in self.questionnaire.about.recruitment if name in sent}
        valid = {name: value for name, value in values.items() if PARAMETER_VALUE.fullmatch(value)}
        return json.dumps(valid) if valid else ""

    def state(self, code: Any) -> dict:
        """What to show a participant now: the volume check, a question, the closing questions, or thanks."""
        code, who = self._participant(code)
        n_practice, position = self.questionnaire.n_practice, who["answered"]
        state = {"code": code, "position": position, "answered": max(0, position - n_practice)}
        state["total"] = len(who["plan"]) - n_practice
        if who["checked_utc"] is None:
            return {**state, "stage": "check"}
        if position >= len(who["plan"]):
            about = self.questionnaire.about
            end = {"completion_code": about.completion_code, "return_address": about.return_address}
            return {**state, "stage": "done", **end} if who["finished"] else {**state, "stage": "closing"}
        question = self.questionnaire.question(who["plan"][position].question)
        text = {"kind": question.kind, "wording": WORDING[question.kind], "prompt": question.prompt}
        with self._lock:
            report = self._report(self._current(code, position, question), question)
        return {**state, "stage": "question", "practice": position < n_practice, **text, **report}

    def check(self, code: Any, device: Any, beeps: Any) -> dict:
        """Take the number of beeps heard; a wrong one is told and can be tried again."""
        code, who = self._participant(code)
        if device not in DEVICES or isinstance(beeps, bool) or not isinstance(beeps, int):
            raise Refused(400, "Please say what you listen with, and how many beeps you heard.")
        if who["checked_utc"] is None:
            passed = beeps == self._beeps(code)
            self._stored(lambda: self.store.check(code, device, passed))
            if not passed:
                raise Refused(409, "That is not the number of beeps there were. Turn it up a little, and try again.")
        return self.state(code)

    def check_clip(self, code: Any) -> Delivery:
        """The participant's own volume check."""
        code, _ = self._participant(code)
        return Delivery(self.questionnaire.clip(self.questionnaire.checks[self._beeps(code)]), lambda start, stop: None)

    def clip(self, code: Any, position: Any, slot: Any) -> Delivery:
        """The file behind a slot of the current question."""
        code, placement, question = self._question(code, position)
        if slot not in question.slots:
            raise Refused(404, "There is no such clip.")
        path = self.questionnaire.clip(question.files[placement.role(slot)])
        with self._lock:
            listening = self._current(code, position, question)

        def count(start: int, stop: int) -> None:
            with self._lock:
                listening.coverage.setdefault(slot, _Coverage(path.stat().st_size)).add(start, stop)

        return Delivery(path, count)

    def listen(self, code: Any, position: Any, slot: Any, playing: Any) -> dict:
        """Note that a player has started or stopped, and return what counts as heard."""
        code, _, question = self._question(code, position)
        if slot not in question.slots or not isinstance(playing, bool):
            raise Refused(400, "The player sent something that is not understood. Please reload the page.")
        with self._lock:
            listening = self._current(code, position, question)
            if slot not in listening.coverage:
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
            self._stored(lambda: self.store.answer(code, placement, position, choice, times))
        except AlreadyAnswered as error:
            raise Refused(409, "You have answered this question already; the first answer counts.") from error
        return self.state(code)

    def finish(self, code: Any, training: Any, comment: Any = "") -> dict:
        """Store the answers to the closing questions, and return the last state."""
        code, who = self._participant(code)
        if who["answered"] < len(who["plan"]):
            raise Refused(409, "Please answer all questions first.")
        if training not in TRAINING or not isinstance(comment, str):
            raise Refused(400, "Please choose one of the answers about your musical training.")
        text = "".join(char for char in comment[:MAX_COMMENT_CHARS] if char.isprintable() or char == "\n")
        self._stored(lambda: self.store.finish(code, training, text.strip()))
        return self.state(code)

    def _participant(self, code: Any) -> tuple[str, dict]:
        tidy = tidy_code(code) if isinstance(code, str) else None
        who = self._stored(lambda: self.store.participant(tidy)) if tidy else None
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

    def _heard_s(self, listening: _Listening, question: Question, slot: str) -> float:
        """How much of a clip was heard: what was played of it, and no more than was sent."""
        coverage = listening.coverage.get(slot)
        return min(listening.heard_s[slot], coverage.share * question.slot_s(slot)) if coverage else 0.0

    def _missing(self, listening: _Listening, question: Question) -> list[str]:
        def needed_s(slot: str) -> float:
            return max(MIN_HEARD_S, self._required_s(question, slot) - self.rules.tolerance_s)

        return [slot for slot in question.slots if self._heard_s(listening, question, slot) < needed_s(slot)]

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

    def _stored(self, use: Callable[[], Any]) -> Any:
        """Use the database; say it in the participant's words where the disk is full, which stops reading too."""
        try:
            return use()
        except sqlite3.OperationalError as error:
            raise Refused(
                507,
                "Nothing can be saved now, because the study's disk is full or busy. Everything you "
                "answered before is safe. Please keep your code, tell the organiser, and try again.",
            ) from error


def _network(address: str) -> str:
    """What one subscriber has of addresses: one of IPv4, or the first 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))


def _minutes(seconds: int) -> str:
    return "a minute" if seconds <= 60 else f"{-(-seconds // 60)} minutes"


def _listed(slots: list[str]) -> str:
    names = [{"reference": "the reference", "a": "clip A", "b": "clip B"}[slot] for slot in slots]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
