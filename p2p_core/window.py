"""`Window`: a part of a run's steps, as fractions of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import BadInput, shown
from .weights import number


@dataclass(frozen=True)
class Window:
    """The steps i of a run of N steps with round(start N) <= i < round(end N). start, end: in 0..1."""

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        start, end = number(self.start), number(self.end)
        if start is None or end is None or not 0 <= start <= end <= 1:
            raise BadInput(
                "A window is a fraction, or a pair (start, end) with 0 <= start <= end <= 1; "
                f"got ({shown(self.start)}, {shown(self.end)})."
            )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)

    @classmethod
    def of(cls, value: object, what: str = "A window") -> Window:
        """From a fraction f, which means (0, f), or a pair. Raises `BadInput`."""
        if isinstance(value, Window):
            return value
        pair = value if isinstance(value, (list, tuple)) and len(value) == 2 else (0.0, value)
        try:
            return cls(*pair)
        except BadInput:
            raise BadInput(
                f"{what} is a fraction of the steps, or a pair (start, end), with 0 <= start <= end <= 1; "
                f"got {shown(value)}."
            ) from None

    def steps(self, total: int) -> range:
        """The steps covered, 0 the noisiest. Halves round up."""
        return range(step_at(self.start, total), step_at(self.end, total))

    def to_json(self) -> float | list[float]:
        """The fraction or the pair that `of` takes."""
        return self.end if self.start == 0 else [self.start, self.end]


def step_at(fraction: float, total: int) -> int:
    """round(fraction * total), halves up. (Python's round goes to even, and int() loses 0.58 * 50.)"""
    return math.floor(round(fraction * total, 9) + 0.5)
