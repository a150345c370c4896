"""What somebody does who holds a phone, goes back a step, or types and forgets to apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .test_browser import PATIENCE, Desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def phone(chromium: Any, app: tuple[str, float]) -> Iterator[Desk]:
    desk = Desk(chromium, app[0], guide=True, **PHONE)
    yield desk
    desk.close()


@pytest.fixture
def desk(chromium: Any, app: tuple[str, float]) -> Iterator[Desk]:
    desk = Desk(chromium, app[0])
    yield desk
    desk.close()


def box(desk: Desk, part: str) -> tuple[float, float]:
    """Top and bottom of a part in the window."""
    found = desk.page.locator(part).bounding_box()
    return found["y"], found["y"] + found["height"]


def swipe(desk: Desk, x: float, y: float, by: tuple[float, float]) -> None:
    """A finger that is put down somewhere, moves by so many pixels, and is lifted."""
    session = desk.context.new_cdp_session(desk.page)

    def touch(kind: str, *points: dict[str, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*points]})

    touch("touchStart", {"x": x, "y": y})
    for n in range(1, 11):
        touch("touchMove", {"x": x + by[0] * n / 10, "y": y + by[1] * n / 10})
        desk.page.wait_for_timeout(16)
    touch("touchEnd")
    desk.page.wait_for_timeout(300)


def middle(desk: Desk, part: str) -> tuple[float, float]:
    found = desk.page.locator(part).bounding_box()
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2


def test_the_picture_is_on_top_and_stays_in_sight(phone: Desk) -> None:
    assert box(phone, "#stage")[1] < 844 * 0.65, "with the guide open"
    assert box(phone, ".board.guide")[1] <= box(phone, "#stage")[0], "the guide covers nothing"
    for part in ("#desk-card", "#hold", "#source"):
        phone.page.evaluate("(part) => document.querySelector(part).scrollIntoView()", part)
        assert abs(box(phone, "#stage")[0]) <= 1, part
        assert box(phone, part)[0] >= box(phone, "#stage")[1], part


def test_a_swipe_over_the_desk_scrolls_it_and_moves_no_fader(phone: Desk) -> None:
    phone.page.locator("#desk-card").scroll_into_view_if_needed()
    was, runs = phone.page.locator(".fader.at input").input_value(), phone.runs()
    swipe(phone, *middle(phone, ".fader:nth-child(3) .word"), (-120, 0))
    assert phone.page.locator(".faders").evaluate("(e) => e.scrollLeft") > 20
    scrolled = phone.page.evaluate("() => scrollY")
    swipe(phone, *middle(phone, ".fader.at .groove"), (0, -60))
    assert phone.page.evaluate("() => scrollY") > scrolled, "over the fader too"
    assert phone.page.locator(".fader.at input").input_value() == was and phone.runs() == runs


def test_one_large_fader_belongs_to_the_word_that_was_tapped(phone: Desk) -> None:
    phone.page.locator("#desk-card").scroll_into_view_if_needed()
    phone.page.locator('.fader[data-key="red/0"] .word').tap()
    large = phone.page.locator(".fader .well:visible")
    phone.page.wait_for_selector('.fader.at[data-key="red/0"]', timeout=PATIENCE)
    assert large.count() == 1 and large.bounding_box()["width"] > 300
    before, well = phone.runs(), large.bounding_box()
    knob = well["x"] + 23 + (well["width"] - 46) * 0.75  # where 1 is
    swipe(phone, knob, well["y"] + well["height"] / 2, (-100, 0))
    phone.wait_for_new(before)
    phone.settled()
    assert phone.value("red") < 1


@pytest.mark.parametrize("width, height", [(1024, 768), (1366, 768), (1440, 900)])
def test_the_guide_covers_nothing(chromium: Any, app: tuple[str, float], width: int, height: int) -> None:
    desk = Desk(chromium, app[0], guide=True, viewport={"width": width, "height": height})
    for part in ("#source", "#edit", "#side", "#desk-card", "#hold"):
        assert box(desk, part)[0] >= box(desk, ".board.guide")[1], part
    assert box(desk, "#desk-card")[1] <= height, "the main loop is still on one screen"
    desk.close()


def test_the_guides_sentence_stays_until_next(chromium: Any, app: tuple[str, float]) -> None:
    desk = Desk(chromium, app[0], guide=True)
    say, steps = desk.page.locator(".guide .say"), desk.page.locator(".guide .step")
    before, asked = desk.pixels(0), say.inner_text()
    steps.first.click()
    desk.page.wait_for_selector(".guide li.done", timeout=PATIENCE)
    told = say.inner_text()
    assert told != asked and desk.pixels(0) != before, "the first step does something"
    desk.page.click(".guide .next")
    assert say.inner_text() not in (told, asked) and steps.nth(1).is_enabled()
    desk.close()


def test_apply_is_lit_while_the_picture_is_that_of_another_prompt(desk: Desk) -> None:
    lit = desk.page.locator("#apply.lit")
    lit.wait_for(state="detached", timeout=PATIENCE)
    field = desk.page.locator("#edit-prompt textarea")
    field.press("End")
    desk.page.keyboard.type(" at night")
    lit.wait_for(timeout=PATIENCE)
    assert "old prompt" in desk.page.locator("#behind").inner_text()
    desk.page.click("#apply")
    desk.settled()
    lit.wait_for(state="detached", timeout=PATIENCE)
    assert desk.page.locator("#behind").inner_text() == ""


def test_undo_and_redo_by_key_and_by_button(desk: Desk) -> None:
    page = desk.page
    first = desk.pixels(1)
    pictures = [first]
    for prompt in ("a blue castle on a snowy hill", "a green castle on a snowy hill"):
        before = desk.runs()
        desk.edit_prompt(prompt)
        desk.wait_for_new(before)
        desk.settled()
        pictures.append(desk.pixels(1))
    page.wait_for_selector('.shot.on[data-i="2"]', timeout=PATIENCE)
    newest = [page.locator(f'.shot[data-i="{n}"]').bounding_box()["x"] for n in (2, 1, 0)]
    assert newest == sorted(newest), "the newest stands first"
    page.evaluate("() => document.activeElement.blur()")

    def shows(n: int) -> None:
        page.wait_for_selector(f'.shot.on[data-i="{n}"]', timeout=PATIENCE)
        desk.settled()
        assert desk.pixels(1) == pictures[n]

    page.keyboard.press("Control+z")
    shows(1)
    page.click("#undo")
    shows(0)
    assert page.locator("#undo").is_disabled() and page.locator(".shot").count() == 3
    page.keyboard.press("Control+Shift+Z")
    shows(1)
    page.click("#redo")
    shows(2)
    assert page.locator("#redo").is_disabled()
    assert page.locator("#edit-prompt textarea").input_value() == "a green castle on a snowy hill"

    field = page.locator("#edit-prompt textarea")
    field.press("End")
    page.keyboard.type("x")
    page.keyboard.press("Control+z")  # in a field it is the field's own
    assert page.locator('.shot.on[data-i="2"]').count() == 1
