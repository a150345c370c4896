"""How much fits: edits in one batch, and a decode in one piece. Estimates; what they miss is caught."""

from __future__ import annotations

from typing import Any

import torch

from .free_memory import free

MOST = 32  # edits in one batch: more gain nothing, and a step takes long to be stopped
SHARE = 0.8  # of what is free
# bytes that one row of the UNet takes at its widest, in multiples of one map of its first level: what waits
# for the way up, the feed-forward's eightfold width twice, and room for the convolutions
ROW = 64
DECODE = 6  # the same of the autoencoder's last level, which has twice its first width


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can be had on a GPU, torch's own reserve included; None on a CPU."""
    return free(device) if device.type == "cuda" else None


def edits_at_once(unet: Any, size: tuple[int, int], itemsize: int, rows: int, free: int | None) -> int:
    """Edits in one batch on latents of (h, w). rows: of the UNet's for each. free: None: on a CPU, where not
    the memory but the caches say how many run best."""
    h, w = size
    if free is None:
        return max(1, min(16, 16 * 1024 // (h * w)))
    each = rows * ROW * h * w * unet.config.block_out_channels[0] * itemsize
    return max(1, min(MOST, int(SHARE * free) // each))


def decode_fits(vae: Any, pixels: tuple[int, int], itemsize: int, free: int | None) -> bool:
    """Whether a picture of (height, width) is decoded in one piece."""
    each = DECODE * pixels[0] * pixels[1] * 2 * vae.config.block_out_channels[0] * itemsize
    return free is None or each < free


def empty_cache(device: torch.device) -> None:
    """Give back what torch holds in reserve."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
