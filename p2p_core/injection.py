"""Injection: how a source's record enters the target.

    self-attention    out = attend(Q, K, V*)
    cross-attention   out = attend(Q*, K*, keep V*) + attend(Q, K, take V* + rest V)

Q, K, V are the source's, Q*, K*, V* the target's. The second line is the edited map times V*, the map being
softmax(Q K^T) take + softmax(Q* K*^T) diag(keep), which is never made; plus `rest` times what the source's
layer itself gave, where the edit has less than its whole amount. `model/unet_attention.py` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import AttentionLayer, AttentionRecord, Mix, Term, attend
from .share import divided, keep_ones, take_ones, with_ones


@dataclass(frozen=True, kw_only=True, eq=False)
class RowEdit:
    """The edit of one conditional row."""

    take: Tensor | None  # (S, T) float32 on the CPU, which source columns feed each column; None: none does
    keep: Tensor  # (T,) float32 on the CPU, how much of each of the target's own columns stays
    self_pixels: float  # self-attention is injected on grids of at most so many pixels; 0: nowhere
    rest: float = 0.0  # how much of the source's own output stays; it needs a `take`, of zeros if need be
    share: bool = False  # whether the edited map is divided by its rows' sums, see `share`


class RowEdits:
    """The edits of n conditional rows, as tensors on the device that every step with these edits reads.

    digest: equal digests mean equal edits.
    """

    def __init__(
        self, rows: Sequence[RowEdit], device: torch.device, dtype: torch.dtype, digest: bytes = b""
    ) -> None:
        self.n, self.digest, self._device, self._dtype = len(rows), digest, device, dtype
        self.taking = self._index(r for r, row in enumerate(rows) if row.take is not None)
        takes = [row.take for row in rows if row.take is not None]
        self._take = torch.stack(takes) if takes else None  # (rows that take, S, T)
        self._mixed: dict[bytes, Tensor] = {}
        self._ones: dict[bytes, Tensor] = {}
        length = max(len(row.keep) for row in rows)
        keep = torch.stack([row.keep.expand(length) for row in rows])[..., None]
        self._keep = None if bool((keep == 1).all()) else self._there(keep)  # (n, T, 1)
        self._rest = torch.tensor([row.rest for row in rows if row.take is not None]).view(-1, 1, 1)
        self.rest = self._there(torch.tensor([row.rest for row in rows])) if self._rest.any() else None
        shares = torch.tensor([row.share for row in rows])
        self._shares = shares.to(device, non_blocking=True) if shares.any() else None
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

    def keep_values(self, v: Tensor, heads: int) -> Tensor:
        """keep V* (B, T, C): of the conditional rows, the last n; the unconditional ones stay as they are."""
        keep = torch.ones_like(v[..., :1])
        if self._keep is not None:
            first = len(v) - len(self._keep)
            v = torch.cat([v[:first], v[first:] * self._keep])
            keep = torch.cat([keep[:first], self._keep])
        return v if self._shares is None else with_ones(v, keep_ones(keep), heads)

    def take_values(self, v: Tensor, mix: Mix | None, v_source: Tensor | None, heads: int) -> Tensor:
        """mix (take V* + rest V) of the rows that take. v (n, T, C), v_source (1, S, C) -> (rows, S, C)"""
        assert self._take is not None
        name = b"" if mix is None else mix.digest
        if name not in self._mixed:
            self._mixed[name] = self._there(self._take if mix is None else mix.matrix @ self._take)
        values = self._mixed[name] @ v.index_select(0, self.taking)
        if self.rest is not None and v_source is not None:
            mixed = v_source if mix is None else self._there(mix.matrix) @ v_source
            values = values + self.rest.index_select(0, self.taking).view(-1, 1, 1) * mixed
        if self._shares is None:
            return values
        if name not in self._ones:
            self._ones[name] = self._there(take_ones(self._take, self._rest, mix))
        return with_ones(values, self._ones[name], heads)

    def divided(self, out: Tensor, heads: int) -> Tensor:
        """The output (B, N, C) of what `keep_values` and `take_values` were multiplied by."""
        if self._shares is None:
            return out
        return divided(out, F.pad(self._shares, (len(out) - len(self._shares), 0)), heads)


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
        self,
        layer: AttentionLayer,
        v: Tensor,
        terms: Sequence[Term],
        edits: RowEdits,
        v_source: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """keep V*, and take V* for each term of the source's map: multiplied again only when they change."""
        name = (edits.digest, *(b"" if term.mix is None else term.mix.digest for term in terms))
        if layer.name not in self._edited or self._edited[layer.name][0] != name:
            rows, heads = v[len(v) - edits.n :], layer.heads
            take_v = [edits.take_values(rows, term.mix, v_source, heads) for term in terms]
            self._edited[layer.name] = (name, edits.keep_values(v, heads), take_v)
        return self._edited[layer.name][1:]


class SourceText(Protocol):
    """The source's prompt as its row of the UNet took it, one row: a `Conditioning`."""

    @property
    def rows(self) -> Tensor: ...
    @property
    def added_cond(self) -> dict[str, Tensor] | None: ...
    @property
    def projections(self) -> Projections: ...


@dataclass(frozen=True)
class Injection:
    """A step of a source, and the edits of n conditional rows that it is injected into.

    text: the source's, where a row has a `rest` of it; else None.
    """

    record: AttentionRecord
    edits: RowEdits
    text: SourceText | None = None

    def into_self(self, q: Tensor, k: Tensor, layer: AttentionLayer) -> None:
        """Q*, K* <- Q, K in the rows that are injected on this grid, in place. q, k: (n, N, C)"""
        rows = self.edits.self_rows(q.shape[1])
        if rows is not None:
            for x, source in zip((q, k), self.record.self_[layer.name], strict=True):
                x.index_copy_(0, rows, source.expand(len(rows), -1, -1))

    def added_cond(self, added: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
        """SDXL's pooled text (B, e), of which the source's takes its part as well."""
        text, rest = self.text, self.edits.rest
        if added is None or text is None or text.added_cond is None or rest is None:
            return added
        pooled = added["text_embeds"].clone()
        rows = pooled[len(pooled) - len(rest) :]
        rows += rest[:, None] * (text.added_cond["text_embeds"] - rows)
        return {**added, "text_embeds": pooled}

    def cross(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layer: AttentionLayer,
        projections: Projections,
        v_source: Tensor | None = None,
    ) -> Tensor:
        """attend(Q*, K*, keep V*) + attend(Q, K, take V* + rest V), (B, N, C); the last rows are conditional.

        v_source: V (1, S, C), where a row has a `rest` of it.
        """
        rows, n = self.edits.taking, self.edits.n
        terms = self.record.cross[layer.name] if len(rows) else ()
        keep_v, take_v = projections.edited(layer, v, terms, self.edits, v_source)
        out = attend(q, k, keep_v, layer)
        for term, values in zip(terms, take_v, strict=True):
            q_source, k_source = (x.expand(len(rows), -1, -1) for x in (term.q, term.k))
            out[len(out) - n :].index_add_(0, rows, attend(q_source, k_source, values, layer))
        return self.edits.divided(out, layer.heads)


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
