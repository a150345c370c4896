"""The app under test: served in a process of its own, and a browser to look at it with."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

STEPS = 12  # of the pictures that the page under test opens with
ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Served(NamedTuple):
    url: str
    seconds: float  # until the page was served
    pid: int


@contextmanager
def served(
    *arguments: str,
    patience: float = 90,
    folder: Path | None = None,
    start: Sequence[str] = (sys.executable, "app.py"),
    cwd: Path = ROOT,
    **variables: str,
) -> Iterator[Served]:
    """The app on a free port.

    folder: where it puts its temporary files. start: the command, called in `cwd` with more environment
    variables.
    """
    port = free_port()
    env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "P2P_INVERSIONS": ""}
    env |= variables
    if folder is not None:
        env |= {"TMPDIR": str(folder), "GRADIO_TEMP_DIR": str(folder / "gradio")}
        env |= {"P2P_INVERSIONS": str(folder / "inversions")}
    command = [*start, "--host", "127.0.0.1", "--port", str(port), *arguments]
    # a file, not a pipe, which would block the app once it is full
    with tempfile.TemporaryFile("w+") as log:
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            while True:
                try:
                    urllib.request.urlopen(url, timeout=5).read()
                    break
                except OSError:
                    if process.poll() is not None:
                        log.seek(0)
                        raise AssertionError(f"the app ended: {log.read()[-4000:]}") from None
                    if time.monotonic() - begun > patience:
                        raise AssertionError(f"the app served no page within {patience} s") from None
                    time.sleep(0.1)
            yield Served(url, time.monotonic() - begun, process.pid)
            log.seek(0)
            said = log.read()
            assert "Traceback" not in said, said[-4000:]
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("P2P_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium. Without one the test is skipped; with P2P_REQUIRE_BROWSER=1 it fails."""
    required = os.environ.get("P2P_REQUIRE_BROWSER") == "1"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        (pytest.fail if required else pytest.skip)("playwright is not installed")
    path = find_chromium()
    if path is None:
        (pytest.fail if required else pytest.skip)("no Chromium found; install one or set P2P_CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()
