"""The door alone, around an app that says what it got."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2p_app import gate
from p2p_app.gate import Gate
from p2p_app.limits import Limits

MB = 1_000_000


class Inner:
    """An ASGI app that reads the whole body and answers with its length."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if self.error is not None:
            raise self.error
        self.got.append(size)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def ask(
    door: Gate, path: str, nbytes: int, address: str = "1.2.3.4", *, told: bool = True, **headers: str
) -> tuple[int, Any]:
    """The status and data that a POST gets. told: whether its length is in its header."""
    parts = [b" " * min(MB, nbytes - start) for start in range(0, nbytes, MB)] or [b""]
    names = {**({"content-length": str(nbytes)} if told else {}), **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "client": (address, 1),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in names.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(door(scope, receive, send))
    assert not parts, "a client that sends hears the answer only once all was read"
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gate, "get_upload_folder", lambda: str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("told", [True, False])
def test_an_address_uploads_only_so_much(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Inner()
    door = Gate(inner, Limits(upload_mb=5, uploads_mb=10))
    for _ in range(3):
        assert ask(door, "/gradio_api/upload", 3 * MB, told=told)[0] == 200
    status, data = ask(door, "/gradio_api/upload", 3 * MB, told=told)
    assert status == 429 and "uploaded 10 MB within an hour" in data["detail"]
    assert ask(door, "/gradio_api/upload", 3 * MB, "5.6.7.8", told=told)[0] == 200, "others may"
    assert inner.got == 4 * [3 * MB]
    later = gate.time.monotonic() + gate.HOUR + 1
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: later))
    assert ask(door, "/gradio_api/upload", 3 * MB, told=told)[0] == 200, "after an hour again"


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/component_server"])
def test_one_upload_is_bounded(path: str, told: bool) -> None:
    inner = Inner()
    status, data = ask(Gate(inner, Limits(upload_mb=5)), path, 6 * MB, told=told)
    assert status == 413 and "5 MB" in data["detail"] and not inner.got


def test_a_full_folder_takes_no_uploads(uploads: Path) -> None:
    (uploads / "deep").mkdir()
    (uploads / "deep" / "picture").write_bytes(bytes(3 * MB))
    inner = Inner()
    assert ask(Gate(inner, Limits(folder_mb=4)), "/gradio_api/upload", 2 * MB)[0] == 507
    assert ask(Gate(inner, Limits(folder_mb=6)), "/gradio_api/upload", 2 * MB)[0] == 200


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/p/gradio_api/queue/join", "/cancel", "/x"])
def test_other_requests_are_bounded(path: str, told: bool) -> None:
    inner = Inner()
    door = Gate(inner, Limits(body_mb=1))
    assert ask(door, path, MB, told=told)[0] == 200
    status, data = ask(door, path, MB + 1, told=told)
    assert status == 413 and "1 MB" in data["detail"] and inner.got == [MB]


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "many", ""])
def test_a_length_can_be_nonsense(length: str) -> None:
    assert ask(Gate(Inner()), "/gradio_api/upload", 10, told=False, content_length=length)[0] in (200, 413)


def test_an_error_inside_is_a_sentence_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    inner = Inner()
    inner.error = RuntimeError("what the visitor typed")
    with caplog.at_level(logging.INFO, "p2p"):
        status, data = ask(Gate(inner), "/gradio_api/queue/join", 2)
    assert status == 500 and "RuntimeError" in data["detail"]
    assert "typed" not in caplog.text + str(data) and len(caplog.records) == 1


def test_a_proxy_that_is_not_trusted_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    door = Gate(Inner())
    with caplog.at_level(logging.WARNING, "p2p"):
        ask(door, "/x", 1, "10.0.0.1", x_forwarded_for="10.0.0.1")
        assert not caplog.records
        for _ in range(3):
            ask(door, "/x", 1, "10.0.0.1", x_forwarded_for="1.2.3.4")
    (record,) = caplog.records
    assert "10.0.0.1" in record.getMessage() and "FORWARDED_ALLOW_IPS" in record.getMessage()
