"""What breaks around the app: disks that are full, folders that lack a file, a device that is stopped."""

from __future__ import annotations

import errno
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from p2p_app import Engine, pictures
from p2p_app.engine import NotReady
from p2p_app.handlers import Handlers
from p2p_app.problems import DISK_FULL, sentence
from p2p_app.sessions import Sessions
from p2p_core import PromptToPrompt
from p2p_core.assets import folder

from .. import tiny
from .visitor import boards, last, said, wish, words

HOUSE, CASTLE = "a red house on a snowy hill", "a red castle on a snowy hill"


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline("v_prediction"))


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    return Handlers(Engine(p2p=p2p), Sessions(p2p.forget))


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/secret")


@pytest.mark.parametrize("what", ["shown", "enlarged"])
def test_a_full_disk_is_a_sentence_and_the_session_stays(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    last(handlers.generate(wish(handlers, 1.0, **words(HOUSE, 1, 4))))
    last(handlers.edit(wish(handlers, 2.0, **boards(CASTLE))))
    session = handlers.sessions.get("me")
    before = (session.source, session.result, session.source_path, session.result_path, session.current)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, what, full)
        for told in (
            last(handlers.edit(wish(handlers, 3.0, **boards("a blue castle on a snowy hill")))),
            last(handlers.generate(wish(handlers, 4.0, **words(HOUSE, 2, 4)))),
        ):
            assert told["line"]["kind"] == "error" and said(told) == DISK_FULL
            now = (session.source, session.result, session.source_path, session.result_path, session.current)
            assert all(one is other or one == other for one, other in zip(before, now, strict=True))
    told = last(handlers.edit(wish(handlers, 5.0, **boards("a blue castle on a snowy hill"))))
    assert told["line"]["kind"] == "done"


def test_an_app_that_ends_tells_its_pages(handlers: Handlers) -> None:
    last(handlers.generate(wish(handlers, 1.0, **words(HOUSE, 1, 4))))
    run = handlers.edit(wish(handlers, 2.0, **boards(CASTLE)))
    next(run)
    handlers.sessions.end()
    told = last(run)
    assert told["line"]["kind"] == "stopped" and "server is being stopped" in said(told)


@pytest.mark.parametrize("lacks", ["model_index.json", "unet/config.json", "unet", "tokenizer", "scheduler"])
def test_a_model_that_lacks_a_file_is_a_sentence_without_the_servers_paths(
    tmp_path: Path, lacks: str
) -> None:
    shutil.copytree(folder("storybook"), broken := tmp_path / "secret" / "broken")
    path = broken / lacks
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    engine = Engine(str(broken))
    with pytest.raises(NotReady) as caught:
        engine.wait(120)
    assert len(str(caught.value)) > 10 and "secret" not in f"{caught.value} {engine.status()}"
    assert engine.status()["state"] == "failed"


def test_the_log_says_where_and_never_what(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("what the visitor typed")
    except RuntimeError as error:
        with caplog.at_level(logging.INFO, "p2p"):
            told = sentence(error)
    assert "RuntimeError" in told and "typed" not in told + caplog.text
    assert "RuntimeError at test_faults.py:" in caplog.text and len(caplog.records) == 1
