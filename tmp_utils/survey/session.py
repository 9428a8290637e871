"""What a participant may do next, whoever shows it: the web page or a notebook.

Conventions: listening is timed here, by this process's clock. Positions count from 0, practice included. What a
participant gets holds no variant, no file name and no other's answers.
"""

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tmp_utils.survey import headphones
from tmp_utils.survey.limits import Starts
from tmp_utils.survey.listening import Listening
from tmp_utils.survey.questions import CHOICES, WORDING, Placement, Question, Questionnaire, tidy_code
from tmp_utils.survey.stimuli import as_wav
from tmp_utils.survey.store import WITHDRAWN, AlreadyAnswered, Store

DEVICES = ("headphones", "earbuds")
TRAINING = ("none", "under 3 years", "3 to 10 years", "over 10 years", "not said")
MAX_COMMENT_CHARS = 1000
PARAMETER_VALUE = re.compile(r"[A-Za-z0-9_.~-]{1,100}")


@dataclass(frozen=True)
class Rules:
    """How much listening is required, and who is let in.

    required_s : seconds of every clip to be heard before answering (all of it, if shorter).
    tolerance_s : how much of that a slow connection may take away.
    max_rounds : how often the headphone test can be taken.
    max_participants : how many who answered are enough; who only started is not counted.
    max_starts, starts_window_s : how many can start from one address within a time; a school shares one address.
    """

    required_s: float = 5.0
    tolerance_s: float = 0.3
    max_rounds: int = 2
    max_participants: int = 1000
    max_starts: int = 120
    starts_window_s: float = 600.0


class Refused(ValueError):
    """A step that is not allowed now; `status` is the HTTP status that says so, and `retry_after_s` when it will be."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None):
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


class Delivery(NamedTuple):
    """A clip as a wav, and what counts each stretch of bytes [start, stop) that was sent of it."""

    content: bytes
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
        self._listening: dict[str, Listening] = {}
        self._starts = Starts(rules.max_starts, rules.starts_window_s)
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
            if address and (wait_s := self._starts.wait_s(address, self.clock())):
                message = f"Many people have just started from your network. Please try again in {_minutes(wait_s)}."
                raise Refused(429, message, wait_s)
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

    def _recruitment(self, parameters: Any) -> str:
        """Those parameters that the questionnaire names, as JSON; empty where there are none."""
        sent = parameters if isinstance(parameters, dict) else {}
        values = {name: str(sent[name]) for name in self.questionnaire.about.recruitment if name in sent}
        valid = {name: value for name, value in values.items() if PARAMETER_VALUE.fullmatch(value)}
        return json.dumps(valid) if valid else ""

    def state(self, code: Any) -> dict:
        """What to show now: the headphone test or its end, a question, the closing questions, or thanks."""
        code, who = self._participant(code)
        n_practice, position = self.questionnaire.n_practice, who["answered"]
        state = {"code": code, "position": position, "answered": max(0, position - n_practice)}
        state["total"] = len(who["plan"]) - n_practice
        if who["checked_utc"] is None:
            number, rounds = who["check_attempts"], self.rules.max_rounds
            test = {"round": number, "rounds": rounds, "trials": headphones.N_TRIALS}
            return {**state, "stage": "check", **test} if number < rounds else {**state, "stage": "failed"}
        if position >= len(who["plan"]):
            about = self.questionnaire.about
            end = {"completion_code": about.completion_code, "return_address": about.return_address}
            end["credits"] = self.questionnaire.credits
            return {**state, "stage": "done", **end} if who["finished"] else {**state, "stage": "closing"}
        question = self.questionnaire.question(who["plan"][position].question)
        text = {"kind": question.kind, "wording": WORDING[question.kind], "prompt": question.prompt}
        with self._lock:
            report = self._report(self._current(code, position, question))
        return {**state, "stage": "question", "practice": position < n_practice, **text, **report}

    def check(self, code: Any, device: Any, answers: Any) -> dict:
        """Take a round of the headphone test: which tone was the softest (0, 1 or 2) in each of its trials."""
        code, _ = self._participant(code)
        whole = isinstance(answers, list) and len(answers) == headphones.N_TRIALS
        if device not in DEVICES or not whole or not all(type(each) is int and 0 <= each <= 2 for each in answers):
            raise Refused(400, "Please say what you listen with, and answer all sounds of the test.")
        with self._lock:
            state = self.state(code)
            if state["stage"] == "check":
                passed = headphones.passed(headphones.trials(code, state["round"]), answers)
                self._stored(lambda: self.store.check(code, device, passed))
                if not passed and state["round"] + 1 < self.rules.max_rounds:
                    raise Refused(409, "Too few answers were right. Please check your headphones, and try again.")
        return self.state(code)

    def check_clip(self, code: Any, trial: Any) -> Delivery:
        """The sound of a trial of the headphone test; trials count on from one round to the next."""
        code, who = self._participant(code)
        number, k = divmod(trial, headphones.N_TRIALS) if isinstance(trial, int) else (-1, 0)
        if number != who["check_attempts"] or who["checked_utc"] is not None:
            raise Refused(404, "There is no such sound now. Please reload the page.")
        file = self.questionnaire.headphones[headphones.trials(code, number)[k]]
        return Delivery(as_wav(self.questionnaire.clip(file)), lambda start, stop: None)

    def clip(self, code: Any, position: Any, slot: Any) -> Delivery:
        """The sound behind a slot of the current question."""
        code, placement, question = self._question(code, position)
        if slot not in question.slots:
            raise Refused(404, "There is no such clip.")
        content = as_wav(self.questionnaire.clip(question.files[placement.role(slot)]))
        with self._lock:
            listening = self._current(code, position, question)

        def count(start: int, stop: int) -> None:
            with self._lock:
                listening.sent(slot, len(content), start, stop)

        return Delivery(content, count)

    def listen(self, code: Any, position: Any, slot: Any, playing: Any) -> dict:
        """Note that a player has started or stopped, and return what counts as heard."""
        code, _, question = self._question(code, position)
        if slot not in question.slots or not isinstance(playing, bool):
            raise Refused(400, "The player sent something that is not understood. Please reload the page.")
        with self._lock:
            listening = self._current(code, position, question)
            if not listening.is_loaded(slot):
                raise Refused(425, "That clip has not been loaded yet. Please play it again.")
            listening.report(slot, playing, self.clock())
            return self._report(listening)

    def answer(self, code: Any, position: Any, choice: Any) -> dict:
        """Store an answer to the current question and return the next state."""
        if choice not in CHOICES:
            raise Refused(400, f"Please answer one of: {', '.join(CHOICES)}.")
        code, placement, question = self._question(code, position)
        with self._lock:
            listening = self._current(code, position, question)
            listening.credit(self.clock())
            if missing := self._missing(listening):
                raise Refused(409, f"Please listen to {_listed(missing)} first.")
            times = {f"heard_{slot}_s": round(s, 2) for slot, s in listening.played_s.items()}
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
            raise Refused(409, "Please do the headphone test first.")
        if isinstance(position, bool) or not isinstance(position, int):
            raise Refused(400, "The page sent something that is not understood. Please reload it.")
        if position < who["answered"]:
            raise Refused(409, "You have answered this question already; the first answer counts.")
        if position != who["answered"] or position >= len(who["plan"]):
            raise Refused(404, "There is no such question now. Please reload the page.")
        placement = who["plan"][position]
        return code, placement, self.questionnaire.question(placement.question)

    def _current(self, code: str, position: int, question: Question) -> Listening:
        listening = self._listening.get(code)
        if listening is None or listening.position != position:
            listening = self._listening[code] = Listening(position, question, self.clock())
        return listening

    def _missing(self, listening: Listening) -> list[str]:
        return listening.missing(self.rules.required_s, self.rules.tolerance_s)

    def _report(self, listening: Listening) -> dict:
        slots = listening.question.slots
        required_s = {slot: listening.required_s(slot, self.rules.required_s) for slot in slots}
        return {"slots": list(slots), "required_s": required_s, "missing": self._missing(listening)}

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


def _minutes(seconds: int) -> str:
    return "a minute" if seconds <= 60 else f"{-(-seconds // 60)} minutes"


def _listed(slots: list[str]) -> str:
    names = [{"reference": "the reference", "a": "clip A", "b": "clip B"}[slot] for slot in slots]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
