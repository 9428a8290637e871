"""The page's server, asked over HTTP as browsers do."""

import concurrent.futures

import pytest
from survey_runs import PROFILE, make_runs

from tmp_utils.runs.place import Place
from tmp_utils.survey.pairs import build_questionnaire
from tmp_utils.survey.session import Rules, Sessions
from tmp_utils.survey.store import Store


@pytest.fixture(scope="module")
def questionnaire(tmp_path_factory):
    runs_dir, concepts = make_runs(tmp_path_factory.mktemp("app"))
    return build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=3, concepts=concepts)


def test_thirty_four_participants_at_once_over_http_have_each_answer_stored_once(questionnaire, tmp_path):
    httpx = pytest.importorskip("httpx", reason="an HTTP client, to be the participants")
    pytest.importorskip("gradio", reason="the page needs the survey extra")
    from tmp_utils.survey.app import serve

    path = tmp_path / "many.sqlite"
    app, url = serve(questionnaire.folder, path, block=False, rules=Rules(required_s=0.02, tolerance_s=0.0))
    beeps = Sessions(questionnaire, Store(questionnaire, path))._beeps

    def take(number):
        with httpx.Client(base_url=url, timeout=60) as client:

            def post(name, **sent):
                return client.post(f"/api/{name}", json=sent)

            code = post("start", consent=True).json()["code"]
            state = post("check", code=code, device="earbuds", beeps=beeps(code)).json()
            while state["stage"] == "question":
                where = {"code": code, "position": state["position"]}
                for slot in state["slots"]:
                    assert client.get(f"/clip/{code}/{state['position']}/{slot}").content[:4] == b"RIFF"
                    missing = post("listen", **where, slot=slot, playing=True).json()["missing"]
                    while len(missing) > len(state["slots"]) - state["slots"].index(slot) - 1:
                        missing = post("listen", **where, slot=slot, playing=True).json()["missing"]
                state = post("answer", **where, choice="AB"[number % 2]).json()
                assert post("answer", **where, choice="A").status_code == 409  # a double click
            return code

    try:
        with concurrent.futures.ThreadPoolExecutor(34) as pool:
            codes = list(pool.map(take, range(34)))
        assert httpx.get(f"{url}gradio_api/info").status_code == 404
        assert httpx.post(f"{url}api/state", content=b"{" * 3000).status_code == 413
        assert httpx.post(f"{url}api/state", content=b"[1]").status_code == 415
        headers = {"content-type": "application/json"}
        for body in (b"[1]", b"{", b"\xff", b"[" * 1900):
            assert httpx.post(f"{url}api/state", content=body, headers=headers).status_code == 400
    finally:
        app.get_blocks().close(verbose=False)
    answers = Store(questionnaire, path).answers()
    assert len(answers) == 34 * len(questionnaire.questions) and len(set(codes)) == 34
    assert not answers.duplicated(["participant", "question"]).any()
