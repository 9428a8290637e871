"""The page of the listening study in a real browser: by mouse, by keyboard, interrupted, on a phone."""

import re

import pytest
from survey_browser import browser
from survey_runs import PROFILE, make_runs

pytest.importorskip("uvicorn", reason="the page needs the survey extra")

from survey_page import (
    CLOSING,
    TIMEOUT_MS,
    answers_of,
    code_on,
    consent,
    consent_and_check,
    finish,
    hear,
    listen_and_answer,
    tab_and_enter,
    tab_to,
    take_test,
    visit,
)

from tmp_utils.runs.place import Place
from tmp_utils.survey.about import About
from tmp_utils.survey.app import serve
from tmp_utils.survey.building import build_questionnaire
from tmp_utils.survey.session import Rules
from tmp_utils.survey.store import Store

ABOUT = About(contact="study@example.org", completion_code="HEARD-IT", recruitment=("PROLIFIC_PID",))


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
    with visit(site[2], site[1]) as page:
        yield page


def test_a_whole_session_by_mouse_stores_each_answer_once_and_who_gave_it(site, page):
    questionnaire = site[0]
    page.goto(f"{site[1]}?PROLIFIC_PID=abc123&other=thing")
    consent(page)
    page.get_by_label("Headphones").check()
    take_test(page)
    page.locator("#question").wait_for()
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
    take_test(page, press=tab_and_enter)
    page.locator("#question").wait_for()
    for number in range(len(questionnaire.questions) + 1):  # practice too
        assert page.evaluate("document.activeElement.id") == "wording"  # each question starts at its heading
        for player in page.locator("button.player:visible").all():
            tab_to(page, player)
            assert player.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            hear(player, lambda: page.keyboard.press("Enter"))
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


def test_the_clips_of_a_pair_share_a_position_and_switching_keeps_it(site, page):
    consent_and_check(page, site[0])
    seek = page.get_by_label("Position in clips A and B")
    page.wait_for_function("() => players.a.audio.duration > 0 && players.b.audio.duration > 0")
    seek.fill("500")  # a person drags it, or uses the arrow keys
    times = page.evaluate("[players.a.audio, players.b.audio].map((audio) => audio.currentTime / audio.duration)")
    assert times == pytest.approx([0.5, 0.5], abs=0.01)
    switch = "players.b.audio.currentTime = 0; players.a.button.click(); players.b.button.click();"
    assert page.evaluate(f"{switch} players.b.audio.currentTime / players.b.audio.duration") >= 0.49
    assert page.evaluate("players.a.audio.paused")
    page.wait_for_function("() => players.b.audio.ended && pairTime === 0")
    assert seek.input_value() == "0"  # the next one begins at the beginning


def test_an_answer_while_the_last_clip_plays_brings_no_complaint(site, page):
    consent_and_check(page, site[0], n_answered=4)
    replies = []
    page.on("response", lambda reply: replies.append((reply.url, reply.status)))
    for player in page.locator("button.player:visible").all():
        hear(player)
    page.locator("button.player.b").click()  # it plays again, and is stopped by the answer
    page.locator("button.player.b.playing").wait_for()
    page.locator('button[data-choice="A"]').click()
    page.locator("#closing").wait_for()
    page.wait_for_timeout(500)
    assert not page.get_by_role("alert").is_visible()
    assert [reply for reply in replies if reply[1] == 404] == []


def test_who_comes_back_sees_how_far_they_were_and_a_closed_tab_is_resumed_with_the_code_in_another_browser(site, page):
    questionnaire = site[0]
    consent_and_check(page, questionnaire)
    listen_and_answer(page, "A")
    page.reload()
    page.get_by_role("heading", name="Welcome back").wait_for()
    assert page.get_by_text("You have answered 1 of 4 questions.").is_visible()
    page.keyboard.press("Tab")  # the field, which holds the code
    page.keyboard.press("Enter")
    page.locator("#question").wait_for()
    code, count = code_on(page), page.locator("#count").inner_text()
    assert count == "Question 2 of 4"
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
    listen_and_answer(phone, "B")
    context.close()
    assert list(answers_of(questionnaire, code)["choice"]) == ["A", "B"]


def test_an_answer_before_listening_is_refused_and_the_page_says_what_to_do_until_it_is_done(site, page):
    questionnaire = site[0]
    consent_and_check(page, questionnaire)
    page.locator('button[data-choice="A"]').click(force=True)
    notice = page.get_by_role("alert")
    assert "Please listen to" in notice.inner_text()
    assert answers_of(questionnaire, code_on(page)).empty
    hear(page.locator("button.player:visible").first)
    assert not notice.is_visible()


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


def test_loudspeakers_have_two_tries_and_an_end_that_stays(site, page):
    consent(page)
    page.locator("#softest button").first.click()
    page.get_by_role("alert").filter(has_text="say what you listen with").wait_for()
    page.get_by_label("Earbuds").check()
    page.locator("#softest button").first.click()
    page.get_by_role("alert").filter(has_text="play the three tones first").wait_for()
    take_test(page, wrong=1)
    page.get_by_role("alert").filter(has_text="Too few answers were right").wait_for()
    page.get_by_role("heading", name="Sound 1 of 6, try 2 of 2").wait_for()
    take_test(page, number=1, wrong=1)
    page.get_by_role("heading", name="You cannot take part now").wait_for()
    page.reload()
    page.get_by_role("heading", name="You cannot take part now").wait_for()
    assert not page.get_by_role("button", name="Start").is_visible()


def test_an_unknown_code_a_missing_tick_and_what_is_not_filled_in_are_told(site, page):
    page.get_by_role("alert").filter(has_text="fill in: responsible, purpose, retention, withdrawal").wait_for()
    page.get_by_label("Your code").fill("<script>alert(1)</script>")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("alert").filter(has_text="not known here").wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("alert").filter(has_text="tick that you agree").wait_for()


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


def test_axe_finds_nothing_serious_and_nothing_scrolls_sideways(site, axe):
    store = Store(site[0])
    context = site[2].new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    seen = []

    def examine(section):
        page.locator(f"#{section}").wait_for()
        if not page.evaluate("'axe' in window"):
            page.evaluate(f"() => {{ {axe} }}")
        for width, height in ((1400, 900), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            faults = page.evaluate("async () => (await axe.run()).violations")
            serious = [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")]
            assert (section, width, serious) == (section, width, [])
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        seen.append(section)

    def reach(n_answered):
        code = code_on(page)
        times = {"heard_a_s": 1.0, "heard_b_s": 1.0, "elapsed_s": 2.0}
        plan = list(enumerate(store.participant(code)["plan"]))
        for position, placement in plan[store.participant(code)["answered"] : n_answered]:
            store.answer(code, placement, position, "A", times)
        page.evaluate("step('api/state', { code: state.code })")

    page.goto(site[1])
    examine("welcome")
    consent(page)
    page.locator("#softest button").first.click()  # a notice is on the page, too
    examine("check")
    store.check(code_on(page), "headphones", passed=True)
    reach(0)
    page.get_by_text("For practice").wait_for()
    examine("question")
    for number, n_answered in ((1, 1), (3, 3)):  # one question of either kind
        reach(n_answered)
        page.get_by_text(f"Question {number} of 4").wait_for()
        examine("question")
    reach(5)
    examine("closing")
    (site[0].folder / "CREDITS.txt").write_text(f"Somebody, https://example.org/{'long_' * 30} (CC BY 3.0)\n")
    finish(page)
    page.get_by_text("(CC BY 3.0)").wait_for()
    examine("done")
    page.evaluate("localStorage.clear()")
    page.goto(site[1])
    consent(page)
    for stage in ("check", "failed"):  # the browser remembers a failed round, and offers no new start
        store.check(code_on(page), "headphones", passed=False)
        page.reload()
        page.locator(f"#{stage}").wait_for()
        assert not page.locator("#start").is_visible()
    examine("failed")
    context.close()
    assert len(seen) == 8
