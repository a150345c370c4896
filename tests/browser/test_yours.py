"""The tab "Your picture": its handlers without a browser, and the whole of it in Chromium."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from p2p_app import Engine
from p2p_app.examples import YOURS
from p2p_app.handlers import Handlers
from p2p_app.pictures import path_of
from p2p_app.sessions import Sessions
from p2p_app.tabs.your_picture import FITS, METHODS, Picture, note
from p2p_core import PromptToPrompt, load_recipe, recipe_of
from storybook.pictures import FOLDER, PICTURES

from .. import tiny
from ..app.test_mixing import boards, last, said, who
from ..app_fixtures import STEPS
from ..hostile import saved
from .test_browser import PATIENCE, Desk, reused

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


def values(updates: Any) -> dict[str, Any]:
    """All that a handler has set, the last of each."""
    found: dict[str, Any] = {}
    for update in updates:
        found |= update
    return found


def test_an_upload_comes_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(b"no picture")
    component = Picture(type="filepath")
    assert component.get_block_name() == "image"
    assert component.preprocess(ImageData(path=str(file), url="http://here/file")) == str(file)
    assert component.preprocess(None) is None
    picture = saved(Image.new("RGB", (8, 8), (200, 30, 40)), "PNG")
    taken = component.preprocess(ImageData(url="data:image/png;base64," + base64.b64encode(picture).decode()))
    with Image.open(taken) as image:
        assert image.size == (8, 8)


def test_inversions_are_kept_where_the_engine_is_told(tmp_path: Path) -> None:
    engine = Engine(device="cpu", inversions=str(tmp_path / "kept"), inversions_mb=7)
    engine.wait()
    shelf = engine.p2p.inversions
    assert (shelf.folder, shelf.budget) == (tmp_path / "kept", 7_000_000)
    for none in ("", None):
        without = Engine(device="cpu", inversions=none)
        without.wait()
        assert without.p2p.inversions is None


def test_what_a_method_costs_stays_said(handlers: Handlers, file: str) -> None:
    def told(method: str = "direct") -> str:
        return str(last(handlers.described(method, 3, who()))["yours_note"])

    assert "about" not in told()
    done = values(handlers.invert(wish(file), 0.0, who()))
    assert "about" in done["yours_note"] and "about" in told("null-text")
    handlers.engine.a_step = 1.0
    last(handlers.invert(wish(file, yours_method="null-text"), 1.0, who()))
    assert "about 3.0 s" in told(), "what a slow method took is not what a step takes"
    last(handlers.generate(SAYS, 3, 3, 4.0, "", 2.0, who()))
    assert handlers.engine.a_step != 1.0 and "about" in told()
    last(handlers.invert(wish(file), 3.0, who("other")))
    assert "about" in str(last(handlers.described("direct", 3, who("third")))["yours_note"])


def test_the_crop_is_moved_where_there_is_one(handlers: Handlers, file: str) -> None:
    for picture, fit, there in ((file, "crop", True), (file, "pad", False), (None, "crop", False)):
        for handler in (handlers.chosen, handlers.cropped):
            assert last(handler(picture, fit))["yours_crop"]["visible"] is there


def test_what_comes_back_can_be_inverted_again(handlers: Handlers, file: str, tmp_path: Path) -> None:
    """After a recall, a recipe or a reload the tab has the picture, its method, its crop."""
    asked = wish(file, yours_method="null-text", yours_fit="pad", yours_x=0.25, yours_y=1.0)
    last(handlers.invert(asked, 0.0, who()))
    last(handlers.edit(*boards("a red castle on a hill"), 1.0, who()))
    session = handlers.sessions.get("me")
    saved_as = session.result.save(tmp_path / "edit.png")
    kept = recipe_of(session.result).to_json()
    last(handlers.generate(SAYS, 3, 3, 4.0, "", 2.0, who()))
    back = values(handlers.recall({"clicked": 0}, 3.0, who()))
    assert back["yours_picture"] == file, "the upload itself, so that the crop can still be moved"
    brought = values(handlers.bring(str(saved_as), 0.0, who("other")))
    loaded = values(handlers.first(kept, 0.0, who("third")))
    for update in (back, brought, loaded):
        assert (update["yours_method"], update["yours_fit"]) == ("null-text", "pad")
        assert (update["yours_x"], update["yours_y"]) == (0.25, 1.0)
        assert update["yours_crop"]["visible"] is False and update["yours_compare"]["visible"]
        assert "about" in update["yours_note"]
    again = {
        name: brought[name] for name in ("yours_picture", "yours_method", "yours_fit", "yours_x", "yours_y")
    }
    first = handlers.sessions.get("other").source
    last(handlers.invert({**asked, **again}, 4.0, who("other")))
    assert handlers.sessions.get("other").source.key == first.key
    Path(file).unlink()
    gone = values(handlers.recall({"clicked": 0}, 5.0, who()))
    assert gone["yours_picture"] != file and Path(gone["yours_picture"]).is_file()


def test_the_python_lines_know_the_crop(handlers: Handlers, file: str) -> None:
    last(handlers.invert(wish(file, yours_x=0.25), 0.0, who()))
    last(handlers.edit(*boards("a red castle on a hill"), 1.0, who()))
    python = last(handlers.recipe(who()))["recipe_python"]
    assert "fit='crop'" in python and "center=[0.25, 0.5]" in python
    compile(python, "recipe", "exec")


def test_an_example_says_how_well_it_comes_back_and_resets_the_rest(handlers: Handlers) -> None:
    done = values(handlers.example_of_yours({"clicked": 0}, 0.0, who()))
    assert "comes back at" in said(done) and done["negative"] == ""
    assert done["yours_x"] == done["yours_y"] == 0.5 and done["yours_crop"]["visible"]
    assert "about" in done["yours_note"]


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_upload_describe_invert_and_edit(chromium: Any, app: tuple[str, float], folder: Path) -> None:
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
    assert len(list((folder / "inversions").glob("*.safetensors"))) == 1, "kept for the next start"
    before = desk.runs()
    desk.edit_prompt("a blue house in a field")
    assert reused(desk.wait_for_new(before))[1] == STEPS
    assert desk.pixels(0) != desk.pixels(1)
    for n in range(page.locator("#yours-examples .example").count()):
        before = desk.runs()
        page.locator("#yours-examples .example").nth(n).click()
        desk.wait_for_new(before)
        desk.settled()
        assert desk.pixels(0) != desk.pixels(1), f"example {n} changes nothing"
    assert not desk.problems
    desk.close()


UPLOADS = {
    "clear.png": saved(Image.new("RGBA", (90, 60), (200, 30, 40, 0)), "PNG"),
    "deep.png": saved(Image.fromarray(np.full((60, 90), 32768, np.uint16)), "PNG"),
    "broken.png": b"\x89PNG\r\n\x1a\n no more than that",
}


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_uploads_that_gradio_would_have_spoiled(
    chromium: Any, app: tuple[str, float], folder: Path, tmp_path: Path
) -> None:
    """Transparent is white, 16 bits keep their brightness, a broken file is told and the page goes on."""
    for name, data in UPLOADS.items():
        (tmp_path / name).write_bytes(data)
        desk = Desk(chromium, app[0])
        page = desk.page
        page.get_by_role("tab", name="Your picture").click()
        page.locator("#yours-picture input[type=file]").set_input_files(str(tmp_path / name))
        page.wait_for_selector("#yours-picture img", state="attached", timeout=PATIENCE)
        page.locator("#yours-prompt textarea").fill("a red house in a field")
        before = desk.runs()
        page.click("#invert")
        if name == "broken.png":
            assert "broken.png" in desk.wait_for("error")
            desk.edit_prompt("a blue castle on a snowy hill")
            desk.wait_for_new(before)
        else:
            assert "comes back at" in desk.wait_for_new(before)
            newest = max(folder.glob("p2p-*/*-original.png"), key=lambda file: file.stat().st_mtime_ns)
            with Image.open(newest) as image:
                level = np.asarray(image.convert("RGB")).mean()
            assert abs(level - (255 if name == "clear.png" else 128)) < 2, name
        assert not desk.problems
        desk.close()
