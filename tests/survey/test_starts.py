"""Who can start: limits, invitations, withdrawal, and codes as people type them."""

import threading

import pytest
from survey_runs import right_answers
from survey_sessions import enter, hear, sessions_of

from tmp_utils.survey.questions import tidy_code
from tmp_utils.survey.session import Refused, Sessions
from tmp_utils.survey.store import Store


def test_who_never_answered_leaves_room_for_others(questionnaire, tmp_path):
    rules = {"max_participants": 1, "max_starts": 10_000, "required_s": 0.5, "tolerance_s": 0.1}
    sessions = sessions_of(questionnaire, tmp_path / "a.sqlite", **rules)
    for _ in range(20):
        sessions.start(True, address="10.0.0.1")
    state = enter(sessions)
    hear(sessions, state)
    sessions.answer(state["code"], 0, "A")
    with pytest.raises(Refused, match="all the participants it needs"):
        sessions.start(True)
    assert sessions.state(state["code"])["position"] == 1  # who is in can go on


def test_starts_from_one_address_are_limited_for_a_time_and_others_are_not(questionnaire, clock, tmp_path):
    sessions = sessions_of(questionnaire, tmp_path / "a.sqlite", clock, max_starts=3, starts_window_s=600)
    for address in ("10.0.0.1", "2001:db8:1:2::1", "10.0.0.1", "2001:db8:1:2::2", "10.0.0.1", "2001:db8:1:2:3::"):
        sessions.start(True, address=address)
        clock.now += 10
    for address in ("10.0.0.1", "2001:db8:1:2:ffff::9"):  # one subscriber has 64 bits of IPv6
        with pytest.raises(Refused, match="Many people have just started") as refusal:
            sessions.start(True, address=address)
        assert refusal.value.status == 429
        clock.now += 10
    for address in ("10.0.0.2", "2001:db8:1:3::1"):
        sessions.start(True, address=address)
    with pytest.raises(Refused) as refusal:
        sessions.start(True, address="10.0.0.1")
    clock.now += refusal.value.retry_after_s
    assert sessions.start(True, address="10.0.0.1")["stage"] == "check"


def test_with_invitations_each_link_starts_one_participant_and_finds_them_again(questionnaire, sessions):
    store = sessions.store
    store.invite(3)
    store.invite(2)  # there are enough
    (first, state), (second, _), _ = store.invitations()
    assert state == "unused" and len({name for name, _ in store.invitations()}) == 3
    for wrong in (None, "", "guessed", 7, first.lower() + "x", "é"):
        with pytest.raises(Refused) as refusal:
            sessions.start(True, wrong)
        assert refusal.value.status == 403
    code = sessions.start(True, first)["code"]
    state = sessions.check(code, "earbuds", right_answers(code))
    again = Sessions(questionnaire, Store(questionnaire, store.path), sessions.rules, clock=sessions.clock)
    assert again.start(True, first) == state and again.start(True, second)["code"] != code
    assert [state for _, state in store.invitations()] == ["started", "started", "unused"]
    assert len(store.participants()) == 2
    supervised = Sessions(questionnaire, store, sessions.rules, source="notebook")
    assert supervised.start(True)["stage"] == "check"


def test_one_invitation_used_twice_at_once_starts_one_participant(questionnaire, sessions):
    sessions.store.invite(1)
    ((name, _),) = sessions.store.invitations()
    others = [Sessions(questionnaire, Store(questionnaire, sessions.store.path)) for _ in range(4)]  # as processes have
    barrier, codes = threading.Barrier(4), []

    def start(one):
        barrier.wait()
        codes.append(one.start(True, name)["code"])

    threads = [threading.Thread(target=start, args=(one,)) for one in others]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(codes) == 4 and len(set(codes)) == 1 and len(sessions.store.participants()) == 1


def test_a_participant_who_withdraws_is_deleted_and_their_link_is_used_up(sessions):
    sessions.store.invite(2)
    (name, _), (other, _) = sessions.store.invitations()
    code = sessions.start(True, name)["code"]
    state = sessions.check(code, "earbuds", right_answers(code))
    hear(sessions, state)
    sessions.answer(code, 0, "A")
    sessions.start(True, other)
    assert sessions.store.withdraw(code) == 1
    assert sessions.store.answers().empty and len(sessions.store.participants()) == 1
    assert code.encode() not in sessions.store.path.read_bytes()
    with pytest.raises(Refused, match="were deleted"):
        sessions.start(True, name)
    with pytest.raises(ValueError, match="is not a participant"):
        sessions.store.withdraw(code)


def test_codes_are_understood_as_people_type_them():
    assert tidy_code(" k7qf3 mx2ab ") == "K7QF3-MX2AB"
    assert tidy_code("K7QF3-MX2A") is None and tidy_code("K7QF3-MX2A0") is None
