"""The page by keyboard and screen reader, and its cards on one screen, in headless Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .test_browser import PATIENCE, Desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
CARDS = ("#source", "#edit", "#side", "#desk-card", "#hold")
FOCUS = """() => {
    const e = document.activeElement;
    return [e.tagName, e.className, e.closest('.fader')?.dataset.key || ''];
}"""


@pytest.fixture
def desk(chromium: Any, app: tuple[str, float]) -> Iterator[Desk]:
    desk = Desk(chromium, app[0])
    desk.page.on("console", lambda m: desk.problems.append(m.text) if "js_on_load" in m.text else None)
    yield desk
    problems = desk.problems
    desk.close()
    assert not problems


def spill(desk: Desk) -> dict[str, list[int]]:
    """Cards whose content is larger than they are: it would be cut off, or have to be scrolled to."""
    sizes = desk.page.evaluate(
        """(cards) => Object.fromEntries(cards.map((card) => {
            const e = document.querySelector(card);
            return [card, [e.scrollHeight, e.clientHeight, e.scrollWidth, e.clientWidth]];
        }))""",
        CARDS,
    )
    return {card: size for card, size in sizes.items() if size[0] > size[1] or size[2] > size[3]}


def below(desk: Desk) -> dict[str, float]:
    """Cards that reach below the screen, or out of the page's other edges."""
    found = {}
    for card in CARDS:
        box = desk.page.locator(card).bounding_box()
        if box["y"] + box["height"] > desk.page.viewport_size["height"]:
            found[card] = box["y"] + box["height"]
    return found


def tab(desk: Desk, name: str) -> None:
    desk.page.get_by_role("tab", name=name).click()


# --- one screen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, height", [(1440, 900), (1366, 768)])
def test_the_main_loop_needs_no_scrolling_in_any_state(
    chromium: Any, app: tuple[str, float], width: int, height: int
) -> None:
    desk = Desk(chromium, app[0], viewport={"width": width, "height": height})
    states = {"as it opens": (spill(desk), below(desk))}

    before = desk.runs()
    desk.page.locator('.region .chip[data-key="castle/0"]').click()
    desk.wait_for_new(before)
    states["a region"] = spill(desk), below(desk)
    for part in ("threshold", "soft", "start"):
        knob = desk.page.locator(f'.region [data-knob="{part}"]').bounding_box()
        card = desk.page.locator("#hold").bounding_box()
        assert knob["y"] + knob["height"] <= card["y"] + card["height"], part

    before = desk.runs()
    desk.page.locator(".timeline .more").select_option(label="castle")
    desk.wait_for_new(before)
    states["a lane of its own for a word"] = spill(desk), below(desk)

    tab(desk, "Your picture")
    desk.page.locator("#yours-examples .example").first.wait_for(timeout=PATIENCE)
    states["the tab for a picture"] = spill(desk), below(desk)
    desk.page.locator("#yours-examples .example").first.click()
    desk.page.wait_for_selector("#main[data-source=picture]", timeout=PATIENCE)
    desk.settled()
    desk.page.wait_for_selector("#yours-compare img", timeout=PATIENCE)
    desk.page.wait_for_timeout(400)
    states["a picture"] = spill(desk), below(desk)
    assert desk.page.locator("#invert").is_visible()

    assert all(spilt == ({}, {}) for spilt in states.values()), states
    assert not desk.problems
    desk.close()


@pytest.mark.parametrize("width, height", [(1440, 900), (1366, 768), (1024, 768)])
def test_the_picture_and_the_desk_are_on_the_first_screen(
    chromium: Any, app: tuple[str, float], width: int, height: int
) -> None:
    desk = Desk(chromium, app[0], viewport={"width": width, "height": height})
    for part in ("#picture", "#desk-card"):
        box = desk.page.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, part
    stage = desk.page.locator("#stage").bounding_box()
    picture = desk.page.locator("#picture").bounding_box()
    assert picture["width"] * picture["height"] > 0.97 * stage["width"] * stage["height"]
    desk.close()


def test_on_a_phone(chromium: Any, app: tuple[str, float]) -> None:
    desk = Desk(chromium, app[0], guide=True, viewport={"width": 390, "height": 844}, has_touch=True)
    assert desk.page.locator("#top").bounding_box()["height"] < 60, "one row"
    assert desk.page.locator(".board.guide").bounding_box()["height"] < 844 * 0.3
    desk.page.click(".board.guide .close")
    assert desk.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    desk.page.locator("#desk-card").scroll_into_view_if_needed()
    desk.page.evaluate("() => document.querySelector('#desk-card').scrollIntoView({ block: 'end' })")
    desk.page.wait_for_timeout(200)
    picture, card = (desk.page.locator(part).bounding_box() for part in ("#stage", "#desk-card"))
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= card["y"] + 1, "faders move in its sight"
    assert card["y"] + card["height"] <= 845
    desk.close()


def test_targets_are_large_enough_for_fingers(desk: Desk) -> None:
    small = desk.page.evaluate(
        """() => [...document.querySelectorAll('#main button, #top button, #main select')]
            .filter((e) => e.checkVisibility({ opacityProperty: true }) && !e.closest('[data-testid]'))
            .map((e) => [e.innerText || e.className, e.getBoundingClientRect()])
            .filter(([, box]) => Math.min(box.width, box.height) < 24)"""
    )
    assert not small


# --- keys -----------------------------------------------------------------------------------------------


def clip(desk: Desk) -> str:
    return desk.page.locator("#picture img").nth(1).evaluate("(e) => e.style.clipPath")


def test_the_line_between_before_and_after_has_keys_and_follows_the_mouse(desk: Desk) -> None:
    handle = desk.page.get_by_role("slider", name="line between before and after")
    handle.focus()
    for _ in range(10):
        desk.page.keyboard.press("ArrowLeft")
    assert "40%" in clip(desk)
    assert handle.get_attribute("aria-valuetext") == "40 % source, 60 % edit"
    desk.page.keyboard.press("Home")
    assert "0%)" in clip(desk) or clip(desk).endswith("0px)")
    assert desk.page.evaluate("() => document.activeElement.matches('#picture input')")

    box = desk.page.locator("#picture").bounding_box()
    desk.page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    desk.page.mouse.down()
    desk.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
    desk.page.mouse.up()
    assert handle.input_value() == "75"
    alts = [desk.page.locator("#picture img").nth(n).get_attribute("alt") for n in (0, 1)]
    assert alts == ["source: a red house on a snowy hill", "edit: a red castle on a snowy hill"]

    before = desk.runs()
    desk.edit_prompt("a blue castle on a snowy hill")
    desk.wait_for_new(before)
    assert handle.input_value() == "75" and "75%" in clip(desk), "it stays where it was put"


def test_focus_stays_where_it_was(desk: Desk) -> None:
    page = desk.page

    def focus_after(act: Any, selector: str) -> None:
        before = desk.runs()
        page.locator(selector).first.focus()
        act()
        desk.wait_for_new(before)
        desk.settled()
        now = page.evaluate(FOCUS)
        assert page.evaluate("(s) => document.activeElement.matches(s)", selector), (selector, now)

    enter = lambda: page.keyboard.press("Enter")  # noqa: E731
    focus_after(lambda: page.keyboard.press("PageUp"), '.fader[data-key="snowy/0"] input')
    focus_after(enter, '.fader[data-key="red/0"] .mute')
    focus_after(enter, '.fader[data-key="red/0"] .solo')
    focus_after(enter, "#desk .all")
    focus_after(enter, '[data-preset="1"]')
    focus_after(lambda: page.locator(".timeline .more").select_option(label="castle"), ".timeline .more")
    focus_after(lambda: page.keyboard.press("ArrowLeft"), ".lane.word input.end")
    focus_after(enter, '[data-preset="0"]')
    focus_after(lambda: page.locator(".timeline .more").select_option(label="castle"), ".timeline .more")
    before = desk.runs()
    page.locator(".lane.word .drop").focus()
    enter()
    desk.wait_for_new(before)
    desk.settled()
    assert page.evaluate("() => document.activeElement.matches('.timeline .more')")
    focus_after(enter, '.region .chip[data-key="castle/0"]')
    focus_after(lambda: page.keyboard.press("ArrowRight"), '.region [data-knob="threshold"]')
    focus_after(lambda: page.keyboard.press("Space"), ".region .pixels")
    desk.edit_prompt("a blue castle on a snowy hill")
    page.wait_for_function("() => document.querySelectorAll('.shot').length > 1", timeout=PATIENCE)
    desk.settled()
    focus_after(enter, '.shot[data-i="0"]')


def test_focus_stays_on_the_word_when_the_words_change(desk: Desk) -> None:
    box = desk.page.locator("#edit-prompt :is(textarea, input)").first
    for control, word in (("input", "tree"), (".mute", "moon"), (".solo", "car"), (".word", "boat")):
        box.focus()
        desk.page.keyboard.press("End")
        desk.page.keyboard.type(f" {word}")
        desk.page.locator(f'.fader[data-key="snowy/0"] {control}').focus()  # before the new words are there
        desk.page.locator(f'.fader[data-key="{word}/0"]').wait_for(timeout=PATIENCE)
        desk.page.wait_for_timeout(300)
        where = desk.page.evaluate(FOCUS)
        same = desk.page.evaluate("(s) => document.activeElement.matches(s)", control)
        assert where[2] == "snowy/0" and same, (control, where)


def test_the_guide_is_a_dialog(desk: Desk) -> None:
    page = desk.page
    page.locator("#guide-button").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Three edits in a minute")
    assert dialog.is_visible()
    assert page.evaluate("() => document.activeElement.matches('.guide .close')")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("() => document.activeElement.id") == "guide-button", "back to where it was opened"
    page.keyboard.press("Enter")
    page.locator("#edit-prompt :is(textarea, input)").focus()
    page.keyboard.press("Escape")
    assert not dialog.is_visible(), "from anywhere"
    assert page.evaluate("() => !!document.activeElement.closest('#edit-prompt')"), "focus isn't taken away"

    page.click("#guide-button")
    page.locator(".guide .step").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".guide li.done", timeout=PATIENCE)
    desk.settled()
    assert page.evaluate("() => document.activeElement.matches('.guide .step[data-i=\"0\"]')")


def test_single_keys_can_be_turned_off(desk: Desk) -> None:
    page = desk.page
    page.keyboard.press("e")
    assert page.evaluate("() => !!document.activeElement.closest('#edit-prompt')")
    page.click("#guide-button")
    page.get_by_label("single keys do something").uncheck()
    page.click(".guide .close")
    for _ in range(2):  # at once, and after a reload
        page.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("e")
        page.keyboard.press("?")
        assert page.evaluate("() => document.activeElement === document.body")
        assert not page.get_by_role("dialog").is_visible()
        page.reload()
        page.wait_for_selector(".pill.ready", timeout=PATIENCE)
        desk.wait_for("done")
    before = desk.runs()
    page.locator("#edit-prompt :is(textarea, input)").first.fill("a blue castle on a snowy hill")
    page.keyboard.press("Control+Enter")
    desk.wait_for_new(before)
    assert "blue" in page.locator("#chips").inner_text()


def test_control_enter_in_the_source_generates(desk: Desk) -> None:
    before = desk.runs()
    desk.page.locator("#source-prompt textarea").fill("a blue car on a beach")
    desk.page.keyboard.press("Control+Enter")
    desk.wait_for_new(before)
    desk.settled()
    assert (
        desk.page.locator("#edit-prompt :is(textarea, input)").first.input_value() == "a blue car on a beach"
    )


def test_a_region_is_painted_by_keys(desk: Desk) -> None:
    page = desk.page
    page.locator(".region .paint").focus()
    page.keyboard.press("Enter")
    page.locator("#painter canvas").first.wait_for(timeout=PATIENCE)
    brush = page.locator(".keybrush")
    for _ in range(20):  # the canvas takes strokes once it has loaded, and tells of them a little later
        brush.focus()
        for key in ("ArrowLeft", "ArrowLeft", "Space", *["ArrowRight"] * 4, "Shift+ArrowDown", "Space"):
            page.keyboard.press(key)
        assert brush.locator(".unseen").inner_text().endswith("lifted")
        before = desk.runs()
        page.locator("#use-paint").focus()
        page.keyboard.press("Enter")
        if "Nothing is painted" not in desk.answered():
            break
    line = desk.wait_for_new(before)
    assert 0 < int(re.search(r"region covers (\d+)%", line)[1]) < 60


# --- what is said ---------------------------------------------------------------------------------------


def test_only_the_end_of_a_run_is_read_out(desk: Desk) -> None:
    desk.page.evaluate(
        """() => {
            window.said_ = [];
            for (const region of document.querySelectorAll('[role=status]'))
                new MutationObserver(() => window.said_.push(region.innerText)).observe(
                    region, { childList: true, subtree: true, characterData: true });
        }"""
    )
    before = desk.runs()
    desk.page.get_by_role("button", name="off", exact=True).click()  # an edit that no other page has made
    text = desk.wait_for_new(before)
    desk.settled()
    said = desk.page.evaluate("() => window.said_")
    assert said and not any("step " in line for line in said), said
    assert re.sub(r"\s+", " ", said[-1]).strip() == re.sub(r"\s+", " ", text).strip()
    assert len(said) <= 2


def test_signs_have_names_and_controls_have_help(desk: Desk) -> None:
    assert desk.page.get_by_role("button", name="another seed").count() == 1
    for part in (
        "#seed input", "#steps input", "#guidance input", "#dice", "#apply",
        "#download", "#generate",
    ):  # fmt: skip
        assert len(desk.page.locator(part).first.get_attribute("title") or "") > 15, part


def test_it_is_said_which_source_is_live(desk: Desk) -> None:
    main = desk.page.locator("#main")
    assert main.get_attribute("data-source") == "words"
    assert desk.page.locator("#picture .side.before").inner_text() == "source"
    tab(desk, "Your picture")
    desk.page.locator("#yours-examples .example").first.click()
    desk.page.wait_for_selector("#main[data-source=picture]", timeout=PATIENCE)
    desk.settled()
    assert desk.page.locator("#picture .side.before").inner_text() == "your picture"
    handle = desk.page.get_by_role("slider", name="line between your picture and how it comes back")
    handle.focus()
    desk.page.keyboard.press("Home")
    assert handle.input_value() == "0"
