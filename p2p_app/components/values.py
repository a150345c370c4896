"""Values of the boards: pydantic models that make sense of anything the browser sends.

What isn't as a field promises is clamped, cut or replaced by the field's default; nothing raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

MAX_ITEMS = 128
MAX_TEXT_LENGTH = 200
MAX_KEY_LENGTH = 220


class Value(BaseModel):
    """Base of the values. Every field has a default and a validator that takes anything."""

    model_config = ConfigDict(frozen=True, validate_default=True)

    @classmethod
    def read(cls, data: Any) -> Self:
        """`data` as this value, whatever it is."""
        if isinstance(data, cls):
            return data
        fields = data if isinstance(data, dict) else {}
        return cls.model_validate({name: fields[name] for name in cls.model_fields if name in fields})

    def replace(self, /, **changes: Any) -> Self:
        """This value with other fields, which are checked like everything from outside."""
        return self.model_validate({**dict(self), **changes})


V = TypeVar("V", bound=Value)


def number(value: Any, low: float, high: float, default: float) -> float:
    """`value` clamped to low..high; `default` for what isn't a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    if isinstance(value, float) and not math.isfinite(value):
        return default
    return float(min(max(value, low), high))  # clamped first: an integer may be too large for a float


def whole(value: Any, low: int, high: int, default: int) -> int:
    return round(number(value, low, high, default))


def text(value: Any, longest: int | None = None) -> str:
    """The beginning of a string, without halves of characters; "" for anything else."""
    return value[:longest].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def texts(value: Any, most: int = MAX_ITEMS, longest: int = MAX_TEXT_LENGTH) -> list[str]:
    """The short strings in a list, at most `most`."""
    if not isinstance(value, (list, tuple)):
        return []
    return [text(v, longest) for v in value[:most] if isinstance(v, str)]


def models(model: type[V], value: Any, most: int, needs: Sequence[str] = ()) -> list[V]:
    """The items of a list as `model`, at most `most`; those without a string in each field `needs` are left
    out."""
    return [
        model.read(item)
        for item in (value[:most] if isinstance(value, (list, tuple)) else ())
        if isinstance(item, model)
        or (isinstance(item, dict) and all(isinstance(item.get(name), str) for name in needs))
    ]


def pairs(value: Any, most: int, longest: int) -> list[list[str]]:
    """The pairs of strings in a list, at most `most`."""
    listed = value[:most] if isinstance(value, (list, tuple)) else ()
    found = [texts(pair, most=3, longest=longest) for pair in listed]
    return [pair for pair in found if len(pair) == 2]


# --- validators of fields --------------------------------------------------------------------------------


def check(function: Callable[..., Any], *arguments: Any, **options: Any) -> BeforeValidator:
    """A validator that calls `function` with the field's value first."""
    return BeforeValidator(lambda value: function(value, *arguments, **options))


def _choice(value: Any, options: Sequence[str]) -> str:
    return value if isinstance(value, str) and value in options else options[0]


def _fraction(value: Any, high: float, default: float) -> float:
    return round(number(value, 0.0, high, default), 2)


def fraction(default: float, high: float = 1.0) -> BeforeValidator:
    """0..high, in hundredths."""
    return check(_fraction, high, default)


def choice(*options: str) -> BeforeValidator:
    """One of some words; the first for anything else."""
    return check(_choice, options)


Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Index = Annotated[int | None, BeforeValidator(lambda value: value if type(value) is int else None)]
Text = Annotated[str, check(text)]
Label = Annotated[str, check(text, MAX_TEXT_LENGTH)]
Key = Annotated[str, check(text, MAX_KEY_LENGTH)]
