"""What training stages share: a clock that survives resumes, a log, checkpoints, gradients by all cores."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Run:
    """One stage's folder: a JSON-lines log, a checkpoint, and the minutes spent over all resumes."""

    def __init__(self, folder: Path, stage: str, minutes: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.stage, self.minutes = folder, stage, minutes
        self.log_file = folder / f"{stage}.jsonl"
        self.checkpoint = folder / f"{stage}.pt"
        self.step = self.samples = 0
        self.before = 0.0  # minutes spent in earlier runs
        self._begun = time.monotonic()

    def begin(self) -> None:
        """Training starts now: what was drawn and read before it takes nothing of its minutes."""
        self._begun = time.monotonic()

    @property
    def spent(self) -> float:
        return self.before + (time.monotonic() - self._begun) / 60

    @property
    def progress(self) -> float:
        """0..1 of the minutes given: learning rates follow it."""
        return min(1.0, self.spent / self.minutes)

    @property
    def done(self) -> bool:
        """Whether an earlier run came to the end of the minutes given now."""
        if not self.log_file.exists():
            return False
        last = json.loads(self.log_file.read_text().splitlines()[-1])
        return bool(last.get("done")) and last["minutes"] >= round(self.minutes, 2)  # as the log has them

    def log(self, **values: Any) -> None:
        line = {"minutes": round(self.spent, 2), "step": self.step, "samples": self.samples, **values}
        with self.log_file.open("a") as f:
            f.write(json.dumps(line) + "\n")
        print(self.stage, line, flush=True)

    def save(self, state: dict[str, Any]) -> None:
        """Written aside and moved, so that a stop never leaves half a checkpoint."""
        aside = self.checkpoint.with_suffix(".tmp")
        torch.save({**state, "step": self.step, "samples": self.samples, "minutes": self.spent}, aside)
        aside.replace(self.checkpoint)

    def resume(self) -> dict[str, Any] | None:
        """The last checkpoint, if there is one; the clock and counters go on from it."""
        if not self.checkpoint.exists():
            return None
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.step, self.samples, self.before = state["step"], state["samples"], state["minutes"]
        self._begun = time.monotonic()
        self.log(resumed=True)
        return state


class Lanes:
    """Gradients of a batch's parts, on as many lanes as there are cores, one thread each.

    A lane takes the next part when it is free, so other work on a core delays the part on that core only.
    Two threads that share every layer wait for each other in every layer instead, and are slower even on
    quiet cores. On a GPU there is one lane.
    """

    def __init__(self, device: torch.device) -> None:
        self.count = torch.get_num_threads() if device.type == "cpu" else 1
        self.pool = ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(1,))

    def gradients(
        self, parameters: Sequence[Tensor], losses: Callable[..., tuple[Tensor, Any]], parts: Sequence[tuple]
    ) -> list[Any]:
        """Set every parameter's `grad` to the mean over the parts; return what `losses` reported of each.

        losses: called with a part's values; returns the loss and what to report.
        """

        def one(part: tuple) -> tuple[Sequence[Tensor | None], Any]:
            loss, report = losses(*part)
            return torch.autograd.grad(loss, parameters, allow_unused=True), report

        found = list(self.pool.map(one, parts))
        for i, parameter in enumerate(parameters):
            grads = [grads[i] for grads, _ in found if grads[i] is not None]
            parameter.grad = torch.stack(grads).sum(0) / len(parts) if grads else None
        return [report for _, report in found]


def rate(progress: float, step: int, peak: float, *, warm: int = 150, hold: float = 0.55) -> float:
    """Learning rate: warm up, stay at the peak for `hold` of the run, then a cosine down to 2 %."""
    if progress < hold:
        share = 1.0
    else:
        share = 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * (progress - hold) / (1 - hold)))
    return peak * share * min(1.0, (step + 1) / warm)


def as_float(pictures: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return pictures.float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in dB; values in -1..1."""
    error = ((a - b) ** 2).mean((1, 2, 3)).clamp_min(1e-10)
    return float((10 * torch.log10(4 / error)).mean())


def autocast(device: torch.device, wanted: bool) -> torch.autocast:
    """bfloat16 where it is wanted: on GPUs, and on CPUs with matrix units for it (AMX)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
