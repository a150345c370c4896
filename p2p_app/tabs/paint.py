"""Painting the region by hand: the editor's layer to a mask's text and back."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from p2p_core import mask_text
from p2p_core.errors import BadPicture
from p2p_core.images.decode import read_file
from p2p_core.images.mask import MAX_SIDE, mask_array

from .. import pictures
from ..components.line import line
from ..components.region import RegionValue
from ..guards import queued, reports_errors
from ..messages import NO_SOURCE
from ..runner import Runner, Updates
from ..wish import Wish

MASK_PIXELS = 128  # the latents are smaller still
CANVAS_PIXELS = 512
BRUSH = (230, 82, 41, 136)  # RGBA, as the page's editor paints
MIN_ALPHA = 0.02  # below it nothing is painted
NOTHING = "Nothing is painted yet. Paint over what may change, or press Cancel."


def mask_of(layer: str | None) -> str:
    """What is painted on the editor's layer, a file, as `mask_text` has it; "" where nothing is.

    Raises `BadPicture`.
    """
    if layer is None:
        return ""
    try:
        with Image.open(io.BytesIO(read_file(Path(layer))), formats=("PNG", "WEBP")) as image:
            if max(image.size) > MAX_SIDE:  # before anything is decoded
                raise BadPicture(f"A painted layer has at most {MAX_SIDE} pixels a side; got {image.size}.")
            alpha = image.convert("RGBA").getchannel("A")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, BadPicture):
            raise
        raise BadPicture("The painted layer is no picture that can be read.") from None
    small = alpha.resize((MASK_PIXELS, MASK_PIXELS), Image.Resampling.BOX)
    painted = np.asarray(small, np.float32) / 255
    if painted.max() < MIN_ALPHA:
        return ""
    return mask_text(np.where(painted > 0.5, 1.0, 0.0) if painted.max() > 0.5 else painted)


def layer_of(mask: Any, size: tuple[int, int]) -> Image.Image:
    """A mask (h, w) in 0..1 as a layer of the editor: the other way round from `mask_of`."""
    alpha = Image.fromarray((np.asarray(mask, np.float32) * BRUSH[3]).round().astype(np.uint8))
    layer = Image.new("RGBA", size, (*BRUSH[:3], 0))
    layer.putalpha(alpha.resize(size, Image.Resampling.NEAREST))
    return layer


class PaintTab:
    """The handlers of the painted region."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @reports_errors
    def open(self, wish: Wish) -> Updates:
        """Show the picture to paint on, in place of the result, with what is painted already."""
        session = wish.session
        if session.source is None:
            yield {"line": line("error", NO_SOURCE)}
            return
        image = session.source.image if session.result is None else session.result.image
        picture = pictures.enlarged(image.convert("RGB"), CANVAS_PIXELS)
        text = session.controls.region.mask if session.controls is not None else ""
        layers = [layer_of(mask_array(text), picture.size)] if text else []
        composite = picture.convert("RGBA")
        for layer in layers:
            composite.alpha_composite(layer)
        yield {
            "painter": gr.update(value={"background": picture, "layers": layers, "composite": composite}),
            "painting": gr.update(visible=True),
            "line": line("idle", "Paint over what may change, then press Use it. Everywhere else stays."),
        }

    @reports_errors
    def close(self, wish: Wish) -> Updates:
        """Back to the picture; what was painted before stays."""
        yield {"painting": gr.update(visible=False), "line": wish.session.settled_line or line("idle", "")}

    @queued("edit")
    def use(self, wish: Wish) -> Updates:
        """What is painted becomes the region."""
        mask = mask_of(wish.values["painter"])
        if not mask:
            yield {"line": line("error", NOTHING)}
            return
        yield from self._edit(wish, wish.values["region"].replace(mask=mask))

    @queued("edit")
    def wipe(self, wish: Wish) -> Updates:
        """Nothing is painted any more."""
        region = wish.values["region"]
        if region.mask:
            yield from self._edit(wish, region.replace(mask=""))
            return
        yield {
            "painting": gr.update(visible=False),
            "region": region,
            "line": wish.session.settled_line or line("idle", ""),
        }

    def _edit(self, wish: Wish, region: RegionValue) -> Updates:
        """Back to the picture, and the edit with this region."""
        yield {"painting": gr.update(visible=False), "region": region}
        wish.session.see(replace(wish.controls, region=region), wish.clock)
        yield from self.runner.run_edit(wish.session, wish.clock)
