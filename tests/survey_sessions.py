"""Sessions of a listening study without a page: a clock, a participant who passes the test, and one who listens."""

from survey_runs import right_answers

from tmp_utils.survey.session import Rules, Sessions
from tmp_utils.survey.store import Store


class Clock:
    """Seconds that a test passes by itself."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def sessions_of(questionnaire, path, clock=None, **rules):
    return Sessions(questionnaire, Store(questionnaire, path), Rules(**rules), clock=clock or Clock())


def enter(sessions):
    code = sessions.start(True)["code"]
    return sessions.check(code, "headphones", right_answers(code))


def load(sessions, code, position, slot, share=1.0):
    """Take a share of a clip's bytes, from its beginning."""
    delivery = sessions.clip(code, position, slot)
    delivery.count(0, round(share * len(delivery.content)))


def hear(sessions, state, seconds=0.6):
    for slot in state["slots"]:
        load(sessions, state["code"], state["position"], slot)
        sessions.listen(state["code"], state["position"], slot, True)
        sessions.clock.now += seconds
        sessions.listen(state["code"], state["position"], slot, False)
