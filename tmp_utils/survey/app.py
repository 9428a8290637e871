"""The page of a listening study, served by Gradio.

Conventions: the page is three files in `page/`; it talks JSON to `/api/...`. Nothing else is served: not
Gradio's own pages, uploads or files, nor any file outside the study's folder. No request leaves the machine;
with `share` Gradio lends a public link, as on Colab.

create_app : study -> a Gradio server (a FastAPI application).
serve      : run it until interrupted.
"""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmp_utils.survey.questions import load_questionnaire
from tmp_utils.survey.session import Refused, Rules, Sessions
from tmp_utils.survey.store import Store

if TYPE_CHECKING:
    import gradio

PAGE = Path(__file__).with_name("page")
PAGE_FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
PREFIXES = ("/api/", "/clip/", "/check/")
STARTUP = "/gradio_api/startup-events"  # Gradio asks itself for this once, before it says it is up
MAX_BODY_BYTES = 2000
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
UNSENT = ("etag", "last-modified")  # they tell in which order clips were made, so which of two is whose


def create_app(sessions: Sessions) -> "gradio.Server":
    """Return the application; nothing is listening yet.

    Raises
    ------
    ImportError : Gradio is missing, or older than the first with `gradio.Server`.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from gradio import Server
    except ImportError as error:
        raise ImportError(
            f"the page needs Gradio 6 or later ({error}). Install it with `pip install -e .[survey]`."
        ) from error
    from starlette.responses import FileResponse

    app = Server(title="Listening study", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_OnlyThePage)
    for url, file in PAGE_FILES.items():
        app.add_route(url, functools.partial(_page_file, PAGE / file), methods=["GET"])

    def send(path: Path) -> FileResponse:
        return FileResponse(path, media_type="audio/wav", content_disposition_type="inline")

    app.add_route("/api/study", _get(lambda: _about(sessions)), methods=["GET"])
    app.add_route("/api/start", _post(lambda sent: sessions.start(sent.get("consent"))), methods=["POST"])
    app.add_route("/api/state", _post(lambda sent: sessions.state(sent.get("code"))), methods=["POST"])
    for name, keys in {
        "check": ("code", "device", "beeps"),
        "listen": ("code", "position", "slot", "playing"),
        "answer": ("code", "position", "choice"),
    }.items():
        app.add_route(f"/api/{name}", _post(_step(getattr(sessions, name), keys)), methods=["POST"])
    app.add_route("/check/{code}", _get(lambda code: send(sessions.check_clip(code))), methods=["GET"])
    clip = _get(lambda code, position, slot: send(sessions.clip(code, int(position), slot)))
    app.add_route("/clip/{code}/{position:int}/{slot}", clip, methods=["GET"])
    return app


def serve(
    folder: str | Path,
    answers: str | Path | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    share: bool = False,
    block: bool = True,
    rules: Rules | None = None,
) -> "tuple[gradio.Server, str]":
    """Serve the study in `folder`; returns the application and its address.

    Parameters
    ----------
    answers : the database, by default `answers.sqlite` in the folder.
    port : None takes the first free one from 7860 on.
    host : "0.0.0.0" lets other machines of the network in.
    share : ask Gradio for a public link (needs a network).
    block : wait until interrupted; False returns at once, for a notebook.
    rules : how much listening is required, and how many participants are let in.
    """
    questionnaire = load_questionnaire(folder)
    app = create_app(Sessions(questionnaire, Store(questionnaire, answers), rules or Rules()))
    _, local, shared = app.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        inline=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        _frontend=False,
    )
    print(f"Listening study {questionnaire.version}: {shared or local}", flush=True)
    print(f"Answers go to {answers or questionnaire.folder / 'answers.sqlite'}. Ctrl-C ends the page.", flush=True)
    if block:
        app.get_blocks().block_thread()
    return app, shared or local


def _about(sessions: Sessions) -> dict:
    questionnaire = sessions.questionnaire
    return {
        "consent": list(questionnaire.consent),
        "contact": questionnaire.contact,
        "total": len(questionnaire.questions),
    }


def _step(method: Callable, keys: tuple[str, ...]) -> Callable[[dict], dict]:
    return lambda sent: method(*(sent.get(key) for key in keys))


async def _page_file(path: Path, _request: Any) -> Any:
    from starlette.responses import FileResponse

    return FileResponse(path)


def _get(answer: Callable) -> Callable:
    """An endpoint that answers with what `answer` makes of the path's parts: a response, or JSON."""

    async def endpoint(request: Any) -> Any:
        return await _answered(functools.partial(answer, **request.path_params))

    return endpoint


def _post(answer: Callable[[dict], dict]) -> Callable:
    """An endpoint that answers with what `answer` makes of the JSON that was sent."""

    async def endpoint(request: Any) -> Any:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return await _answered(functools.partial(_refuse, 413))
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            return await _answered(functools.partial(_refuse, 415))
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None
        if not isinstance(sent, dict):
            return await _answered(functools.partial(_refuse, 400))
        return await _answered(functools.partial(answer, sent))

    return endpoint


def _refuse(status: int) -> None:
    raise Refused(status, "The page sent something that is not understood. Please reload it.")


async def _answered(answer: Callable) -> Any:
    """Run `answer` in a thread; a refusal becomes its status and its words."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse

    try:
        made = await run_in_threadpool(answer)
    except Refused as refused:
        return JSONResponse({"message": str(refused)}, status_code=refused.status)
    return JSONResponse(made) if isinstance(made, dict) else made


class _OnlyThePage:
    """ASGI middleware: only the page's own addresses are answered, each with `HEADERS`."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path, client = scope["path"], (scope.get("client") or ("",))[0]
        own_start = path == STARTUP and client in ("127.0.0.1", "::1")
        if path not in PAGE_FILES and not path.startswith(PREFIXES) and not own_start:
            from starlette.responses import PlainTextResponse

            await PlainTextResponse("Not found", status_code=404)(scope, receive, send)
            return

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                own = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                replaced = {*HEADERS, *UNSENT}
                kept = [(key, value) for key, value in message["headers"] if key.decode().lower() not in replaced]
                message = {**message, "headers": kept + own}
            await send(message)

        await self.app(scope, receive, send_with_headers)
