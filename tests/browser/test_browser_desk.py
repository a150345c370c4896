"""The whole mixing desk in headless Chromium: what issue by issue a user does with it, by mouse and keys."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..app_fixtures import STEPS
from .test_browser import PATIENCE, Desk, reused

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def desk(chromium: Any, app: tuple[str, float]) -> Iterator[Desk]:
    desk = Desk(chromium, app[0])
    yield desk
    desk.close()


def tab(desk: Desk, name: str) -> None:
    desk.page.get_by_role("tab", name=name).click()


def saved(desk: Desk) -> Path:
    with desk.page.expect_download(timeout=PATIENCE) as download:
        desk.page.click("#download")
    return Path(download.value.path())


# --- the desk -------------------------------------------------------------------------------------------


def test_mute_solo_and_all_to_one(desk: Desk) -> None:
    word = desk.page.locator(".fader .word").nth(1).inner_text()
    first = desk.pixels(1)
    before = desk.runs()
    desk.page.get_by_role("button", name=f'mute "{word}"').click()
    desk.wait_for_new(before)
    assert desk.value(word) == 1, "the fader stays where it is"
    assert desk.page.locator(".fader.silent").count() == 1 and desk.pixels(1) != first
    before = desk.runs()
    desk.page.get_by_role("button", name=f'solo "{word}"').click()
    desk.wait_for_new(before)
    assert desk.page.locator(".fader.silent").count() == desk.page.locator(".fader .mute").count()
    before = desk.runs()
    desk.page.keyboard.press("Escape")
    desk.page.get_by_role("button", name="all to 1").click()
    line = desk.wait_for_new(before)
    assert reused(line)[0] == 0 and desk.pixels(1) == first
    assert desk.page.locator(".fader.silent").count() == 0


def test_a_fader_keeps_its_value_with_its_word(desk: Desk) -> None:
    desk.fader("snowy").focus()
    desk.page.keyboard.press("PageUp")
    desk.edit_prompt("a red castle and a tree on a snowy hill")
    desk.page.wait_for_function("() => document.querySelectorAll('.fader').length === 10", timeout=PATIENCE)
    desk.settled()
    assert desk.value("snowy") == pytest.approx(1.25)
    desk.edit_prompt("a red castle on a hill")
    desk.page.wait_for_function("() => document.querySelectorAll('.fader').length === 6", timeout=PATIENCE)
    desk.edit_prompt("a red castle on a snowy hill")
    desk.page.wait_for_function("() => document.querySelectorAll('.fader').length === 7", timeout=PATIENCE)
    desk.settled()
    assert desk.value("snowy") == pytest.approx(1.25), "it comes back with its word"


# --- timeline -------------------------------------------------------------------------------------------


def test_windows_of_one_word_and_of_the_faders(desk: Desk) -> None:
    before = desk.runs()
    desk.page.locator(".timeline .more").select_option(label="castle")
    desk.wait_for_new(before)
    lane = desk.page.locator(".lane.word")
    assert lane.locator(".label").inner_text() == "castle"
    before = desk.runs()
    lane.locator("input.end").focus()
    for _ in range(2):
        desk.page.keyboard.press("ArrowLeft")
    desk.wait_for_new(before)
    line = desk.settled()
    computed = reused(line)[0]
    assert 0 < computed < STEPS, "the steps before the window's end were known"
    assert desk.page.locator(".cells .new").count() == computed
    before = desk.runs()
    lane.hover()
    lane.locator(".drop").click()
    desk.wait_for_new(before)
    assert desk.page.locator(".lane.word").count() == 0
    desk.fader("snowy").focus()
    desk.page.keyboard.press("PageUp")
    desk.settled()
    loud = desk.pixels(1)
    before = desk.runs()
    desk.page.locator(".lane.weights input.end").focus()
    for _ in range(STEPS):
        desk.page.keyboard.press("ArrowLeft")
    desk.wait_for_new(before)
    desk.settled()
    assert desk.pixels(1) != loud
    assert "cover" in desk.page.locator("#chips").inner_text(), "faders that hold in no step say so"


# --- region ---------------------------------------------------------------------------------------------


def test_the_edit_has_a_guidance_of_its_own(desk: Desk) -> None:
    plain = desk.pixels(1)
    desk.page.click(".own summary")
    assert not desk.page.locator(".own .negative").is_visible(), "this model has no row for it"
    field = ".own .guidance input"
    for text in ("9", ""):
        before = desk.runs()
        desk.page.fill(field, text)
        desk.page.press(field, "Enter")
        desk.wait_for_new(before)
        desk.settled()
        assert (desk.pixels(1) == plain) is (text == ""), "an empty field is the source's"


def test_words_in_words_out_and_a_soft_edge(desk: Desk) -> None:
    chip = desk.page.locator('.region .chip[data-key="castle/0"]')
    before = desk.runs()
    chip.click()
    first = desk.wait_for_new(before)
    assert "region covers" in first
    inside = desk.pixels(1)
    before = desk.runs()
    desk.page.locator('.region [data-knob="soft"]').fill("0.2")
    desk.wait_for_new(before)
    desk.settled()
    assert desk.pixels(1) != inside
    out = desk.page.locator('.region .chip[data-key="snowy/0"]')
    for state in ("in", "out", ""):
        before = desk.runs()
        out.click()
        desk.wait_for_new(before)
        assert out.get_attribute("data-state") == state


def test_painting_a_region(desk: Desk) -> None:
    desk.page.click(".region .paint")
    canvas = desk.page.locator("#painter canvas").first
    canvas.wait_for(timeout=PATIENCE)
    before = desk.runs()
    for _ in range(20):  # the canvas takes strokes once it has loaded, and tells of them a little later
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        desk.page.mouse.move(x - 60, y)
        desk.page.mouse.down()
        desk.page.mouse.move(x + 60, y + 30, steps=12)
        desk.page.mouse.up()
        desk.page.click("#use-paint")
        if "Nothing is painted" not in desk.answered():
            break
    line = desk.wait_for_new(before)
    share = int(re.search(r"region covers (\d+)%", line)[1])
    assert 0 < share < 60
    assert "painted" in desk.page.locator(".region .paint").inner_text()
    desk.page.click(".region .paint")
    before = desk.runs()
    desk.page.locator("#painter canvas").first.wait_for(timeout=PATIENCE)
    desk.page.click("#close-paint")
    desk.page.locator("#close-paint").wait_for(state="hidden", timeout=PATIENCE)
    desk.page.wait_for_function(
        "(old) => document.querySelector('.line .words').innerText === old",
        arg=desk.words_of(line),
        timeout=PATIENCE,
    )
    desk.page.click(".region .paint")
    desk.page.click("#wipe-paint")
    assert "region" not in desk.wait_for_new(before)


# --- live -----------------------------------------------------------------------------------------------


def test_a_storm_of_200_inputs_ends_on_the_last_values(desk: Desk) -> None:
    word = desk.page.locator(".fader .word").nth(1).inner_text()
    before, sent = desk.runs(), len(desk.requests)
    took = desk.page.evaluate(
        """async () => {
            const begun = performance.now();
            const faders = [...document.querySelectorAll('.fader input')];
            for (let i = 0; i < 200; i++) {
                const fader = faders[i % 3];
                fader.value = -2 + (i % 81) * 0.05;
                fader.dispatchEvent(new Event('input', { bubbles: true }));
                await new Promise((done) => setTimeout(done, 8));
            }
            const end = [[0, 1], [1, -0.5], [2, 1.5]];
            for (const [n, value] of end) {
                faders[n].value = value;
                faders[n].dispatchEvent(new Event('input', { bubbles: true }));
            }
            return performance.now() - begun;
        }"""
    )
    desk.wait_for_new(before)
    desk.settled()
    posts = [url for method, url in desk.requests[sent:] if method == "POST"]
    assert len(posts) <= 2 * (took / 90 + 4), "a touch and a run each 90 ms at most, whatever comes in"
    values = [desk.page.locator(".fader input").nth(n).input_value() for n in range(3)]
    assert [float(v) for v in values] == [1, -0.5, 1.5] and desk.value(word) == -0.5
    stormy = desk.pixels(1)
    before = desk.runs()
    desk.page.get_by_role("button", name="all to 1").click()
    desk.wait_for_new(before)
    desk.fader(word).fill("-0.5")
    desk.page.locator(".fader input").nth(2).fill("1.5")
    desk.settled()
    assert desk.pixels(1) == stormy, "the same values set one by one give the same picture"


# --- explore --------------------------------------------------------------------------------------------


def explore(desk: Desk, along: str, pictures: int, down: str | None = None, rows: int = 0) -> None:
    desk.page.hover("#explore")
    desk.page.locator(".explore .x option").nth(3).wait_for(state="attached", timeout=PATIENCE)
    desk.page.locator(".explore select.x").select_option(label=along)
    if down:
        desk.page.locator(".explore select.y").select_option(label=down)
        desk.page.locator(".explore .m input").fill(str(rows))
    desk.page.locator(".explore .n input").fill(str(pictures))
    desk.page.locator(".explore .n input").press("Tab")
    desk.page.click(".explore .go")
    count = pictures * (rows or 1)
    desk.page.wait_for_function(
        "(n) => document.querySelectorAll('.explore .cell').length === n", arg=count, timeout=PATIENCE
    )


def test_a_strip_is_explored_taken_and_exported(desk: Desk) -> None:
    explore(desk, "fader of “snowy”", 5)
    captions = desk.page.locator(".explore .cell span").all_inner_texts()
    assert captions == ["-2.00", "-1.00", "+0.00", "+1.00", "+2.00"]
    for kind in ("png", "gif", "webp"):
        button = desk.page.locator(f"#sheet-{kind}")
        desk.page.wait_for_function(
            "(id) => !document.querySelector(id).disabled", arg=f"#sheet-{kind}", timeout=PATIENCE
        )
        with desk.page.expect_download(timeout=PATIENCE) as download:
            button.click()
        with Image.open(download.value.path()) as picture:
            assert picture.format == kind.upper()
            assert getattr(picture, "n_frames", 1) > 10 or kind == "png"
    before = desk.runs()
    desk.page.locator(".explore .cell").nth(4).click()
    desk.wait_for_new(before)
    assert desk.value("snowy") == 2


def test_a_grid_over_two_controls(desk: Desk) -> None:
    explore(desk, "layout window", 3, "seed", 2)
    captions = desk.page.locator(".explore .cell span").all_inner_texts()
    assert captions[0].startswith("0%") and len(set(captions)) == 6


# --- history and recipes --------------------------------------------------------------------------------


def test_compare_two_edits_and_use_one_as_the_source(desk: Desk) -> None:
    before = desk.runs()
    desk.edit_prompt("a blue castle on a snowy hill")
    desk.wait_for_new(before)
    desk.page.wait_for_function("() => document.querySelectorAll('.shot').length >= 2", timeout=PATIENCE)
    source = desk.pixels(0)
    desk.page.click(".history .compare")
    was = desk.page.locator("#picture img").first.get_attribute("src")
    desk.page.locator(".shot:not(.on)").first.click()
    desk.page.wait_for_selector(".shot.against", timeout=PATIENCE)
    desk.page.wait_for_function(
        "(old) => document.querySelector('#picture img').src !== old", arg=was, timeout=PATIENCE
    )
    assert desk.page.locator(".line .next").is_visible(), "the edit can still be the next source"
    assert desk.pixels(0) != source
    desk.page.click(".history .compare")
    desk.page.wait_for_function("() => !document.querySelector('.shot.against')", timeout=PATIENCE)
    desk.page.locator(".shot.on").click()
    desk.settled()
    edit = desk.pixels(1)
    desk.page.click(".line .next")
    desk.page.wait_for_function(
        "() => document.querySelector('#source-prompt textarea').value === 'a blue castle on a snowy hill'",
        timeout=PATIENCE,
    )
    desk.settled()
    assert desk.pixels(0) == edit


def test_a_saved_picture_dropped_back_is_the_same_pixel_for_pixel(
    desk: Desk, chromium: Any, app: tuple[str, float]
) -> None:
    desk.fader("castle").focus()
    desk.page.keyboard.press("PageUp")
    desk.page.locator('.region .chip[data-key="castle/0"]').click()
    desk.settled()
    first = saved(desk).read_bytes()
    other = Desk(chromium, app[0])
    other.page.locator("#examples .example").nth(3).click()
    other.settled()
    tab(other, "Take away")
    before = other.runs()
    other.page.locator("#bring input[type=file]").set_input_files(
        [{"name": "edit.png", "mimeType": "image/png", "buffer": first}]
    )
    other.wait_for_new(before)
    other.settled()
    second = saved(other).read_bytes()
    one, two = (Image.open(io.BytesIO(data)) for data in (first, second))
    assert one.tobytes() == two.tobytes() and one.info["p2p"] == two.info["p2p"]
    assert other.value("castle") == pytest.approx(1.25)
    other.close()


def test_the_recipe_can_be_read_and_run(desk: Desk) -> None:
    tab(desk, "Take away")
    desk.page.wait_for_function(
        "() => document.querySelector('#recipe-json').innerText.includes('p2p')", timeout=PATIENCE
    )
    assert "PromptToPrompt.from_pretrained" in desk.page.locator("#recipe-python").inner_text()
    before = desk.runs()
    desk.page.click("#paste")
    assert reused(desk.wait_for_new(before))[0] == 0


def test_loading_the_page_again_brings_all_back_and_tabs_do_not_mix(
    desk: Desk, chromium: Any, app: tuple[str, float]
) -> None:
    before = desk.runs()
    desk.edit_prompt("a green castle on a snowy hill")
    desk.wait_for_new(before)
    desk.fader("green").focus()
    desk.page.keyboard.press("PageUp")
    desk.page.get_by_role("button", name='solo "green"').click()
    desk.settled()
    shots = desk.page.locator(".shot").count()
    picture = desk.pixels(1)
    other = Desk(chromium, app[0])
    assert other.page.locator("#edit-prompt textarea, #edit-prompt input").first.input_value() != (
        "a green castle on a snowy hill"
    )
    other.close()
    desk.page.reload()
    desk.page.wait_for_selector(".pill.ready", timeout=PATIENCE)
    desk.page.wait_for_function(
        "() => document.querySelector('#edit-prompt textarea, #edit-prompt input').value.includes('green')",
        timeout=PATIENCE,
    )
    desk.settled()
    assert desk.pixels(1) == picture and desk.value("green") == pytest.approx(1.25)
    solo = desk.page.get_by_role("button", name='solo "green"')
    assert solo.get_attribute("aria-pressed") == "true"
    assert desk.page.locator(".shot").count() == shots, "so does the history"
    desk.page.locator(".shot").first.click()
    desk.settled()
    assert "castle" in desk.page.locator("#chips").inner_text() and desk.pixels(1) != picture


def test_two_tabs_run_one_after_the_other_and_are_told(
    desk: Desk, chromium: Any, app: tuple[str, float]
) -> None:
    other = Desk(chromium, app[0])
    desk.page.locator("#steps input").fill("500")
    desk.page.click("#generate")
    desk.page.wait_for_function(
        "() => document.querySelector('.line .words').innerText.includes(' of 500')", timeout=PATIENCE
    )
    other.edit_prompt("a blue castle on a snowy hill")
    other.page.wait_for_function(
        "() => document.querySelector('.line .words').innerText.includes('one run is ahead of yours')",
        timeout=PATIENCE,
    )
    desk.page.click(".line .stop")
    assert "Stopped" in desk.wait_for("stopped")
    assert reused(other.settled())[1] == STEPS and "blue" in other.page.locator("#chips").inner_text()
    other.close()


# --- attention ------------------------------------------------------------------------------------------


def test_attention_as_figures(desk: Desk) -> None:
    tab(desk, "Attention")
    desk.page.wait_for_selector("#maps-source img", timeout=PATIENCE)
    desk.page.wait_for_selector("#maps-edit img", timeout=PATIENCE)
    first = desk.page.locator("#maps-source img").get_attribute("src")
    desk.page.get_by_role("radio", name="step by step").check()
    desk.page.wait_for_function(
        "(old) => document.querySelector('#maps-source img').src !== old", arg=first, timeout=PATIENCE
    )


# --- guide and keys -------------------------------------------------------------------------------------


def test_the_first_run_walk(chromium: Any, app: tuple[str, float]) -> None:
    desk = Desk(chromium, app[0], guide=True)
    steps = desk.page.locator(".board.guide .step")
    assert steps.count() == 3 and [steps.nth(n).is_enabled() for n in range(3)] == [True, False, False]
    for n in range(3):
        desk.page.wait_for_function(
            "(n) => !document.querySelectorAll('.board.guide .step')[n].disabled", arg=n, timeout=PATIENCE
        )
        steps.nth(n).click()
        desk.page.wait_for_function(
            "(n) => document.querySelectorAll('.board.guide .done').length > n", arg=n, timeout=PATIENCE
        )
    desk.page.click(".board.guide .close")
    desk.page.reload()
    desk.page.wait_for_selector(".pill.ready", timeout=PATIENCE)
    assert not desk.page.locator(".board.guide").is_visible(), "closed is closed"
    desk.page.keyboard.press("?")
    assert desk.page.locator(".board.guide").is_visible()
    desk.close()


def test_keys(desk: Desk) -> None:
    desk.page.keyboard.press("e")
    assert desk.page.evaluate("() => !!document.activeElement.closest('#edit-prompt')")
    before = desk.runs()
    desk.page.keyboard.press("ControlOrMeta+a")
    desk.page.keyboard.type("a red tree on a snowy hill")
    desk.page.keyboard.press("Control+Enter")
    desk.wait_for_new(before)
    assert "tree" in desk.page.locator("#chips").inner_text()
    # "[" goes back from the shot that is on, and that board may be drawn after the line
    desk.page.wait_for_selector("#history .shot.on:nth-child(2)", timeout=PATIENCE)
    desk.page.evaluate("() => document.activeElement.blur()")
    before = desk.runs()
    desk.page.keyboard.press("[")
    desk.wait_for_new(before)
    assert "castle" in desk.page.locator("#chips").inner_text()


# --- anything -------------------------------------------------------------------------------------------


ODD = {
    "right to left": "מבצר אדום על גבעה",
    "emoji": "\U0001f3f0" * 40,
    "overridden": "a \u202ered\u202c castle",
    "script": "<script>window.hit=1</script> ${window.hit=1}",
    "quotes": "''\"\"``\\",
    "400 words": "word " * 400,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_any_text_harms_nothing(desk: Desk, odd: str) -> None:
    before = desk.runs()
    desk.edit_prompt(odd)
    desk.wait_for_new(before)
    assert desk.page.evaluate("() => window.hit") is None
    before = desk.runs()
    desk.edit_prompt("a blue house on a snowy hill")
    desk.wait_for_new(before)
    assert desk.page.locator(".fader").count() == 7


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_any_text_of_the_source_harms_nothing(desk: Desk, odd: str) -> None:
    desk.source_prompt(odd)
    desk.settled()
    assert desk.page.evaluate("() => window.hit") is None
    assert desk.page.locator("#desk script, #chips script, #chips img, #region img").count() == 0
    desk.edit_prompt("a blue house on a snowy hill")
    desk.settled()
    assert desk.page.locator(".fader").count() == 7 and desk.pixels(0) != desk.pixels(1)


# --- accessibility --------------------------------------------------------------------------------------


EMPTY = """() => {
    const sign = document.createElement('div');
    sign.className = 'empty';
    sign.setAttribute('aria-label', 'Empty value');
    document.querySelector('#picture').append(sign);
    const found = getComputedStyle(sign).visibility;
    sign.remove();
    return found;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, app: tuple[str, float], dark: bool) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        required = os.environ.get("P2P_REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)("axe-playwright-python is not installed")
    axe = Axe()
    desk = Desk(chromium, app[0] + ("?__theme=dark" if dark else ""))
    assert desk.page.evaluate(EMPTY) == "hidden", "Gradio's sign for an empty picture has a label and no role"
    for name in ("Explore", "Attention", "Take away"):
        tab(desk, name)
        desk.page.wait_for_function(
            "() => document.getAnimations().every((one) => one.playState !== 'running')", timeout=PATIENCE
        )
        found = axe.run(desk.page).response["violations"]
        serious = [
            (v["id"], [node["html"][:200] for node in v["nodes"]][:4])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert not serious, json.dumps(serious, indent=1)
    desk.close()


def test_faders_have_names_and_values_for_screen_readers(desk: Desk) -> None:
    for fader in desk.page.get_by_role("slider").all():
        name = fader.get_attribute("aria-label") or fader.evaluate("(e) => e.closest('label')?.innerText")
        assert name, fader.evaluate("(e) => e.outerHTML")
    assert desk.fader("castle").get_attribute("aria-valuetext") == "1.00"
