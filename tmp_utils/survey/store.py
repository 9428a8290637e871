"""Answers to a questionnaire in SQLite: one row an answer, written at the click.

Conventions: one database belongs to one version of a questionnaire. It is in write-ahead mode, so that a crash or a
full disk loses nothing that was confirmed. A participant is a random code. Times are UTC, ISO 8601. The practice
question is stored like any other, so that it survives a restart, and is left out of every table and count.
"""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tmp_utils import __version__
from tmp_utils.files import write_csv
from tmp_utils.survey.questions import Placement, Questionnaire, new_code, plan

BUSY_S = 15.0
COLUMNS = (
    *("participant", "question", "position", "kind", "catch", "concept", "prompt_id", "prompt"),
    *("first", "second", "side_a", "side_b", "choice", "preferred"),
    *("heard_reference_s", "heard_a_s", "heard_b_s", "elapsed_s", "answered_utc"),
    *("device", "check_attempts", "source", "app_version", "study_version"),
)
PARTICIPANT_COLUMNS = (
    *("participant", "source", "consent_utc", "device", "check_attempts", "answers"),
    *("musical_training", "comment", "recruitment"),
)
DETAILS = PARTICIPANT_COLUMNS[-3:]
WITHDRAWN = "withdrawn"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run text that begins so
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
CREATE TABLE IF NOT EXISTS details (
    participant TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (participant, name));
CREATE TABLE IF NOT EXISTS invitations (invitation TEXT PRIMARY KEY, participant TEXT);
"""


class AlreadyAnswered(ValueError):
    """A second answer of one participant to one question; the first stands."""


def now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The database of a questionnaire's answers, by default `answers.sqlite` in its folder.

    Raises
    ------
    ValueError : the file is no such database, belongs to another version, or lies on a disk that cannot keep it safely.
    """

    def __init__(self, questionnaire: Questionnaire, path: str | Path | None = None):
        self.questionnaire = questionnaire
        self.path = Path(path) if path is not None else questionnaire.folder / "answers.sqlite"
        try:
            with self._open() as database:
                mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                database.executescript(SCHEMA)
                meta = dict(database.execute("SELECT key, value FROM meta"))
                if not meta:
                    database.execute("INSERT OR IGNORE INTO meta VALUES ('study_version', ?)", [questionnaire.version])
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self.path}: cannot be used for answers ({error}). Name another file, or move this one away."
            ) from error
        if (version := meta.get("study_version", questionnaire.version)) != questionnaire.version:
            raise ValueError(
                f"{self.path} holds answers to study version {version}, and this is version {questionnaire.version}; "
                "they cannot be mixed. Name another file, or go back to the questionnaire they belong to."
            )
        if mode != "wal":
            raise ValueError(
                f"{self.path}: its disk allows no write-ahead log (mode {mode}), so a crash could lose answers. "
                "Keep the questionnaire on a local disk."
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use, so that any thread can come; committed at the end."""
        database = sqlite3.connect(self.path, timeout=BUSY_S)
        try:
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA foreign_keys=ON")
            with database:
                yield database
        finally:
            database.close()

    def add_participant(self, source: str, invitation: str | None = None, recruitment: str = "") -> str:
        """Store a new participant with their order and sides, or find the one that an invitation belongs to.

        Returns
        -------
        The participant's code, or `WITHDRAWN` where the invitation's participant has withdrawn.

        Raises
        ------
        KeyError : there is no such invitation.
        """
        code = new_code()
        order = [[placement.question, placement.first_is_a] for placement in plan(self.questionnaire, code)]
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")  # of two at once with one invitation, the second finds the first
            if invitation is not None:
                query = "SELECT participant FROM invitations WHERE invitation = ?"
                row = database.execute(query, [invitation]).fetchone()
                if row is None:
                    raise KeyError(invitation)
                if row[0] is not None:
                    return row[0]
                update = "UPDATE invitations SET participant = ? WHERE invitation = ?"
                database.execute(update, [code, invitation])
            row = [code, json.dumps(order), now_utc(), source]
            database.execute(
                "INSERT INTO participants (participant, plan, consent_utc, source) VALUES (?, ?, ?, ?)", row
            )
            if recruitment:
                database.execute("INSERT INTO details VALUES (?, 'recruitment', ?)", [code, recruitment])
        return code

    def invite(self, n: int) -> None:
        """Make invitations until there are `n`; from the first one on, nobody starts without."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            missing = n - database.execute("SELECT COUNT(*) FROM invitations").fetchone()[0]
            rows = [[secrets.token_urlsafe(16)] for _ in range(missing)]
            database.executemany("INSERT INTO invitations (invitation) VALUES (?)", rows)

    def invitations(self) -> list[tuple[str, str]]:
        """Each invitation, and "unused", "started", "finished" or "withdrawn"."""
        query = (
            "SELECT invitation, i.participant, COUNT(a.question) FROM invitations i "
            "LEFT JOIN answers a USING (participant) GROUP BY invitation ORDER BY i.rowid"
        )
        with self._open() as database:
            rows = list(database.execute(query))
        n = sum(1 for _ in self.questionnaire.all_questions())
        states = {None: "unused", WITHDRAWN: WITHDRAWN}
        return [(name, states.get(code, "finished" if answers >= n else "started")) for name, code, answers in rows]

    def participant(self, code: str) -> dict | None:
        """The stored participant, or None.

        Returns
        -------
        device, check_attempts, checked_utc; `plan` as Placements; `answered`, how many questions, practice included;
        `finished`, whether the closing questions are answered.
        """
        query = (
            "SELECT plan, device, check_attempts, checked_utc, "
            "(SELECT COUNT(*) FROM answers a WHERE a.participant = p.participant) AS answered, "
            "(SELECT COUNT(*) FROM details d WHERE d.participant = p.participant AND name = 'musical_training') "
            "AS finished FROM participants p WHERE participant = ?"
        )
        if not (rows := self._rows(query, code)):
            return None
        placements = [Placement(question, bool(first_is_a)) for question, first_is_a in json.loads(rows[0]["plan"])]
        return {**rows[0], "plan": placements, "finished": bool(rows[0]["finished"])}

    def n_participants(self) -> int:
        """How many have answered a question that counts."""
        query = "SELECT COUNT(DISTINCT participant) FROM answers WHERE position >= ?"
        with self._open() as database:
            return database.execute(query, [self.questionnaire.n_practice]).fetchone()[0]

    def finish(self, code: str, musical_training: str, comment: str) -> None:
        """Store the answers to the closing questions; the first ones stand."""
        rows = [[code, "musical_training", musical_training], [code, "comment", comment]]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO details VALUES (?, ?, ?)", rows)

    def withdraw(self, code: str) -> int:
        """Delete a participant with all their answers; returns how many answers there were.

        Raises
        ------
        ValueError : there is no such participant.
        """
        with self._open() as database:
            database.execute("PRAGMA secure_delete=ON")
            update = "UPDATE invitations SET participant = ? WHERE participant = ?"
            database.execute(update, [WITHDRAWN, code])
            n = database.execute("DELETE FROM answers WHERE participant = ?", [code]).rowcount
            database.execute("DELETE FROM details WHERE participant = ?", [code])
            if not database.execute("DELETE FROM participants WHERE participant = ?", [code]).rowcount:
                raise ValueError(f"{code!r} is not a participant of {self.path}. A code reads like K7QF3-MX2AB.")
        with self._open() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return n

    def check(self, code: str, device: str, passed: bool) -> None:
        """Store one round of the headphone test."""
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
            "JOIN participants p USING (participant) WHERE a.position >= ? ORDER BY a.rowid"
        )
        rows = [self._with_question(row) for row in self._rows(query, self.questionnaire.n_practice)]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self, query: str, *values) -> list[dict]:
        with self._open() as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, values)]

    def _with_question(self, row: dict) -> dict:
        question = self.questionnaire.question(row["question"])
        names = ("kind", "catch", "concept", "prompt_id", "prompt", "first", "second")
        preferred = {"A": row["side_a"], "B": row["side_b"]}.get(row["choice"], row["choice"])
        row = {**row, "preferred": preferred, "position": row["position"] - self.questionnaire.n_practice}
        return {**row, **{name: getattr(question, name) for name in names}}

    def participants(self) -> pd.DataFrame:
        """Everybody who agreed to take part, one row each, with `PARTICIPANT_COLUMNS`."""
        query = (
            "SELECT p.*, COUNT(a.question) AS answers FROM participants p LEFT JOIN answers a "
            "ON a.participant = p.participant AND a.position >= ? GROUP BY p.participant ORDER BY consent_utc, p.rowid"
        )
        rows = self._rows(query, self.questionnaire.n_practice)
        table = pd.DataFrame(rows, columns=list(PARTICIPANT_COLUMNS)).set_index("participant", drop=False)
        table[list(DETAILS)] = ""
        for row in self._rows("SELECT * FROM details"):
            value = row["value"]
            table.loc[row["participant"], row["name"]] = f"'{value}" if value.startswith(FORMULA) else value
        return table.reset_index(drop=True)

    def export(self, path: str | Path) -> Path:
        """Write all answers as CSV, and beside it all participants as `<name>-participants.csv`."""
        path = Path(path)
        write_csv(path.with_name(f"{path.stem}-participants.csv"), self.participants())
        return write_csv(path, self.answers())
