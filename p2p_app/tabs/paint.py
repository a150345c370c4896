"""Painting the region by hand: the editor's layers to a mask's text and back."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from .. import pictures
from ..components.widgets import line

SIDE = 128  # of a mask; the latents are smaller still
CANVAS = 512
BRUSH = (230, 82, 41, 136)  # as the page's editor paints
NOTHING = "Nothing is painted yet. Paint over what may change, or press Cancel."


def mask_of(editor: Any, text_of: Any) -> str:
    """What is painted, as `mask_text` has it; "" where nothing is."""
    layers = editor.get("layers") if isinstance(editor, dict) else None
    painted: np.ndarray | None = None
    for layer in layers or ():
        if isinstance(layer, Image.Image):
            alpha = layer.convert("RGBA").getchannel("A")
            small = np.asarray(alpha.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
            painted = small if painted is None else np.maximum(painted, small)
    if painted is None or painted.max() < 0.02:
        return ""
    return str(text_of(np.where(painted > 0.5, 1.0, 0.0) if painted.max() > 0.5 else painted))


def layer_of(mask: Any, size: tuple[int, int]) -> Image.Image:
    """A mask (h, w) in 0..1 as a layer of the editor: the other way round from `mask_of`."""
    alpha = Image.fromarray((np.asarray(mask, np.float32) * BRUSH[3]).round().astype(np.uint8))
    layer = Image.new("RGBA", size, (*BRUSH[:3], 0))
    layer.putalpha(alpha.resize(size, Image.Resampling.NEAREST))
    return layer


class PaintHandlers:
    """Handlers about the painted region. Mixed into the runs."""

    def open_painting(self: Any, request: gr.Request) -> Any:
        """Show the picture to paint on, in place of the result, with what is painted already."""
        session = self.sessions.get(request.session_hash)
        if session.source is None:
            yield {"line": line("error", "There is no source picture yet. Press Generate first.")}
            return
        image = session.source.image if session.result is None else session.result.image
        picture = pictures.enlarged(image.convert("RGB"), CANVAS)
        text = session.controls.region["mask"] if session.controls is not None else ""
        layers = [layer_of(self.engine.core.masks.mask_array(text), picture.size)] if text else []
        composite = picture.convert("RGBA")
        for layer in layers:
            composite.alpha_composite(layer)
        yield {
            "painter": gr.update(value={"background": picture, "layers": layers, "composite": composite}),
            "painting": gr.update(visible=True),
            "line": line("idle", "Paint over what may change, then press Use it. Everywhere else stays."),
        }

    def close_painting(self: Any, request: gr.Request) -> Any:
        """Back to the picture; what was painted before stays."""
        session = self.sessions.get(request.session_hash)
        yield {"painting": gr.update(visible=False), "line": session.settled or line("idle", "")}

    def use_painting(
        self: Any,
        editor: Any,
        prompt: str,
        desk: dict,
        timeline: dict,
        region: dict,
        clock: float,
        request: gr.Request,
    ) -> Any:
        """What is painted becomes the region."""
        self.engine.wait()
        mask = mask_of(editor, self.engine.core.mask_text)
        if not mask:
            yield {"line": line("error", NOTHING)}
            return
        region = {**region, "mask": mask}
        yield {"painting": gr.update(visible=False), "region": region}
        yield from self.edit_with(prompt, desk, timeline, region, clock, request)

    def wipe_painting(
        self: Any, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Any:
        """Nothing is painted any more."""
        session = self.sessions.get(request.session_hash)
        had = bool(region["mask"])
        region = {**region, "mask": ""}
        yield {"painting": gr.update(visible=False), "region": region}
        if had:
            yield from self.edit_with(prompt, desk, timeline, region, clock, request)
        else:
            yield {"line": session.settled or line("idle", "")}
