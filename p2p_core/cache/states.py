"""States and pictures of edits, by all that they depend on: the source, and the plan's steps so far."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from ..memory import edits_budget
from ..plan import Plan
from ..source import Source
from ..steps import StepState
from .lru import LRU

MAX_STATES = 64 * 50  # as many as 64 edits of 50 steps leave behind
MAX_IMAGES = 512


class StateCache:
    """What edits have computed, so that every edit resumes at the longest prefix that is known.

    A state after k steps depends on the source and on `plan.digest(k)` alone. While a plan has left the
    source alone its digest is empty, and the state is the source's own.
    """

    def __init__(self, state_bytes: int, image_bytes: int) -> None:
        """state_bytes, image_bytes: of one state and of one picture at the model's own size."""
        most = edits_budget()
        self._states: LRU[StepState] = LRU(min(MAX_STATES * state_bytes, most))
        self._images: LRU[Image.Image] = LRU(min(MAX_IMAGES * image_bytes, most))

    def state(self, source: Source, plan: Plan, k: int) -> StepState | None:
        """The state after k steps, if it is known."""
        if plan.digest(k) == b"":
            return source.state(k)
        return self._states.get((source.key, plan.digest(k)))

    def longest_prefix(self, source: Source, plan: Plan) -> StepState:
        """The latest state that is known; at the least the source's start."""
        for k in range(source.steps, 0, -1):
            state = self.state(source, plan, k)
            if state is not None:
                return state
        return source.state(0)

    def put(self, source: Source, plan: Plan, state: StepState) -> None:
        self._states.put((source.key, plan.digest(state.index)), state, state.nbytes)

    def image(self, key: str, digest: bytes, make: Callable[[], Image.Image]) -> Image.Image:
        """The picture of a source's or an edit's end: the one that is known, or the one that `make` gives.

        A copy, because it is the caller's, who may draw on it.
        """
        image = self._images.get((key, digest))
        if image is None:
            image = make()
            self._images.put((key, digest), image, 3 * image.width * image.height)
        return image.copy()

    def drop(self, source: str) -> None:
        """Forget every edit of the source with this key."""
        self._states.drop(source)
        self._images.drop(source)

    def clear(self) -> None:
        self._states.clear()
        self._images.clear()
