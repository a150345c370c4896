"""What the training stages share: a clock that survives resumes, a log, checkpoints, batches of renders."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .captions import training_caption
from .draw import render
from .scenes import Scene, sample


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
        return bool(last.get("done")) and last["minutes"] >= self.minutes

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


class Threads:
    """Keeps the faster number of CPU threads, looking again every minute.

    On a machine with other work, two threads that wait for each other in every layer can be many times
    slower than one. Call it after each training step.
    """

    def __init__(self, every: float = 60, steps: int = 4) -> None:
        self.counts = sorted({1, torch.get_num_threads()})
        self.every, self.steps = every, steps
        self.trials: list[tuple[float, int]] = []  # (seconds a step, threads)
        self.todo = list(self.counts)
        self._begin()

    def _begin(self) -> None:
        if self.todo:
            torch.set_num_threads(self.todo[0])
        self.left, self.since = self.steps, time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if not self.todo:  # settled
            if now - self.since > self.every and len(self.counts) > 1:
                self.trials, self.todo = [], list(self.counts)
                self._begin()
            return
        self.left -= 1
        if self.left == 0:
            self.trials.append(((now - self.since) / self.steps, self.todo.pop(0)))
            self._begin()
            if not self.todo:
                torch.set_num_threads(min(self.trials)[1])


def rate(progress: float, step: int, peak: float, *, warm: int = 150, hold: float = 0.55) -> float:
    """Learning rate: warm up, stay at the peak for `hold` of the run, then a cosine down to 2 %."""
    if progress < hold:
        share = 1.0
    else:
        share = 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * (progress - hold) / (1 - hold)))
    return peak * share * min(1.0, (step + 1) / warm)


BLOCK = 500  # pictures drawn from one seed


@contextmanager
def drawing(workers: int | None = None) -> Iterator[Executor | None]:
    """Processes that draw, for many calls of `renders`: None where this one is enough.

    workers: None: one, or all cores where there are more than two.
    """
    cores = os.cpu_count() or 1
    workers = (cores if cores > 2 else 1) if workers is None else workers
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def renders(
    count: int, seed: int, *, held_out: bool = False, pool: Executor | None = None
) -> tuple[Tensor, list[Scene], list[str]]:
    """`count` pictures (count, 3, 128, 128) uint8, their scenes and training captions.

    pool: of `drawing`. The pictures are the same for any number of processes.
    """
    blocks = [(min(BLOCK, count - i), (seed, i), held_out) for i in range(0, count, BLOCK)]
    drawn = list((pool.map if pool else map)(_block, blocks))
    scenes = [scene for _, some, _ in drawn for scene in some]
    captions = [caption for _, _, some in drawn for caption in some]
    return torch.from_numpy(np.concatenate([pictures for pictures, _, _ in drawn])), scenes, captions


def _block(asked: tuple[int, tuple[int, int], bool]) -> tuple[np.ndarray, list[Scene], list[str]]:
    count, seed, held_out = asked
    rng = np.random.default_rng(seed)
    pictures, scenes, captions = np.empty((count, 3, 128, 128), np.uint8), [], []
    for i in range(count):
        scene = sample(rng, held_out=held_out)
        pictures[i] = render(scene, int(rng.integers(1 << 40))).transpose(2, 0, 1)
        scenes.append(scene)
        captions.append(training_caption(scene, rng))
    return pictures, scenes, captions


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
