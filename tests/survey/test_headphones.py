"""The headphone test: who passes it, by where and how often they answer."""

import itertools

import numpy as np
import pytest
import soundfile
from survey_runs import right_answers

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.survey import headphones
from tmp_utils.survey.session import Refused, Sessions
from tmp_utils.survey.store import Store

SPEED_OF_SOUND_M_S = 343.0


def softest(ear):
    """Which of the three tones in a signal (64000,) has the least power."""
    starts = [k * round((headphones.TONE_S + headphones.GAP_S) * RATE_HZ) for k in range(3)]
    return int(np.argmin([np.square(ear[start : start + RATE_HZ]).sum() for start in starts]))


@pytest.mark.parametrize("path_difference_m", [0.0, 0.1, 0.2])
def test_headphones_pass_and_loudspeakers_fail_every_trial(questionnaire, path_difference_m):
    delay = round(path_difference_m / SPEED_OF_SOUND_M_S * RATE_HZ)
    for order, file in questionnaire.headphones.items():
        sound, rate_hz = soundfile.read(questionnaire.clip(file))
        assert sound.shape == (4 * RATE_HZ, 2) and rate_hz == RATE_HZ
        assert {softest(side) for side in sound.T} == {order.index("q")}
        assert softest(sound[:, 0] + np.roll(sound[:, 1], delay)) == order.index("a")


def test_a_tone_is_6_db_softer_than_a_plain_one():
    quiet, plain = (np.square(headphones.tones(order)).sum() for order in ("qqq", "ppp"))
    assert 10 * np.log10(quiet / plain) == pytest.approx(-6.0, abs=0.01)


def test_a_guess_passes_a_round_in_13_of_729_cases():
    orders = headphones.trials("K7QF3-MX2AB", 0)
    passes = [headphones.passed(orders, answers) for answers in itertools.product(range(3), repeat=6)]
    assert sorted(orders) == sorted(headphones.ORDERS) and sum(passes) == 13


def test_after_two_failed_rounds_nobody_goes_on_also_after_a_restart(questionnaire, sessions):
    code = sessions.start(True)["code"]
    assert sessions.check_clip(code, 0).content != sessions.check_clip(code, 1).content
    wrong = [(k + 1) % 3 for k in right_answers(code)]
    for refused in (None, "headphones", [0] * 5, [0] * 7, [3] * 6, [True] * 6, ["0"] * 6):
        with pytest.raises(Refused, match="answer all sounds"):
            sessions.check(code, "earbuds", refused)
    with pytest.raises(Refused, match="what you listen with"):
        sessions.check(code, "loudspeakers", right_answers(code))
    with pytest.raises(Refused, match="Too few answers were right"):
        sessions.check(code, "earbuds", wrong)
    assert sessions.state(code)["round"] == 1 and sessions.check_clip(code, 6)
    with pytest.raises(Refused, match="no such sound"):
        sessions.check_clip(code, 0)
    again = Sessions(questionnaire, Store(questionnaire, sessions.store.path), sessions.rules)
    assert right_answers(code, 1) != right_answers(code)
    assert again.check(code, "earbuds", right_answers(code))["stage"] == "failed"
    assert again.check(code, "earbuds", right_answers(code, 1))["stage"] == "failed"
    with pytest.raises(Refused, match="headphone test first"):
        again.clip(code, 0, "a")
    assert list(again.store.participants()["check_attempts"]) == [2] and again.store.n_participants() == 0


def test_the_second_round_can_be_passed_with_one_wrong_answer(sessions):
    code = sessions.start(True)["code"]
    with pytest.raises(Refused):
        sessions.check(code, "earbuds", [(k + 1) % 3 for k in right_answers(code)])
    answers = right_answers(code, 1)
    assert sessions.check(code, "headphones", [(answers[0] + 1) % 3, *answers[1:]])["stage"] == "question"
