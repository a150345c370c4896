"""Everything that wants a GPU, in one command:

    python -m benchmarks.gpu [--out docs/gpu] [--models ...] [--budget-s 1500]

Speed and memory of Stable Diffusion 1.5, then of SDXL, then the tests that a CPU skips, equality, and the
other models: what matters most first. Every part writes what it has as it goes, so a run that is cut off
leaves the rest. A part that would not fit into what is left of the budget is skipped and named. A part that
fails is reported and the others go on; the exit status says whether all went well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from .models import NAMES

ORDER = ("sd15", "sdxl", "storybook", "sd21")


@dataclass(frozen=True)
class Part:
    """A command, and about how long it takes on an H100."""

    command: tuple[str, ...]
    seconds: int

    @property
    def line(self) -> str:
        return "python " + " ".join(self.command[1:])


# about how many seconds on an H100, loading included
SPEED = {"storybook": 90, "sd15": 200, "sd21": 300, "sdxl": 420}
MEMORY = {"storybook": 120, "sd15": 200, "sd21": 220, "sdxl": 320}
EQUALITY = {"storybook": 90, "sd15": 200, "sd21": 300, "sdxl": 500}


def parts(out: Path, models: tuple[str, ...] = NAMES) -> list[Part]:
    """What is run, in order."""
    python = (sys.executable, "-m")

    def measured(what: str, model: str, seconds: int) -> Part:
        steps = {"speed": None, "memory": "30" if model == "sdxl" else "50", "equality": "20"}[what]
        more = ("--steps", steps) if steps else ()
        file = str(out / f"{what}.json")
        return Part((*python, f"benchmarks.{what}", "--model", model, *more, "--out", file), seconds)

    def both(model: str) -> list[Part]:
        return [measured("speed", model, SPEED[model]), measured("memory", model, MEMORY[model])]

    chosen = [model for model in ORDER if model in models]
    first, rest = [m for m in chosen if m in ORDER[:2]], [m for m in chosen if m not in ORDER[:2]]
    tests = Part((*python, "pytest", "-m", "gpu"), 60)
    equality = [measured("equality", m, EQUALITY[m]) for m in sorted(chosen, key=EQUALITY.__getitem__)]
    return [
        *(part for model in first for part in both(model)),
        tests,
        *equality[:1],
        *(part for model in rest for part in both(model)),
        *equality[1:],
    ]


def main(argv: list[str] | None = None) -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="All that wants a GPU.")
    parser.add_argument("--out", type=Path, default=Path("docs/gpu"))
    parser.add_argument("--models", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--budget-s", type=int, help="seconds in all; what will not fit is skipped")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        sys.exit(
            "torch finds no CUDA device; on a CPU run benchmarks.speed, .memory and .equality by themselves."
        )
    failed, skipped = run(parts(args.out, tuple(args.models)), args.budget_s)
    if skipped:
        print("Skipped for want of time:\n" + "\n".join(skipped), flush=True)
    if failed:
        sys.exit("Failed:\n" + "\n".join(failed))


def run(todo: list[Part], budget: float | None) -> tuple[list[str], list[str]]:
    """Run what fits. -> lines of what failed, and of what was skipped"""
    begun, failed, skipped = time.monotonic(), [], []
    for part in todo:
        left = None if budget is None else budget - (time.monotonic() - begun)
        if left is not None and part.seconds > left:
            skipped.append(part.line)
            continue
        print(f"\n$ {part.line}", flush=True)
        try:
            code = subprocess.run(part.command, check=False, timeout=left).returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            failed.append(part.line)
    return failed, skipped


if __name__ == "__main__":
    main()
