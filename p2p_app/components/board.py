"""`Board`: the base of the app's own components, a `gr.HTML` whose DOM is built by JavaScript.

The template is a constant. Whatever Handlebars prints is evaluated again as a JavaScript template literal,
so a prompt must never get into it: the scripts beside this file build their DOM with textContent from the
value. What comes back from the browser can be anything: `clean` turns it into data of the promised shape.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import gradio as gr

FOLDER = Path(__file__).resolve().parent


class Board(gr.HTML):
    """A component drawn by `<script>.js`; its value is a dict that `clean` checks both ways."""

    script = ""
    about = ""

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(
            value=self.clean(value),
            html_template=f'<div class="board {self.script}"></div>',
            js_on_load=scripts("common", self.script),
            apply_default_css=False,
            **kwargs,
        )

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        """`value` as the component's data; anything that isn't is left out, nothing raises."""
        return value if isinstance(value, dict) else {}

    def preprocess(self, payload: Any) -> dict[str, Any]:
        return self.clean(payload)

    def postprocess(self, value: Any) -> dict[str, Any]:
        """The value, and by "at" when by the page's clock it was wished for, if that is known: what somebody
        has set later wins over it (`common.js`)."""
        at = value.get("at") if isinstance(value, dict) else None
        return self.clean(value) | ({"at": at} if isinstance(at, (int, float)) else {})

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": self.about}

    def example_payload(self) -> dict[str, Any]:
        return self.clean(None)

    def example_value(self) -> dict[str, Any]:
        return self.clean(None)


@functools.cache
def script(name: str) -> str:
    """The text of `<name>.js` beside this file."""
    return (FOLDER / f"{name}.js").read_text(encoding="utf-8")


@functools.cache
def scripts(*names: str) -> str:
    """The texts of several, one after the other; once in memory however many components have it."""
    return "\n".join(script(name) for name in names)


def number(value: Any, low: float, high: float, default: float) -> float:
    """`value` clamped to low..high; `default` for what isn't a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return default
    return min(max(float(value), low), high)


def whole(value: Any, low: int, high: int, default: int) -> int:
    return round(number(value, low, high, default))


def texts(value: Any, most: int = 128, longest: int = 200) -> list[str]:
    """The short strings in a list, at most `most`."""
    if not isinstance(value, (list, tuple)):
        return []
    return [v[:longest] for v in value[:most] if isinstance(v, str)]
