"""Parts that hooks of accelerate or diffusers move between the host and the device.

`pipe.enable_model_cpu_offload()`, `enable_sequential_cpu_offload()` and group offloading put such hooks in a
pipeline. Its parts then lie where the hooks want them, and run on the hooks' device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedModel


def _hooks(module: Any) -> Iterator[Any]:
    """The hooks of one module: accelerate's, alone or in sequence, and those in diffusers' registry."""
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", () if hook is None else (hook,))
    yield from getattr(getattr(module, "_diffusers_hook", None), "hooks", {}).values()


def hook_devices(part: Any) -> set[torch.device]:
    """The devices that hooks run a part on; none: it has no hooks.

    Raises `UnsupportedModel` for weights that group offloading keeps on disk: a LoRA couldn't be noticed.
    """
    devices = set()
    for module in part.modules() if isinstance(part, torch.nn.Module) else ():
        for hook in _hooks(module):
            group = getattr(hook, "config", None)
            if getattr(group, "offload_to_disk_path", None) is not None:
                raise UnsupportedModel(
                    f"Group offloading keeps the weights of {type(part).__name__} on disk; expected them in "
                    "memory: leave offload_to_disk_path out."
                )
            device = getattr(hook, "execution_device", getattr(group, "onload_device", None))
            if device is not None:
                device = torch.device(device)
                cpu = device.type == "cpu"
                devices.add(torch.device("cpu") if cpu else torch.device(device.type, device.index or 0))
    return devices


def hook_device(pipe: Any, parts: tuple[Any, ...]) -> torch.device | None:
    """The one device that the hooks of a pipeline's parts run on; None: there are no hooks.

    Raises `UnsupportedModel` for several, as a device_map gives.
    """
    devices = set().union(*(hook_devices(part) for part in parts))
    if len(devices) > 1:
        names = " and ".join(sorted(map(str, devices)))
        raise UnsupportedModel(
            f"accelerate runs the parts of {type(pipe).__name__} on {names}; expected one device: "
            "pipe.reset_device_map() or pipe.remove_all_hooks() undoes it."
        )
    return next(iter(devices), None)


def is_group_offloaded(part: Any) -> bool:
    """Whether diffusers' group offloading moves a part."""
    modules = part.modules() if isinstance(part, torch.nn.Module) else ()
    return any(hasattr(hook, "group") for module in modules for hook in _hooks(module))


def stored_weight(part: Any, name: str, weight: Tensor) -> Tensor:
    """A part's weight of that name, wherever it is: sequential offloading leaves none in its module."""
    if weight.device.type == "meta":
        owner, _, last = name.rpartition(".")
        for hook in _hooks(part.get_submodule(owner)):
            if getattr(hook, "weights_map", None) is not None:
                return hook.weights_map[last]  # type: ignore[no-any-return]
    return weight
