"""`torch.compile` for what lies between a UNet's attention layers.

That is where it spends most of its time. It knows nothing of an edit, because it takes a batch whatever its
rows are for: a region that is compiled once holds for every edit.
"""

from __future__ import annotations

from typing import Any

COMPILED_REGIONS = ("ResnetBlock2D", "FeedForward")
MAX_SHAPES = 16  # of batch and picture that one region is compiled for; with others it runs as it is


def compile_regions(unet: Any) -> int:
    """Compile a UNet's regions in place; their number. Each is compiled at its first call, for its weights
    and shapes; a second shape makes it compile for all of that kind."""
    regions = [module for module in unet.modules() if type(module).__name__ in COMPILED_REGIONS]
    for module in regions:
        module.compile(recompile_limit=MAX_SHAPES, isolate_recompiles=True)
    return len(regions)
