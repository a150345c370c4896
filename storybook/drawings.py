"""Drawings to train on: batches of them, and shards on the disk that crops are read from."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .draw import SIDE, render
from .hand import render_roughly
from .scenes import EVEN_SHARES, Scene, sample

SHARD = 1000  # pictures in a file
OFTEN = 1.5  # words of degree, as `scenes.sample` has it
ROUGH_EVERY = 5  # of this many files one is by another hand
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
    count: int, seed: int, *, held_out: bool = False, rough: bool = False, pool: Executor | None = None
) -> tuple[np.ndarray, list[Scene]]:
    """`count` pictures (count, 3, SIDE, SIDE) uint8, all styles as often, and their scenes.

    rough: by another hand, all in the plain style. pool: of `drawing`. The pictures are the same for any
    number of processes.
    """
    blocks = [(min(BLOCK, count - i), (seed, i), held_out, rough) for i in range(0, count, BLOCK)]
    drawn = list((pool.map if pool else map)(_block, blocks))
    return np.concatenate([pictures for pictures, _ in drawn]), [s for _, some in drawn for s in some]


def _block(asked: tuple[int, tuple[int, int], bool, bool]) -> tuple[np.ndarray, list[Scene]]:
    count, seed, held_out, rough = asked
    rng = np.random.default_rng(seed)
    pictures, scenes = np.empty((count, 3, SIDE, SIDE), np.uint8), []
    for i in range(count):
        scene, layout = (
            sample(rng, held_out=held_out, shares=EVEN_SHARES, often=OFTEN),
            int(rng.integers(1 << 40)),
        )
        scene = scene.but(style="illustration") if rough else scene
        scenes.append(scene)
        picture = render_roughly(scene, layout, SIDE, rng) if rough else render(scene, layout, SIDE)
        pictures[i] = picture.transpose(2, 0, 1)
    return pictures, scenes


def write(folder: Path, count: int, seed: int) -> None:
    """Shards `pictures-*.npy` of the run, every fifth by another hand.

    Those that exist are kept, so it can be stopped and given again.
    """
    with drawing() as pool:
        for number in range(-(-count // SHARD)):
            file = folder / f"pictures-{number:03d}.npy"
            if not file.exists():
                rough = number % ROUGH_EVERY == ROUGH_EVERY - 1
                pictures, _ = renders(SHARD, seed + 1000 + number, rough=rough, pool=pool)
                aside = file.with_suffix(".tmp")
                with aside.open("wb") as f:
                    np.save(f, pictures)
                aside.replace(file)
                print("pictures:", file.name, flush=True)


class Pictures:
    """The shards there are, read from the disk as they are asked for. New ones may appear meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shards = folder, dict[str, np.ndarray]()
        self.refresh()

    def refresh(self) -> None:
        for file in sorted(self.folder.glob("pictures-*.npy")):
            if file.name not in self.shards:
                self.shards[file.name] = np.load(file, mmap_mode="r")

    def crops(self, count: int, size: int, rng: np.random.Generator, *, grid: int = 16) -> Tensor:
        """(count, 3, size, size) uint8, with corners on the latents' grid, half of them mirrored."""
        found, shards = [], list(self.shards.values())
        for _ in range(count):
            shard = shards[rng.integers(len(shards))]
            y, x = grid * rng.integers((SIDE - size) // grid + 1, size=2)
            crop = shard[rng.integers(len(shard)), :, y : y + size, x : x + size]
            found.append(crop[..., ::-1] if rng.random() < 0.5 else crop)
        return torch.from_numpy(np.stack(found))
