"""Real pictures in: any file, size and mode to RGB of the size a model takes, or a clear error."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import BadPicture, shown
from . import decode
from .decode import MOST_PIXELS, ORIENTATION, TURNED

FITS = ("crop", "pad")
PAPER = (255, 255, 255)  # under what is transparent, and beside what is padded


def opened(picture: Any) -> Image.Image:
    """A picture as RGB, upright, its first frame; transparent parts lie on white.

    picture: a path, bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats
    in 0..1. PIL's modes of whole numbers and floats: see `_eight_bits`. Raises `BadPicture`.
    """
    if isinstance(picture, np.ndarray):
        return _flat(_from_array(picture))
    if isinstance(picture, Image.Image):
        return _given(picture)
    if isinstance(picture, (bytes, bytearray)):
        return _decoded(bytes(picture), "The picture")
    if isinstance(picture, (str, Path)):
        path = Path(picture)
        return _decoded(decode.read(path), shown(path.name))
    raise BadPicture(
        "A picture is a path, bytes, a PIL image or an array; "
        f"got {type(picture).__name__} ({shown(picture)})."
    )


def fitted(
    image: Image.Image, size: tuple[int, int], fit: str = "crop", center: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """An RGB picture at (height, width): cropped around `center` (x, y in 0..1), or padded on white.

    Raises `BadPicture`.
    """
    if fit not in FITS:
        raise BadPicture(f"fit is one of {', '.join(FITS)}; got {shown(fit)}.")
    try:
        x, y = (float(v) for v in center)
        inside = 0 <= x <= 1 and 0 <= y <= 1
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise BadPicture(f"The crop's center is a pair of numbers from 0 to 1; got {shown(center)}.")
    height, width = size
    if fit == "pad":
        return _padded(image, width, height)
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS, centering=(x, y))


def picture_text(image: Image.Image) -> str:
    """A picture as text that fits into JSON: a PNG in base64."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_of(text: str) -> Image.Image:
    """The picture of `picture_text`. Raises `BadPicture`."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadPicture(f"A picture in a recipe is base64; got {shown(text)} ({error}).") from None
    return opened(data)


def _from_array(array: np.ndarray) -> Image.Image:
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or 0 in array.shape or array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise BadPicture(
            "A picture's array has the shape (H, W), (H, W, 3) or (H, W, 4) and at most "
            f"{MOST_PIXELS // 10**6} million pixels; got {array.shape}."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise BadPicture("A picture's floats lie in 0..1; got others.")
        array = np.round(array * 255)
    elif array.dtype == np.uint16:
        array = array / 257
    elif array.dtype == np.bool_:
        array = array * 255
    elif array.dtype != np.uint8:
        raise BadPicture(f"A picture's array holds uint8, uint16 or floats; got {array.dtype}.")
    array = array.astype(np.uint8)
    return Image.fromarray(array[..., 0] if array.ndim == 3 and channels == 1 else array)


def _padded(image: Image.Image, width: int, height: int) -> Image.Image:
    """All of a picture in the middle of white; what is thin stays a pixel wide."""
    scale = min(width / image.width, height / image.height)
    inner = min(width, max(1, round(image.width * scale))), min(height, max(1, round(image.height * scale)))
    small = image.resize(inner, Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (width, height), PAPER)
    whole.paste(small, (round((width - inner[0]) / 2), round((height - inner[1]) / 2)))
    return whole


def _decoded(data: bytes, name: str) -> Image.Image:
    with decode.decoded(data, name) as (image, orientation):
        flat = _flat(image)
        del image
    return _turned(flat, orientation)  # once the decoder has let go of its own copies


def _given(image: Image.Image) -> Image.Image:
    """A picture that was opened elsewhere; it stays as it is."""
    decode.check_size(image.size, "The picture")
    try:
        if image.tell():
            image.seek(0)
        image.load()
        return _turned(_flat(image), image.getexif().get(ORIENTATION))
    except BadPicture:
        raise
    except Exception as error:  # of any plugin
        raise BadPicture(f"The picture is broken ({type(error).__name__}).") from None


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    """Upright, by EXIF's orientation."""
    turn = TURNED.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """RGB on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        above = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", image.size, PAPER)
        flat.paste(above, mask=above)
        return flat
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes I, I;16 and F as RGB, by the range they hold, a band of rows at a time.

    Whole numbers of at most 255 are 8 bits, else 16. Floats of at most 1 are shares, of at most 255 are 8
    bits, else 16. PIL itself would cut off at 255.
    """
    width, height = image.size
    rows = max(1, (1 << 20) // width)
    bands = [(0, y, width, min(height, y + rows)) for y in range(0, height, rows)]

    def values(band: tuple[int, int, int, int]) -> np.ndarray:
        found = np.asarray(image.crop(band)).astype(np.float32)
        return np.nan_to_num(found, copy=False, nan=0.0, posinf=np.inf, neginf=0.0)

    most = 0.0
    for band in bands:
        found = values(band)
        most = max(most, float(found.max(initial=0, where=np.isfinite(found))))
    top = 65535.0 if most > 255 else 255.0 if most > 1 or image.mode != "F" else 1.0
    flat = Image.new("RGB", image.size)
    for band in bands:
        grey = (values(band).clip(0, top) * (255 / top)).round().astype(np.uint8)
        flat.paste(Image.fromarray(grey).convert("RGB"), band[:2])
    return flat
