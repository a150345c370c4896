"""How the app feels, in numbers: `python -m benchmarks.app`. Needs Chromium and requirements-dev.txt.

Starts `app.py` with the bundled model and drives it in headless Chromium: from a key press on a fader to
the first changed frame, frames and finished pictures a second while a fader is dragged, the page's weight,
and the server's memory after many edits. Writes docs/app.json and docs/app.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2p_app.examples import STEPS
from tests.app_fixtures import browser, served

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120_000
PRESSES_A_WORD = 20  # from 1 to 2 by 0.05
WATCH = """() => {
    const image = document.querySelectorAll('#picture img')[1];
    window.frames_ = [];
    new MutationObserver(() => window.frames_.push(performance.now()))
        .observe(image, { attributes: true, attributeFilter: ['src'] });
    const pressed = () => { window.pressed_ = performance.now(); window.frames_ = []; };
    window.addEventListener('keydown', pressed, true);
}"""


def settled(page: Any) -> None:
    """Wait until the run that the last act asked for is done: the line holds the time of what it answers."""
    page.wait_for_function(
        """() => {
            const { kind, at } = document.querySelector('.line').dataset;
            if (document.querySelector('[data-pending]')) return false;
            return kind === 'done' && Number(at) >= window.p2pActed();
        }""",
        timeout=PATIENCE,
    )


class Weight:
    """Bytes that a page has received, as they came over the wire: chunked and compressed responses too."""

    def __init__(self, page: Any) -> None:
        self._bytes: dict[str, float] = {}
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.dataReceived", self._some)
        network.on("Network.loadingFinished", self._all)

    def _some(self, event: dict[str, Any]) -> None:
        name = event["requestId"]
        self._bytes[name] = self._bytes.get(name, 0) + (event["encodedDataLength"] or event["dataLength"])

    def _all(self, event: dict[str, Any]) -> None:
        self._bytes[event["requestId"]] = event["encodedDataLength"]

    @property
    def total(self) -> int:
        return round(sum(self._bytes.values()))


def presses(page: Any, count: int) -> list[float]:
    """Milliseconds from a key press on a fader to the first changed frame.

    Each press makes a setting that was never seen, so that no step of it after the first is known: one word
    after the other goes from 1 to 2 and stays there.
    """
    faders = page.locator(".fader input:not([disabled])")
    if count > PRESSES_A_WORD * faders.count():
        raise ValueError(f"At most {PRESSES_A_WORD * faders.count()} presses are new; got {count}.")
    waits = []
    for n in range(count):
        if n % PRESSES_A_WORD == 0:
            faders.nth(n // PRESSES_A_WORD).focus()
        page.keyboard.press("ArrowUp")
        page.wait_for_function("() => window.frames_.length > 0", timeout=PATIENCE)
        waits.append(page.evaluate("() => window.frames_[0] - window.pressed_"))
        settled(page)
        computed = int(re.search(r"recomputed\s+(\d+)", page.locator(".line .text").inner_text())[1])
        if not computed:
            raise RuntimeError(f"Press {n} was known already; its time would say nothing.")
    return waits


def dragging(page: Any, seconds: float) -> tuple[float, float]:
    """Frames, and finished pictures, a second while a fader is dragged up and down."""
    box = page.locator(".fader input:not([disabled])").last.bounding_box()
    x, top, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    page.mouse.move(x, top + height * 0.27)
    page.mouse.down()
    runs = "() => Number(document.querySelector('.line').dataset.runs)"
    page.evaluate("() => { window.frames_ = []; }")
    before = page.evaluate(runs)
    begun, n = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        n += 1
        page.mouse.move(x, top + height * (0.2 + 0.6 * abs((n % 40) / 20 - 1)))
        page.wait_for_timeout(16)
    took = time.monotonic() - begun
    frames, finished = page.evaluate("() => window.frames_.length"), page.evaluate(runs) - before
    page.mouse.up()
    settled(page)
    return frames / took, finished / took


def memory(pid: int) -> float:
    """Resident megabytes of a process (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    raise OSError(f"No VmRSS of process {pid}.")


def many_edits(page: Any, pid: int, count: int) -> list[tuple[int, float]]:
    """(edits so far, megabytes) while edits are made of which no two are the same."""
    colors = ("red", "blue", "green", "yellow", "pink", "purple", "orange", "white")
    things = ("castle", "house", "tree", "car", "cat", "dog", "boat", "cake", "rocket", "mushroom")
    places = ("hill", "snowy hill", "beach")
    prompts = [f"a {c} {t} on a {p}" for p, t, c in itertools.product(places, things, colors)]
    if count > len(prompts):
        raise ValueError(f"At most {len(prompts)} edits are new; got {count}.")
    found = [(0, memory(pid))]
    box = page.locator("#edit-prompt textarea, #edit-prompt input").first
    for n, prompt in enumerate(prompts[:count], 1):
        box.fill(prompt)
        box.press("Enter")
        settled(page)
        if n % max(1, count // 8) == 0:
            found.append((n, memory(pid)))
            print(f"{n} edits, {found[-1][1]:.0f} MB", flush=True)
    return found


def page_text(result: dict[str, Any]) -> str:
    """The Markdown page."""
    keys, held = result["key to first changed frame, ms"], result["server memory, MB"]
    rows = [
        ("key press to first changed frame, median", f"{keys['median']:.0f} ms"),
        (f"the same, 95th percentile of {keys['presses']} presses", f"{keys['95th']:.0f} ms"),
        ("frames a second while dragging a fader", f"{result['frames a second while dragging']:.1f}"),
        ("finished pictures among them", f"{result['finished pictures a second']:.1f}"),
        ("page weight, all that came until the first picture stood", f"{result['page weight, MB']:.1f} MB"),
        ("until the page is served", f"{result['page served after, s']:.1f} s"),
        (f"server's memory after {held[0][0]} edits", f"{held[0][1]:.0f} MB"),
        (f"after {held[len(held) // 2][0]}", f"{held[len(held) // 2][1]:.0f} MB"),
        (f"after {held[-1][0]}", f"{held[-1][1]:.0f} MB"),
    ]
    text = (
        "# How the app feels\n\n"
        f"`python -m benchmarks.app`, the bundled model, {STEPS} steps, headless Chromium "
    )
    text += f"and the server on the same {result['cores']} cores.\n\n| what | measured |\n|---|--:|\n"
    return text + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main(argv: Sequence[str] | None = None) -> None:
    import os

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=50)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0, help="of dragging")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    args = parser.parse_args(argv)
    with served() as (url, waited, pid), browser() as chromium:
        page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
        weight = Weight(page)
        page.goto(url)
        page.wait_for_selector(".pill.ready", timeout=PATIENCE)
        page.wait_for_selector('.line[data-kind="done"]', timeout=PATIENCE)
        settled(page)
        loaded = weight.total
        page.evaluate("() => document.querySelector('.board.guide .close')?.click()")
        page.evaluate(WATCH)
        waits = presses(page, args.presses)
        frames, finished = dragging(page, args.seconds)
        held = many_edits(page, pid, args.edits)
    result = {
        "key to first changed frame, ms": {
            "presses": len(waits),
            "median": round(statistics.median(waits), 1),
            "95th": round(sorted(waits)[max(0, round(0.95 * len(waits)) - 1)], 1),
        },
        "frames a second while dragging": round(frames, 1),
        "finished pictures a second": round(finished, 1),
        "page weight, MB": round(loaded / 1e6, 2),
        "page served after, s": round(waited, 1),
        "server memory, MB": [[n, round(mb)] for n, mb in held],
        "cores": os.cpu_count(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "app.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "app.md").write_text(page_text(result))
    print(page_text(result))


if __name__ == "__main__":
    main()
