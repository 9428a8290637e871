"""The page's server over HTTP: many participants at once, and what it keeps out."""

import concurrent.futures
import json
import re
import socket
import time

import pytest
from survey_runs import PROFILE, make_runs, right_answers

pytest.importorskip("httpx", reason="an HTTP client, to be the participants")
pytest.importorskip("uvicorn", reason="the page needs the survey extra")

import httpx

from tmp_utils.runs.place import Place
from tmp_utils.survey import doors
from tmp_utils.survey.about import TEMPLATE, About, load_about
from tmp_utils.survey.app import serve
from tmp_utils.survey.building import build_questionnaire
from tmp_utils.survey.doors import HEADERS
from tmp_utils.survey.session import Rules
from tmp_utils.survey.store import Store

QUICK = Rules(required_s=0.02, tolerance_s=0.0)
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def questionnaire(tmp_path_factory):
    runs_dir, concepts = make_runs(tmp_path_factory.mktemp("app"))
    return build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts)


@pytest.fixture
def served(questionnaire, tmp_path):
    """Serves the questionnaire by given rules, with a database of its own."""
    pages = []

    def start(rules=QUICK, **kwargs):
        pages.append(serve(questionnaire.folder, tmp_path / "answers.sqlite", block=False, rules=rules, **kwargs))
        return httpx.Client(base_url=pages[-1].url, timeout=60)

    start.pages = pages
    yield start
    for page in pages:
        page.close()


def begin(client, questionnaire, **start):
    """A participant's state after the headphone test."""
    code = client.post("/api/start", json={"consent": True, **start}).json()["code"]
    return client.post("/api/check", json={"code": code, "device": "earbuds", "answers": right_answers(code)}).json()


def take(client, questionnaire, n_answers=100, **start):
    """Take part by HTTP, to the end or for so many answers; returns the last state."""
    state = begin(client, questionnaire, **start)
    while state["stage"] == "question" and n_answers:
        where = {"code": state["code"], "position": state["position"]}
        for slot in state["slots"]:
            clip = client.get(f"/clip/{where['code']}/{where['position']}/{slot}")
            assert clip.content[:4] == b"RIFF"
            missing = [slot]
            while slot in missing:
                missing = client.post("/api/listen", json={**where, "slot": slot, "playing": True}).json()["missing"]
        state = client.post("/api/answer", json={**where, "choice": "A"}).json()
        assert client.post("/api/answer", json={**where, "choice": "B"}).status_code == 409  # a double click
        n_answers -= 1
    return state


def spoken_to(url, text, wait_s=5.0):
    """Send raw text to the server; what it answers until it closes the connection, and after how many seconds."""
    host, port = re.search(r"//(.*):(\d+)/", url).groups()
    begun, answer = time.monotonic(), b""
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.sendall(text.encode())
        while chunk := connection.recv(65536):
            answer += chunk
    return answer, time.monotonic() - begun


def test_ten_participants_at_once_have_each_answer_stored_once(questionnaire, served, tmp_path):
    client = served()

    def one(_number):
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            state = take(own, questionnaire)
            sent = {"code": state["code"], "training": "none", "comment": ""}
            assert own.post("/api/finish", json=sent).json()["stage"] == "done"
            return state["code"]

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        codes = set(pool.map(one, range(10)))
    answers = Store(questionnaire, tmp_path / "answers.sqlite").answers()
    assert len(answers) == 10 * len(questionnaire.questions) and set(answers["participant"]) == codes
    assert not answers.duplicated(["participant", "question"]).any()


def test_a_flood_of_starts_from_one_address_does_not_close_the_study_to_another(questionnaire, served, tmp_path):
    client = served(Rules(required_s=0.02, tolerance_s=0.0, max_participants=2, max_starts=20))
    replies = [client.post("/api/start", json={"consent": True}) for _ in range(50)]
    assert [reply.status_code for reply in replies] == [200] * 20 + [429] * 30
    assert 0 < int(replies[-1].headers["retry-after"]) <= 600
    with httpx.Client(base_url=client.base_url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other:
        assert take(other, questionnaire, n_answers=2)["stage"] == "question"
        forwarded = {"x-forwarded-for": "10.1.2.3"}  # only a link through Gradio is trusted with addresses
        assert client.post("/api/start", json={"consent": True}, headers=forwarded).status_code == 429
    assert Store(questionnaire, tmp_path / "answers.sqlite").n_participants() == 1


def test_invitation_links_are_written_and_needed_and_come_back_to_their_participant(questionnaire, served, tmp_path):
    client = served(invitations=2)
    assert client.post("/api/start", json={"consent": True}).status_code == 403
    lines = (tmp_path / "invitations.csv").read_text().splitlines()
    assert lines[0] == "link,state" and len(lines) == 3
    name = re.fullmatch(re.escape(f"{client.base_url}?invitation=") + r"([\w-]{22}),unused", lines[1])[1]
    state = take(client, questionnaire, n_answers=2, invitation=name)
    served.pages[0].close()
    again = served()  # by invitation still, though it is not said again
    assert again.post("/api/start", json={"consent": True}).status_code == 403
    back = again.post("/api/start", json={"consent": True, "invitation": name}).json()
    assert (back["code"], back["position"]) == (state["code"], 2)
    assert "started" in (tmp_path / "invitations.csv").read_text()


def test_head_and_single_bytes_are_not_listening_and_ranges_together_are(questionnaire, served):
    client = served(Rules(required_s=0.5, tolerance_s=0.0))
    state = begin(client, questionnaire)
    url, where = f"/clip/{state['code']}/0/a", {"code": state["code"], "position": 0}

    def missing(slot="a"):
        client.post("/api/listen", json={**where, "slot": slot, "playing": True})
        time.sleep(0.8)
        return slot in client.post("/api/listen", json={**where, "slot": slot, "playing": False}).json()["missing"]

    head = client.head(url)
    size = int(head.headers["content-length"])
    assert head.content == b"" and size > 10_000
    assert client.post("/api/listen", json={**where, "slot": "a", "playing": True}).status_code == 425
    first = client.get(url, headers={"range": "bytes=0-0"})
    assert (first.status_code, first.content, first.headers["content-range"]) == (206, b"R", f"bytes 0-0/{size}")
    assert missing()
    parts = [client.get(url, headers={"range": f"bytes={a}-{a + 1999}"}).content for a in range(0, size, 2000)]
    whole = client.get(f"/clip/{state['code']}/0/b").content
    assert len(whole) == size == len(b"".join(parts)) and not missing()
    assert client.get(url).content == b"".join(parts)


def test_a_download_that_was_cut_goes_on_only_in_the_same_clip(questionnaire, served):
    client = served()
    state = begin(client, questionnaire)
    clips = [client.get(f"/clip/{state['code']}/0/{slot}") for slot in ("a", "b")]
    tags = [clip.headers["etag"] for clip in clips]
    assert tags[0] != tags[1] and not any("last-modified" in clip.headers for clip in clips)
    for slot, clip in zip("ab", clips, strict=True):
        for tag in tags:
            headers = {"range": "bytes=100-", "if-range": tag}
            reply = client.get(f"/clip/{state['code']}/0/{slot}", headers=headers)
            expected = (206, clip.content[100:]) if tag == clip.headers["etag"] else (200, clip.content)
            assert (reply.status_code, reply.content) == expected
    url, size = f"/clip/{state['code']}/0/a", len(clips[0].content)
    for wanted, status, length in (
        *(("bytes=-10", 206, 10), (f"bytes={size}-", 416, 0), ("bytes=5-1", 200, size)),
        *(("bytes=0-1,5-6", 200, size), ("bytes=0-99999999", 206, size), ("apples=1-2", 200, size)),
    ):
        reply = client.get(url, headers={"range": wanted})
        assert (reply.status_code, len(reply.content)) == (status, length), wanted


def test_another_site_can_neither_post_nor_read(served):
    client = served()
    own = str(client.base_url).rstrip("/")
    for origin in ("https://evil.example", "null", "http://[", "http://127.0.0.1:1", f"{own}.evil.example"):
        reply = client.post("/api/start", json={"consent": True}, headers={"origin": origin})
        assert reply.status_code == 403 and not [name for name in reply.headers if "access-control" in name]
        asked = {"origin": origin, "access-control-request-method": "POST"}
        for reply in (
            client.options("/api/start", headers=asked),
            client.get("/api/study", headers={"origin": origin}),
        ):
            assert not [name for name in reply.headers if "access-control" in name]
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post("/api/start", json={"consent": True}, headers=own).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api/study", "/nothing", "/gradio_api/info", "/docs", "/openapi.json", "/api/start", "/api"),
        *("/clip/../../etc/passwd", "/clip/A/0/a", "/check/%2e%2e%2f", "/page.js/../../app.py", "/..%2fapp.py"),
        f"/clip/K7QF3-MX2AB/{'9' * 5000}/a",
    ],
)
def test_every_answer_carries_the_same_headers_and_only_the_page_is_served(served, path):
    client = served()
    answer, _ = spoken_to(str(client.base_url), f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    status, lines = int(head.split()[1]), head.decode().lower().split("\r\n")
    assert status == (200 if path in ("/", "/api/study") else 405 if path == "/api/start" else 404)
    assert all(f"{name}: {value}" in lines for name, value in HEADERS.items())
    assert b"root:" not in body and b"import" not in body


def test_bodies_that_are_too_large_or_no_object_are_refused(served):
    client = served()
    assert client.post("/api/state", content=b"{" * 3000, headers=JSON).status_code == 413
    assert client.post("/api/state", content=(b"{" * 3000 for _ in range(50)), headers=JSON).status_code == 413
    assert client.post("/api/state", content=b"[1]").status_code == 415
    for body in (b"[1]", b"{", b"\xff", b"[" * 1900):
        assert client.post("/api/state", content=body, headers=JSON).status_code == 400
    answer, _ = spoken_to(
        str(client.base_url),
        f"POST /api/state HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {10**12}\r\n\r\n",
    )
    assert answer.split()[1] == b"413"


@pytest.mark.parametrize(
    "text",
    [
        'POST /api/state HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"code"',
        "POST /api/state HTTP/1.1\r\nHost: x\r\nContent-Type: appli",
        "GET /api/study HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf",
        "GET /api/study HTTP/1.1\r\nHost: x\r\n\r\nGET /api",
        "",
    ],
    ids=["body", "headers", "body of a GET", "second request", "nothing"],
)
def test_requests_that_do_not_arrive_whole_are_dropped(served, monkeypatch, text):
    monkeypatch.setattr(doors, "PATIENCE_S", 0.6)
    client = served()
    _, seconds = spoken_to(str(client.base_url), text)
    assert 0.2 < seconds < 3
    assert client.get("/api/study").status_code == 200


def test_a_public_link_needs_everything_that_participants_must_be_told(questionnaire, tmp_path):
    with pytest.raises(ValueError, match=r"Not filled in: responsible, purpose, retention, withdrawal, contact"):
        serve(questionnaire.folder, tmp_path / "a.sqlite", share=True, block=False)
    with pytest.raises(ValueError, match="not ready to be sent"):
        serve(questionnaire.folder, tmp_path / "a.sqlite", host="0.0.0.0", block=False)
    assert load_about(TEMPLATE).unfinished == ["responsible", "purpose", "retention", "withdrawal", "contact"]
    filled = re.sub(r"<[^>]*>", "something", TEMPLATE.read_text().split("\n\n", 1)[1])
    (tmp_path / "about.toml").write_text(filled)
    assert load_about(tmp_path / "about.toml").unfinished == []
    (tmp_path / "about.toml").write_text(filled + 'completion_code2 = "x"')
    with pytest.raises(ValueError, match=r"about.toml: completion_code2 is not understood"):
        load_about(tmp_path / "about.toml")
    (tmp_path / "about.toml").write_text(
        filled.replace('return_address = ""', 'return_address = "javascript:alert(1)"')
    )
    with pytest.raises(ValueError, match=r"return_address = 'javascript:alert\(1\)'"):
        load_about(tmp_path / "about.toml")


def test_a_link_through_gradio_is_given_to_participants_and_trusted_with_their_addresses(tmp_path, monkeypatch):
    networking = pytest.importorskip("gradio.networking")
    runs_dir, concepts = make_runs(tmp_path, names=("lute",))
    about = About(*["written"] * 5)
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts, about=about)
    tunnels = []
    monkeypatch.setattr(networking, "setup_tunnel", lambda *sent: tunnels.append(sent) or "https://abc.example")
    page = serve(questionnaire.folder, share=True, block=False, invitations=1, rules=Rules(max_starts=1))
    try:
        assert page.url == "https://abc.example/"
        assert "https://abc.example/?invitation=" in (questionnaire.folder / "invitations.csv").read_text()
        url = f"http://{tunnels[0][0]}:{tunnels[0][1]}/api/start"
        statuses = [
            httpx.post(url, json={"consent": True}, headers={"x-forwarded-for": f"9.9.9.9, {address}"}).status_code
            for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1")
        ]
        assert statuses == [403, 403, 429]
        study = httpx.get(url.replace("start", "study")).json()
        assert json.dumps(study).count("written") == 5
    finally:
        page.close()

    def no_network(*_sent):
        raise RuntimeError("Could not get share link")

    monkeypatch.setattr(networking, "setup_tunnel", no_network)
    with pytest.raises(OSError, match="no public link"):
        serve(questionnaire.folder, share=True, block=False)


def test_a_taken_port_is_named(served, questionnaire, tmp_path):
    port = int(str(served().base_url).rstrip("/").rsplit(":", 1)[1])
    for number in (port, 99_999):
        with pytest.raises(OSError, match=f"port {number}: taken or not allowed"):
            serve(questionnaire.folder, tmp_path / "b.sqlite", port=number, block=False)
