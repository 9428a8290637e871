"""The page of a listening study, served by Starlette and uvicorn.

Conventions: the page is three files in `page/`; it talks JSON to `/api/...`. Nothing else is served, and no file
outside the questionnaire's folder. No request leaves the machine; with `share` Gradio lends a public link, as on Colab.
"""

import contextlib
import functools
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmp_utils.files import write_csv
from tmp_utils.survey.about import NEEDED
from tmp_utils.survey.questions import load_questionnaire
from tmp_utils.survey.session import TRAINING, Delivery, Refused, Rules, Sessions
from tmp_utils.survey.store import Store

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from tmp_utils.survey.doors import ClipResponse, Doors, PatientProtocol, read_body
except ImportError as error:
    raise ImportError(f"the page needs more packages ({error}). Install them: `pip install -e .[survey]`.") from error

PAGE = Path(__file__).with_name("page")
PAGE_FILES = {"/": ("index.html", "html"), "/page.css": ("page.css", "css"), "/page.js": ("page.js", "javascript")}
FIRST_PORT, N_PORTS = 7860, 100
MAX_BODY_BYTES, MAX_CLOSING_BYTES = 2000, 8000  # the second holds a comment
START_S = 10.0
LOCAL = ("127.0.0.1", "localhost", "::1")
NO_LINK = (
    "there is no public link, because Gradio's server could not be reached ({error}). Check the network and try again. "
    "Without --share the page is served on this machine, and with --host 0.0.0.0 in your own network."
)


def create_app(sessions: Sessions) -> Doors:
    """Return the application; nothing is listening yet."""

    def start(body: dict, request: Request) -> dict:
        address = request.client.host if request.client else ""
        return sessions.start(body.get("consent"), body.get("invitation"), body.get("recruitment"), address)

    def step(name: str, *keys: str, max_bytes: int = MAX_BODY_BYTES) -> Route:
        method = getattr(sessions, name)
        return _post(name, lambda body, _: method(*(body.get(key) for key in keys)), max_bytes)

    def clip(code: str, position: str, slot: str) -> Delivery:
        return sessions.clip(code, _number(position), slot)

    routes = [
        *(Route(url, functools.partial(_page_file, PAGE / name, kind)) for url, (name, kind) in PAGE_FILES.items()),
        _get("/api/study", lambda: _about(sessions)),
        _get("/check/{code}/{trial}", lambda code, trial: sessions.check_clip(code, _number(trial))),
        _get("/clip/{code}/{position}/{slot}", clip),
        _post("start", start),
        step("state", "code"),
        step("check", "code", "device", "answers"),
        step("listen", "code", "position", "slot", "playing"),
        step("answer", "code", "position", "choice"),
        step("finish", "code", "training", "comment", max_bytes=MAX_CLOSING_BYTES),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: _refusal})
    app.router.redirect_slashes = False  # a redirect would repeat whatever host the request named
    return Doors(app)


@dataclass
class Page:
    """A page that is being served at `url`."""

    url: str
    _server: uvicorn.Server = field(repr=False)
    _thread: threading.Thread = field(repr=False)

    def wait(self) -> None:
        """Wait until interrupted, and close the page."""
        with contextlib.suppress(KeyboardInterrupt):
            while self._thread.is_alive():
                self._thread.join(1)
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(START_S)


def serve(
    folder: str | Path,
    answers: str | Path | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    share: bool = False,
    block: bool = True,
    rules: Rules | None = None,
    invitations: int = 0,
) -> Page:
    """Serve the questionnaire in `folder`.

    Parameters
    ----------
    answers : the database, by default `answers.sqlite` in the folder.
    port : None takes the first free one from 7860 on.
    host : "0.0.0.0" lets other machines of the network in.
    share : ask Gradio for a public link (needs a network).
    block : wait until interrupted; False returns at once, for a notebook.
    rules : how much listening is required, and how many participants are let in.
    invitations : make so many one-time links, after which nobody starts without one. They are written to
        `invitations.csv` beside the answers, with the present address, whenever the page is served.

    Raises
    ------
    ValueError : others could open the page (`share`, or `host` is not this machine), and the questionnaire does not
        say who runs the study, what for, and whom to write to.
    OSError : the port is taken, or there is no public link.
    """
    questionnaire = load_questionnaire(folder)
    if (share or host not in LOCAL) and (unfinished := questionnaire.about.unfinished):
        raise ValueError(
            f"{questionnaire.folder}: not ready to be sent, because participants must be told who runs the study. Not "
            f"filled in: {', '.join(unfinished)}. Copy data/survey/about.toml, fill it in, and build with --about FILE."
        )
    store = Store(questionnaire, answers)
    store.invite(invitations)
    listener = _listener(host, port)
    page = _start(create_app(Sessions(questionnaire, store, rules or Rules())), listener, share)
    print(f"Listening study {questionnaire.version}: {page.url}", flush=True)
    if links := [{"link": f"{page.url}?invitation={name}", "state": state} for name, state in store.invitations()]:
        path = write_csv(store.path.with_name("invitations.csv"), links)
        print(f"By invitation: {len(links)} links, one for each participant, are in {path}.", flush=True)
    print(f"Answers go to {store.path}. Ctrl-C ends the page.", flush=True)
    if block:
        page.wait()
    return page


def _listener(host: str, port: int | None) -> socket.socket:
    """A socket at the port, or at the first free one."""
    for candidate in range(FIRST_PORT, FIRST_PORT + N_PORTS) if port is None else (port,):
        with contextlib.suppress(OSError, OverflowError):
            return socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    ports = f"{FIRST_PORT} to {FIRST_PORT + N_PORTS - 1}" if port is None else port
    raise OSError(f"cannot listen on {host}, port {ports}: taken or not allowed. Choose another --port or --host.")


def _start(app: Doors, listener: socket.socket, share: bool) -> Page:
    """Serve in a thread. Only a link through Gradio brings the participants' addresses in a header to be trusted."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=share,
        forwarded_allow_ips="127.0.0.1",
        timeout_keep_alive=30,  # a participant may think for a while
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + START_S
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    if not server.started:
        raise RuntimeError(f"the page's server did not start within {START_S:.0f} s; its log is above.")
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    page = Page(f"http://{f'[{host}]' if ':' in host else host}:{port}/", server, thread)
    if not share:
        return page
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from gradio.networking import setup_tunnel

    try:
        page.url = setup_tunnel(host, port, secrets.token_urlsafe(32), None, None).rstrip("/") + "/"
    except Exception as error:  # Gradio raises several kinds, all for want of a connection
        page.close()
        raise OSError(NO_LINK.format(error=error)) from error
    return page


def _about(sessions: Sessions) -> dict:
    questionnaire = sessions.questionnaire
    return {
        "consent": list(questionnaire.consent),
        **{name: getattr(questionnaire.about, name) for name in NEEDED},
        "recruitment": list(questionnaire.about.recruitment),
        "training": list(TRAINING),
        "total": len(questionnaire.questions),
        "unfinished": questionnaire.about.unfinished,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 9 else None


async def _page_file(path: Path, kind: str, _request: Request) -> Response:
    return Response(path.read_bytes(), media_type=f"text/{kind}")


def _get(path: str, make: Callable[..., Any]) -> Route:
    """A route that answers with what `make` returns for the path's parts: a clip, or JSON."""

    async def endpoint(request: Request) -> Response:
        content = await run_in_threadpool(make, **request.path_params)
        return ClipResponse(content) if isinstance(content, Delivery) else JSONResponse(content)

    return Route(path, endpoint)


def _post(name: str, make: Callable[[dict, Request], dict], max_bytes: int = MAX_BODY_BYTES) -> Route:
    """The route `/api/<name>`, which answers with what `make` returns for the JSON object that was posted."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(make, await read_body(request, max_bytes), request))

    return Route(f"/api/{name}", endpoint, methods=["POST"])


async def _refusal(_request: Request, refused: Refused) -> Response:
    headers = {"retry-after": str(refused.retry_after_s)} if refused.retry_after_s else None
    return JSONResponse({"message": str(refused)}, status_code=refused.status, headers=headers)
