"""`Board`: the base of the app's own components, a `gr.HTML` whose DOM is built by JavaScript.

The template is a constant. Whatever Handlebars prints is evaluated again as a JavaScript template literal,
so a prompt must never get into it: the scripts beside this file build their DOM with textContent from the
value. What comes back from the browser can be anything: `value_type` turns it into data of the promised
shape.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from gradio import component_meta

from .values import Value

FOLDER = Path(__file__).resolve().parent


def _write_no_stub(component_class: type, class_name: str, events: list[Any]) -> None:
    """Gradio writes a `.pyi` beside each component's file, into an installed package too; type checkers would
    read that instead of the code."""


component_meta.create_or_modify_pyi = _write_no_stub


class Board(gr.HTML):
    """A component drawn by `<script>.js`.

    value_type: what a handler gets and gives. None: a board that only shows; its value is a dict.
    attributes: constant ones of its element.
    """

    script: ClassVar[str] = ""
    about: ClassVar[str] = ""
    value_type: ClassVar[type[Value] | None] = None

    def __init__(self, value: Any = None, *, attributes: str = "", **options: Any) -> None:
        super().__init__(
            value=self.clean(value),
            html_template=f'<div class="board {self.script}" {attributes}></div>',
            js_on_load=scripts("common", self.script),
            apply_default_css=False,
            **options,
        )

    @classmethod
    def clean(cls, value: Any) -> dict[str, Any]:
        """`value` as the component's data in the page; anything that isn't is left out, nothing raises."""
        if cls.value_type is not None:
            return cls.value_type.read(value).model_dump()
        return value if isinstance(value, dict) else {}

    def preprocess(self, payload: Any) -> Any:
        return self.clean(payload) if self.value_type is None else self.value_type.read(payload)

    def postprocess(self, value: Any) -> Any:
        """The value, and by "at" when by the page's clock it was wished for, if that is known: what somebody
        has set later wins over it (`common.js`)."""
        at = value.get("at") if isinstance(value, dict) else None
        return self.clean(value) | ({"at": at} if isinstance(at, (int, float)) else {})

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": self.about}

    def example_payload(self) -> Any:
        return self.clean(None)

    def example_value(self) -> Any:
        return self.clean(None)


@functools.cache
def script(name: str) -> str:
    """The text of `<name>.js` beside this file."""
    return (FOLDER / f"{name}.js").read_text(encoding="utf-8")


@functools.cache
def scripts(*names: str) -> str:
    """Several scripts as the body of one function, which is what Gradio runs; in memory once.

    They are modules for editors and linters, so their imports and exports are left out here.
    """
    text = "\n".join(script(name) for name in names)
    return re.sub(r"^(import [^;]+;\n|export )", "", text, flags=re.MULTILINE)
