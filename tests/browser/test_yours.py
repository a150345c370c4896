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
from p2p_app.components.picture import Picture
from p2p_app.examples import YOURS
from p2p_app.handlers import Handlers
from p2p_app.pictures import path_of
from p2p_app.sessions import Sessions
from p2p_app.tabs.your_picture import FITS, METHODS, method_note
from p2p_core import PromptToPrompt, load_recipe, recipe_of
from storybook.pictures import FOLDER, PICTURES

from .. import tiny
from ..app.visitor import boards, last, said, wish, words
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


def asked_for(picture: str | None, **changes: Any) -> dict[str, Any]:
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


def inverted(handlers: Handlers, clock: float, name: str, picture: str | None, **changes: Any) -> Any:
    """The updates of an inversion."""
    return handlers.your_picture.invert(wish(handlers, clock, name, **asked_for(picture, **changes)))


def costs(handlers: Handlers, method: str, name: str = "me") -> str:
    """What the tab says about a method."""
    asked = wish(handlers, name=name, yours_method=method, steps=3)
    return str(last(handlers.your_picture.describe_method(asked))["yours_note"])


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_becomes_the_source(handlers: Handlers, file: str, method: str) -> None:
    done = last(inverted(handlers, 0.0, "me", file, yours_method=method))
    assert "comes back at" in said(done) and done["prompt"] == SAYS
    assert done["source_tabs"]["selected"] == "yours" and done["yours_compare"]["visible"]
    source = handlers.sessions.get("me").source
    assert source.inversion.method == METHODS[method][0] and source.steps == 3
    edited = last(handlers.edit(wish(handlers, 1.0, **boards("a red castle on a hill"))))
    assert "recomputed" in said(edited)


def test_a_recipe_of_it_comes_back_and_its_history_too(handlers: Handlers, file: str, tmp_path: Path) -> None:
    last(inverted(handlers, 0.0, "me", file))
    last(handlers.edit(wish(handlers, 1.0, **boards("a red castle on a hill"))))
    session = handlers.sessions.get("me")
    first = np.asarray(session.result.image)
    saved = session.result.save(tmp_path / "edit.png")
    assert "picture" in load_recipe(saved).source
    python = last(handlers.recipes.show(wish(handlers)))["recipe_python"]
    assert "p2p.invert(" in python and "method='direct'" in python
    last(handlers.generate(wish(handlers, 2.0, **words(SAYS, 3, 3, 4.0))))
    back = last(handlers.recall(wish(handlers, 3.0, history={"clicked": 0})))
    assert back["source_tabs"]["selected"] == "yours"
    other = last(handlers.recipes.bring(wish(handlers, 0.0, "other", bring=str(saved))))
    assert other["yours_prompt"] == SAYS and other["yours_compare"]["visible"]
    assert (np.asarray(handlers.sessions.get("other").result.image) == first).all()


def test_what_is_missing_or_broken_is_said(handlers: Handlers, file: str, tmp_path: Path) -> None:
    assert "no picture yet" in said(last(inverted(handlers, 0.0, "me", None)))
    assert "Say what" in said(last(inverted(handlers, 0.0, "me", file, yours_prompt="  ")))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no more")
    update = last(inverted(handlers, 0.0, "me", str(broken)))
    assert update["line"]["kind"] == "error" and "broken.png" in said(update)
    assert last(inverted(handlers, 0.0, "me", file, steps=0))["line"]["kind"] == "error"
    assert handlers.sessions.get("me").source is None


def test_the_crop_can_be_moved(handlers: Handlers, file: str) -> None:
    seen = []
    for x in (0.0, 1.0):
        last(inverted(handlers, x, "me", file, yours_x=x))
        seen.append(np.asarray(handlers.sessions.get("me").source.inversion.picture))
    assert (seen[0] != seen[1]).any()


def test_a_method_says_what_it_costs() -> None:
    assert "about" not in method_note("direct", None, 30)
    slow, quick = method_note("null-text", 0.05, 30), method_note("direct", 0.05, 30)
    assert "24.0 s" in slow and "1.5 s" in quick
    assert set(FITS.values()) == {"crop", "pad"}


def test_the_pictures_that_come_with_it_were_never_trained_on() -> None:
    assert {example.picture for example in YOURS} == set(PICTURES)
    for name, (scene, _) in PICTURES.items():
        assert scene.held_out and path_of(name) == FOLDER / f"{name}.png" and path_of(name).is_file()


def test_an_upload_comes_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(b"no picture")
    component = Picture(type="filepath")
    assert component.get_block_name() == "image"
    assert component.preprocess(ImageData(path=str(file), url="http://here/file")) == str(file)
    assert component.preprocess(None) is None
    picture = saved(Image.new("RGB", (8, 8), (200, 30, 40)), "PNG")
    data = ImageData(url="data:image/png;base64," + base64.b64encode(picture).decode())
    assert component.preprocess(data) is None, "nothing but an uploaded file is looked at"


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
        return costs(handlers, method)

    assert "about" not in told()
    done = last(inverted(handlers, 0.0, "me", file))
    assert "about" in done["yours_note"] and "about" in told("null-text")
    handlers.engine.step_seconds = 1.0
    last(inverted(handlers, 1.0, "me", file, yours_method="null-text"))
    assert "about 3.0 s" in told(), "what a slow method took is not what a step takes"
    last(handlers.generate(wish(handlers, 2.0, **words(SAYS, 3, 3, 4.0))))
    assert handlers.engine.step_seconds != 1.0 and "about" in told()
    last(inverted(handlers, 3.0, "other", file))
    assert "about" in costs(handlers, "direct", "third")


def test_the_crop_is_moved_where_there_is_one(handlers: Handlers, file: str) -> None:
    for picture, fit, there in ((file, "crop", True), (file, "pad", False), (None, "crop", False)):
        asked = wish(handlers, yours_picture=picture, yours_fit=fit)
        for handler in (handlers.your_picture.choose_picture, handlers.your_picture.choose_fit):
            assert last(handler(asked))["yours_crop"]["visible"] is there


@pytest.mark.parametrize(("kind", "shown"), [("TIFF", False), ("PPM", False), ("PNG", True), ("WEBP", True)])
def test_a_picture_that_browsers_do_not_show_is_shown(
    handlers: Handlers, tmp_path: Path, kind: str, shown: bool
) -> None:
    image = Image.effect_noise((40, 30), 60).convert("RGB")
    image.save(file := tmp_path / f"picture.{kind.lower()}", kind)
    update = last(
        handlers.your_picture.choose_picture(wish(handlers, yours_picture=str(file), yours_fit="crop"))
    )
    assert ("yours_picture" in update) != shown
    if not shown:
        with Image.open(update["yours_picture"]) as found:
            assert found.format == "PNG" and found.tobytes() == image.tobytes()


def test_a_broken_picture_is_said_on_arrival(handlers: Handlers, tmp_path: Path) -> None:
    (file := tmp_path / "holiday.jpg").write_bytes(b"no picture")
    update = last(
        handlers.your_picture.choose_picture(wish(handlers, yours_picture=str(file), yours_fit="crop"))
    )
    assert update["line"]["kind"] == "error" and "no picture that can be read" in said(update)


def test_what_comes_back_can_be_inverted_again(handlers: Handlers, file: str, tmp_path: Path) -> None:
    """After a recall, a recipe or a reload the tab has the picture, its method, its crop."""
    asked = asked_for(file, yours_method="null-text", yours_fit="pad", yours_x=0.25, yours_y=1.0)
    last(handlers.your_picture.invert(wish(handlers, 0.0, **asked)))
    last(handlers.edit(wish(handlers, 1.0, **boards("a red castle on a hill"))))
    session = handlers.sessions.get("me")
    saved_as = session.result.save(tmp_path / "edit.png")
    kept = recipe_of(session.result).to_json()
    last(handlers.generate(wish(handlers, 2.0, **words(SAYS, 3, 3, 4.0))))
    back = last(handlers.recall(wish(handlers, 3.0, history={"clicked": 0})))
    assert back["yours_picture"] == file, "the upload itself, so that the crop can still be moved"
    brought = last(handlers.recipes.bring(wish(handlers, 0.0, "other", bring=str(saved_as))))
    loaded = last(handlers.first(wish(handlers, 0.0, "third", storage=kept)))
    for update in (back, brought, loaded):
        assert (update["yours_method"], update["yours_fit"]) == ("null-text", "pad")
        assert (update["yours_x"], update["yours_y"]) == (0.25, 1.0)
        assert update["yours_crop"]["visible"] is False and update["yours_compare"]["visible"]
        assert "about" in update["yours_note"]
    again = {
        name: brought[name] for name in ("yours_picture", "yours_method", "yours_fit", "yours_x", "yours_y")
    }
    first = handlers.sessions.get("other").source
    last(handlers.your_picture.invert(wish(handlers, 4.0, "other", **{**asked, **again})))
    assert handlers.sessions.get("other").source.key == first.key
    Path(file).unlink()
    gone = last(handlers.recall(wish(handlers, 5.0, history={"clicked": 0})))
    assert gone["yours_picture"] != file and Path(gone["yours_picture"]).is_file()


def test_the_python_lines_know_the_crop(handlers: Handlers, file: str) -> None:
    last(inverted(handlers, 0.0, "me", file, yours_x=0.25))
    last(handlers.edit(wish(handlers, 1.0, **boards("a red castle on a hill"))))
    python = last(handlers.recipes.show(wish(handlers)))["recipe_python"]
    assert "fit='crop'" in python and "center=[0.25, 0.5]" in python
    compile(python, "recipe", "exec")


def test_an_example_says_how_well_it_comes_back_and_resets_the_rest(handlers: Handlers) -> None:
    done = last(handlers.your_picture.run_example(wish(handlers, 0.0, yours_examples={"clicked": 0})))
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
            newest = max(folder.glob("**/p2p-*/*-original.png"), key=lambda file: file.stat().st_mtime_ns)
            with Image.open(newest) as image:
                level = np.asarray(image.convert("RGB")).mean()
            assert abs(level - (255 if name == "clear.png" else 128)) < 2, name
        assert not desk.problems
        desk.close()
