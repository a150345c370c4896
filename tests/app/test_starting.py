"""The command starts wherever it is called, or ends with a sentence: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2p_app import environment, launch

from ..app_fixtures import ROOT, free_port, served

HTTP_PROXY = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
SOCKS = {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"}
NUMBERS = ("P2P_CACHE_MB", "P2P_STEPS", "P2P_INVERSIONS_MB", "GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS")
TEXTS = ("P2P_MODEL", "P2P_DEVICE", "P2P_DTYPE", "GRADIO_SERVER_NAME", "GRADIO_ROOT_PATH")


def without_proxy(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return str(opener.open(url, timeout=20).read().decode())


@pytest.mark.parametrize(
    "variables",
    [HTTP_PROXY, SOCKS, dict.fromkeys((*NUMBERS, *TEXTS), "")],
    ids=["HTTP proxy", "SOCKS proxy", "empty variables"],
)
def test_it_starts(variables: Mapping[str, str], tmp_path: Path) -> None:
    with served(folder=tmp_path, **variables) as app:
        assert "<gradio-app" in without_proxy(app.url)


def test_it_is_served_below_a_path(tmp_path: Path) -> None:
    with served(folder=tmp_path, GRADIO_ROOT_PATH="/p2p") as app:
        assert json.loads(without_proxy(app.url + "config"))["root"].endswith("/p2p")


def ended(*options: str, **variables: str) -> str:
    """What the app says when it ends by itself, which it must, without a traceback and not as a success."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run(
        [sys.executable, "app.py", *options], cwd=ROOT, env=env, capture_output=True, text=True, timeout=280
    )
    assert done.returncode not in (0, None) and "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("port", ["99999", "0", "-1", "abc", "7860.5"])
def test_a_port_that_is_none(port: str) -> None:
    assert "from 1 to 65535 was expected" in ended("--port", port)
    assert "from 1 to 65535 was expected" in ended(GRADIO_SERVER_PORT=port)


@pytest.mark.parametrize("option", ["--cache-mb", "--inversions-mb", "--steps"])
@pytest.mark.parametrize("value", ["-5", "many", "1e3"])
def test_numbers_that_are_none(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        launch.arguments([f"{option}={value}"])
    assert f"argument {option}: a whole number from" in capsys.readouterr().err


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert re.search(
            rf"can't listen at 127\.0\.0\.1, port {port} \(Address already", ended("--port", str(port))
        )


def test_a_host_that_is_none() -> None:
    assert "can't listen at no.such.host.invalid" in ended("--host", "no.such.host.invalid")


@pytest.mark.parametrize(
    "options, sentence",
    [
        (("--model", "no/such/folder"), "The model no/such/folder could not be loaded. There is no folder"),
        (("--device", "tpu7"), "The model storybook could not be loaded. device is"),
    ],
)
def test_without_a_model_it_does_not_stay(options: tuple[str, ...], sentence: str) -> None:
    """A process that goes on serving a page would pass for healthy."""
    assert sentence in ended(*options, "--port", str(free_port()))


def test_what_was_excepted_from_a_proxy_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "example.org, 10.0.0.1")
    monkeypatch.setenv("GRADIO_NUM_PORTS", "")
    environment.prepare("192.168.1.5", "127.0.0.1")
    assert os.environ["NO_PROXY"] == "example.org,10.0.0.1,localhost,127.0.0.1,::1,192.168.1.5"
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] and "GRADIO_NUM_PORTS" not in os.environ
