"""Pictures as phones and cameras make them: colour profiles, AVIF, HEIC, very large JPEGs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from p2p_core.errors import BadPicture
from p2p_core.images.load import open_picture

from .. import profiles

GREEN, AS_SRGB = (60, 180, 75), (0, 183, 57)  # of Display P3, and what it is in sRGB


def data_of(image: Image.Image, kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def pixel(picture: Any) -> tuple[int, ...]:
    image = open_picture(picture)
    assert image.mode == "RGB"
    return image.getpixel((image.width // 2, image.height // 2))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "more", "off"),
    [("PNG", {}, 1), ("JPEG", {"quality": 98, "subsampling": 0}, 4), ("WEBP", {"lossless": True}, 1),
     ("TIFF", {}, 1), ("AVIF", {"quality": 98, "subsampling": "4:4:4"}, 5)],
)  # fmt: skip
def test_a_profile_says_what_the_numbers_mean(kind: str, more: dict[str, Any], off: int) -> None:
    plain = Image.new("RGB", (32, 32), GREEN)
    assert np.abs(np.subtract(pixel(data_of(plain, kind, **more)), GREEN)).max() <= off
    tagged = data_of(plain, kind, icc_profile=profiles.profile(), **more)
    assert np.abs(np.subtract(pixel(tagged), AS_SRGB)).max() <= off


def test_transparency_stays_and_lies_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (*GREEN, 255))
    image.putpixel((0, 0), (*GREEN, 0))
    found = open_picture(data_of(image, "PNG", icc_profile=profiles.profile()))
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(np.subtract(found.getpixel((4, 4)), AS_SRGB)).max() <= 1
    palette = image.convert("RGB").convert("P", dither=Image.Dither.NONE)
    palette.info["transparency"] = palette.getpixel((0, 0))
    data = data_of(palette, "PNG", icc_profile=profiles.profile(), transparency=palette.getpixel((0, 0)))
    assert pixel(data) == (255, 255, 255)


def test_a_pil_image_of_the_callers_is_read_by_its_profile_and_stays_as_it_is() -> None:
    image = Image.new("RGB", (8, 8), GREEN)
    image.info["icc_profile"] = profiles.profile()
    assert np.abs(np.subtract(pixel(image), AS_SRGB)).max() <= 1
    assert image.getpixel((0, 0)) == GREEN and image.info["icc_profile"]


@pytest.mark.parametrize(
    "profile", [b"", b"no profile", profiles.profile()[:200], bytes(2 << 20), profiles.profile(space=b"GRAY")]
)
def test_a_profile_that_is_broken_or_anothers_changes_nothing(profile: bytes) -> None:
    image = Image.new("RGB", (8, 8), GREEN)
    image.info["icc_profile"] = profile
    assert pixel(image) == GREEN


def test_srgbs_own_profile_leaves_every_pixel_as_it_is() -> None:
    from PIL import ImageCms

    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert open_picture(data_of(noise, "PNG", icc_profile=profile)).tobytes() == noise.tobytes()


def test_a_grey_picture_with_a_grey_profile() -> None:
    image = Image.new("L", (8, 8), 128)
    image.info["icc_profile"] = profiles.profile(space=b"GRAY")
    assert np.abs(np.subtract(pixel(image), (128, 128, 128))).max() <= 1


def test_heic_is_read_upright() -> None:
    image = Image.new("RGB", (64, 32), GREEN)
    image.paste((250, 0, 0), (0, 0, 20, 20))
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    pillow_heif.from_pillow(image).save(buffer, quality=95, exif=exif.tobytes())
    found = open_picture(buffer.getvalue())
    assert found.size == (32, 64)
    assert np.abs(np.subtract(found.getpixel((28, 4)), (250, 0, 0))).max() < 12  # turned to the right


@pytest.mark.parametrize("size", [(8000, 6000), (12_000, 9000)])
def test_a_phones_large_jpeg_is_read_smaller(size: tuple[int, int]) -> None:
    found = open_picture(data_of(Image.new("RGB", size, GREEN), "JPEG"))
    assert found.width * found.height <= 25_000_000
    assert found.width / found.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert np.abs(np.subtract(found.getpixel((9, 9)), GREEN)).max() <= 3


def test_what_is_larger_than_a_phones_is_refused() -> None:
    with pytest.raises(BadPicture, match="million"):
        open_picture(data_of(Image.new("L", (15_000, 9000)), "JPEG"))
    with pytest.raises(BadPicture, match="million"):
        open_picture(data_of(Image.new("1", (8000, 6000)), "PNG"))
