"""A picture of one's own, as it was uploaded."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import board  # noqa: F401 - before any component is defined: Gradio writes no stubs then


class Picture(gr.Image):
    """`gr.Image` that hands an upload over as it came.

    Gradio would decode it first: what is transparent would turn black, 16 bits would be cut off, and a broken
    file would raise where no sentence of ours is said.
    """

    is_template = True  # in the page it is a `gr.Image`

    def preprocess(self, payload: Any) -> Any:
        return None if payload is None else payload.path
