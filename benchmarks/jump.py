"""What the first touch of a fader costs a real picture: `python -m benchmarks.jump`.

At weights of 1 an edit with equal prompts is its source, whatever the method of inversion. Just beside 1 the
model runs. Drawings are inverted by each method, and one word's fader is moved around 1: the PSNR of the edit
to its source. A method without a jump goes to the source continuously. Writes docs/jump.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from p2p_core import Edit, PromptToPrompt
from storybook.captions import caption
from storybook.draw import render

from .measures import psnr
from .pages import write_page
from .tasks import by_source, tasks

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("direct", "aligned", "null_text", "negative_prompt", "ddim")
WEIGHTS = (0.5, 0.9, 0.99, 0.9999, 1.0001, 1.01, 1.1, 1.5)
WINDOWS = {"usual": (0.8, 0.4), "whole": (1.0, 1.0)}  # of cross- and self-attention
HEAD = """# The first touch of a fader

Made by `python -m benchmarks.jump --pictures {pictures} --steps {steps} --guidance {guidance:g}
--model {model}`; the same command gives this page again. Drawings, inverted; the fader of their subject
stands at c and the prompts are equal. PSNR of the edit to its source, dB: at c = 1 it is the source
itself. *Windows*: of the injection, usual (cross 0.8, self 0.4) or whole.

"""


def measure(p2p: PromptToPrompt, pictures: int, run: dict[str, Any]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, float], list[float]] = {}
    for first, *_ in by_source(tasks(pictures)):
        drawing, prompt = render(first.source, first.layout), caption(first.source)
        for method in METHODS:
            source = p2p.invert(drawing, prompt, method=method, **run)
            before = np.asarray(source.image)
            keys, edits = [], []
            for name, (cross, self_) in WINDOWS.items():
                for c in WEIGHTS:
                    keys.append((method, name, c))
                    weights = {first.source.subject: c}
                    edits.append(Edit(prompt, cross_steps=cross, self_steps=self_, weights=weights))
            for key, result in zip(keys, p2p.edit_many(source, edits), strict=True):
                found.setdefault(key, []).append(psnr(before, np.asarray(result.image)))
            p2p.forget(source)
    return [
        {"method": method, "windows": name, "c": c, "psnr": round(float(np.mean(values)), 2)}
        for (method, name, c), values in found.items()
    ]


def page(result: dict[str, Any]) -> str:
    """The Markdown page."""
    text = HEAD.format(**result["settings"])
    text += f"| method | windows | {' | '.join(f'c = {c:g}' for c in WEIGHTS)} |\n"
    text += f"|---|---|{'--:|' * len(WEIGHTS)}\n"
    for method in METHODS:
        for name in WINDOWS:
            mine = [r["psnr"] for r in result["rows"] if (r["method"], r["windows"]) == (method, name)]
            text += f"| {method} | {name} | {' | '.join(f'{value:.1f}' for value in mine)} |\n"
    return text


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--model", default="storybook-base", help="one that runs an unconditional row")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for jump.*")
    args = parser.parse_args(argv)

    p2p = PromptToPrompt.from_pretrained(args.model)
    p2p.set_progress_bar_config(disable=True)
    settings = {name: getattr(args, name) for name in ("pictures", "steps", "guidance", "model")}
    rows = measure(p2p, args.pictures, {"steps": args.steps, "guidance_scale": args.guidance})
    result = {"settings": settings, "rows": rows}
    write_page(args.out, "jump", result, page(result))


if __name__ == "__main__":
    main()
