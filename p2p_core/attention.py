"""Attention: what a layer records, and how a source's record enters the target.

    self-attention    out = attend(Q, K, V*)
    cross-attention   out = attend(Q*, K*, keep V*) + attend(Q, K, take V*)

Q, K are the source's, Q*, K*, V* the target's. The second line is the edited map times V*: the map is
softmax(Q K^T) take + softmax(Q* K*^T) diag(keep), and is never made. Nothing here knows of prompts or of a
UNet: `model/unet_attention.py` calls it from a UNet's layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """softmax(Q K^T * scale) V. q (B, N, C), k and v (B, S, C) -> (B, N, C)."""
    B, N, C = q.shape
    d = C // layer.heads
    q, k, v = (x.view(B, -1, layer.heads, d).transpose(1, 2) for x in (q, k, v))  # (B, heads, ., d)
    out = F.scaled_dot_product_attention(q, k, v, scale=layer.scale)
    return out.transpose(1, 2).reshape(B, N, C)


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
    """A matrix (S, T) that a map is multiplied by from the right, float32 on the CPU. digest: its name."""

    matrix: Tensor
    digest: bytes


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
        """The source's map at a layer for some tokens. -> (N, len(tokens)) float32, mean over heads."""
        parts = []
        for term in self.cross[layer.name]:
            if term.mix is None:
                parts.append(attention_columns(term.q, term.k, layer, tokens)[0])
            else:
                every = attention_columns(term.q, term.k, layer, tuple(range(term.k.shape[1])))[0]
                columns = term.mix.matrix[:, list(tokens)]
                parts.append(every @ columns.to(every.device, non_blocking=True))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


# --- injection -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class RowEdit:
    """The edit of one conditional row."""

    take: Tensor | None  # (S, T) float32 on the CPU, which source columns feed each column; None: none does
    keep: Tensor  # (T,) float32 on the CPU, how much of each of the target's own columns stays
    self_pixels: float  # self-attention is injected on grids of at most so many pixels; 0: nowhere


class RowEdits:
    """The edits of n conditional rows, as tensors on the device that every step with these edits reads.

    digest: equal digests mean equal edits.
    """

    def __init__(
        self, rows: Sequence[RowEdit], device: torch.device, dtype: torch.dtype, digest: bytes = b""
    ) -> None:
        self.digest, self._device, self._dtype = digest, device, dtype
        self.taking = self._index(r for r, row in enumerate(rows) if row.take is not None)
        takes = [row.take for row in rows if row.take is not None]
        self._take = torch.stack(takes) if takes else None  # (rows that take, S, T)
        self._mixed: dict[bytes, Tensor] = {}
        length = max(len(row.keep) for row in rows)
        keep = torch.stack([row.keep.expand(length) for row in rows])[..., None]
        self._keep = None if bool((keep == 1).all()) else self._there(keep)  # (n, T, 1)
        limits = sorted({row.self_pixels for row in rows if row.self_pixels > 0})
        self._self_rows = [
            (limit, self._index(r for r, row in enumerate(rows) if row.self_pixels >= limit))
            for limit in limits
        ]

    def _index(self, rows: Iterator[int]) -> Tensor:
        return torch.tensor(list(rows), dtype=torch.long).to(self._device, non_blocking=True)

    def _there(self, x: Tensor) -> Tensor:
        return x.to(self._device, self._dtype, non_blocking=True)

    @property
    def leaves_maps(self) -> bool:
        """Whether every row's cross-attention is the model's own."""
        return self._take is None and self._keep is None

    def self_rows(self, pixels: int) -> Tensor | None:
        """Numbers of the rows whose self-attention is injected on a grid of so many pixels; None: of none."""
        return next((rows for limit, rows in self._self_rows if pixels <= limit), None)

    def keep_values(self, v: Tensor) -> Tensor:
        """keep V* (B, T, C): of the conditional rows, the last n; the unconditional ones stay as they are."""
        if self._keep is None:
            return v
        first = len(v) - len(self._keep)
        return torch.cat([v[:first], v[first:] * self._keep])

    def take_values(self, v: Tensor, mix: Mix | None) -> Tensor:
        """mix take V* of the rows that take. v: (n, T, C) -> (rows that take, S, C)"""
        assert self._take is not None
        name = b"" if mix is None else mix.digest
        if name not in self._mixed:
            self._mixed[name] = self._there(self._take if mix is None else mix.matrix @ self._take)
        return self._mixed[name] @ v.index_select(0, self.taking)


class Projections:
    """A text's keys and values in every layer: made in a run's first step, read in the others."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Tensor, Tensor]] = {}
        self._edited: dict[str, tuple[tuple[bytes, ...], Tensor, list[Tensor]]] = {}

    def of(self, layer: str, project: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """K and V in a layer, (B, S, C) each."""
        if layer not in self._made:
            self._made[layer] = project()
        return self._made[layer]

    def edited(
        self, layer: str, v: Tensor, terms: Sequence[Term], edits: RowEdits, n: int
    ) -> tuple[Tensor, list[Tensor]]:
        """keep V*, and take V* for each term of the source's map: multiplied again only when they change."""
        name = (edits.digest, *(b"" if term.mix is None else term.mix.digest for term in terms))
        if layer not in self._edited or self._edited[layer][0] != name:
            take_v = [edits.take_values(v[len(v) - n :], term.mix) for term in terms]
            self._edited[layer] = (name, edits.keep_values(v), take_v)
        return self._edited[layer][1:]


@dataclass(frozen=True)
class Injection:
    """A step of a source, and the edits of n conditional rows that it is injected into."""

    record: AttentionRecord
    edits: RowEdits

    def into_self(self, q: Tensor, k: Tensor, layer: AttentionLayer) -> None:
        """Q*, K* <- Q, K in the rows that are injected on this grid, in place. q, k: (n, N, C)"""
        rows = self.edits.self_rows(q.shape[1])
        if rows is not None:
            for x, source in zip((q, k), self.record.self_[layer.name], strict=True):
                x.index_copy_(0, rows, source.expand(len(rows), -1, -1))

    def cross(
        self, q: Tensor, k: Tensor, v: Tensor, layer: AttentionLayer, projections: Projections, n: int
    ) -> Tensor:
        """attend(Q*, K*, keep V*) + attend(Q, K, take V*), (B, N, C); the last n rows are conditional."""
        rows = self.edits.taking
        terms = self.record.cross[layer.name] if len(rows) else ()
        keep_v, take_v = projections.edited(layer.name, v, terms, self.edits, n)
        out = attend(q, k, keep_v, layer)
        for term, values in zip(terms, take_v, strict=True):
            q_source, k_source = (x.expand(len(rows), -1, -1) for x in (term.q, term.k))
            out[len(out) - n :].index_add_(0, rows, attend(q_source, k_source, values, layer))
        return out


@dataclass(kw_only=True)
class AttentionContext:
    """What one call of the model carries to its attention layers, and what they answer.

    The batch is [unconditional rows, conditional rows]; only conditional rows are recorded and edited.
    """

    conditional: int  # number of conditional rows, the last of the batch
    latent: tuple[int, int]
    record_self_pixels: float | None = None  # record cross, and self up to this grid; None: record nothing
    record_rows: int = 1  # number of rows to record, the first conditional ones; they share one text
    injection: Injection | None = None
    collect: Mapping[int, tuple[tuple[int, ...], ...]] = field(default_factory=dict)  # row -> token groups
    collect_sites: frozenset[str] = frozenset()
    projections: Projections | None = None  # of the text; None: made for this call alone
    # answers
    fired: list[str] = field(default_factory=list)
    recorded: AttentionRecord = field(default_factory=AttentionRecord)
    collected: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # (row, group) -> (N,) summed maps
