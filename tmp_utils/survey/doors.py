"""What the survey's server lets in, and how it sends clips.

Conventions: only this page's own origin may post. Requests that do not arrive whole within a few seconds are dropped.
Every answer, 404s too, carries `HEADERS`. A clip has an ETag made of its content and no time, because times tell in
which order clips were made, so which of two is whose.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from tmp_utils.survey.session import Delivery, Refused

PATIENCE_S = 6.0  # a request that is not whole after this time is dropped
CHUNK_BYTES = 16_384
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Doors:
    """ASGI middleware, the outermost: refuses what comes from another site, and adds `HEADERS` to every answer."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer one request."""

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                headers.update(HEADERS)
                if message["status"] >= 400:
                    headers["connection"] = "close"  # the rest of a refused request is not waited for
                message = {**message, "headers": headers.raw}
            await send(message)

        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin and origin.partition("://")[2] != headers.get("host"):
            refusal = JSONResponse({"message": "This page can only be used at its own address."}, status_code=403)
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that drops a client who does not send a whole request within `PATIENCE_S`; uvicorn sets no limit."""

    def connection_made(self, transport: Any) -> None:
        """Start to watch a connection."""
        super().connection_made(transport)
        self._watch(None)

    def _watch(self, before: tuple | None) -> None:
        """Close the connection if it waits for the rest of the same request as half of `PATIENCE_S` ago."""
        begun = self.cycle is None or bool(self.conn.trailing_data[0])  # an idle connection is uvicorn's to close
        waiting = self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and begun)
        now = (waiting, self.conn.their_state, id(self.cycle))
        if waiting and now == before:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(PATIENCE_S / 2, self._watch, now)


async def read_body(request: Request, max_bytes: int) -> dict:
    """The JSON object that was posted.

    Raises
    ------
    Refused : it is larger than `max_bytes`, did not arrive whole, or is no JSON object.
    """
    misunderstood = "The page sent something that is not understood. Please reload it."
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, misunderstood)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise Refused(413, misunderstood)
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                break
        content = json.loads(body) if len(body) <= max_bytes else None
    except (ClientDisconnect, ValueError, RecursionError) as error:
        raise Refused(400, misunderstood) from error
    if not isinstance(content, dict):
        raise Refused(413 if len(body) > max_bytes else 400, misunderstood)
    return content


class ClipResponse(Response):
    """A clip, or the one range of it that was requested; every stretch that was sent is counted by `delivery`.

    A HEAD request counts nothing, nor does what is left when a client hangs up.
    """

    def __init__(self, delivery: Delivery):
        self.delivery = delivery
        super().__init__()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Send it."""
        request = Request(scope, receive)
        content = self.delivery.content
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        start, stop, status = 0, len(content), 200
        if (header := request.headers.get("range")) and request.headers.get("if-range", etag) == etag:
            start, stop, status = _range(header, len(content))
        headers = {"content-type": "audio/wav", "accept-ranges": "bytes", "etag": etag}
        if status != 200:
            headers["content-range"] = f"bytes {f'{start}-{stop - 1}' if status == 206 else '*'}/{len(content)}"
        headers["content-length"] = str(stop - start)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if request.method != "HEAD":
            while start < stop and not await request.is_disconnected():
                end = min(start + CHUNK_BYTES, stop)
                await send({"type": "http.response.body", "body": content[start:end], "more_body": True})
                if await request.is_disconnected():
                    return
                self.delivery.count(start, end)
                start = end
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _range(header: str, size: int) -> tuple[int, int, int]:
    """Start, stop and HTTP status of a Range header; the whole clip for several ranges or an unreadable one."""
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,12})\s*-\s*(\d{0,12})\s*", header)
    if match is None or match.groups() == ("", ""):
        return 0, size, 200
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return 0, size, 200
    return (start, stop, 206) if start < stop else (0, 0, 416)
