"""Compiled regions: what lies between the attention layers of a UNet, as few fused kernels.

The attention layers are what an edit reaches into, with other data at every step and other shapes for every
edit; they run as they are. Residual blocks and feed-forwards, where a UNet spends the rest of its time, know
nothing of an edit: they take a batch, whatever its rows are for. So a region that is compiled once holds for
every source, edit and sweep.
"""

from __future__ import annotations

from typing import Any

REGIONS = ("ResnetBlock2D", "FeedForward")
MAX_SHAPES = 16  # of batch and picture that one region is compiled for; with others it runs as it is


def compile_regions(unet: Any) -> int:
    """Compile a UNet's regions in place; their number. Each is compiled at its first call, for its weights
    and shapes; a second shape makes it compile for all of that kind."""
    found = [module for module in unet.modules() if type(module).__name__ in REGIONS]
    for module in found:
        module.compile(recompile_limit=MAX_SHAPES, isolate_recompiles=True)
    return len(found)
