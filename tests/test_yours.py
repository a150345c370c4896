"""The tab "Your picture": its handlers without a browser, and the whole of it in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from p2p_core import PromptToPrompt, load_recipe
from storybook.pictures import FOLDER, PICTURES
from ui import Engine
from ui.examples import YOURS
from ui.handlers import Handlers
from ui.pictures import path_of
from ui.sessions import Sessions
from ui.yours import FITS, METHODS, note

from . import tiny
from .app_fixtures import browser, served
from .test_browser import PATIENCE, Desk, reused
from .test_mixing import boards, last, said, who

SAYS = "a red house on a hill"


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline("v_prediction"))


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    p2p.forget_edits()
    return Handlers(Engine(p2p=p2p), Sessions(forget=p2p.forget))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.png"
    Image.effect_noise((90, 60), 50).convert("RGB").save(path)
    return str(path)


def wish(picture: str | None, **changes: Any) -> dict[str, Any]:
    asked = {
        "yours_picture": picture,
        "yours_prompt": SAYS,
        "yours_method": "direct",
        "yours_fit": "crop",
        "yours_x": 0.5,
        "yours_y": 0.5,
        "steps": 3,
        "guidance": 4.0,
        "negative": "",
    }
    return {**asked, **changes}


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_becomes_the_source(handlers: Handlers, file: str, method: str) -> None:
    done = last(handlers.invert(wish(file, yours_method=method), 0.0, who()))
    assert "comes back at" in said(done) and done["prompt"] == SAYS
    assert done["source_tabs"]["selected"] == "yours" and done["yours_compare"]["visible"]
    source = handlers.sessions.get("me").source
    assert source.inversion.method == METHODS[method][0] and source.steps == 3
    edited = last(handlers.edit(*boards("a red castle on a hill"), 1.0, who()))
    assert "recomputed" in said(edited)


def test_a_recipe_of_it_comes_back_and_its_history_too(handlers: Handlers, file: str, tmp_path: Path) -> None:
    last(handlers.invert(wish(file), 0.0, who()))
    last(handlers.edit(*boards("a red castle on a hill"), 1.0, who()))
    session = handlers.sessions.get("me")
    first = np.asarray(session.result.image)
    saved = session.result.save(tmp_path / "edit.png")
    assert "picture" in load_recipe(saved).source
    python = last(handlers.recipe(who()))["recipe_python"]
    assert "p2p.invert(" in python and "method='direct'" in python
    last(handlers.generate(SAYS, 3, 3, 4.0, "", 2.0, who()))
    back = last(handlers.recall({"clicked": 0}, 3.0, who()))
    assert back["source_tabs"]["selected"] == "yours"
    other = last(handlers.bring(str(saved), 0.0, who("other")))
    assert other["yours_prompt"] == SAYS and other["yours_compare"]["visible"]
    assert (np.asarray(handlers.sessions.get("other").result.image) == first).all()


def test_what_is_missing_or_broken_is_said(handlers: Handlers, file: str, tmp_path: Path) -> None:
    assert "no picture yet" in said(last(handlers.invert(wish(None), 0.0, who())))
    assert "Say what" in said(last(handlers.invert(wish(file, yours_prompt="  "), 0.0, who())))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no more")
    update = last(handlers.invert(wish(str(broken)), 0.0, who()))
    assert update["line"]["kind"] == "error" and "broken.png" in said(update)
    assert last(handlers.invert(wish(file, steps=0), 0.0, who()))["line"]["kind"] == "error"
    assert handlers.sessions.get("me").source is None


def test_the_crop_can_be_moved(handlers: Handlers, file: str) -> None:
    seen = []
    for x in (0.0, 1.0):
        last(handlers.invert(wish(file, yours_x=x), x, who()))
        seen.append(np.asarray(handlers.sessions.get("me").source.inversion.picture))
    assert (seen[0] != seen[1]).any()


def test_a_method_says_what_it_costs() -> None:
    assert "about" not in note("direct", None, 30)
    slow, quick = note("null-text", 0.05, 30), note("direct", 0.05, 30)
    assert "24.0 s" in slow and "1.5 s" in quick
    assert set(FITS.values()) == {"crop", "pad"}


def test_the_pictures_that_come_with_it_were_never_trained_on() -> None:
    assert {example.picture for example in YOURS} == set(PICTURES)
    for name, (scene, _) in PICTURES.items():
        assert scene.held_out and path_of(name) == FOLDER / f"{name}.png" and path_of(name).is_file()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    with served(folder=tmp_path_factory.mktemp("app")) as address_and_seconds:
        yield address_and_seconds


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_upload_describe_invert_and_edit(app: tuple[str, float]) -> None:
    with browser() as chromium:
        desk = Desk(chromium, app[0])
        page = desk.page
        page.get_by_role("tab", name="Your picture").click()
        page.locator("#yours-picture input[type=file]").set_input_files(str(FOLDER / "house.png"))
        page.wait_for_selector("#yours-picture img", timeout=PATIENCE)
        page.locator("#yours-prompt textarea").fill("a red house in a field")
        before = desk.runs()
        page.click("#invert")
        assert "comes back at" in desk.wait_for_new(before)
        page.wait_for_selector("#yours-compare img", timeout=PATIENCE)
        before = desk.runs()
        desk.edit_prompt("a blue house in a field")
        assert reused(desk.wait_for_new(before))[1] == 30
        assert desk.pixels(0) != desk.pixels(1)
        for n in range(page.locator("#yours-examples .example").count()):
            before = desk.runs()
            page.locator("#yours-examples .example").nth(n).click()
            desk.wait_for_new(before)
            desk.settled()
            assert desk.pixels(0) != desk.pixels(1), f"example {n} changes nothing"
        assert not desk.problems
        desk.close()
