"""Local blend (Prompt-to-Prompt, local editing): the mask where the words look, and the blended latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .attention import AttentionLayer, AttentionRecord
from .images.mask import mask_array
from .refine import refined
from .step_plan import BlendStep

T = TypeVar("T", Tensor, Tensor | None)


@dataclass(frozen=True, kw_only=True)
class BlendSums:
    """Local blend's running sums over the steps so far: one map each, at the blend's grid."""

    source: Tensor | None  # (h, w) float32
    target: Tensor | None
    subtract: Tensor | None


def add_up(
    sums: BlendSums | None,
    blend: BlendStep,
    record: AttentionRecord | None,
    target: Tensor | None,
    subtract: Tensor | None,
    sites: tuple[AttentionLayer, ...],
    latent: tuple[int, int],
    refining: tuple[AttentionLayer, ...] = (),
) -> BlendSums:
    """The running sums with this step's maps: the source's from its record, the target's own as given.

    refining: the self-attention layers that sharpen each map before it is added, see `refine`.
    """
    source = None
    if blend.source_tokens:
        assert record is not None
        source = torch.stack([record.columns(site, blend.source_tokens).mean(-1) for site in sites]).sum(0)

    def plus(before: Tensor | None, new: Tensor | None) -> Tensor | None:
        if new is None:
            return before
        new = new.reshape(sites[0].grid(latent))
        if record is not None:
            new = refined(new, record, refining, latent)
        return new if before is None else before + new

    before = sums or BlendSums(source=None, target=None, subtract=None)
    return BlendSums(
        source=plus(before.source, source),
        target=plus(before.target, target),
        subtract=plus(before.subtract, subtract),
    )


def region(
    sums: BlendSums,
    blend: BlendStep,
    latent: tuple[int, int],
    device: torch.device | str = "cpu",
    drawn: Tensor | None = None,
) -> Tensor:
    """How much of the edit stays, (h, w) float32 in 0..1 at the latent's size, on the maps' device.

    The union of both words' regions and of what is drawn, less the subtracted one; then its edge is faded.
    drawn: `drawn_region` of the blend's mask, made before.
    """
    assert blend.threshold is not None
    parts = [
        _above(summed, latent, blend.threshold, blend, spread=True)
        for summed in (sums.source, sums.target)
        if summed is not None
    ]
    if blend.mask is not None:
        parts.append(drawn_region(blend.mask, latent).to(device) if drawn is None else drawn)
    inside = parts[0] if parts else torch.zeros(latent, device=device)
    for part in parts[1:]:
        inside = inside.maximum(part)
    if sums.subtract is not None and blend.subtract_threshold is not None:
        inside = inside * (1 - _above(sums.subtract, latent, blend.subtract_threshold, blend, spread=False))
    return _faded(inside, blend.soft * math.sqrt(latent[0] * latent[1])) if blend.soft > 0 else inside


def drawn_region(mask: str, latent: tuple[int, int]) -> Tensor:
    """A drawn mask at the latent's size, (h, w) float32 on the CPU: a cell is in as far as it is painted."""
    return F.interpolate(torch.tensor(mask_array(mask))[None, None], size=latent, mode="area")[0, 0]


def over(image: Image.Image, below: Image.Image, mask: np.ndarray) -> Image.Image:
    """A picture inside a mask (h, w) in 0..1, another of its size outside; the edge is one latent wide."""
    inside = Image.fromarray(np.round(mask * 255).astype(np.uint8))
    return Image.composite(image, below, inside.resize(image.size, Image.Resampling.BILINEAR))


def blended(inside: T, outside: Tensor | None, mask: Tensor) -> T:
    """`inside` where the mask (h, w) is 1, `outside` where it is 0, between them where it is soft.

    Where there is nothing outside, `inside` stays: clean latents that no sampler looks back at.
    """
    if inside is None or outside is None:
        return inside
    m = mask.to(inside.dtype)
    # Where the mask is 0 or 1 it chooses exactly, because a sum of products rounds in half precision.
    return torch.where(m == 0, outside, torch.where(m == 1, inside, outside.lerp(inside, m)))


def _faded(inside: Tensor, width: float) -> Tensor:
    """The region under a Gaussian whose rise from 16 to 84 % is `width` latent pixels."""
    sigma = width / 2
    reach = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=inside.device) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = F.pad(inside[None, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[0, 0].clamp(0, 1)


def _above(
    summed: Tensor, latent: tuple[int, int], threshold: float, blend: BlendStep, *, spread: bool
) -> Tensor:
    """1 where a summed map lies above a share of its maximum, else 0. The number of summands drops out.

    A sharpened map is nowhere near 0, so a share of its range counts. spread: the 3 x 3 maximum first.
    """
    x = summed[None, None]
    if spread:
        x = F.max_pool2d(x, kernel_size=3, stride=1, padding=1)
    x = F.interpolate(x, size=latent)[0, 0]
    if blend.quantile:
        return (x > torch.quantile(x, threshold)).float()
    x = x - x.min() if blend.refine else x
    return (x / x.max().clamp_min(1e-12) > threshold).float()
