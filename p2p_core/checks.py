"""Checks of arguments that belong to no noun."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from .edit import check_edit as edit  # noqa: F401
from .edit import check_edits as edits  # noqa: F401
from .errors import BadInput, P2PError, shown
from .sampler import check_guidance_scale as guidance  # noqa: F401
from .sampler import check_seed as seed  # noqa: F401

TIERS = ("device", "host", "disk")  # that recorded sources lie in, see `tiers`
METHODS = ("direct", "null_text", "negative_prompt", "ddim")  # of inversion, see `inversion`


def method(value: object) -> str:
    """A way of inversion. Raises `BadInput`."""
    if isinstance(value, str) and value in METHODS:
        return value
    raise BadInput(f"A method of inversion is one of {', '.join(METHODS)}; got {shown(value)}.")


def inverse_sampler(value: object) -> str:
    """The sampler of an inversion. Raises `BadInput`."""
    if value in ("auto", "ddim"):
        return "ddim"
    raise BadInput(f"A real picture is inverted with sampler ddim, the only one here; got {shown(value)}.")


def cache_bytes(value: object) -> dict[str, int] | None:
    """Budgets in bytes by tier, of those that are given; None: all by what is free. Raises `P2PError`."""
    if value is None:
        return None
    given: dict[Any, Any] = dict(value) if isinstance(value, Mapping) else {"device": value}
    whole = (
        isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) >= 0 for n in given.values()
    )
    if all(whole) and set(given) <= set(TIERS):
        return {tier: int(n) for tier, n in given.items()}
    raise P2PError(
        f"cache_bytes is a whole number of bytes of at least 0, one for each of {', '.join(TIERS)}, or None; "
        f"got {shown(value)}."
    )


def inversion_bytes(value: object) -> int | None:
    """A budget in bytes for inversions on disk; None: the usual one. Raises `P2PError`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 0
    if value is None or whole:
        return None if value is None else int(value)  # type: ignore[call-overload]
    raise P2PError(f"inversion_bytes is a whole number of bytes of at least 0, or None; got {shown(value)}.")


def pipe_name(pipe: Any) -> str:
    """A name for a pipeline that was handed over."""
    return str(getattr(pipe, "name_or_path", "") or type(pipe).__name__)
