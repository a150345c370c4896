"""Torch's contexts: whatever a caller has set, the model runs as if nothing were."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_LOCKS: weakref.WeakKeyDictionary[torch.nn.Module, Any] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


def lock_of(network: torch.nn.Module) -> Any:
    """The lock, a reentrant one, of whoever runs a network: one for all engines that share it."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(network, threading.RLock())


def share_lock(network: torch.nn.Module, other: torch.nn.Module) -> None:
    """A network that takes another's place in a pipeline has its lock, if it has none of its own."""
    with _LOCKS_LOCK:
        _LOCKS.setdefault(network, _LOCKS.setdefault(other, threading.RLock()))


@contextmanager
def plain() -> Iterator[None]:
    """Without autocast, inference mode and gradients, with the CPU as the device of tensors that name none.

    What autocast makes of a source would be another's dtype afterwards; what is made in inference mode can't
    be learned from (null-text). A context manager, and a decorator.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def leave_inference_mode(module: torch.nn.Module) -> None:
    """Weights that were loaded inside inference mode, as some hosts do it, made ordinary ones in place."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.is_inference():
                part._parameters[name] = torch.nn.Parameter(weight.clone(), weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = buffer.clone()
