"""An edit by the app's default against thirty guided steps: `python -m benchmarks.editions [--first FOLDER]`.

Decoding included, in interleaved rounds of one process. FOLDER is a model of the first edition, of 128 x 128
pixels; without one storybook-base, which has the same UNet, stands for it. Writes docs/editions.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from p2p_app.examples import STEPS
from p2p_core import Edit, PromptToPrompt

ROOT = Path(__file__).resolve().parent.parent
PROMPT, TARGET = "a red house on a snowy hill at night", "a red castle on a snowy hill at night"
FIRST_STEPS = 30
PAGE = """# The bundled model's editions

Made by `python -m benchmarks.editions`: one edit, every step of it computed, decoding included, {rounds}
rounds of one process on {cores} cores, torch {torch}.

| what | size | steps | seconds |
|---|--:|--:|--:|
{rows}
The default takes **{ratio:.2f}** of the first one's time, the median of the rounds' ratios.
"""


class Case:
    """A model with a source, of which an edit is made again and again, never from what is known."""

    def __init__(self, name: str, steps: int) -> None:
        self.p2p, self.name, self.steps = PromptToPrompt.from_pretrained(name), Path(name).name, steps
        self.p2p.set_progress_bar_config(disable=True)
        self.source = self.p2p.generate(PROMPT, seed=3, steps=steps, guidance_scale=5.0)
        self.seconds: list[float] = []

    def run(self, number: int) -> None:
        edit = Edit(TARGET, weights={"snowy": 1 + number / 1000})  # a fader that was never there
        begun = time.perf_counter()
        result = self.p2p.edit(self.source, edit)
        self.seconds.append(time.perf_counter() - begun)
        if result.steps_computed != self.steps:
            raise RuntimeError(f"{result.steps_computed} of {self.steps} steps were computed; expected all.")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", default="storybook-base", help="folder of a model of the first edition")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    args = parser.parse_args(argv)
    cases = [Case("storybook", STEPS), Case("storybook-base", STEPS), Case(args.first, FIRST_STEPS)]
    for number in range(args.rounds + 1):
        for case in cases if number % 2 else cases[::-1]:
            case.run(number)
    for case in cases:
        case.seconds.pop(0)  # which warms up
    ratios = [new / first for new, first in zip(cases[0].seconds, cases[-1].seconds, strict=True)]
    rows = [
        {
            "model": case.name,
            "pixels": case.source.image.width,
            "steps": case.steps,
            "seconds": round(statistics.median(case.seconds), 3),
        }
        for case in cases
    ]
    result = {"ratio": round(statistics.median(ratios), 3), "rows": rows, "rounds": args.rounds}
    (args.out / "editions.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = "".join(
        f"| {row['model']} | {row['pixels']} x {row['pixels']} | {row['steps']} | {row['seconds']:.2f} |\n"
        for row in rows
    )
    text = PAGE.format(
        rounds=args.rounds, cores=os.cpu_count(), torch=torch.__version__, rows=lines, ratio=result["ratio"]
    )
    (args.out / "editions.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
