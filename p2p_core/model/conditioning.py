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

from ..attention import AttentionLayer, AttentionRecord, Mix
from ..injection import AttentionContext, Injection, RowEdit, RowEdits
from ..local_blend import drawn_region
from ..prompt import Prompt
from ..refine import refining_layers
from ..step_plan import StepPlan
from .model import Model
from .text_encoder import Conditioning

MAX_BATCHES = 3  # of a run that are remembered: their texts, the source's among them, and their edits
V = TypeVar("V")


def self_limit(asked: float | None, size: tuple[int, int]) -> float:
    """Largest self-attention grid injected. None: a quarter of the latent's pixels, at least 16 x 16."""
    return max(256, size[0] * size[1] / 4) if asked is None else asked


class StepInputs:
    """A run of `model` on latents of one size at one guidance scale, its LoRAs at one scale.

    mixes: those of an edit that is taken as a source, by their digests (see `compose`). last_read: (source,
    step, record) that was read last: the batches of a level of `edit_many` read the same one, which a lower
    tier would bring up for each.
    """

    def __init__(
        self, model: Model, size: tuple[int, int], guidance_scale: float, lora_scale: float = 1.0
    ) -> None:
        self.model, self.size = model, size
        self.guidance_scale, self.lora_scale = guidance_scale, lora_scale
        self.mixes: dict[bytes, Mix] = {}
        self.last_read: tuple[str, int, AttentionRecord] | None = None
        self._drawn: dict[str, Tensor] = {}
        self._texts: OrderedDict[Hashable, Conditioning] = OrderedDict()
        self._edits: OrderedDict[Hashable, RowEdits] = OrderedDict()

    @property
    def refining_layers(self) -> tuple[AttentionLayer, ...]:
        """The self-attention layers whose source's maps sharpen a word's, see `refine`."""
        return refining_layers(self.model.sites, self.size, self_limit(None, self.size))

    def text(self, rows: Sequence[Prompt | Tensor], unconditional: int = 0) -> Conditioning:
        """The text of a batch. unconditional: the number of rows, from the first, that are so."""
        # An embedding names itself: as a part of the key it stays alive, so that no other takes its place.
        key = (unconditional, *(row if isinstance(row, Tensor) else row.key for row in rows))
        make = partial(self.model.text, rows, self.size, self.guidance_scale, unconditional)
        return _remembered(self._texts, key, make)

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

    def injection(
        self, record: AttentionRecord | None, steps: Sequence[StepPlan], source: Prompt
    ) -> Injection | None:
        """The edits of as many conditional rows, None if all are plain. source: its prompt. record: may be
        None where no step takes from the source."""
        if all(step.plain for step in steps):
            return None
        key = b"".join(step.digest for step in steps)
        edits = _remembered(self._edits, key, lambda: self._row_edits(steps, key))
        text = self.text([source]) if any(step.rest for step in steps) else None
        return Injection(record or AttentionRecord(), edits, text)

    def _row_edits(self, steps: Sequence[StepPlan], digest: bytes) -> RowEdits:
        rows = []
        for step in steps:
            take = torch.from_numpy(step.take.copy()) if step.reads_map else None
            keep = torch.from_numpy(step.keep.copy())
            limit = self_limit(step.self_pixels, self.size) if step.inject_self else 0.0
            rows.append(RowEdit(take=take, keep=keep, self_pixels=limit, rest=step.rest, share=step.share))
        return RowEdits(rows, self.model.device, self.model.dtype, digest)


def _remembered(store: OrderedDict[Hashable, V], key: Hashable, make: Callable[[], V]) -> V:
    """What is in the store, or made and put there; the one that was used longest ago goes."""
    if key not in store:
        store[key] = make()
        if len(store) > MAX_BATCHES:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]
