"""Parts that hooks of accelerate or diffusers move between the host and the device.

`pipe.enable_model_cpu_offload()`, `enable_sequential_cpu_offload()` and group offloading put such hooks in a
pipeline. Its parts then lie where the hooks want them, and run on the hooks' device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedModel


def hooks_of(module: Any) -> list[Any]:
    """The hooks of one module: accelerate's, alone or in sequence, and those in diffusers' registry."""
    hook = getattr(module, "_hf_hook", None)
    registry = getattr(module, "_diffusers_hook", None)
    accelerates = getattr(hook, "hooks", () if hook is None else (hook,))
    return [*accelerates, *getattr(registry, "hooks", {}).values()]


def moving_hooks(part: Any) -> Iterator[tuple[torch.device, Any]]:
    """(device, hook) of the hooks that run a part, or a module in it, on a device."""
    for module in part.modules() if isinstance(part, torch.nn.Module) else ():
        for hook in hooks_of(module):
            group = getattr(hook, "config", None)
            device = getattr(hook, "execution_device", getattr(group, "onload_device", None))
            if device is not None:
                device = torch.device(device)
                cpu = device.type == "cpu"
                yield torch.device("cpu") if cpu else torch.device(device.type, device.index or 0), hook


def is_hooked(part: Any) -> bool:
    """Whether hooks move a part."""
    return next(moving_hooks(part), None) is not None


def is_group_offloaded(part: Any) -> bool:
    """Whether diffusers' group offloading moves a part."""
    return any(hasattr(hook, "group") for _, hook in moving_hooks(part))


def hook_device(parts: Iterable[Any]) -> torch.device | None:
    """The device that hooks run a pipeline's parts on; None: there are no hooks.

    Raises `UnsupportedModel` for several, as a device_map gives, and for weights on disk.
    """
    found = [found for part in parts for found in moving_hooks(part)]
    if any(getattr(getattr(hook, "config", None), "offload_to_disk_path", None) for _, hook in found):
        raise UnsupportedModel(
            "Group offloading keeps weights of this pipeline on disk, where a LoRA in them can't be noticed; "
            "expected them in memory: leave offload_to_disk_path out."
        )
    devices = {device for device, _ in found}
    if len(devices) > 1:
        raise UnsupportedModel(
            f"accelerate runs parts of this pipeline on {' and '.join(sorted(map(str, devices)))}; expected "
            "one device: pipe.reset_device_map() or pipe.remove_all_hooks() undoes it."
        )
    return next(iter(devices), None)


def stored_weight(part: Any, name: str, weight: Tensor) -> Tensor:
    """A part's weight of that name, wherever it is: sequential offloading leaves none in its module."""
    if weight.device.type == "meta":
        owner, _, last = name.rpartition(".")
        for hook in hooks_of(part.get_submodule(owner)):
            if getattr(hook, "weights_map", None) is not None:
                return hook.weights_map[last]  # type: ignore[no-any-return]
    return weight
