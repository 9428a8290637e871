"""What a participant does on the page of a listening study, in a browser."""

import contextlib
import re

from survey_runs import right_answers

from tmp_utils.survey.store import Store

TIMEOUT_MS = 15_000
CLOSING = "!document.getElementById('closing').hidden"


@contextlib.contextmanager
def visit(chromium, address):
    """A new browser's page at an address; afterwards it has raised no error, and has asked nobody else."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.requests, page.faults = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None)
    page.goto(address)
    yield page
    assert page.faults == []
    assert [url for url in page.requests if not url.startswith((address, "data:"))] == []
    context.close()


def code_on(page):
    return page.locator("#code b").inner_text()


def consent(page):
    page.get_by_label(re.compile("I agree to take part")).check()
    page.get_by_role("button", name="Start").click()
    page.locator("#check").wait_for()


def consent_and_check(page, questionnaire, store=None, n_answered=1):
    """Come to a question; what is before it (practice is the first) is done behind the page's back, to save time."""
    consent(page)
    code, store = code_on(page), store or Store(questionnaire)
    store.check(code, "headphones", passed=True)
    times = {"heard_a_s": 1.0, "heard_b_s": 1.0, "elapsed_s": 2.0}
    for position, placement in enumerate(store.participant(code)["plan"][:n_answered]):
        store.answer(code, placement, position, "A", times)
    page.evaluate("step('api/state', { code: state.code })")
    page.locator("#question").wait_for()


def take_test(page, number=0, wrong=0, press=lambda page, locator: locator.click()):
    """Take a round of the headphone test."""
    for k, answer in enumerate(right_answers(code_on(page), number), start=1):
        page.get_by_role("heading", name=f"Sound {k} of 6").wait_for()
        press(page, page.get_by_role("button", name="Play the three tones"))
        page.wait_for_function("() => players.tones.heard")
        press(page, page.locator("#softest button").nth((answer + wrong) % 3))


def hear(player, press=None):
    """Play a clip until it counts as heard; on a busy machine, a part of so short a one may not, and it is repeated."""
    from playwright.sync_api import TimeoutError

    for _ in range(5):
        (press or player.click)()
        try:
            return player.locator(".heard", has_text=re.compile("^heard$")).wait_for(timeout=2500)
        except TimeoutError:
            continue
    raise AssertionError("a clip that was played five times does not count as heard")


def listen_and_answer(page, choice):
    count = page.locator("#count").inner_text()
    for player in page.locator("button.player:visible").all():
        hear(player)
    page.locator(f'button[data-choice="{choice}"]').click()
    page.wait_for_function(f"count => document.getElementById('count').innerText !== count || {CLOSING}", arg=count)


def finish(page, comment=""):
    page.get_by_label("Yes, for 3 to 10 years").check()
    page.get_by_label("anything about the study").fill(comment)
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("heading", name="Thank you").wait_for()


def tab_to(page, locator):
    """Press Tab until the element has the focus."""
    for _ in range(30):
        if locator.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("Tab does not reach it")


def tab_and_enter(page, locator):
    tab_to(page, locator)
    page.keyboard.press("Enter")


def answers_of(questionnaire, code):
    answers = Store(questionnaire).answers()
    return answers[answers["participant"] == code]
