"""Taking part: order of steps, listening, invitations and limits, storage, hostile input, many at once."""

import json
import math
import sqlite3
import threading

import pytest
from survey_runs import right_answers
from survey_sessions import enter, hear, load, sessions_of

from tmp_utils.survey.analysis import read_answers
from tmp_utils.survey.notebook import NotebookSession
from tmp_utils.survey.session import Refused, Rules, Sessions
from tmp_utils.survey.store import COLUMNS, Store

HOSTILE = [
    *(None, True, -1, 10**30, math.nan, [], {}, "", " ", "A' OR 1=1 --", "'; DROP TABLE answers; --"),
    *("<script>alert(1)</script>", "../../etc/passwd", "=cmd|' /C calc'!A0", "\x00", "é" * 900, {"a": [1]}),
]


def test_a_session_asks_every_question_once_and_keeps_sides_and_times(questionnaire, sessions):
    state = enter(sessions)
    while state["stage"] == "question":
        hear(sessions, state)
        state = sessions.answer(state["code"], state["position"], "A")
    answers = sessions.store.answers()
    assert state["stage"] == "closing" and tuple(answers.columns) == COLUMNS
    assert sorted(answers["question"]) == sorted(question.id for question in questionnaire.questions)
    assert (answers["preferred"] == answers["side_a"]).all()
    assert (answers["heard_a_s"].round(2) == 0.6).all()
    assert answers["heard_reference_s"].notna().sum() == 4  # three reconstruction questions and a catch trial
    assert set(answers["study_version"]) == {questionnaire.version}


def test_steps_cannot_be_skipped(sessions):
    for consent in (None, False, "true", 1):
        with pytest.raises(Refused, match="agree first"):
            sessions.start(consent)
    code = sessions.start(True)["code"]
    with pytest.raises(Refused, match="headphone test first"):
        sessions.clip(code, 0, "a")
    state = sessions.check(code, "earbuds", right_answers(code))
    with pytest.raises(Refused, match="no such question"):
        sessions.clip(code, 1, "a")
    with pytest.raises(Refused, match="not been loaded"):
        sessions.listen(code, 0, "a", True)
    assert state["position"] == 0 and sessions.store.answers().empty


def test_an_answer_counts_only_after_listening_by_the_servers_clock(sessions, clock):
    state = enter(sessions)
    code = state["code"]
    for slot in state["slots"]:
        load(sessions, code, 0, slot)
        for _ in range(50):  # a player that claims to start and stop, in no time at all
            sessions.listen(code, 0, slot, True)
            sessions.listen(code, 0, slot, False)
    with pytest.raises(Refused, match=r"listen to (the reference, clip A and clip B|clip A and clip B) first"):
        sessions.answer(code, 0, "A")
    for slot in state["slots"]:
        sessions.listen(code, 0, slot, True)  # all at once: only one can play
    clock.now += 60
    with pytest.raises(Refused, match=r"listen to (the reference and clip A|clip A) first"):
        sessions.answer(code, 0, "A")
    hear(sessions, state)
    assert sessions.answer(code, 0, "A")["position"] == 1


def test_a_second_answer_is_refused_also_when_two_arrive_at_once(sessions):
    state = enter(sessions)
    hear(sessions, state)
    barrier, outcomes = threading.Barrier(8), []

    def click(choice):
        barrier.wait()
        try:
            outcomes.append(sessions.answer(state["code"], 0, choice)["position"])
        except Refused as refused:
            outcomes.append(refused.status)

    threads = [threading.Thread(target=click, args=(choice,)) for choice in ["A", "B"] * 4]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(outcomes) == [1] + [409] * 7
    assert len(sessions.store.answers()) == 1


def test_a_session_goes_on_after_the_server_was_restarted(questionnaire, sessions, clock):
    state = enter(sessions)
    hear(sessions, state)
    state = sessions.answer(state["code"], 0, "None")
    again = Sessions(questionnaire, Store(questionnaire, sessions.store.path), Rules(0.5, 0.1), clock=clock)
    typed = state["code"].lower().replace("-", "  ")
    assert again.state(typed) == state
    hear(again, state)
    assert again.answer(typed, 1, "B")["position"] == 2


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
def test_hostile_input_in_any_field_is_refused_in_words_and_stores_nothing(sessions, value):
    state = enter(sessions)
    code = state["code"]
    steps = [
        lambda: sessions.start(value) if value is not True else sessions.start(1),
        lambda: sessions.state(value),
        lambda: sessions.check(value, "earbuds", 3),
        lambda: sessions.check(code, value, 3),
        lambda: sessions.check(code, "earbuds", value) if not _is_number(value) else sessions.state(value),
        lambda: sessions.clip(value, 0, "a"),
        lambda: sessions.clip(code, value, "a"),
        lambda: sessions.listen(code, 0, "a", "yes"),
        lambda: sessions.answer(code, value, "A"),
        lambda: sessions.answer(code, 0, value),
        lambda: sessions.finish(code, value, value),
    ]
    if value.__hash__ is not None:
        steps += [lambda: sessions.clip(code, 0, value), lambda: sessions.listen(code, 0, value, True)]
    for number, step in enumerate(steps):
        with pytest.raises(Refused) as refusal:
            step()
        assert 400 <= refusal.value.status < 500 and str(refusal.value).endswith("."), number
        assert str(value) not in str(refusal.value) or len(str(value)) < 5
    assert sessions.store.answers().empty and sessions.state(code) == state


def _is_number(value):
    return isinstance(value, int) and not isinstance(value, bool)


def test_a_full_disk_is_told_to_the_participant_and_loses_nothing(sessions, monkeypatch):
    state = enter(sessions)
    hear(sessions, state)
    state = sessions.answer(state["code"], 0, "A")
    hear(sessions, state)
    store, times = sessions.store, {"heard_a_s": 1.5, "heard_b_s": 1.5, "elapsed_s": 1.5}
    others = [store.add_participant("web") for _ in range(40)]

    def small_disk(*arguments, connect=sqlite3.connect, **options):
        database = connect(*arguments, **options)
        database.execute(f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}")
        return database

    monkeypatch.setattr(sqlite3, "connect", small_disk)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for code in others:  # until the last page is full
            for position, placement in enumerate(store.participant(code)["plan"]):
                store.answer(code, placement, position, "A", times)
    before = len(store.answers())
    with pytest.raises(Refused, match=r"Nothing can be saved now.*before is safe") as refused:
        while True:
            state = sessions.answer(state["code"], state["position"], "B")
            hear(sessions, state)
    assert refused.value.status == 507
    assert len(store.answers()) == before + state["position"] - 1
    monkeypatch.undo()
    assert sessions.answer(state["code"], state["position"], "B")["position"] == state["position"] + 1


def test_a_disk_too_full_even_for_reading_is_told_too(sessions, monkeypatch):
    state = enter(sessions)

    def full_disk(*_, **__):  # a full tmpfs does this: SQLite cannot make the file that readers share
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", full_disk)
    for step in (lambda: sessions.state(state["code"]), lambda: sessions.start(True)):
        with pytest.raises(Refused, match="before is safe") as refused:
            step()
        assert refused.value.status == 507
    monkeypatch.undo()
    assert sessions.state(state["code"])["position"] == state["position"]


def test_a_database_of_another_version_or_no_database_is_refused(questionnaire, tmp_path):
    path = tmp_path / "answers.sqlite"
    Store(questionnaire, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = 'older'")
    with pytest.raises(ValueError, match=r"study version older, and this is version"):
        Store(questionnaire, path)
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to be read as one" * 20)
    with pytest.raises(ValueError, match="cannot be used for answers"):
        Store(questionnaire, tmp_path / "text.sqlite")


def test_answers_survive_export_and_reading_with_none_as_an_answer(sessions, tmp_path):
    state = enter(sessions)
    for choice in ("None", "Cannot decide"):
        hear(sessions, state)
        state = sessions.answer(state["code"], state["position"], choice)
    read = read_answers(sessions.store.export(tmp_path / "out.csv"))
    assert list(read["preferred"]) == ["None", "Cannot decide"]


def test_practice_comes_first_is_stored_and_is_in_no_table(with_practice, clock, tmp_path):
    sessions = sessions_of(with_practice, tmp_path / "a.sqlite", clock, required_s=0.5, tolerance_s=0.1)
    state = enter(sessions)
    assert state["practice"] and state["total"] == len(with_practice.questions) == 8
    hear(sessions, state)
    state = sessions.answer(state["code"], 0, "B")
    assert not state["practice"] and state["answered"] == 0
    assert sessions.store.answers().empty and sessions.store.n_participants() == 0
    again = sessions_of(with_practice, tmp_path / "a.sqlite", clock, required_s=0.5, tolerance_s=0.1)
    assert again.state(state["code"]) == state
    hear(again, state)
    again.answer(state["code"], 1, "A")
    answers = again.store.answers()
    assert list(answers["position"]) == [0] and again.store.n_participants() == 1
    assert "p01" not in set(answers["question"])


def test_the_end_asks_about_training_once_keeps_a_comment_and_gives_code_and_credits(with_practice, tmp_path):
    credits = with_practice.folder / "CREDITS.txt"
    credits.write_text("One\nTwo\n")
    sessions = sessions_of(with_practice, tmp_path / "a.sqlite", required_s=0.5, tolerance_s=0.1)
    state = sessions.start(True, recruitment={"PROLIFIC_PID": "5f3", "IP": "10.0.0.1"})
    code = state["code"]
    state = sessions.check(code, "headphones", right_answers(code))
    with pytest.raises(Refused, match="answer all questions first"):
        sessions.finish(code, "none", "")
    while state["stage"] == "question":
        hear(sessions, state)
        state = sessions.answer(code, state["position"], "A")
    assert state["stage"] == "closing" and not {"completion_code", "credits"} & state.keys()
    state = sessions.finish(code, "none", "=HYPERLINK()\x00\ud800 nice")
    assert state["stage"] == "done" and state["completion_code"] == "HEARD-IT" and state["credits"] == ["One", "Two"]
    credits.unlink()
    assert sessions.finish(code, "over 10 years", "again")["credits"] == []
    row = sessions.store.participants().iloc[0]
    assert (row["musical_training"], row["comment"], row["answers"]) == ("none", "'=HYPERLINK() nice", 8)
    assert json.loads(row["recruitment"]) == {"PROLIFIC_PID": "5f3"}


def test_a_clip_counts_as_heard_only_as_far_as_its_bytes_were_sent(sessions, clock):
    state = enter(sessions)
    code = state["code"]

    def play(slot):
        sessions.listen(code, 0, slot, True)
        clock.now += 10
        return slot in sessions.listen(code, 0, slot, False)["missing"]

    delivery = sessions.clip(code, 0, "a")
    size = len(delivery.content)
    with pytest.raises(Refused, match="not been loaded"):  # named, and nothing was taken of it
        sessions.listen(code, 0, "a", True)
    delivery.count(0, 1)
    assert play("a")
    for _ in range(100):  # the same tenth again and again
        delivery.count(0, size // 10)
    assert play("a")
    for start in range(size // 2, size):  # the second half, byte by byte, and more than once
        delivery.count(start, start + 1)
    assert play("a")
    delivery.count(size // 10, size // 2)
    assert not play("a")
    with pytest.raises(Refused, match="listen to"):
        sessions.answer(code, 0, "A")


def test_a_notebook_session_runs_through_its_buttons_and_times_listening(questionnaire, clock):
    session = NotebookSession(questionnaire, clock)

    def buttons():
        widgets = [w for box in session.body.children for w in (box, *getattr(box, "children", ()))]
        return {w.description: w for w in widgets if type(w).__name__ == "Button"}

    buttons()["Start"].click()
    assert "agree" in session.message.value
    session.body.children[-2].value = True
    buttons()["Start"].click()
    for wrong in (True, False):  # a round is failed, and the next is passed
        answers = right_answers(session.state["code"], session.state["round"])
        for answer in answers:
            buttons()["Play the tones"].click()
            buttons()[("First", "Second", "Third")[(answer + wrong) % 3]].click()
        assert ("Too few answers" in session.message.value) == wrong
    buttons()["Clip A"].click()
    assert "Please listen" in session.message.value
    while session.state["stage"] == "question":
        for name in [name for name in buttons() if name.startswith("Play")]:
            buttons()[name].click()
            assert "data:audio/wav" in session.player.value
            clock.now += 0.6
        buttons()["Neither fits"].click()
    answers = Store(questionnaire).answers()
    assert len(answers) == len(questionnaire.questions) and set(answers["source"]) == {"notebook"}
