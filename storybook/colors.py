"""Colours as (red, green, blue), 0 to 255."""

from __future__ import annotations

Color = tuple[float, float, float]


def mix(a: Color, b: Color, t: float) -> Color:
    """From a (t = 0) to b (t = 1)."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)
