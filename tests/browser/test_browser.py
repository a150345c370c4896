"""The app in headless Chromium, as somebody uses it: the bundled model, `python app.py`, keys and mouse."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..app_fixtures import STEPS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
LOCAL = re.compile(r"(https?://127\.0\.0\.1:|data:|blob:)")
OUTSIDE = re.compile(r"^(?!https?://127\.0\.0\.1:|data:|blob:)")
PREVIEW_PATIENCE = 20_000  # ms that a preview may stay once a run has ended
PATIENCE = 120_000  # ms; a run takes a second or two, but two cores may have other work on them


class Desk:
    """A page of the app, with what the tests ask of it."""

    def __init__(
        self, chromium: Any, url: str, *, guide: bool = False, wait: bool = True, **how: Any
    ) -> None:
        self.context = chromium.new_context(
            viewport=how.pop("viewport", {"width": 1440, "height": 900}), **how
        )
        # the network is cut off: what isn't on this machine can't be reached, and none of it may be tried
        self.outside: list[str] = []
        self.context.route(OUTSIDE, self._cut_off)
        self.page = self.context.new_page()
        self.requests: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append((request.method, request.url)))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append("a dialog"), dialog.dismiss()))
        self.page.goto(url)
        if wait:
            self.ready()
        if not guide and self.page.locator(".board.guide .close").is_visible():
            self.page.click(".board.guide .close")

    def _cut_off(self, route: Any) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def ready(self) -> None:
        """Wait until the model is there and the page has its first picture."""
        self.page.wait_for_selector(".pill.ready", timeout=PATIENCE)
        self.wait_for("done")

    def wait_for(self, kind: str) -> str:
        """Wait until the line says so and no run is on; gives its text."""
        return self._line("(kind) => line.dataset.kind === kind", kind)

    def _line(self, condition: str, argument: Any = None) -> str:
        """Wait for something about the line; gives its text at that very moment."""
        return self.page.wait_for_function(
            f"""(argument) => {{
                const line = document.querySelector('.line');
                return ({condition})(argument) && (line.querySelector('.text').innerText || ' ');
            }}""",
            arg=argument,
            timeout=PATIENCE,
        ).json_value()

    def text(self) -> str:
        return self.page.locator(".line .text").inner_text()

    def runs(self) -> int:
        """How many runs have finished in this page."""
        return int(self.page.locator(".line").get_attribute("data-runs"))

    def wait_for_new(self, before: int) -> str:
        """Wait for a run to finish after the first `before` ones; gives the line's text."""
        return self._line("(n) => line.dataset.kind === 'done' && line.dataset.runs > n", before)

    def settled(self) -> str:
        """Wait for the run that the last act asked for; gives the line's text.

        The line holds the time of the act that it answers. What comes after an act of another kind (a click
        on a tab, say) is waited for by what it shows.
        """
        return self._line(
            "() => line.dataset.kind === 'done' && Number(line.dataset.at) >= window.p2pActed()"
            " && !document.querySelector('[data-pending]')"
        )

    def answered(self) -> str:
        """Wait until the last act is answered, by a picture or by a sentence; gives the line's text."""
        return self._line(
            "() => line.dataset.kind !== 'busy' && Number(line.dataset.at) >= window.p2pActed()"
        )

    def words_of(self, text: str) -> str:
        """A line's text without its buttons."""
        return text.removesuffix("use as source").strip()

    def pixels(self, which: int) -> list[int]:
        """Of the before (0) or after (1) picture as the browser shows it, 16 x 16."""
        return self.page.evaluate(
            """async ([which, patience]) => {
                const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                await frame();
                await frame();
                const image = document.querySelectorAll('#picture img')[which];
                const end = performance.now() + patience;
                while (!/\\.png$/.test(image.src)) {
                    const { kind, at } = document.querySelector('.line').dataset;
                    if (performance.now() > end)
                        throw new Error(`a preview stays: ${image.src.slice(0, 120)}; the line is ${kind}`);
                    await new Promise((done) => setTimeout(done, 20));
                }
                await image.decode();
                const canvas = document.createElement('canvas');
                canvas.width = canvas.height = 16;
                const context = canvas.getContext('2d');
                context.drawImage(image, 0, 0, 16, 16);
                return Array.from(context.getImageData(0, 0, 16, 16).data);
            }""",
            [which, PREVIEW_PATIENCE],
        )

    def edit_prompt(self, text: str) -> None:
        box = self.page.locator("#edit-prompt textarea, #edit-prompt input").first
        box.fill(text)
        box.press("Enter")

    def source_prompt(self, text: str) -> None:
        self.page.locator("#source-prompt textarea").fill(text)
        self.page.click("#generate")

    def fader(self, word: str) -> Any:
        return self.page.get_by_role("slider", name=f'weight of "{word}"', exact=True).first

    def value(self, word: str) -> float:
        return float(self.fader(word).input_value())

    def close(self) -> None:
        """Close the page, which must have had no problems and asked nobody outside."""
        self.context.close()
        assert not self.problems and not self.outside
        assert all(LOCAL.match(url) for _, url in self.requests)


@pytest.fixture
def desk(chromium: Any, app: tuple[str, float]) -> Iterator[Desk]:
    desk = Desk(chromium, app[0])
    yield desk
    desk.close()


def reused(line: str) -> tuple[int, int, int]:
    """computed, total, reused of the honest line."""
    match = re.search(r"recomputed\s+(\d+)\s+of (\d+) steps, (\d+) reused", line)
    assert match, line
    return int(match[1]), int(match[2]), int(match[3])


def test_the_page_opens_with_a_picture(desk: Desk) -> None:
    assert desk.pixels(0) != desk.pixels(1)
    computed, total, _ = reused(desk.text())
    assert total == STEPS and computed <= total


def test_generate_swap_a_word_and_see_the_picture_change(desk: Desk) -> None:
    before = desk.runs()
    desk.source_prompt("a blue car on a beach")
    desk.wait_for_new(before)
    assert (
        desk.page.locator("#edit-prompt textarea, #edit-prompt input").first.input_value()
        == "a blue car on a beach"
    )
    assert "This changes nothing because" in desk.page.locator("#chips").inner_text()
    assert desk.pixels(0) == desk.pixels(1)

    before = desk.runs()
    desk.edit_prompt("a red car on a beach")
    line = desk.wait_for_new(before)
    assert desk.page.locator(".chip.swapped").inner_text().split() == ["blue", "→", "red"]
    assert desk.pixels(0) != desk.pixels(1)
    assert sum(reused(line)[::2]) == STEPS
    assert "source in" in line and "MB" in line


def test_a_fader_by_keyboard_and_by_mouse_reuses_nothing_twice(desk: Desk) -> None:
    word = desk.page.locator(".fader .word").nth(1).inner_text()
    before, picture = desk.runs(), desk.pixels(1)
    fader = desk.fader(word)
    fader.focus()
    desk.page.keyboard.press("PageUp")
    desk.page.keyboard.press("ArrowUp")
    assert desk.value(word) == pytest.approx(1.3)
    desk.wait_for_new(before)
    desk.settled()
    assert desk.pixels(1) != picture

    # back to 1: the edit that was there before, not one step of it computed again
    before = desk.runs()
    desk.page.keyboard.press("Home")
    desk.wait_for_new(before)
    line = desk.settled()
    assert desk.value(word) == 1
    assert reused(line) == (0, STEPS, STEPS)
    assert desk.pixels(1) == picture

    box = fader.bounding_box()
    before = desk.runs()
    middle = box["x"] + box["width"] / 2
    desk.page.mouse.move(middle, box["y"] + box["height"] * 0.27)
    desk.page.mouse.down()
    desk.page.mouse.move(middle, box["y"] + box["height"] * 0.8, steps=4)
    desk.page.mouse.up()
    desk.wait_for_new(before)
    desk.settled()
    assert desk.value(word) < 0
    assert desk.pixels(1) != picture

    desk.page.mouse.dblclick(middle, box["y"] + box["height"] * 0.8)
    desk.page.wait_for_function("() => !document.querySelector('.fader[data-dir=down]')", timeout=PATIENCE)
    assert desk.value(word) == 1


def test_a_key_is_answered_by_frames_while_the_run_is_on(desk: Desk) -> None:
    before = desk.runs()
    desk.page.locator("#steps input").fill("50")  # long enough for previews
    desk.page.click("#generate")
    desk.wait_for_new(before)
    desk.fader(desk.page.locator(".fader .word").nth(1).inner_text()).focus()
    desk.page.evaluate(
        """() => {
            const image = document.querySelectorAll('#picture img')[1];
            window.frames_ = [];
            const watch = new MutationObserver(() => window.frames_.push(performance.now()));
            watch.observe(image, { attributes: true, attributeFilter: ['src'] });
        }"""
    )
    before = desk.runs()
    desk.page.keyboard.press("PageDown")
    desk.wait_for_new(before)
    assert desk.page.evaluate("() => window.frames_.length") > 1, "previews, and then the picture"


def test_many_quick_moves_end_in_the_last_one(desk: Desk) -> None:
    word = desk.page.locator(".fader .word").nth(1).inner_text()
    before = desk.runs()
    desk.fader(word).focus()
    for _ in range(12):
        desk.page.keyboard.press("ArrowDown")
    desk.wait_for_new(before)
    line = desk.settled()
    assert desk.value(word) == pytest.approx(0.4)
    assert reused(line)[1] == STEPS
    desk.page.reload()  # nothing is left running behind it
    desk.ready()


def test_a_click_before_the_first_picture_is_applied_to_it(chromium: Any, app: tuple[str, float]) -> None:
    desk = Desk(chromium, app[0], wait=False)
    desk.page.get_by_role("button", name="balanced").click()
    desk.page.wait_for_selector(".pill.ready", timeout=PATIENCE)
    line = desk.settled()
    assert reused(line)[1] == STEPS and desk.pixels(0) != desk.pixels(1)
    assert desk.page.get_by_role("button", name="balanced").get_attribute("aria-pressed") == "true"
    desk.close()


def test_a_fader_moved_while_a_source_is_made_is_applied_to_it(desk: Desk) -> None:
    old = desk.pixels(0)
    desk.page.locator("#seed input").fill("3")
    desk.page.click("#generate")
    desk.page.wait_for_function(
        "() => document.querySelector('.line .words').innerText.includes('generating the source')",
        timeout=PATIENCE,
    )
    desk.fader("snowy").focus()
    desk.page.keyboard.press("PageUp")
    desk.settled()
    assert desk.pixels(0) != old and desk.value("snowy") == pytest.approx(1.25)


def test_the_dice_can_be_thrown_twice(desk: Desk) -> None:
    desk.page.click("#dice")
    desk.page.wait_for_selector(".line .stop", timeout=PATIENCE)
    first = desk.page.locator("#seed input").input_value()
    desk.page.click("#dice")
    desk.page.wait_for_function(
        "(old) => document.querySelector('#seed input').value !== old", arg=first, timeout=PATIENCE
    )
    seed = desk.page.locator("#seed input").input_value()
    desk.settled()
    desk.page.locator(".history .shot.on").wait_for(timeout=PATIENCE)
    assert desk.page.locator("#seed input").input_value() == seed
    held = desk.page.evaluate("() => JSON.parse(sessionStorage.getItem('p2p')).source.seed")
    assert str(held) == seed, "the picture is that of the second throw"


def test_no_stale_picture_stays_after_stop(desk: Desk) -> None:
    picture = desk.pixels(1)
    desk.page.locator("#steps input").fill("100")
    desk.page.click("#generate")
    desk.page.wait_for_function(
        "() => !/\\.png$/.test(document.querySelectorAll('#picture img')[1].src)", timeout=PATIENCE
    )
    desk.page.click(".line .stop")
    desk.wait_for("stopped")
    assert desk.pixels(1) == picture
    assert desk.page.locator(".line .next").is_visible(), "the edit can still be the next source"


def test_stop_stops(desk: Desk) -> None:
    desk.page.locator("#steps input").fill("200")
    desk.page.click("#generate")
    desk.page.wait_for_selector(".line .stop", timeout=PATIENCE)
    desk.page.click(".line .stop")
    assert "Stopped" in desk.wait_for("stopped")


def test_windows_presets_and_region(desk: Desk) -> None:
    before = desk.runs()
    desk.fader("hill").focus()
    desk.page.keyboard.press("PageUp")  # an edit that no other page has made
    desk.wait_for_new(before)
    before = desk.runs()
    desk.page.get_by_role("button", name="balanced").click()
    line = desk.wait_for_new(before)
    assert 0 < reused(line)[2] < STEPS
    assert desk.page.locator(".cells .new").count() == reused(line)[0]

    before = desk.runs()
    desk.page.locator(".region .chip").nth(2).click()
    line = desk.wait_for_new(before)
    assert "region covers" in line
    after = desk.pixels(1)
    shown = desk.page.locator("#picture img").nth(1).get_attribute("src")
    desk.page.locator(".region .show").check()
    desk.page.wait_for_function(
        "(old) => document.querySelectorAll('#picture img')[1].src !== old", arg=shown, timeout=PATIENCE
    )
    assert desk.pixels(1) != after


def test_clicking_a_word_shows_where_it_looks(desk: Desk) -> None:
    desk.page.locator(".fader:not(.picked) .word").nth(1).click()
    desk.page.wait_for_function(
        "() => document.querySelectorAll('.look .pair img[src]').length === 2", timeout=PATIENCE
    )
    assert "Where" in desk.page.locator(".look .view h2").inner_text()


def marked(desk: Desk) -> list[int]:
    """The examples that are marked as what the page shows."""
    every = desk.page.locator("#examples .example").all()
    return [n for n, button in enumerate(every) if "on" in (button.get_attribute("class") or "").split()]


def test_every_example_and_the_way_back(desk: Desk) -> None:
    for n in range(1, desk.page.locator("#examples .example").count()):
        before = desk.runs()
        desk.page.locator("#examples .example").nth(n).click()
        desk.wait_for_new(before)
        assert desk.pixels(0) != desk.pixels(1), f"example {n} changes nothing"
        assert marked(desk) == [n]
    before = desk.runs()
    desk.page.locator(".shot").first.click()
    assert reused(desk.wait_for_new(before)) == (0, STEPS, STEPS)
    assert marked(desk) == [], "what is shown is an earlier edit"
    before = desk.runs()
    desk.page.locator("#examples .example").nth(1).click()
    desk.wait_for_new(before)
    assert marked(desk) == [1]
    desk.page.locator("#edit-prompt textarea").press_sequentially(" s")
    desk.page.wait_for_function("() => !document.querySelector('#examples .example.on')", timeout=PATIENCE)


def test_bad_settings_are_a_sentence_in_the_page(desk: Desk) -> None:
    desk.page.locator("#steps input").fill("0")
    desk.page.click("#generate")
    assert "whole number" in desk.wait_for("error")
    desk.page.locator("#steps input").fill(str(STEPS))
    desk.page.click("#generate")
    desk.wait_for("done")


def test_odd_prompts_are_only_text(desk: Desk) -> None:
    odd = 'a <b>red</b> ${alert(1)} {{value}} "house" \U0001f3e0 <img src=x onerror=alert(1)>'
    before = desk.runs()
    desk.edit_prompt(odd)
    desk.wait_for_new(before)
    words = desk.page.locator(".fader .word").all_inner_texts()
    assert words[0] == "a" and any("alert(1)" in word for word in words)
    assert desk.page.locator("#desk b, #desk img, #chips img").count() == 0
    desk.edit_prompt(" ".join(["castle"] * 90))
    desk.page.wait_for_selector(".fader.cut", timeout=PATIENCE)
    assert "fell off" in desk.page.locator("#chips").inner_text()


@pytest.mark.parametrize("width, dark", [(1440, False), (390, True)])
def test_fits_the_screen(
    chromium: Any, app: tuple[str, float], tmp_path: Path, width: int, dark: bool
) -> None:
    url = app[0] + ("?__theme=dark" if dark else "")
    desk = Desk(chromium, url, viewport={"width": width, "height": 900 if width > 1000 else 844})
    sizes = desk.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1]
    if width > 1000:  # the main loop needs no scrolling
        for part in ("#generate", "#examples", "#picture", "#line", "#desk", "#hold"):
            box = desk.page.locator(part).bounding_box()
            assert box["y"] + box["height"] <= 900, part
    colour = desk.page.evaluate("() => getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark
    desk.close()


def test_closing_the_tab_frees_what_it_held(chromium: Any, app: tuple[str, float], folder: Path) -> None:
    def held_by_visitors() -> set[Path]:  # os.walk passes over a folder that goes while it looks
        found = (Path(at, name) for at, names, _ in os.walk(folder) for name in names)
        return {path for path in found if path.name.startswith("p2p-")}

    before = held_by_visitors()
    desk = Desk(chromium, app[0])
    held = held_by_visitors() - before
    assert len(held) == 1
    desk.close()
    for _ in range(100):
        if not any(path.exists() for path in held):
            break
        time.sleep(0.1)
    assert not any(path.exists() for path in held)
