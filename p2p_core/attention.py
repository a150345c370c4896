"""Attention: a layer, its map's columns, and what it records of a source. See `injection` for what then
enters the target. Nothing here knows of prompts or of a UNet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """One attention layer, by its dotted module name."""

    name: str
    kind: Literal["cross", "self"]
    halvings: int  # how often the latent's grid was halved before this layer
    mid: bool
    heads: int
    scale: float  # of Q K^T

    def grid(self, latent: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of this layer's pixels for a latent of (h, w). Odd sizes round up, as the UNet does."""
        h, w = latent
        for _ in range(self.halvings):
            h, w = math.ceil(h / 2), math.ceil(w / 2)
        return h, w

    def pixels(self, latent: tuple[int, int]) -> int:
        h, w = self.grid(latent)
        return h * w


def map_sites(layers: tuple[AttentionLayer, ...], latent: tuple[int, int]) -> tuple[AttentionLayer, ...]:
    """The cross-attention layers whose maps stand for a word's region (Prompt-to-Prompt, local editing).

    Those of the one grid whose side, as the geometric mean of height and width, is nearest to 16 on a log
    scale, without the mid block: 16x16 for Stable Diffusion at 512 px.
    """
    cross = [s for s in layers if s.kind == "cross" and not s.mid] or [s for s in layers if s.kind == "cross"]
    best = min(cross, key=lambda s: abs(math.log2(math.sqrt(s.pixels(latent)) / 16)))
    return tuple(s for s in cross if s.halvings == best.halvings)


# --- tensors: B rows, N pixels, S source tokens, T target tokens, C channels over all heads -----------


def attend(q: Tensor, k: Tensor, v: Tensor, layer: AttentionLayer) -> Tensor:
    """softmax(Q K^T * scale) V. q (B, N, C), k (B, S, C), v (B, S, heads * any) -> (B, N, heads * any)."""
    B = len(q)
    q, k, v = (x.view(B, x.shape[1], layer.heads, -1).transpose(1, 2) for x in (q, k, v))  # (B, heads, ., d)
    out = F.scaled_dot_product_attention(q, k, v, scale=layer.scale)
    return out.transpose(1, 2).flatten(2)


def attention_columns(q: Tensor, k: Tensor, layer: AttentionLayer, tokens: tuple[int, ...]) -> Tensor:
    """Columns of softmax(Q K^T * scale) in float32, mean over heads. (B, N, C), (B, S, C) -> (B, N, len)."""
    B, d = q.shape[0], q.shape[-1] // layer.heads
    q, k = (x.float().view(B, -1, layer.heads, d).transpose(1, 2) for x in (q, k))
    maps = (q @ k.transpose(-1, -2) * layer.scale).softmax(-1)  # (B, heads, N, S)
    # Slices, because a list of numbers would be an index that is copied to the device in every step.
    parts = [maps[..., first:end] for first, end in _spans(tokens)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).mean(1)


def _spans(numbers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(first, end) of the spans of consecutive numbers, in their order."""
    first = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield numbers[first], numbers[i - 1] + 1
            first = i


# --- the record of a step ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mix:
    """A matrix (S, T) that a map is multiplied by from the right, float32 on the CPU. digest: its name.

    of_maps: the matrix with weights of 0 and below as 1, of the map that says where a word is.
    """

    matrix: Tensor
    digest: bytes
    of_maps: Tensor


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of a source's map: softmax(Q K^T) mix.

    A generated source has one, without a mix. The map of an edit is itself a sum of such terms (see
    `compose`), which is what lets an edit be edited again.
    """

    q: Tensor  # (1, N, C)
    k: Tensor  # (1, S, C)
    mix: Mix | None = None  # None: identity
    text: str = ""  # key of the source whose prompt K belongs to; "": of the source that is being recorded


@dataclass(kw_only=True)
class AttentionRecord:
    """What one step of a source leaves behind: queries and keys by layer name, never maps."""

    cross: dict[str, tuple[Term, ...]] = field(default_factory=dict)
    self_: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # Q, K (1, N, C) each

    def tensors(self) -> Iterator[Tensor]:
        """All of this step alone: without a text's keys, which all steps share."""
        yield from (term.q for terms in self.cross.values() for term in terms)
        yield from (x for pair in self.self_.values() for x in pair)

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.tensors())

    def map(self, change: Callable[[Tensor], Tensor], *, text_keys: bool = True) -> AttentionRecord:
        """The same with every tensor changed; a text's keys only if `text_keys`."""
        cross = {
            layer: tuple(replace(t, q=change(t.q), k=change(t.k) if text_keys else t.k) for t in terms)
            for layer, terms in self.cross.items()
        }
        self_ = {layer: (change(q), change(k)) for layer, (q, k) in self.self_.items()}
        return AttentionRecord(cross=cross, self_=self_)

    def rows(self, n: int) -> list[AttentionRecord]:
        """The records of n rows that were recorded together, each with memory of its own. A tensor of one
        row, the keys of the rows' one text, is the same in each."""

        def row(r: int) -> AttentionRecord:
            return self.map(lambda x: x if len(x) == 1 else x[r, None].clone())

        return [self] if n == 1 else [row(r) for r in range(n)]

    def columns(self, layer: AttentionLayer, tokens: tuple[int, ...]) -> Tensor:
        """The source's map at a layer for some tokens. -> (N, len(tokens)) float32, mean over heads.

        Of an edit that is a source it is the edited map, and of a word whose weight was 0 or below its own.
        """
        parts = []
        for term in self.cross[layer.name]:
            if term.mix is None:
                parts.append(attention_columns(term.q, term.k, layer, tokens)[0])
            else:
                every = attention_columns(term.q, term.k, layer, tuple(range(term.k.shape[1])))[0]
                columns = term.mix.of_maps[:, list(tokens)]
                parts.append(every @ columns.to(every.device, non_blocking=True))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
