"""Sharper regions: a word's map times the source's own self-attention.

    M' = S M        S = softmax(Q K^T / sqrt d) of the source, mean over heads and layers of one grid

Pixels that look at each other belong together, so a word's map spreads over its thing and ends at its edge.
S is never made: the product is attention with the map as its values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import AttentionLayer, AttentionRecord, attend


def refining_layers(
    layers: Sequence[AttentionLayer], latent: tuple[int, int], max_pixels: float
) -> tuple[AttentionLayer, ...]:
    """The self-attention layers of the finest grid that a source records as usual."""
    recorded = [x for x in layers if x.kind == "self" and x.pixels(latent) <= max_pixels]
    finest = max((x.pixels(latent) for x in recorded), default=0)
    return tuple(x for x in recorded if x.pixels(latent) == finest)


def refined(
    word_map: Tensor, record: AttentionRecord, layers: Sequence[AttentionLayer], latent: tuple[int, int]
) -> Tensor:
    """S M of one step: a map (h, w) float32 at the grid of the layers. The same map if there are none."""
    if not layers:
        return word_map
    grid = layers[0].grid(latent)
    M = F.interpolate(word_map[None, None], size=grid, mode="bilinear").reshape(1, -1, 1)
    products = []
    for layer in layers:
        q, k = (x.float() for x in record.self_[layer.name])
        products.append(attend(q, k, M.repeat(1, 1, layer.heads), layer).mean(-1))
    return torch.stack(products).mean(0).reshape(grid)
