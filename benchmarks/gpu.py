"""Everything that wants a GPU, in one command:  python -m benchmarks.gpu [--out docs/gpu] [--models ...]

The tests that a CPU skips, then speed, memory and equality of every model, as JSON and Markdown in one
folder. A part that fails is reported and the others go on; the exit status says whether all went well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from .models import NAMES

TESTS = ("tests/test_runs.py", "tests/test_tiers.py", "tests/test_paper.py", "tests/test_families.py")


def commands(out: Path, models: tuple[str, ...]) -> list[list[str]]:
    """What is run, in order."""
    python = [sys.executable, "-m"]
    parts = [[*python, "pytest", *TESTS]]
    for what in ("speed", "memory", "equality"):
        for model in models:
            steps = ["--steps", "50"] if what == "memory" else []
            file = str(out / f"{what}.json")
            parts.append([*python, f"benchmarks.{what}", "--model", model, *steps, "--out", file])
    return parts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="All that wants a GPU.")
    parser.add_argument("--out", type=Path, default=Path("docs/gpu"))
    parser.add_argument("--models", nargs="*", choices=NAMES, default=NAMES)
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        sys.exit(
            "torch finds no CUDA device; on a CPU run benchmarks.speed, .memory and .equality by themselves."
        )
    failed = []
    for command in commands(args.out, tuple(args.models)):
        line = " ".join(command[1:])
        print(f"\n$ python {line}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(line)
    if failed:
        sys.exit("Failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
