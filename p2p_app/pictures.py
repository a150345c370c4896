"""Pictures on their way to the browser."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from p2p_core.assets import folder

MIN_SIDE_PIXELS = 512
FOLDER = folder("pictures")


def enlarged(image: Image.Image, side: int = MIN_SIDE_PIXELS) -> Image.Image:
    """Small pictures at least `side` pixels high, smoothly: browsers would blur or block them."""
    factor = -(-side // image.height)
    if factor <= 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.LANCZOS)


def data_uri(image: Image.Image, height: int) -> str:
    """A small JPEG as a data URI."""
    width = max(1, round(image.width * height / image.height))
    small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def path_of(name: str) -> Path:
    """The file of a picture that comes with the app."""
    return FOLDER / f"{name}.png"


def thumb_of(name: str) -> str:
    """A thumbnail of it as a data URI; "" for no name."""
    if not name:
        return ""
    with Image.open(path_of(name)) as image:
        return data_uri(image, 72)


def shown(image: Image.Image, path: Path) -> str:
    """Write the picture as the page shows it, losslessly; returns the path."""
    enlarged(image).save(path, format="PNG", compress_level=1)
    return str(path)


def preview(image: Any) -> Image.Image:
    """A preview while a run goes on; it leaves as JPEG."""
    return enlarged(image.convert("RGB"), 256)
