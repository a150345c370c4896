"""The options of `PromptToPrompt`, and the budgets that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch

from .cache.lru import auto_budget, disk_budget, host_budget


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


def budgets(given: dict[str, int] | None, device: torch.device, folder: str | Path | None) -> dict[str, int]:
    """Bytes for each tier: what is given, and what is free where nothing is."""
    disk = 0 if folder is None else disk_budget(Path(folder).expanduser().absolute())
    given = {} if given is None else given
    device_bytes = given["device"] if "device" in given else auto_budget(device)
    return {"host": host_budget(device), "disk": disk, **given, "device": device_bytes}
