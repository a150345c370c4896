"""How the app ends, and what it leaves: nothing of its visitors, whichever way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from p2p_app.hosting import remove_abandoned

from ..app_fixtures import Served, served


def read(url: str, data: Any = None, timeout: float = 60) -> bytes:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        found: bytes = answer.read()
        return found


def wait_for_model(app: Served) -> None:
    """Until /health says that the model is there; before that it says that it loads."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            assert json.loads(read(app.url + "health")) == {"state": "ready"}
            return
        except urllib.error.HTTPError as error:
            assert error.code == 503 and json.loads(error.read())["state"] == "loading"
            time.sleep(0.2)
    raise AssertionError("the model did not load")


def begin(app: Served, steps: int) -> str:
    asked = {"data": ["a red house on a hill", 1, steps, 5.0, ""]}
    event: str = json.loads(read(app.url + "gradio_api/call/generate", asked))["event_id"]
    return event


def ended(app: Served, seconds: float = 30) -> bool:
    """True once the process has ended, whoever may still have to collect it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if Path(f"/proc/{app.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "inversions" not in path.parts]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    with served(folder=tmp_path) as app:
        wait_for_model(app)
        read(f"{app.url}gradio_api/call/generate/{begin(app, 2)}")
        assert any(path.suffix in (".png", ".webp") for path in left(tmp_path))
        modes = {path.stat().st_mode & 0o077 for path in tmp_path.rglob("p2p-app-*")}
        assert modes == {0}, "for its owner alone"
        event, told = begin(app, 900), []
        listener = threading.Thread(
            target=lambda: told.append(read(f"{app.url}gradio_api/call/generate/{event}").decode())
        )
        listener.start()
        time.sleep(1.0)
        os.kill(app.pid, how)
        assert ended(app)
        listener.join(10)
        assert "event: error" in told[0] and "server is being stopped" in told[0]
        assert left(tmp_path) == []


def test_what_a_killed_one_left_goes_at_the_next_start(tmp_path: Path) -> None:
    with served(folder=tmp_path) as app:
        wait_for_model(app)
        read(f"{app.url}gradio_api/call/generate/{begin(app, 2)}")
        os.kill(app.pid, signal.SIGKILL)
        assert ended(app)
    before = left(tmp_path)
    assert before
    with served(folder=tmp_path) as app, served(folder=tmp_path) as other:
        assert not any(path.exists() for path in before)
        for one in (app, other):  # the second start took nothing from the first
            assert read(one.url)
        assert len([*(tmp_path / "gradio").glob("p2p-app-*")]) == 2
    assert left(tmp_path) == []


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "p2p-app-file").write_text("no folder")
    (target := tmp_path / "elsewhere").mkdir()
    (target / "kept").write_text("mine")
    (tmp_path / "p2p-app-link").symlink_to(target)
    (tmp_path / "p2p-app-old").mkdir()
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "p2p-app-file", "p2p-app-link"]
    assert (target / "kept").exists()
