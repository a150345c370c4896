"""Real pictures: a file, array or image of any kind to RGB of a model's size."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ..errors import BadPicture, shown
from .colors import to_srgb
from .decode import MAX_PIXELS, ORIENTATION, UPRIGHT, check_size, decode_picture, read_file, read_stream

Floats = npt.NDArray[np.float32]
FITS = ("crop", "pad")
WHITE = (255, 255, 255)  # behind transparent parts, and beside a padded picture


def open_picture(picture: Any) -> Image.Image:
    """A picture as sRGB, upright, its first frame; transparent parts lie on white.

    picture: a path, bytes, an open file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8,
    uint16 or floats in 0..1. PIL's modes of more than 8 bits: see `_to_eight_bits`. Raises `BadPicture`.
    """
    if isinstance(picture, np.ndarray):
        return _to_rgb(_from_array(picture))
    if isinstance(picture, Image.Image):
        return _from_image(picture)
    if isinstance(picture, (bytes, bytearray)):
        return _from_bytes(bytes(picture), "The picture")
    if hasattr(picture, "read"):
        return _from_bytes(read_stream(picture), "The picture")
    if isinstance(picture, (str, Path)):
        path = Path(picture)
        return _from_bytes(read_file(path), shown(path.name))
    raise BadPicture(
        "A picture is a path, bytes, an open file, a PIL image or an array; "
        f"got {type(picture).__name__} ({shown(picture)})."
    )


def fit_picture(
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
        return _pad(image, width, height)
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
    return open_picture(data)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or 0 in array.shape or array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise BadPicture(
            "A picture's array has the shape (H, W), (H, W, 3) or (H, W, 4) and at most "
            f"{MAX_PIXELS // 10**6} million pixels; got {array.shape}."
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


def _pad(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole picture in the middle of white, at least one pixel wide and high."""
    scale = min(width / image.width, height / image.height)
    inner = min(width, max(1, round(image.width * scale))), min(height, max(1, round(image.height * scale)))
    page = Image.new("RGB", (width, height), WHITE)
    corner = round((width - inner[0]) / 2), round((height - inner[1]) / 2)
    page.paste(image.resize(inner, Image.Resampling.LANCZOS), corner)
    return page


def _from_bytes(data: bytes, name: str) -> Image.Image:
    with decode_picture(data, name) as (image, orientation):
        rgb = _to_rgb(to_srgb(image))
        del image  # frees the decoder's copy of the pixels before `_upright` makes another
    return _upright(rgb, orientation)


def _from_image(image: Image.Image) -> Image.Image:
    """A PIL image of the caller's, which stays as it is."""
    check_size(image.size, "The picture")
    try:
        if image.tell():
            image.seek(0)
        image.load()
        return _upright(_to_rgb(to_srgb(image)), image.getexif().get(ORIENTATION))
    except BadPicture:
        raise
    except Exception as error:  # PIL's plugins raise nearly anything
        raise BadPicture(f"The picture is broken ({type(error).__name__}).") from None


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    """The picture turned by EXIF's orientation."""
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB, transparent parts on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _to_eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        rgb = Image.new("RGB", image.size, WHITE)
        rgb.paste(rgba, mask=rgba)
        return rgb
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Modes I, I;16 and F as RGB, scaled by the largest value; PIL itself clips at 255.

    Whole numbers: 8 bits if none exceeds 255, else 16. Floats: 0..1 if none exceeds 1, else as whole numbers.
    The values are read in bands of rows, to save memory.
    """
    width, height = image.size
    rows = max(1, (1 << 20) // width)
    bands = [(0, y, width, min(height, y + rows)) for y in range(0, height, rows)]

    def values(band: tuple[int, int, int, int]) -> Floats:
        array = np.asarray(image.crop(band)).astype(np.float32)
        return np.nan_to_num(array, copy=False, nan=0.0, posinf=np.inf, neginf=0.0)

    largest = 0.0
    for band in bands:
        array = values(band)
        largest = max(largest, float(array.max(initial=0, where=np.isfinite(array))))
    white = 65535.0 if largest > 255 else 255.0 if largest > 1 or image.mode != "F" else 1.0
    rgb = Image.new("RGB", image.size)
    for band in bands:
        grey = (values(band).clip(0, white) * (255 / white)).round().astype(np.uint8)
        rgb.paste(Image.fromarray(grey).convert("RGB"), band[:2])
    return rgb
