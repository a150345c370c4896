"""Weights as shares of the attention (`Edit.weights_mode`), instead of the paper's gains of its columns.

    [num | Z] = the edited map times [V* | 1], with |w| in place of w before the 1;    out = s num / Z

s is what the source's own map sums to: 1, unless the source is an edit of another.
For weights of at least 0 and equal prompts this is softmax(Q K^T + log w) V: a word at 0 is gone and the
others have its attention, a word turned up takes theirs. Whatever the weights are, the output is no larger
than the largest of the values, where a gain of 4 makes it up to four times as large.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Mix


def take_ones(take: Tensor, rest: Tensor, mix: Mix | None) -> Tensor:
    """What a source's map is multiplied by for its parts of Z and s. take (R, S, T), rest (R, 1, 1) ->
    (R, S, 2)"""
    sums = take.abs().sum(-1, keepdim=True) + rest
    ones = torch.cat([sums, torch.ones_like(sums)], -1)
    return ones if mix is None else mix.matrix.abs() @ ones


def keep_ones(keep: Tensor) -> Tensor:
    """What a row's own map is multiplied by. keep (B, T, 1) -> (B, T, 2)"""
    return torch.cat([keep.abs(), torch.zeros_like(keep)], -1)


def with_ones(values: Tensor, ones: Tensor, heads: int) -> Tensor:
    """[V | ones] of each head, so that one product gives num, Z and s. (B, S, C), (B, S, 2) ->
    (B, S, C + 2 heads)"""
    B, S, _ = values.shape
    columns = ones.to(values)[:, :, None].expand(B, S, heads, 2)
    return torch.cat([values.view(B, S, heads, -1), columns], -1).flatten(2)


def divided(out: Tensor, shares: Tensor, heads: int) -> Tensor:
    """s num / Z in the rows that share, num in the others; s is 1 where nothing is read of the source.

    out (B, N, C + 2 heads), shares (B,) -> (B, N, C)
    """
    num, Z, s = out.unflatten(-1, (heads, -1)).split([out.shape[-1] // heads - 2, 1, 1], -1)
    factor = torch.where(s > 0, s, 1) / Z.clamp_min(torch.finfo(Z.dtype).tiny)
    return (num * torch.where(shares.view(-1, 1, 1, 1), factor, 1)).flatten(2)  # type: ignore[no-any-return]
