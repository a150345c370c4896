"""Regions drawn by hand: an array in 0..1 as text for JSON, and back."""

from __future__ import annotations

import base64
import binascii
import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import BadInput, shown

MAX_TEXT_CHARACTERS = 400_000
MAX_SIDE = 2048  # pixels


def mask_text(mask: object) -> str:
    """An array (h, w) of bools or numbers in 0..1 as the text that `Blend.mask` takes: a grey PNG in base64.

    At most 2048 pixels a side. Raises `BadInput`.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf" or max(array.shape) > MAX_SIDE:
        raise BadInput(
            f"A mask is an array (h, w) of numbers from 0 to 1, at most {MAX_SIDE} a side; "
            f"got {array.dtype} of shape {array.shape}."
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise BadInput(f"A mask's numbers are from 0 to 1; got {array.min()} to {array.max()}.")
    buffer = io.BytesIO()
    Image.fromarray(np.round(array * 255).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


@lru_cache(maxsize=8)  # of up to 16 MB
def mask_array(text: str) -> npt.NDArray[np.float32]:
    """The array (h, w) float32 in 0..1 of a text that `mask_text` made, read-only. Raises `BadInput`."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadInput(f"A mask's text has at most {MAX_TEXT_CHARACTERS} characters; got {len(text)}.")
    try:
        data = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if max(image.size) > MAX_SIDE:
                raise BadInput(f"A mask has at most {MAX_SIDE} pixels a side; got {shown(image.size)}.")
            array = np.asarray(image.convert("L"), np.float32) / np.float32(255)
    except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"A mask is a PNG in base64, as mask_text makes it; got {shown(text)} ({error})."
        ) from None
    array.flags.writeable = False
    return array
