"""Attention layers: where they are, and one processor that records or injects.

Nothing here knows of prompts. Per-step data travels through the call (`cross_attention_kwargs`), so a
processor holds nothing but its `AttentionLayer`, and an abandoned run leaves nothing behind.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import UnsupportedModel


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """One attention layer, by its dotted module name in the UNet."""

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


def find_sites(unet: Any) -> tuple[AttentionLayer, ...]:
    """All attention layers in order of execution. Raises `UnsupportedModel` for layers it can't drive."""
    levels = len(unet.config.block_out_channels)
    found: list[tuple[int, AttentionLayer]] = []
    for processor in unet.attn_processors:
        name = processor.removesuffix(".processor")
        attn = unet.get_submodule(name)
        part, _, rest = name.partition(".")
        if part not in ("down_blocks", "mid_block", "up_blocks") or getattr(attn, "added_kv_proj_dim", None):
            raise UnsupportedModel(f"Expected the attention layers of a Stable Diffusion UNet; got {name}.")
        number = int(rest.split(".")[0]) if part != "mid_block" else 0
        order, halvings = {
            "down_blocks": (number, number),
            "mid_block": (levels, levels - 1),
            "up_blocks": (levels + 1 + number, levels - 1 - number),
        }[part]
        site = AttentionLayer(
            name=name,
            kind="cross" if attn.is_cross_attention else "self",
            halvings=halvings,
            mid=part == "mid_block",
            heads=attn.heads,
            scale=float(attn.scale),
        )
        found.append((order, site))
    return tuple(site for _, site in sorted(found, key=lambda pair: pair[0]))


def map_sites(sites: tuple[AttentionLayer, ...], latent: tuple[int, int]) -> tuple[AttentionLayer, ...]:
    """The cross-attention layers whose maps stand for a word's region (Prompt-to-Prompt, local editing).

    Those of the one grid whose side, as the geometric mean of height and width, is nearest to 16 on a log
    scale, without the mid block: 16x16 for Stable Diffusion at 512 px.
    """
    cross = [s for s in sites if s.kind == "cross" and not s.mid] or [s for s in sites if s.kind == "cross"]
    best = min(cross, key=lambda s: abs(math.log2(math.sqrt(s.pixels(latent)) / 16)))
    return tuple(s for s in cross if s.halvings == best.halvings)


# --- tensors: B rows, N pixels, S source tokens, T target tokens, C channels over all heads -----------


def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T * scale) V. q (B, N, C), k and v (B, S, C) -> (B, N, C)."""
    B, N, C = q.shape
    d = C // site.heads
    q, k, v = (x.view(B, -1, site.heads, d).transpose(1, 2) for x in (q, k, v))  # (B, heads, ., d)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=site.scale)
    return out.transpose(1, 2).reshape(B, N, C)


def attention_columns(q: Tensor, k: Tensor, site: AttentionLayer, tokens: tuple[int, ...]) -> Tensor:
    """Columns of softmax(Q K^T * scale) in float32, mean over heads. (B, N, C), (B, S, C) -> (B, N, len)."""
    B, d = q.shape[0], q.shape[-1] // site.heads
    q, k = (x.float().view(B, -1, site.heads, d).transpose(1, 2) for x in (q, k))
    maps = (q @ k.transpose(-1, -2) * site.scale).softmax(-1)  # (B, heads, N, S)
    # by slices: a list of numbers would be an index that is copied to the device in every step
    parts = [maps[..., first:end] for first, end in _runs(tokens)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).mean(1)


@dataclass(frozen=True)
class Term:
    """One summand of a source's map: softmax(Q K^T) mix.

    A generated source has one, without a mix. The map of an edit is itself a sum of such terms (the
    source's with `take`, its own with `keep`), which is what lets an edit be edited again.
    """

    q: Tensor  # (1, N, C)
    k: Tensor  # (1, S, C)
    mix: Tensor | None  # (S, S) float32 on the CPU; None: identity
    text: str = ""  # whose text the keys are of, by the source's key


@dataclass(kw_only=True)
class AttentionRecord:
    """What one step of a source leaves behind: queries and keys, never maps."""

    cross: dict[str, tuple[Term, ...]] = field(default_factory=dict)  # by site name
    self_: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # Q, K (1, N, C) each

    def map(self, change: Callable[[Tensor], Tensor]) -> AttentionRecord:
        """The same with every query and key changed, each tensor once."""
        done: dict[int, Tensor] = {}

        def once(x: Tensor) -> Tensor:
            if id(x) not in done:
                done[id(x)] = change(x)
            return done[id(x)]

        cross = {
            site: tuple(replace(term, q=once(term.q), k=once(term.k)) for term in terms)
            for site, terms in self.cross.items()
        }
        return AttentionRecord(
            cross=cross, self_={site: (once(q), once(k)) for site, (q, k) in self.self_.items()}
        )

    def rows(self, n: int) -> list[AttentionRecord]:
        """The records of n rows that were recorded together, each with memory of its own.

        What has one row, the keys of a text that all share, is the same in each."""

        def of(r: int) -> AttentionRecord:
            return self.map(lambda x: x if len(x) == 1 else x[r, None].clone())

        return [self] if n == 1 else [of(r) for r in range(n)]

    def columns(self, site: AttentionLayer, tokens: tuple[int, ...]) -> Tensor:
        """The source's map at `site` for some tokens. -> (N, len(tokens)) float32, mean over heads."""
        total: Tensor | None = None
        for term in self.cross[site.name]:
            if term.mix is None:
                part = attention_columns(term.q, term.k, site, tokens)[0]
            else:
                every = attention_columns(term.q, term.k, site, tuple(range(term.k.shape[1])))[0]
                part = every @ term.mix[:, list(tokens)].to(every.device, non_blocking=True)
            total = part if total is None else total + part
        assert total is not None
        return total


@dataclass(frozen=True, kw_only=True)
class RowEdit:
    """What is injected into one conditional row."""

    take: Tensor | None  # (S, T) float32 on the CPU; None: no source columns
    keep: Tensor | None  # (T,) float32; None: none of the target's own
    self_pixels: float  # self-attention is injected on grids of at most so many pixels; 0: nowhere


OWN = 0  # where the target's own values stand among those of mixes, which go by their ids
PLAIN = RowEdit(take=None, keep=torch.ones(1), self_pixels=0)


class Injection:
    """The edits of n conditional rows in one UNet call, sorted into the attends they need.

    Design: out = attend(Q_src, K_src, take @ V*) + attend(Q*, K*, keep * V*), so rows with keep = 0 need
    no queries and keys of their own, and rows with take = 0 none of the source's.
    """

    def __init__(
        self, record: AttentionRecord | None, rows: list[RowEdit], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.record = record or AttentionRecord()
        self.rows = rows
        self.taking = [r for r, row in enumerate(rows) if row.take is not None]
        self.keeping = [r for r, row in enumerate(rows) if row.keep is not None]
        self.keep: Tensor | None = None  # (len(keeping), T, 1); None: all ones
        keeps = [row.keep for row in rows if row.keep is not None]
        if any(not bool((k == 1).all()) for k in keeps):
            T = max(len(k) for k in keeps)
            self.keep = torch.stack([k.expand(T) for k in keeps])[..., None].to(
                device, dtype, non_blocking=True
            )
        takes = [row.take for row in rows if row.take is not None]
        self.take = torch.stack(takes) if takes else None  # (len(taking), S, T)
        # what is made once and read by every step whose record has the same mixes (None: identity), by their
        # ids, with what it was made from
        self._mixed: dict[int, tuple[object, Tensor | None]] = {}
        self._values: dict[tuple[str, int], tuple[Tensor, Tensor | None, Tensor]] = {}
        self._index: dict[tuple[int, ...], Tensor] = {}
        self._on = (device, dtype)

    def of(self, record: AttentionRecord | None) -> Injection:
        """The same edits of another step's record: what was made for its mixes stays on the device."""
        other = copy.copy(self)
        other.record = record or AttentionRecord()
        alive = {OWN, id(None)} | {id(term.mix) for terms in other.record.cross.values() for term in terms}
        for mix in self._mixed.keys() - alive:
            del self._mixed[mix]
        for site, mix in [key for key in self._values if key[1] not in alive]:
            del self._values[site, mix]
        return other

    def index(self, rows: list[int]) -> Tensor:
        """Numbers of rows on the device, copied there once."""
        key = tuple(rows)
        if key not in self._index:
            self._index[key] = torch.tensor(rows, dtype=torch.long).to(self._on[0], non_blocking=True)
        return self._index[key]

    def rows_of(self, x: Tensor, index: list[int]) -> Tensor:
        """x[index], without a copy where the rows stand side by side."""
        if not index:
            return x[:0]
        if index == list(range(index[0], index[0] + len(index))):
            return x[index[0] : index[0] + len(index)]
        return x.index_select(0, self.index(index))

    def mixed(self, mix: Tensor | None) -> Tensor | None:
        """(len(taking), S, T): mix @ take on the device; None where it is the identity."""
        key = id(mix)
        if key not in self._mixed:
            assert self.take is not None
            M = self.take if mix is None else mix.cpu() @ self.take
            square = M.shape[1] == M.shape[2] and bool((M == torch.eye(M.shape[1])).all())
            self._mixed[key] = (mix, None if square else M.to(*self._on, non_blocking=True))
        return self._mixed[key][1]

    def taken(self, site: AttentionLayer, v: Tensor, mix: Tensor | None, first: int) -> Tensor:
        """mix take V* of the rows that take, (len(taking), S, C): made anew only when V* or the mix changes.

        v: (first + n, T, C), the text's values, below those of the `first` unconditional rows.
        """
        known = self._values.get((site.name, id(mix)))
        if known is None or known[0] is not v:
            M, values = self.mixed(mix), self.rows_of(v, [first + r for r in self.taking])
            known = (v, mix, values if M is None else M @ values)
            self._values[site.name, id(mix)] = known
        return known[2]

    def kept(self, site: AttentionLayer, v: Tensor, first: int) -> Tensor:
        """keep V* of the rows that keep, below the unconditional ones: (first + len(keeping), T, C)."""
        known = self._values.get((site.name, OWN))
        if known is None or known[0] is not v:
            values = self.rows_of(v, [*range(first), *(first + r for r in self.keeping)])
            if self.keep is not None:
                values = torch.cat([values[:first], values[first:] * self.keep])
            known = (v, None, values)
            self._values[site.name, OWN] = known
        return known[2]

    def self_rows(self, pixels: int) -> list[int]:
        return [r for r, row in enumerate(self.rows) if pixels <= row.self_pixels]


@dataclass(kw_only=True)
class AttentionContext:
    """What one UNet call carries to its attention layers.

    The batch is [unconditional rows, conditional rows]; only conditional rows are recorded and edited.
    """

    conditional: int  # number of conditional rows, the last of the batch
    latent: tuple[int, int]
    record_self_pixels: float | None = None  # record row 0: cross, and self up to this grid; None: don't
    record_rows: int = 1  # so many rows instead of row 0 alone, where nothing is injected; one text for all
    injection: Injection | None = None
    collect: Mapping[int, tuple[tuple[int, ...], ...]] = field(
        default_factory=dict
    )  # row -> groups of tokens
    collect_sites: frozenset[str] = frozenset()
    # the text's keys and values by site: made in a run's first step, read in the others; None: made each time
    projected: dict[str, tuple[Tensor, Tensor]] | None = None
    # results
    fired: list[str] = field(default_factory=list)
    recorded: AttentionRecord = field(default_factory=AttentionRecord)
    collected: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # (row, group) -> (N,) summed maps


class Processor:
    """The attention of one site: diffusers' own when nothing is asked, else recorded or injected."""

    def __init__(self, site: AttentionLayer) -> None:
        self.site = site

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        p2p: AttentionContext | None = None,
    ) -> Tensor:
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        image = hidden_states.shape if hidden_states.ndim == 4 else None
        if image is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, h w, C)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = encoder_hidden_states
        if context is None:
            context = hidden_states
        elif attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        if attention_mask is not None:
            B, S = context.shape[:2]
            attention_mask = attn.prepare_attention_mask(attention_mask, S, B)
            attention_mask = attention_mask.view(B, attn.heads, -1, attention_mask.shape[-1])

        if p2p is None:
            q, k, v = _query(attn, hidden_states), _key(attn, context), attn.to_v(context)
            out = attend(q, k, v, self.site, attention_mask)
        else:
            assert attention_mask is None, "the sampler never masks"
            p2p.fired.append(self.site.name)
            run = self._cross if self.site.kind == "cross" else self._self
            out = run(attn, hidden_states, context, p2p)

        out = attn.to_out[1](attn.to_out[0](out))
        if image is not None:
            out = out.transpose(1, 2).reshape(image)
        if attn.residual_connection:
            out = out + residual
        return out / attn.rescale_output_factor if attn.rescale_output_factor != 1 else out

    def _cross(self, attn: Any, x: Tensor, context: Tensor, call: AttentionContext) -> Tensor:
        site, injection = self.site, call.injection
        first = x.shape[0] - call.conditional  # the first conditional row
        collect = call.collect if site.name in call.collect_sites else {}
        k, v = self._text(attn, context, call.projected)
        if injection is None or (not injection.taking and injection.keep is None):
            q = _query(attn, x)
            out = attend(q, k, v, site)
            own = {r: (q[first + r, None], k[first + r, None]) for r in range(call.conditional)}
        else:
            keeping = injection.keeping
            rows = sorted({*keeping, *collect})  # rows whose own queries are needed
            index = [*range(first), *(first + r for r in rows)]
            q = _query(attn, injection.rows_of(x, index))
            own = {r: (q[first + n, None], k[first + r, None]) for n, r in enumerate(rows)}
            out = self._edited(q, k, v, rows, first, call.conditional, injection)
        for r, groups in collect.items():
            for g, tokens in enumerate(groups):
                if tokens:  # mean over tokens and heads, sum over sites
                    columns = attention_columns(*own[r], site, tokens)[0].mean(-1)  # (N,)
                    before = call.collected.get((r, g))
                    call.collected[r, g] = columns if before is None else before + columns
        if call.record_self_pixels is not None and 0 in own:
            # A copy of these rows: a view would keep the unconditional half alive. The text's keys are the
            # same in every step; who keeps the record copies them once.
            recorded = torch.cat([own[r][0] for r in range(call.record_rows)])
            call.recorded.cross[site.name] = (Term(recorded, own[0][1], None),)
        return out

    def _text(
        self, attn: Any, context: Tensor, projected: dict[str, tuple[Tensor, Tensor]] | None
    ) -> tuple[Tensor, Tensor]:
        """K and V of the text, (B, S, C) each."""
        if projected is None:
            return _key(attn, context), attn.to_v(context)
        if self.site.name not in projected:
            projected[self.site.name] = (_key(attn, context), attn.to_v(context))
        return projected[self.site.name]

    def _edited(
        self, q: Tensor, k: Tensor, v: Tensor, rows: list[int], first: int, n: int, injection: Injection
    ) -> Tensor:
        """edited map @ V* of n conditional rows, below the plain unconditional ones. -> (first + n, N, C)"""
        site, keeping, taking = self.site, injection.keeping, injection.taking
        index = [*range(first), *(first + r for r in keeping)]
        rows_of = injection.rows_of
        out_own = q[:0]
        if index:
            q_own = rows_of(q, [*range(first), *(first + rows.index(r) for r in keeping)])
            out_own = attend(q_own, rows_of(k, index), injection.kept(site, v, first), site)
        if not taking and len(keeping) == n:
            return out_own
        taken: Tensor | None = None
        for term in injection.record.cross[site.name] if taking else ():
            v_term = injection.taken(site, v, term.mix, first)  # (len(taking), S, C)
            part = attend(_repeat(term.q, len(taking)), _repeat(term.k, len(taking)), v_term, site)
            taken = part if taken is None else taken + part
        if taken is not None and len(taking) == n and not keeping:
            return torch.cat([out_own, taken]) if first else taken
        if taken is not None and len(taking) == n and len(keeping) == n:
            out_own[first:] += taken
            return out_own
        out = out_own.new_zeros(first + n, *out_own.shape[1:])
        out.index_copy_(0, injection.index(index), out_own)
        if taken is not None:
            out.index_add_(0, injection.index([first + r for r in taking]), taken)
        return out

    def _self(self, attn: Any, x: Tensor, context: Tensor, call: AttentionContext) -> Tensor:
        site, injection = self.site, call.injection
        pixels = site.pixels(call.latent)
        recording = call.record_self_pixels is not None and pixels <= call.record_self_pixels
        injected = injection.self_rows(pixels) if injection is not None else []
        first = x.shape[0] - call.conditional
        v = attn.to_v(context)
        if not injected:
            q, k = _query(attn, x), _key(attn, context)
            if recording:
                recorded = slice(first, first + call.record_rows)
                call.recorded.self_[site.name] = (q[recorded].clone(), k[recorded].clone())
            return attend(q, k, v, site)
        assert injection is not None
        q_src, k_src = injection.record.self_[site.name]
        own = [i for i in range(x.shape[0]) if i - first not in injected]
        theirs = [first + r for r in injected]
        q_theirs, k_theirs = _repeat(q_src, len(theirs)), _repeat(k_src, len(theirs))
        if recording:
            if 0 in injected:
                call.recorded.self_[site.name] = (q_src, k_src)
            else:
                call.recorded.self_[site.name] = (_query(attn, x[first, None]), _key(attn, x[first, None]))
        out_theirs = attend(q_theirs, k_theirs, injection.rows_of(v, theirs), site)
        if not own:
            return out_theirs
        x_own = injection.rows_of(x, own)
        out_own = attend(_query(attn, x_own), _key(attn, x_own), injection.rows_of(v, own), site)
        if own == list(range(len(own))):  # the usual case: all unconditional rows, then all conditional
            return torch.cat([out_own, out_theirs])
        out = torch.empty_like(v)
        out.index_copy_(0, injection.index(own), out_own)
        return out.index_copy_(0, injection.index(theirs), out_theirs)


def _query(attn: Any, x: Tensor) -> Tensor:
    q = attn.to_q(x)
    return q if attn.norm_q is None else attn.norm_q(q.unflatten(-1, (attn.heads, -1))).flatten(-2)


def _key(attn: Any, x: Tensor) -> Tensor:
    k = attn.to_k(x)
    return k if attn.norm_k is None else attn.norm_k(k.unflatten(-1, (attn.heads, -1))).flatten(-2)


def _runs(numbers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(first, end) of the runs of consecutive numbers, in the order given."""
    first = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield numbers[first], numbers[i - 1] + 1
            first = i


def whole(x: Tensor) -> Tensor:
    """x, or a copy if it is a part of something larger, which would be kept alive."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def _repeat(x: Tensor, n: int) -> Tensor:
    return x if n == 1 else x.expand(n, -1, -1)


@contextmanager
def installed(
    layers: Mapping[AttentionLayer, Any], processors: Mapping[AttentionLayer, Processor] | None = None
) -> Iterator[None]:
    """Our processors in the layers; the very ones that were there before when it ends, however it ends.

    processors: some that were made before, since they hold nothing but their site.
    """
    before: list[tuple[Any, Any]] = []
    try:
        for site, attn in layers.items():
            before.append((attn, attn.processor))
            attn.set_processor(processors[site] if processors else Processor(site))
        yield
    finally:
        for attn, processor in before:
            attn.set_processor(processor)
