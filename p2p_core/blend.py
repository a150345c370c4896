"""Local blend (Prompt-to-Prompt, local editing): the mask where the words look, and the blended latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import Record, Site
from .plan import BlendStep
from .source import BlendSums


def add_up(
    sums: BlendSums | None,
    blend: BlendStep,
    record: Record | None,
    target: Tensor | None,
    subtract: Tensor | None,
    sites: tuple[Site, ...],
    grid: tuple[int, int],
) -> BlendSums:
    """The running sums with this step's maps: the source's from its record, the target's own as given."""
    source = None
    if blend.source_tokens:
        assert record is not None
        source = torch.stack([record.columns(site, blend.source_tokens).mean(-1) for site in sites]).sum(0)

    def plus(before: Tensor | None, new: Tensor | None) -> Tensor | None:
        if new is None:
            return before
        new = new.reshape(grid)
        return new if before is None else before + new

    before = sums or BlendSums(source=None, target=None, subtract=None)
    return BlendSums(
        source=plus(before.source, source),
        target=plus(before.target, target),
        subtract=plus(before.subtract, subtract),
    )


def region(sums: BlendSums, blend: BlendStep, latent: tuple[int, int]) -> Tensor:
    """The mask (h, w) bool at the latent's size: union of both words' regions, less the subtracted one."""
    assert blend.threshold is not None
    inside = torch.zeros(latent, dtype=torch.bool)
    for summed in (sums.source, sums.target):
        if summed is not None:
            inside = inside.to(summed.device) | _above(summed, latent, blend.threshold, spread=True)
    if sums.subtract is not None and blend.subtract_threshold is not None:
        inside = inside & ~_above(sums.subtract, latent, blend.subtract_threshold, spread=False)
    return inside


def _above(summed: Tensor, latent: tuple[int, int], threshold: float, *, spread: bool) -> Tensor:
    """Where a summed map lies above a share of its maximum. The number of summands drops out."""
    x = summed[None, None]
    if spread:
        x = F.max_pool2d(x, kernel_size=3, stride=1, padding=1)
    x = F.interpolate(x, size=latent)[0, 0]
    return x / x.max().clamp_min(1e-12) > threshold
