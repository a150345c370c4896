"""The options of `PromptToPrompt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch


class Options(TypedDict, total=False):
    """The options of `PromptToPrompt`, described there."""

    device: str | torch.device | None
    dtype: str | torch.dtype | None
    cache_bytes: int | Mapping[str, int] | None
    cache_folder: str | Path | None
    cache_dtype: str | torch.dtype | None
    inversions: str | Path | None
    inversion_bytes: int | None
    preview_vae: Any
    offload: bool
    compiled: bool
