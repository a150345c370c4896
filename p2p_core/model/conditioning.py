"""What one run makes once and all of its steps read: its text, embedded and projected, and its injections.

A run is one call of `generate`, `edit` or `edit_many`. Nothing here outlives it, so what is projected is
never older than the weights (a LoRA that is loaded between two calls, say).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ..attention import PLAIN, AttentionContext, AttentionRecord, Injection, RowEdit
from ..local_blend import drawn_region
from ..plan import StepPlan
from ..prompt import Prompt
from .model import Model
from .text_encoder import Conditioning

KEPT = 2  # batches of a run that are remembered, in each of its two stores
KEEP = "keep"
V = TypeVar("V")


def self_limit(asked: float | None, size: tuple[int, int]) -> float:
    """Largest self-attention grid injected. None: a quarter of the latent's pixels, at least 16 x 16."""
    return max(256, size[0] * size[1] / 4) if asked is None else asked


class StepInputs:
    """A run of `model` on latents of one size at one guidance scale."""

    def __init__(self, model: Model, size: tuple[int, int], guidance_scale: float) -> None:
        self.model, self.size, self.guidance_scale = model, size, guidance_scale
        self._mixes: dict[tuple[int, int], tuple[Tensor, object]] = {}
        self._drawn: dict[str, Tensor] = {}
        self._lent: tuple[str, int, frozenset[str], AttentionRecord] | None = None
        self._texts: OrderedDict[Hashable, tuple[Conditioning, object]] = OrderedDict()
        self._injections: OrderedDict[Hashable, tuple[Injection, object]] = OrderedDict()

    def text(self, rows: Sequence[Prompt | Tensor], unconditional: int = 0) -> Conditioning:
        """The text of a batch. Embeddings are told apart by where they lie."""
        key = (unconditional, *(row.data_ptr() if isinstance(row, Tensor) else row.ids for row in rows))
        made = partial(self.model.text, rows, self.size, self.guidance_scale, unconditional)
        return _once(self._texts, key, rows, made)

    def rows(self, negative: Prompt | Tensor, prompts: Sequence[Prompt]) -> Conditioning:
        """The text of a step: above the conditional rows the unconditional ones, if guidance wants them."""
        above = [negative] * len(prompts) if self.model.guided(self.guidance_scale) else []
        return self.text([*above, *prompts], len(above))

    def recording(self, rows: int = 1) -> AttentionContext:
        """What records the maps of so many conditional rows, self-attention on its usual grids."""
        pixels = self_limit(None, self.size)
        return AttentionContext(
            conditional=rows, latent=self.size, record_self_pixels=pixels, record_rows=rows
        )

    def drawn(self, mask: str) -> Tensor:
        """A mask drawn by hand at the latent's size, (h, w), on the device: copied there once a run."""
        if mask not in self._drawn:
            self._drawn[mask] = drawn_region(mask, self.size).to(self.model.device, non_blocking=True)
        return self._drawn[mask]

    def lent(self, source: str, i: int, sites: frozenset[str]) -> AttentionRecord | None:
        """The record that was read last, if it is that of a source's step i with these layers at least: the
        batches of a level of `edit_many` read the same one, which a lower tier would bring up for each."""
        known = self._lent
        return known[3] if known and known[:2] == (source, i) and sites <= known[2] else None

    def lend(self, source: str, i: int, sites: frozenset[str], record: AttentionRecord) -> AttentionRecord:
        """Remember a record that was read, until another is."""
        self._lent = (source, i, sites, record)
        return record

    def mix(self, step: StepPlan, before: Tensor | None) -> Tensor:
        """before @ take of a step, (S, T) on the CPU; one for all layers and steps that have it alike."""
        return self._mix(step, before, lambda: _product(before, torch.from_numpy(step.take.copy())))

    def kept(self, step: StepPlan) -> Tensor:
        """diag(keep) of a step, (T, T) on the CPU, made once too."""
        return self._mix(step, KEEP, lambda: torch.diag(torch.from_numpy(step.keep.copy())))

    def _mix(self, step: StepPlan, before: object, make: Callable[[], Tensor]) -> Tensor:
        key = (id(step), id(before))
        if key not in self._mixes:
            self._mixes[key] = (make(), (step, before))
        return self._mixes[key][0]

    def injection(self, record: AttentionRecord | None, steps: Sequence[StepPlan]) -> Injection:
        """The edits of as many conditional rows. record: may be None where no step takes from the source."""
        key = tuple(id(step) for step in steps)
        return _once(self._injections, key, steps, lambda: self._injection(steps)).of(record)

    def _injection(self, steps: Sequence[StepPlan]) -> Injection:
        rows = []
        for step in steps:
            if step.plain:
                rows.append(PLAIN)
                continue
            take = torch.from_numpy(step.take.copy()) if step.take.any() else None
            keep = torch.from_numpy(step.keep.copy()) if step.keep.any() or take is None else None
            limit = self_limit(step.self_pixels, self.size) if step.inject_self else 0.0
            rows.append(RowEdit(take=take, keep=keep, self_pixels=limit))
        return Injection(None, rows, self.model.device, self.model.dtype)


def _product(before: Tensor | None, take: Tensor) -> Tensor:
    return take if before is None else before @ take


def _once(
    store: OrderedDict[Hashable, tuple[V, object]], key: Hashable, alive: object, make: Callable[[], V]
) -> V:
    """What is in the store, or made and put there. alive: what the key was made from, which must not die
    before its entry, since an address or an id can come back."""
    if key not in store:
        store[key] = (make(), alive)
        if len(store) > KEPT:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key][0]
