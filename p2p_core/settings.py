"""Settings of a run that are no words: guidance, how strong LoRAs are, and how a prompt is encoded."""

from __future__ import annotations

import base64
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadInput, shown
from .weights import number

MAX_GUIDANCE_SCALE = 100
MAX_LORA_SCALE = 10
Floats = npt.NDArray[np.float32]


def check_guidance_scale(scale: object) -> float:
    """A guidance scale as a float. Raises `BadInput`."""
    value = number(scale)
    if value is not None and 0 <= value <= MAX_GUIDANCE_SCALE:
        return value
    raise BadInput(f"guidance_scale is a number from 0 to {MAX_GUIDANCE_SCALE}; got {shown(scale)}.")


def check_lora_scale(scale: object) -> float:
    """What the strength of every loaded LoRA is multiplied by. Raises `BadInput`."""
    value = number(scale)
    if value is not None and abs(value) <= MAX_LORA_SCALE:
        return value
    raise BadInput(f"lora_scale is a number from -{MAX_LORA_SCALE} to {MAX_LORA_SCALE}; got {shown(scale)}.")


def check_clip_skip(layers: object) -> int:
    """How many of the text encoder's last layers are left out; None: none. Raises `BadInput`."""
    if layers is None:
        return 0
    if isinstance(layers, numbers.Integral) and not isinstance(layers, bool) and 0 <= int(layers) < 100:
        return int(layers)
    raise BadInput(f"clip_skip is a number of layers from 0 to 99, or None; got {shown(layers)}.")


def floats_text(floats: Any) -> str:
    """A tensor or an array as text for JSON: 32-bit floats in base64. Text stays as it is."""
    if isinstance(floats, str):
        return floats
    try:
        array = np.asarray(floats.detach().float().cpu() if hasattr(floats, "detach") else floats)
        return base64.b64encode(array.astype("<f4", casting="same_kind").tobytes()).decode()
    except (TypeError, ValueError):
        raise BadInput(f"Expected a tensor or an array of floats; got {type(floats).__name__}.") from None


def floats_of(text: str) -> Floats:
    """The numbers of `floats_text`, in one row. Raises `BadInput`."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except ValueError:
        raise BadInput(f"Floats as text are 32-bit floats in base64; got {shown(text)}.") from None
