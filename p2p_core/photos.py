"""Real pictures in: any file, size and mode to RGB of the size a model takes, or a clear error."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import BadPicture, shown

MOST_BYTES = 64 << 20
MOST_PIXELS = 50_000_000
FITS = ("crop", "pad")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
PAPER = (255, 255, 255)  # under what is transparent, and beside what is padded


def opened(picture: Any) -> Image.Image:
    """A picture as RGB, upright, its first frame; transparent parts lie on white.

    picture: a path, bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats
    in 0..1. Raises `BadPicture`.
    """
    if isinstance(picture, np.ndarray):
        return _flat(_from_array(picture))
    if isinstance(picture, Image.Image):
        return _loaded(picture, "The picture")
    if isinstance(picture, (bytes, bytearray)):
        return _decoded(bytes(picture), "The picture")
    if isinstance(picture, (str, Path)):
        path = Path(picture)
        try:
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise BadPicture(f"A picture's file has at most {MOST_BYTES >> 20} MB; got {size >> 20} MB.")
            data = path.read_bytes()
        except OSError as error:
            raise BadPicture(f"{shown(path.name)} can't be read ({error.strerror or error}).") from None
        return _decoded(data, shown(path.name))
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
        return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=PAPER)
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


def _decoded(data: bytes, name: str) -> Image.Image:
    if len(data) > MOST_BYTES:
        raise BadPicture(f"A picture's file has at most {MOST_BYTES >> 20} MB; got {len(data) >> 20} MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what matters is raised
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _loaded(image, name)
    except BadPicture:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile files
        raise BadPicture(
            f"{name} is no picture that can be read ({type(error).__name__}); expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None


def _loaded(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width * height > MOST_PIXELS or width * height == 0:  # before anything is decoded
        raise BadPicture(
            f"{name} has {width} x {height} pixels; expected at most {MOST_PIXELS // 10**6} million."
        )
    try:
        if getattr(image, "n_frames", 1) > 1:
            image.seek(0)
        image.load()
        return _flat(ImageOps.exif_transpose(image))
    except BadPicture:
        raise
    except Exception as error:
        raise BadPicture(f"{name} is broken ({type(error).__name__}).") from None


def _flat(image: Image.Image) -> Image.Image:
    """RGB on white. 16 bits come down to 8 by their own range, which PIL would cut off."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        top = 65535.0 if image.mode != "F" or values.max(initial=0) > 255 else 255.0
        if image.mode == "F" and values.max(initial=0) <= 1:
            top = 1.0
        values = np.nan_to_num(values)
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (*PAPER, 255))
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")
