"""Colour profiles: what a picture's numbers mean, brought to sRGB, which models were trained on."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from .decode import MAX_PROFILE_BYTES

MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by a profile's colour space


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture in the colours that its profile says, its transparency as it was.

    One without a profile, with sRGB's, or with one that doesn't fit or can't be read stays as it is, which is
    how browsers show it.
    """
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not 0 < len(data) <= MAX_PROFILE_BYTES:
        return image
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(data))
        mode = MODES.get(profile.profile.xcolor_space.strip())
        if mode is None or _is_srgb(profile) or not _fits(image, mode):
            return image
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        base = image if image.mode == mode else image.convert(mode)
        found = ImageCms.profileToProfile(base, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    assert found is not None
    if alpha is not None:
        found.putalpha(alpha)
    found.info.pop("transparency", None)
    return found


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in ImageCms.getProfileDescription(profile).lower()


def _fits(image: Image.Image, mode: str) -> bool:
    """Whether a profile for pictures of a mode can be that of this one."""
    if image.mode.startswith("I") or image.mode == "F":  # more than 8 bits, see `open_picture`
        return False
    return image.mode == mode if "CMYK" in (mode, image.mode) else mode == "RGB" or image.mode in ("L", "LA")
