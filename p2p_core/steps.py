"""A run, step by step: `StepState` and `Steps`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from torch import Tensor

from .contexts import plain
from .errors import P2PError
from .local_blend import BlendSums

T = TypeVar("T")
log = logging.getLogger("p2p_core")


@dataclass(frozen=True, kw_only=True, eq=False)
class StepState:
    """All that a resume after `index` steps needs.

    latents: (1, C, h, w). denoised: the clean latents predicted on the way, for previews and for samplers
    that look one step back (`Sampler.history`). sums, mask: of the local blend, the mask (h, w) in 0..1 at
    the latents' size. reused: this state was known and not computed in this call.
    """

    index: int
    total: int
    latents: Tensor = field(repr=False)
    denoised: Tensor | None = field(default=None, repr=False)
    sums: BlendSums | None = field(default=None, repr=False)
    mask: Tensor | None = field(default=None, repr=False)
    reused: bool = False

    @property
    def nbytes(self) -> int:
        sums = (self.sums.source, self.sums.target, self.sums.subtract) if self.sums else ()
        tensors = (self.latents, self.denoised, self.mask, *sums)
        return sum(t.nbytes for t in tensors if t is not None)

    def copy(self) -> StepState:
        """The same state in memory of its own, because what is handed out is the caller's."""
        denoised, mask = (None if x is None else x.clone() for x in (self.denoised, self.mask))
        return replace(self, latents=self.latents.clone(), denoised=denoised, mask=mask)


OnStep = Callable[[StepState], object] | None  # False: the run is stopped


class Steps(Generic[T]):
    """A run, step by step: iterate over its `StepState`s, then `result` is what it comes to.

    It may be closed after any step; what was computed until then is reused by the next edit. The logger
    "p2p_core" hears of each step (debug) and of what a run comes to (info).
    """

    def __init__(self, states: Generator[StepState, None, T]) -> None:
        self._states = states
        self._begun = time.perf_counter()
        self._results: list[T] = []  # one, once the run has come to its end

    def __iter__(self) -> Iterator[StepState]:
        return self

    def __next__(self) -> StepState:
        try:
            with plain():
                state = next(self._states).copy()
        except StopIteration as end:
            if not self._results and end.value is not None:
                self._results.append(end.value)
                seconds = time.perf_counter() - self._begun
                log.info("%s after %.2f s", type(end.value).__name__, seconds)
            raise
        log.debug("step %d of %d", state.index, state.total)
        return state

    def close(self) -> None:
        self._states.close()

    @property
    def result(self) -> T:
        """What the run comes to, after the steps that are left. Raises `P2PError` if it was closed."""
        for _ in self:
            pass
        if not self._results:
            raise P2PError("This run was stopped before its last step, so it has no result.")
        return self._results[0]

    def run(self, on_step: OnStep = None, bar: Callable[..., Any] | None = None) -> T:
        """`result`, with `on_step(state)` called after each step, and a progress bar: bar(total=n).

        Raises `P2PError` if `on_step` gives False, which stops the run.
        """
        progress = None
        try:
            for state in self:
                if bar is not None:
                    progress = progress or bar(total=state.total)
                    progress.update(state.index - progress.n)
                if on_step and on_step(state) is False:
                    raise P2PError(f"on_step stopped this run after step {state.index} of {state.total}.")
            return self.result
        finally:
            self.close()
            if progress is not None:
                progress.close()
