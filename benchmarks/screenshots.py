"""The pictures of the app in docs/screenshots: `python -m benchmarks.screenshots`. Needs Chromium.

Starts `app.py` with the bundled model, works in it for a minute as somebody would, and takes the page at the
sizes of a desktop, a tablet and a phone, light and dark.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.app_fixtures import browser, served

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120_000
SIZES = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}
EXAMPLES = ("red → blue", "watercolor", "only the boat", "hill → desert")
EDITS = (
    "a red castle on a hill",
    "a red castle on a hill at sunset",
    "a red castle on a hill at night, starry",
)
PRESET = "a hint"
FADERS = {"starry": 1.7, "castle": 1.3, "hill": 0.4}
PICKED = "castle"
LATER = 4  # steps that its own window is longer


def runs(page: Any) -> int:
    return int(page.get_attribute(".line", "data-runs"))


def after(page: Any, act: Any) -> None:
    """Do it, and wait until the picture that follows from it is there and nothing runs any more."""
    before = runs(page)
    act()
    page.wait_for_function(
        "(n) => { const { kind, runs } = document.querySelector('.line').dataset;"
        " return kind === 'done' && runs > n; }",
        arg=before,
        timeout=PATIENCE,
    )
    settled(page)


def settled(page: Any) -> None:
    page.evaluate(
        """async () => {
            const line = document.querySelector('.line');
            for (let quiet = 0; quiet < 12; quiet = line.dataset.kind === 'busy' ? 0 : quiet + 1)
                await new Promise((done) => setTimeout(done, 100));
        }"""
    )


def work(page: Any) -> None:
    """A few edits, so that the history, the desk and the maps show something."""
    page.wait_for_selector(".pill.ready", timeout=PATIENCE)
    page.wait_for_selector('.line[data-kind="done"]', timeout=PATIENCE)
    settled(page)
    page.click(".board.guide .close")
    for title in EXAMPLES:
        button = page.locator("#examples .example").filter(has=page.get_by_text(title, exact=True))
        after(page, button.click)
    after(page, page.get_by_role("button", name=PRESET, exact=True).click)
    prompt = page.locator("#edit-prompt :is(textarea, input)").first
    for text in EDITS:
        prompt.fill(text)
        after(page, lambda: prompt.press("Enter"))
    for word, value in FADERS.items():
        fader = page.get_by_role("slider", name=f'weight of "{word}"', exact=True)
        after(page, lambda fader=fader, value=value: fader.fill(str(value)))
    after(page, lambda: page.locator(".timeline .more").select_option(label=PICKED))
    end = page.locator(".lane.word input.end")
    after(page, lambda: end.fill(str(int(end.input_value()) + LATER)))
    word = page.locator(".fader .word").get_by_text(PICKED, exact=True)
    if word.get_attribute("aria-pressed") != "true":
        word.click()
    page.wait_for_selector(".look .view:not([hidden])", timeout=PATIENCE)
    settled(page)
    page.wait_for_selector(".look .again:not([hidden]), .look .after:not([hidden])", timeout=PATIENCE)
    page.evaluate("() => document.querySelector('.look .again:not([hidden])')?.click()")
    page.wait_for_selector(".look .after:not([hidden]) img[src]", timeout=PATIENCE)
    settled(page)


def take(page: Any, path: Path, size: tuple[int, int], dark: bool) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.mouse.move(0, 0)
    page.evaluate(
        """([dark, phone]) => {
            document.activeElement.blur();
            document.body.classList.toggle('dark', dark);
            document.querySelector('.faders').scrollLeft = 1e6;
            if (phone) document.querySelector('#desk-card').scrollIntoView({ block: 'end' });
            else window.scrollTo(0, 0);
        }""",
        [dark, size[0] < 761],
    )
    page.wait_for_timeout(600)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # every third of the 256 levels: nobody sees it, and the file is a third smaller
    Image.fromarray((np.round(pixels / 3) * 3).astype(np.uint8)).save(path, optimize=True)
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots", metavar="FOLDER")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    with served() as app, browser() as chromium:
        page = chromium.new_page(viewport=dict(zip(("width", "height"), SIZES["desktop"], strict=True)))
        page.goto(app.url)
        work(page)
        for name, size in SIZES.items():
            for dark in (False, True):
                take(page, out / f"{name}-{'dark' if dark else 'light'}.png", size, dark)


if __name__ == "__main__":
    main()
