"""The editor that a region is painted in."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs

from . import board  # noqa: F401 - before any component is defined: Gradio writes no stubs then


class Painter(gr.ImageEditor):
    """`gr.ImageEditor` that hands over the file of its one layer, and decodes nothing.

    Gradio would decode every layer that a client names, however large, before any handler is asked.
    """

    is_template = True  # in the page it is a `gr.ImageEditor`

    def preprocess(self, payload: Any) -> str | None:  # type: ignore[override]
        """The path of the layer, or None: the page has one layer, so nothing else is looked at."""
        layers = [] if payload is None else payload.layers
        return layers[0].path if len(layers) == 1 else None

    @server  # type: ignore[untyped-decorator]
    def accept_blobs(self, data: AcceptBlobs) -> None:  # noqa: ARG002 - Gradio's signature
        """The page uploads its layer; what is sent in this way would be kept in memory."""
        raise gr.Error("A painted region comes as an upload.", print_exception=False)
