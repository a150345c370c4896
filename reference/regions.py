"""Maps made whole, for sharper regions: M' = S M."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_map(q: Tensor, k: Tensor, heads: int, scale: float) -> Tensor:
    """softmax(Q K^T scale), (heads, N, S), head by head. q (1, N, C), k (1, S, C)"""
    d = q.shape[-1] // heads
    maps = []
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        maps.append((q[0, :, part] @ k[0, :, part].T * scale).softmax(-1))
    return torch.stack(maps)


def word_map(q: Tensor, k: Tensor, heads: int, scale: float, tokens: tuple[int, ...]) -> Tensor:
    """M, (N,): mean over heads and a word's tokens."""
    return attention_map(q, k, heads, scale)[:, :, list(tokens)].mean((0, 2))


def self_attention_map(q: Tensor, k: Tensor, heads: int, scale: float) -> Tensor:
    """S, (N, N): mean over heads."""
    return attention_map(q, k, heads, scale).mean(0)
