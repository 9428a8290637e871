"""The page of the listening study in a real browser: by mouse, by keyboard, interrupted, on a phone."""

import re

import pytest
from survey_browser import browser
from survey_runs import PROFILE, make_runs

pytest.importorskip("uvicorn", reason="the page needs the survey extra")

from tmp_utils.runs.place import Place
from tmp_utils.survey.about import About
from tmp_utils.survey.app import serve
from tmp_utils.survey.pairs import build_questionnaire
from tmp_utils.survey.session import Rules
from tmp_utils.survey.store import Store

TIMEOUT_MS = 15_000
ABOUT = About(contact="study@example.org", completion_code="HEARD-IT", recruitment=("PROLIFIC_PID",))
CLOSING = "!document.getElementById('closing').hidden"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    runs_dir, concepts = make_runs(tmp_path_factory.mktemp("site"))
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts, about=ABOUT)
    served = serve(questionnaire.folder, block=False, rules=Rules(required_s=0.5))
    with browser() as chromium:
        yield questionnaire, served.url, chromium
    served.close()


@pytest.fixture
def page(site):
    context = site[2].new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.requests = []
    page.faults = []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None)
    page.goto(site[1])
    yield page
    assert page.faults == []
    assert [url for url in page.requests if not url.startswith((site[1], "data:"))] == []
    context.close()


def code_on(page):
    return page.locator("#code b").inner_text()


def beeps_of(questionnaire, code):
    from tmp_utils.survey.session import Sessions

    return Sessions(questionnaire, Store(questionnaire))._beeps(code)


def consent_and_check(page, questionnaire, store=None, n_answered=1):
    """Come to a question; those before it (practice is the first) are answered behind the page's back, to save time."""
    page.get_by_label(re.compile("I agree to take part")).check()
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Headphones").check()
    page.get_by_role("button", name="Play the beeps").click()
    code, store = code_on(page), store or Store(questionnaire)
    times = {"heard_a_s": 1.0, "heard_b_s": 1.0, "elapsed_s": 2.0}
    for position, placement in enumerate(store.participant(code)["plan"][:n_answered]):
        store.answer(code, placement, position, "A", times)
    page.locator("#counts").get_by_role("button", name=str(beeps_of(questionnaire, code))).click()
    page.locator("#question").wait_for()


def listen_and_answer(page, choice):
    count = page.locator("#count").inner_text()
    for player in page.locator("button.player:visible").all():
        player.click()
        player.locator(".heard", has_text=re.compile("^heard$")).wait_for()
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


def answers_of(questionnaire, code):
    answers = Store(questionnaire).answers()
    return answers[answers["participant"] == code]


def test_a_whole_session_by_mouse_stores_each_answer_once_and_who_gave_it(site, page):
    questionnaire = site[0]
    page.goto(f"{site[1]}?PROLIFIC_PID=abc123&other=thing")
    consent_and_check(page, questionnaire, n_answered=0)
    assert "does not count" in page.locator("#count").inner_text()
    listen_and_answer(page, "A")
    choices = ["A", "B", "None", "Cannot decide"]
    for choice in choices:
        listen_and_answer(page, choice)
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("alert").filter(has_text="musical training").wait_for()
    finish(page, "=1+1 was fun")
    assert page.get_by_text("HEARD-IT").is_visible() and "PROLIFIC_PID=abc123" in page.url
    answers = answers_of(questionnaire, code_on(page))
    assert list(answers["choice"]) == choices
    assert set(answers["question"]) == {question.id for question in questionnaire.questions}
    assert (answers[["heard_a_s", "heard_b_s"]] >= 0.2).all(axis=None)
    row = Store(questionnaire).participants().set_index("participant").loc[code_on(page)]
    assert (row["musical_training"], row["comment"], row["answers"]) == ("3 to 10 years", "'=1+1 was fun", 4)
    assert row["recruitment"] == '{"PROLIFIC_PID": "abc123"}' and row["device"] == "headphones"


def test_a_whole_session_by_keyboard_needs_only_tab_space_and_enter(site, page):
    questionnaire = site[0]
    tab_to(page, page.get_by_label(re.compile("I agree to take part")))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Start"))
    page.keyboard.press("Enter")
    page.locator("#check").wait_for()
    tab_to(page, page.get_by_label("Headphones"))
    page.keyboard.press("Space")
    number = str(beeps_of(questionnaire, code_on(page)))
    tab_to(page, page.locator("#counts").get_by_role("button", name=number))
    page.keyboard.press("Enter")
    page.locator("#question").wait_for()
    for number in range(len(questionnaire.questions) + 1):  # practice too
        assert page.evaluate("document.activeElement.id") == "wording"  # each question starts at its heading
        for player in page.locator("button.player:visible").all():
            tab_to(page, player)
            assert player.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            page.keyboard.press("Enter")
            player.locator(".heard", has_text=re.compile("^heard$")).wait_for()
        tab_to(page, page.locator('button[data-choice="B"]'))
        page.keyboard.press("Space")
        page.wait_for_function(
            f"n => document.getElementById('count').innerText.startsWith(`Question ${{n}} `) || {CLOSING}",
            arg=number + 1,
        )
    tab_to(page, page.get_by_label("No", exact=True))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Finish"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()
    assert list(answers_of(questionnaire, code_on(page))["choice"]) == ["B"] * len(questionnaire.questions)


def test_once_both_clips_are_heard_they_share_a_position_and_switching_keeps_it(site, page):
    consent_and_check(page, site[0])
    seek = page.get_by_label("Position in clips A and B")
    assert not seek.is_visible()
    for player in page.locator("button.player:visible").all():
        player.click()
        player.locator(".heard", has_text=re.compile("^heard$")).wait_for()
    page.wait_for_function("players.b.audio.paused")
    seek.fill("500")  # a person drags it, or uses the arrow keys
    times = page.evaluate("[players.a.audio, players.b.audio].map((audio) => audio.currentTime / audio.duration)")
    assert times == pytest.approx([0.5, 0.5], abs=0.01)
    switch = "players.b.audio.currentTime = 0; players.a.button.click(); players.b.button.click();"
    assert page.evaluate(f"{switch} players.b.audio.currentTime / players.b.audio.duration") >= 0.49
    assert page.evaluate("players.a.audio.paused")


def test_an_answer_while_the_last_clip_plays_brings_no_complaint(site, page):
    consent_and_check(page, site[0], n_answered=4)
    replies = []
    page.on("response", lambda reply: replies.append((reply.url, reply.status)))
    for player in page.locator("button.player:visible").all():
        player.click()
        player.locator(".heard", has_text=re.compile("^heard$")).wait_for()
    page.locator("button.player.b").click()  # it plays again, and is stopped by the answer
    page.locator("button.player.b.playing").wait_for()
    page.locator('button[data-choice="A"]').click()
    page.locator("#closing").wait_for()
    page.wait_for_timeout(500)
    assert not page.get_by_role("alert").is_visible()
    assert [reply for reply in replies if reply[1] == 404] == []


def test_a_closed_tab_is_resumed_with_the_code_in_another_browser(site, page):
    questionnaire = site[0]
    consent_and_check(page, questionnaire)
    listen_and_answer(page, "A")
    code, count = code_on(page), page.locator("#count").inner_text()
    page.close()
    context = site[2].new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.set_default_timeout(TIMEOUT_MS)
    phone.goto(site[1])
    phone.get_by_label("Your code").fill(code.lower().replace("-", " "))
    phone.get_by_role("button", name="Continue").click()
    phone.locator("#question").wait_for()
    assert phone.locator("#count").inner_text() == count
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing to scroll sideways
    while not phone.locator("#closing").is_visible():
        listen_and_answer(phone, "A")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finish(phone)
    context.close()
    assert sorted(answers_of(questionnaire, code)["position"]) == list(range(len(questionnaire.questions)))


def test_an_answer_before_listening_is_refused_and_the_page_says_what_to_do(site, page):
    questionnaire = site[0]
    consent_and_check(page, questionnaire)
    page.locator('button[data-choice="A"]').click(force=True)
    assert "Please listen to" in page.get_by_role("alert").inner_text()
    assert answers_of(questionnaire, code_on(page)).empty


def test_a_notice_goes_when_what_it_asked_for_is_done(site, page):
    consent_and_check(page, site[0])
    page.locator('button[data-choice="A"]').click(force=True)
    notice = page.get_by_role("alert")
    assert notice.is_visible()
    player = page.locator("button.player:visible").first
    player.click()
    player.locator(".heard", has_text=re.compile("^heard$")).wait_for()
    assert not notice.is_visible()


def test_who_comes_back_is_led_to_continue_first_and_sees_how_far_they_were(site, page):
    consent_and_check(page, site[0])
    listen_and_answer(page, "A")
    page.reload()
    page.get_by_role("heading", name="Welcome back").wait_for()
    assert page.get_by_text("You have answered 1 of 4 questions.").is_visible()
    page.keyboard.press("Tab")  # the field, which holds the code
    page.keyboard.press("Enter")
    page.locator("#question").wait_for()
    assert page.locator("#count").inner_text() == "Question 2 of 4"


def test_a_page_that_was_open_while_the_server_was_restarted_goes_on(site, page, tmp_path):
    questionnaire = site[0]
    where = {"answers": tmp_path / "answers.sqlite", "block": False, "rules": Rules(required_s=0.5)}
    served = serve(questionnaire.folder, **where)
    page.goto(served.url)
    try:
        consent_and_check(page, questionnaire, Store(questionnaire, where["answers"]))
        page.wait_for_load_state("networkidle")  # the clips are here, and will not be asked for again
        served.close()
        served = serve(questionnaire.folder, port=int(served.url.rstrip("/").rsplit(":", 1)[1]), **where)
        listen_and_answer(page, "A")
        assert page.locator("#count").inner_text() == "Question 2 of 4"
    finally:
        served.close()
        page.requests.clear()  # another address than the site's


def test_a_wrong_number_of_beeps_and_an_unknown_code_are_told(site, page):
    page.get_by_label("Your code").fill("<script>alert(1)</script>")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("alert").filter(has_text="not known here").wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("alert").filter(has_text="tick that you agree").wait_for()
    page.get_by_label(re.compile("I agree to take part")).check()
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Loudspeakers").check()
    page.locator("#counts").get_by_role("button", name="6").click()
    page.get_by_role("alert").filter(has_text="not the number of beeps").wait_for()


def test_the_page_and_what_it_loads_name_no_variant_concept_file_or_source(site, page):
    questionnaire = site[0]
    said = []
    page.on("response", lambda reply: said.append(f"{reply.url}{reply.headers}"))
    page.on("response", lambda reply: said.append(reply.text() if "/api/" in reply.url else ""))
    consent_and_check(page, questionnaire)
    listen_and_answer(page, "A")
    everything = " ".join(said) + page.content()
    secrets = ["DB-BL", "TI-BL", "correct", "foil", "secret", "sks", "seed0", ".wav", "last-modified"]
    secrets += [name for question in questionnaire.questions for name in question.files.values()]
    assert [secret for secret in secrets if secret in everything] == []
    assert any("/clip/" in url for url in said)
