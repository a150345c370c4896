"""Pictures of all kinds in: RGB of the model's size, or a sentence; quickly, and in little memory."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from p2p_core.errors import BadPicture
from p2p_core.images.decode import MAX_BYTES, MAX_PIXELS, UPRIGHT
from p2p_core.images.load import fit_picture, open_picture

from ..hostile import bomb, saved

RED = (200, 30, 40)


MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16")


@pytest.mark.parametrize("value", [90, 200])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_as_bright(mode: str, value: int) -> None:
    grey = Image.new("RGB", (20, 10), (value,) * 3)
    if mode == "LAB":  # PIL converts to it by other means
        image = Image.new("LAB", (20, 10), ({90: 97, 200: 205}[value], 128, 128))
    else:
        image = grey.convert("L").convert(mode) if mode in ("I", "F", "I;16") else grey.convert(mode)
    found = open_picture(image)
    assert image.mode == mode and found.mode == "RGB" and found.size == (20, 10)
    off = 16 if mode == "1" else 30 if mode == "P" else 3  # dithered; of a palette of few greys
    assert abs(np.asarray(found).mean() - value) <= off


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV"])
def test_every_mode_has_its_colours(mode: str) -> None:
    found = np.asarray(open_picture(Image.new("RGB", (20, 10), RED).convert(mode)))
    assert np.abs(found[5, 5].astype(int) - RED).max() <= 60 * (mode == "P") + 4


def test_more_than_eight_bits_come_down_by_their_range() -> None:
    for array, first in (
        (np.array([[0, 65535]], np.uint16), (0, 255)),
        (np.array([[0, 32768]], np.uint16), (0, 128)),
        (np.array([[0, 70000]], np.int32), (0, 255)),
        (np.array([[-5, 128]], np.int32), (0, 128)),
        (np.array([[0, 0.5]], np.float32), (0, 128)),
        (np.array([[0, 128]], np.float32), (0, 128)),
        (np.array([[np.nan, np.inf, 0.5]], np.float32), (0, 255, 128)),
        (np.array([[-np.inf, 257]], np.float32), (0, 1)),
    ):
        found = np.asarray(open_picture(Image.fromarray(array)))[0, :, 0].astype(int)
        assert np.abs(found - first).max() <= 1, (array, found)
    tall = np.arange(3_000_000, dtype=np.int32).reshape(-1, 1000) // 46  # more rows than a band has
    found = np.asarray(open_picture(Image.fromarray(tall)))[..., 1]
    assert np.abs(found - np.round(tall / 257)).max() <= 1


def test_upright_on_white_and_16_bits() -> None:
    turned = Image.new("RGB", (30, 10), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    assert open_picture(saved(turned, "JPEG", exif=exif)).size == (10, 30)
    clear = Image.new("RGBA", (8, 8), (*RED, 0))
    assert np.asarray(open_picture(saved(clear, "PNG"))).min() == 255
    deep = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    assert abs(int(np.asarray(open_picture(saved(deep, "PNG")))[0, 0, 0]) - 128) <= 1
    palette = Image.new("P", (8, 8))
    palette.putpalette([0, 0, 0, *RED])
    assert np.asarray(open_picture(saved(palette, "GIF", transparency=0))).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_upright_as_pil_has_it(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.random.default_rng(1).integers(256, size=(16, 24, 3), dtype=np.uint8)
    data = saved(Image.fromarray(pixels), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    stored = Image.open(io.BytesIO(data))
    expected = ImageOps.exif_transpose(stored)
    assert turn == 1 or turn in UPRIGHT
    for picture in (data, Image.open(io.BytesIO(data))):
        assert np.array_equal(np.asarray(open_picture(picture)), np.asarray(expected.convert("RGB")))
    mine = Image.open(io.BytesIO(data))
    open_picture(mine)
    assert mine.size == stored.size, "a picture that is given stays as it is"


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_there_is_none_of(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert open_picture(saved(Image.new("RGB", (24, 16)), "JPEG", exif=exif)).size == (24, 16)


def test_the_first_frame_of_many() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, (0, 0, 255))]
    for kind in ("GIF", "WEBP", "PNG"):
        found = open_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert np.abs(np.asarray(found)[0, 0].astype(int) - RED).max() < 12, kind


ARRAYS = (
    np.zeros((4, 5)), np.ones((4, 5, 3), np.float32), np.zeros((4, 5, 4), np.uint8),
    np.full((4, 5), 65535, np.uint16), np.ones((4, 5), bool), np.zeros((4, 5, 1), np.uint8),
)  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype} {a.shape}")
def test_arrays(array: np.ndarray) -> None:
    assert open_picture(array).size == (5, 4)


BROKEN: dict[str, Any] = {
    "nothing": b"", "text": b"hello", "bomb": bomb(), "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "half a PNG": saved(Image.effect_noise((64, 64), 50), "PNG")[:300],
    "half a JPEG": saved(Image.effect_noise((64, 64), 50), "JPEG")[:200],
    "no file": "/no/such/file.png", "a folder": Path("/"), "a number": 5, "None": None, "list": [1, 2],
    "1d": np.zeros(5), "5 channels": np.zeros((4, 4, 5), np.uint8), "empty": np.zeros((0, 4, 3), np.uint8),
    "a zero in its name": "a\0b.png", "half a character": "\ud800.png", "without end": "/dev/zero",
    "a long name": "x" * 5000, "nan": np.full((4, 4), np.nan), "too bright": np.full((4, 4), 2.0),
    "int64": np.zeros((4, 4), np.int64),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("picture", BROKEN.values(), ids=list(BROKEN))
def test_what_is_no_picture_is_told(picture: Any) -> None:
    with pytest.raises(BadPicture):
        open_picture(picture)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadPicture, match="not a file"):
        open_picture(tmp_path / "pipe.png")


def test_no_more_bytes_are_read_than_a_picture_has(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for picture in (path, bytes(MAX_BYTES + 1)):
        with pytest.raises(BadPicture, match="at most 64 MB"):
            open_picture(picture)


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(Image.new("RGB", (8, 8), RED), "PNG"))
    assert open_picture(path).size == open_picture(str(path)).size == (8, 8)
    assert MAX_PIXELS >= 24_000_000, "what cameras make"


def test_the_crop_can_be_moved_and_padding_keeps_all() -> None:
    image = Image.fromarray(np.repeat(np.linspace(0, 255, 90, dtype=np.uint8)[None], 30, 0)).convert("RGB")
    left, middle, right = (
        np.asarray(fit_picture(image, (32, 32), "crop", (x, 0.5))).mean() for x in (0.0, 0.5, 1.0)
    )
    assert left < 60 < middle < 190 < right
    padded = np.asarray(fit_picture(image, (32, 32), "pad"))
    assert (padded[0] == 255).all() and padded[16, 1].max() < 30
    for wrong in ({"fit": "stretch"}, {"center": (2, 0)}, {"center": "middle"}, {"center": (0.5,)}):
        with pytest.raises(BadPicture):
            fit_picture(image, (32, 32), **wrong)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(10000, 1), (1, 10000), (3, 2000), (1, 1), (31, 33), (500, 400)])
def test_pictures_of_any_shape_fit(size: tuple[int, int], fit: str) -> None:
    image = Image.new("RGB", size, RED)
    for height, width in ((32, 32), (48, 24), (8, 64)):
        found = fit_picture(image, (height, width), fit)
        pixels = np.asarray(found).astype(int)
        assert found.size == (width, height) and np.abs(pixels[height // 2, width // 2] - RED).max() <= 2
        if min(size) > 30 and fit == "pad":
            pil = ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=(255, 255, 255))
            assert np.array_equal(pixels, np.asarray(pil).astype(int))
