"""One step of an edit, resolved: what the denoising loop reads. `plan` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BlendStep:
    """Local blend in one step: whose maps are summed, and once the blend has started what makes the mask."""

    source_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]
    subtract_tokens: tuple[int, ...]
    threshold: float | None  # None: before the start, when the maps are summed and nothing is blended
    subtract_threshold: float | None
    mask: str | None = field(default=None, repr=False)  # the region drawn by hand, see `mask_text`
    soft: float = 0.0
    refine: bool = False
    quantile: bool = False


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One step of an edit, resolved.

    take: (S, T) float32, which source columns feed each target column.
    keep: (T,) float32, the factor of the target's own column.
    inject_self: whether self-attention uses the source's queries and keys, on grids of at most
        `self_pixels` pixels (None: the model's default).
    take_of_maps, keep_of_maps: both with weights of 0 and below as 1: of the maps that say where a word is.
    rest: how much of what the source's layer gave stays, 1 - the edit's amount; take and keep are times it.
    share: whether the edited map is divided by its rows' sums, see `share`.
    plain: nothing is injected and every weight is 1: the step is the model's own.
    is_source: equal prompts, weights of 1, no blend, and of a source that is an edit all that was injected
        into it (see `_repeats`); or an amount of 0. As long as the latents are the source's, this step then
        gives the source's next state without a UNet call.
    """

    take: Floats = field(repr=False)
    keep: Floats = field(repr=False)
    take_of_maps: Floats = field(repr=False)
    keep_of_maps: Floats = field(repr=False)
    inject_self: bool
    self_pixels: float | None
    blend: BlendStep | None
    rest: float = 0.0
    share: bool = False
    plain: bool
    is_source: bool
    digest: bytes

    @property
    def reads_map(self) -> bool:
        """Whether the source's cross-attention takes part."""
        return self.rest > 0 or bool(self.take.any())

    @property
    def leaves_maps(self) -> bool:
        """Whether the target's cross-attention is its own."""
        return not self.reads_map and bool((self.keep == 1).all())
