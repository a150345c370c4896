"""Weights as shares of the attention (`Edit.weights_mode`), instead of the paper's gains of its columns.

    [num | Z] = the edited map times [V* | 1], with |w| in place of w before the 1;    out = num / Z

For weights of at least 0 and equal prompts this is softmax(Q K^T + log w) V: a word at 0 is gone and the
others have its attention, a word turned up takes theirs. Whatever the weights are, the output is no larger
than the largest of the values, where a gain of 4 makes it up to four times as large.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Mix


def take_ones(take: Tensor, rest: Tensor, mix: Mix | None) -> Tensor:
    """What a source's map is multiplied by for its part of Z. take (R, S, T), rest (R, 1, 1) -> (R, S, 1)"""
    ones = take.abs().sum(-1, keepdim=True) + rest
    return ones if mix is None else mix.matrix.abs() @ ones


def with_ones(values: Tensor, ones: Tensor, heads: int) -> Tensor:
    """[V | 1] of each head, so that one product gives num and Z. (B, S, C), (B, S, 1) -> (B, S, C + heads)"""
    B, S, _ = values.shape
    column = ones.to(values)[..., None].expand(B, S, heads, 1)
    return torch.cat([values.view(B, S, heads, -1), column], -1).flatten(2)


def divided(out: Tensor, shares: Tensor, heads: int) -> Tensor:
    """num / Z in the rows that share, num in the others. out (B, N, C + heads), shares (B,) -> (B, N, C)"""
    num, Z = out.unflatten(-1, (heads, -1)).split([out.shape[-1] // heads - 1, 1], -1)
    Z = torch.where(shares.view(-1, 1, 1, 1), Z.clamp_min(torch.finfo(Z.dtype).tiny), 1)
    return (num / Z).flatten(2)
