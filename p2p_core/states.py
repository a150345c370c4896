"""Runs as generators of states, and names for what they start from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from typing import TypeVar

from torch import Tensor

from .source import StepState

T = TypeVar("T")
OnStep = Callable[[StepState], None] | None
States = Generator[StepState, None, T]


def finish(states: States[T], on_step: OnStep) -> T:
    """Run a generator of states to its end and give what it returns."""
    try:
        while True:
            try:
                state = next(states)
            except StopIteration as stop:
                return stop.value
            if on_step:
                on_step(state)
    finally:
        states.close()


def bytes_of(x: Tensor) -> bytes:
    return x.detach().float().cpu().numpy().tobytes()


def key_of(*parts: object) -> str:
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        h.update(part if isinstance(part, bytes) else repr(part).encode())
    return h.hexdigest()
