"""Answers to a listening study, kept in SQLite: one row an answer, written at the click.

Conventions: one database belongs to one study version. It is in write-ahead mode, so that a crash or a full
disk loses nothing that was confirmed. A participant is a random code. Times are UTC, ISO 8601.

Store    : participants and answers of one study.
COLUMNS  : the columns of exported answers.
new_code, tidy_code : a participant's code, made and as typed.
"""

import contextlib
import json
import re
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tmp_utils import __version__
from tmp_utils.files import write_csv
from tmp_utils.survey.questions import Placement, Questionnaire, plan

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that reads like another character
CODE_CHARS = 10
BUSY_S = 15.0
COLUMNS = (
    *("participant", "question", "position", "kind", "catch", "concept", "prompt_id", "prompt"),
    *("first", "second", "side_a", "side_b", "choice", "preferred"),
    *("heard_reference_s", "heard_a_s", "heard_b_s", "elapsed_s", "answered_utc"),
    *("device", "check_attempts", "source", "app_version", "study_version"),
)
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS participants (
    participant TEXT PRIMARY KEY, plan TEXT NOT NULL, consent_utc TEXT NOT NULL, source TEXT NOT NULL,
    device TEXT, check_attempts INTEGER NOT NULL DEFAULT 0, checked_utc TEXT);
CREATE TABLE IF NOT EXISTS answers (
    participant TEXT NOT NULL REFERENCES participants, question TEXT NOT NULL, position INTEGER NOT NULL,
    side_a TEXT NOT NULL, side_b TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('A', 'B', 'None', 'Cannot decide')),
    heard_reference_s REAL, heard_a_s REAL NOT NULL, heard_b_s REAL NOT NULL, elapsed_s REAL NOT NULL,
    answered_utc TEXT NOT NULL, app_version TEXT NOT NULL, study_version TEXT NOT NULL,
    UNIQUE (participant, question), UNIQUE (participant, position));
"""


class AlreadyAnswered(ValueError):
    """A second answer of one participant to one question; the first stands."""


def new_code() -> str:
    """A random participant code of 49 bits, such as "K7QF3-MX2AB"."""
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS)))


def tidy_code(typed: str) -> str | None:
    """The code that was meant by what was typed, or None if it cannot be one."""
    letters = re.sub(r"[\s-]", "", typed.upper()) if len(typed) <= 4 * CODE_CHARS else ""
    valid = len(letters) == CODE_CHARS and set(letters) <= set(ALPHABET)
    return _grouped(letters) if valid else None


def _grouped(letters: str) -> str:
    return f"{letters[: CODE_CHARS // 2]}-{letters[CODE_CHARS // 2 :]}"


def now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The database of a study's answers, by default `answers.sqlite` in the study's folder.

    Raises
    ------
    ValueError : the file is no such database, belongs to another study version, or lies on a disk that
        cannot keep it safely.
    """

    def __init__(self, questionnaire: Questionnaire, path: str | Path | None = None):
        self.questionnaire = questionnaire
        self.path = Path(path) if path is not None else questionnaire.folder / "answers.sqlite"
        try:
            with self._open() as database:
                mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                database.executescript(SCHEMA)
                kept = dict(database.execute("SELECT key, value FROM meta"))
                if not kept:
                    database.execute("INSERT OR IGNORE INTO meta VALUES ('study_version', ?)", [questionnaire.version])
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self.path}: cannot be used for answers ({error}). Name another file, or move this one away."
            ) from error
        if (version := kept.get("study_version", questionnaire.version)) != questionnaire.version:
            raise ValueError(
                f"{self.path} holds answers to study version {version}, and this is version {questionnaire.version}; "
                "they cannot be mixed. Name another file, or go back to the study they belong to."
            )
        if mode != "wal":
            raise ValueError(
                f"{self.path}: its disk allows no write-ahead log (mode {mode}), so a crash could lose answers. "
                "Keep the study on a local disk."
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use, so that any thread can come; committed at the end."""
        database = sqlite3.connect(self.path, timeout=BUSY_S)
        try:
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA foreign_keys=ON")
            self._prepare(database)
            with database:
                yield database
        finally:
            database.close()

    def _prepare(self, database: sqlite3.Connection) -> None:
        """For tests that give a connection a small disk."""

    def add_participant(self, source: str, code: str | None = None) -> str:
        """Store a new participant with their order and sides; returns the code."""
        code = code or new_code()
        order = [[placement.question, placement.first_is_a] for placement in plan(self.questionnaire, code)]
        with self._open() as database:
            row = [code, json.dumps(order), now_utc(), source]
            database.execute(
                "INSERT INTO participants (participant, plan, consent_utc, source) VALUES (?, ?, ?, ?)", row
            )
        return code

    def participant(self, code: str) -> dict | None:
        """The stored participant, with `plan` as Placements and `answered`, how many answers there are."""
        query = "SELECT plan, device, check_attempts, checked_utc FROM participants WHERE participant = ?"
        with self._open() as database:
            row = database.execute(query, [code]).fetchone()
            count = "SELECT COUNT(*) FROM answers WHERE participant = ?"
            answered = database.execute(count, [code]).fetchone()[0]
        if row is None:
            return None
        placements = [Placement(question, bool(first_is_a)) for question, first_is_a in json.loads(row[0])]
        found = dict(zip(("device", "check_attempts", "checked_utc"), row[1:], strict=True))
        return {**found, "plan": placements, "answered": answered}

    def n_participants(self) -> int:
        """How many have given consent."""
        with self._open() as database:
            return database.execute("SELECT COUNT(*) FROM participants").fetchone()[0]

    def check(self, code: str, device: str, passed: bool) -> None:
        """Store one attempt at the volume check."""
        update = (
            "UPDATE participants SET device = ?, check_attempts = check_attempts + 1, "
            "checked_utc = COALESCE(checked_utc, ?) WHERE participant = ?"
        )
        with self._open() as database:
            database.execute(update, [device, now_utc() if passed else None, code])

    def answer(self, code: str, placement: Placement, position: int, choice: str, times: Mapping) -> None:
        """Store one answer; `times` holds heard_reference_s, heard_a_s, heard_b_s and elapsed_s.

        Raises
        ------
        AlreadyAnswered : this participant has answered this question.
        sqlite3.OperationalError : the disk is full, say; nothing was stored and nothing was lost.
        """
        question = self.questionnaire.question(placement.question)
        row = {
            **{"participant": code, "question": question.id, "position": position, "choice": choice},
            "side_a": getattr(question, placement.role("a")),
            "side_b": getattr(question, placement.role("b")),
            **{"heard_reference_s": None, **times},
            **{"answered_utc": now_utc(), "app_version": __version__, "study_version": self.questionnaire.version},
        }
        insert = f"INSERT INTO answers ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        try:
            with self._open() as database:
                database.execute(insert, list(row.values()))
        except sqlite3.IntegrityError as error:
            raise AlreadyAnswered(f"{code} has answered question {position + 1} already.") from error

    def answers(self) -> pd.DataFrame:
        """All answers so far, one row each, with `COLUMNS`, in the order they came."""
        query = (
            "SELECT a.*, p.device, p.check_attempts, p.source FROM answers a "
            "JOIN participants p USING (participant) ORDER BY a.rowid"
        )
        with self._open() as database:
            cursor = database.execute(query)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return pd.DataFrame([self._with_question(row) for row in rows], columns=list(COLUMNS))

    def _with_question(self, row: dict) -> dict:
        question = self.questionnaire.question(row["question"])
        asked = ("kind", "catch", "concept", "prompt_id", "prompt", "first", "second")
        preferred = {"A": row["side_a"], "B": row["side_b"]}.get(row["choice"], row["choice"])
        return {**row, **{name: getattr(question, name) for name in asked}, "preferred": preferred}

    def export(self, path: str | Path) -> Path:
        """Write all answers as CSV, whole or not at all."""
        return write_csv(path, self.answers())
