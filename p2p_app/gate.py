"""The door: every request passes it before Gradio reads anything of it.

It bounds what a request may hold and what an address may upload or have under way, keeps pages shut that a
visitor needs none of, and adds the headers that keep other sites away from the page.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gradio.route_utils import MultiPartException  # type: ignore[attr-defined]
from gradio.utils import get_upload_folder

from .limits import LOCAL, MAX_DEPTH, Limits
from .problems import sentence

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("p2p.ui")
MB = 1_000_000
HOUR = 3600.0
MULTIPART_BYTES = 100_000  # of an upload's body beside its files
MAX_DRAINED_BYTES = 100 * MB  # of a request that is refused
FOLDER_CHECK_SECONDS = 5.0
API = "/gradio_api"
# What needs none of this: Gradio's own statistics, its editors, its proxy, what starts a server's reload.
SHUT = (
    "/monitoring", "/openapi.json", "/docs", "/redoc", "/proxy=", "/dev/", "/vibe", "/undo-vibe", "/workflow",
    "/process_recording", "/deep_link", "/run-history", "/runs", "/profiling", "/stream/",
)  # fmt: skip
WEB = ("http:", "https:")
EVENTS = ("/queue/join", "/call/", "/run/", "/api/")
UPLOADS = ("/upload", "/component_server")
# Gradio's page runs scripts that it holds as text.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors "
)
SPACES = "'self' https://huggingface.co https://*.hf.space"


class Refused(MultiPartException):
    """A request that is not let in. A parser of uploads that meets it removes what it has written."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Upload:
    """When an upload began, and how many bytes have come."""

    began: float
    nbytes: int = 0


class Gate:
    """ASGI middleware around Gradio's app, which it finds in the scope."""

    def __init__(self, app: Any, limits: Limits = LOCAL) -> None:
        self.app, self.limits = app, limits
        self._uploads: dict[str, list[Upload]] = {}  # by address
        self._arriving: Counter[str] = Counter()  # events that are not in Gradio's queue yet
        self._folder = (0.0, 0)  # when it was measured, and its bytes
        self._warned = False
        ancestors = SPACES if os.environ.get("SPACE_ID") else "'self'"
        self._headers = [
            (b"content-security-policy", (POLICY + ancestors).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, ended, drained = False, scope["method"] != "POST", 0

        async def heard() -> MutableMapping[str, Any]:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                names = {name for name, _ in self._headers}
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        try:
            await self._let_in(scope, heard, answer)
        except Refused as refusal:
            while not ended and drained < MAX_DRAINED_BYTES:  # else a browser hears of a broken connection
                drained += len((await heard()).get("body", b""))
            if not begun:
                await _reply(answer, refusal.status, {"detail": refusal.message})
        except Exception as error:
            told = sentence(error)
            if not begun:
                await _reply(answer, 500, {"detail": told})

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"])
        path = path.removeprefix(str(scope.get("root_path") or "")).removeprefix(API)
        address = (scope.get("client") or ("",))[0]
        self._check_proxy(scope, address)
        if path == "/health":
            state = scope["app"].blocks.status()["state"]
            await _reply(send, 200 if state == "ready" else 503, {"state": state})
            return
        if path.startswith(SHUT):
            raise Refused(404, "There is no such page here.")
        if path.startswith(("/file=", "/file/")) and unquote(path[6:]).lower().startswith(WEB):
            raise Refused(403, "Addresses of the web are not fetched here.")
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif path.startswith(UPLOADS):
            await self.app(scope, self._counted(scope, receive, address), send)
        else:
            body = await self._body(receive)
            is_event = path.startswith(EVENTS)
            if is_event:
                self._check_events(scope, address)
            self._arriving[address] += is_event
            try:
                await self.app(scope, _replay(body, receive), send)
            finally:
                self._arriving[address] -= is_event
                if not self._arriving[address]:
                    del self._arriving[address]

    def _check_proxy(self, scope: Scope, address: str) -> None:
        """Say once that all visitors look like one, where a proxy is not trusted to tell them apart."""
        forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
        if forwarded and address not in forwarded and not self._warned:
            self._warned = True
            log.warning(
                "A proxy at %s says for whom it asks, but isn't trusted: its visitors count as one. "
                "Name it in FORWARDED_ALLOW_IPS (docs/operators.md).",
                address,
            )

    # --- events -------------------------------------------------------------------------------------

    def _check_events(self, scope: Scope, address: str) -> None:
        """Raises `Refused` for more than an address may have under way."""
        blocks = getattr(scope.get("app"), "blocks", None)
        events = [] if blocks is None else list(blocks._queue.event_ids_to_events.values())
        theirs = sum(getattr(event.request.client, "host", "") == address for event in events)
        if theirs + self._arriving[address] >= self.limits.events:
            raise Refused(503, f"{self.limits.events} events of your address are under way already.")

    async def _body(self, receive: Receive) -> bytes:
        """The request's body, bounded in bytes and, if it is JSON, in depth."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "The request has no end.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.limits.body_mb * MB:
                raise Refused(413, f"A request has at most {self.limits.body_mb:g} MB here; this has more.")
            if not message.get("more_body"):
                break
        body = b"".join(parts)
        if not _is_shallow(body):
            raise Refused(400, f"A request's JSON is at most {MAX_DEPTH} levels deep, its numbers bounded.")
        return body

    # --- uploads ------------------------------------------------------------------------------------

    def _counted(self, scope: Scope, receive: Receive, address: str) -> Receive:
        """The request's body as it comes in, as far as the address may still upload. Raises `Refused`."""
        limits, now = self.limits, time.monotonic()
        self._uploads = {
            who: recent
            for who, uploads in self._uploads.items()
            if (recent := [upload for upload in uploads if now - upload.began < HOUR])
        }
        theirs = self._uploads.setdefault(address, [])
        used, this = sum(upload.nbytes for upload in theirs), Upload(now)
        too_large = f"An upload's maximum allowed size is {limits.upload_mb:g} MB here."  # Gradio's words

        def check(nbytes: int) -> None:
            if nbytes > limits.upload_mb * MB + MULTIPART_BYTES:
                raise Refused(413, too_large)
            if used + nbytes > limits.uploads_mb * MB:
                raise Refused(
                    429, f"You have uploaded {limits.uploads_mb:g} MB within an hour; wait a while."
                )

        text = dict(scope["headers"]).get(b"content-length", b"")
        length = int(text) if text.isdigit() and len(text) < 20 else 0
        check(length)
        if self._folder_bytes(now) + length > limits.folder_mb * MB:
            raise Refused(507, "The server has no room for uploads now; try again later.")
        theirs.append(this)

        async def counted() -> MutableMapping[str, Any]:
            message = await receive()
            this.nbytes += len(message.get("body", b""))
            check(this.nbytes)
            return message

        return counted

    def _folder_bytes(self, now: float) -> int:
        """Bytes of the folder of temporary files, measured now and then."""
        if now - self._folder[0] > FOLDER_CHECK_SECONDS or not self._folder[0]:
            size = 0
            for folder, _, names in os.walk(get_upload_folder()):
                for name in names:
                    try:
                        size += (Path(folder) / name).stat().st_size
                    except OSError:
                        continue
            self._folder = (now, size)
        return self._folder[1]


def _is_shallow(body: bytes) -> bool:
    """Whether a body is JSON of bounded depth, or none at all, which is for the app to refuse."""
    try:
        level = [json.loads(body or b"null")]
    except RecursionError:
        return False
    except ValueError as error:  # also a number of thousands of digits
        return "digits" not in str(error)
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = [one for one in inner if isinstance(one, (dict, list))]
        if not level:
            return True
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read already; then whatever comes after it."""
    read = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _reply(send: Send, status: int, data: dict[str, str]) -> None:
    body = json.dumps(data).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
