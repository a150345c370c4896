"""Whether a pipeline is still what it was: weights, settings, hooks and tokenizers of all its parts.

Whoever holds a pipeline may change anything in it between two calls: load a LoRA, replace the autoencoder,
turn FreeU on, write into a weight, add a token. Nothing that was made before may then be taken for new. A
look compares lists that are made once, so it takes about a millisecond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from .hub import MORE, PARTS
from .offload import is_hooked, stored_weight

SAMPLES = 4  # numbers of each weight that are looked at: writing through `.data` counts no version
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # NaN equals itself by its bits
# What such hooks, and the compiler, leave in a module.
MOVING = ("_hf_hook", "_old_forward", "forward", "_diffusers_hook", "_compiled_call_impl")
PLAIN = (bool, int, float, str, type(None))


class Watch:
    """A pipeline as it is now."""

    def __init__(self, pipe: Any) -> None:
        self._pipe, self._parts = pipe, parts_of(pipe)
        networks = [part for part in self._parts.values() if isinstance(part, torch.nn.Module)]
        modules = [module for part in networks for module in part.modules()]
        self._dicts = [module.__dict__ for module in modules]
        self._dicts += [part.config.__dict__ for part in networks if hasattr(part.config, "__dict__")]
        self._values = self._values_now()
        self._held = [value for value in self._values if isinstance(value, (dict, list, set))]
        self._copies = [value.copy() for value in self._held]
        fixed = [part for part in networks if not is_hooked(part)]  # hooks may move weights at any time
        self._tensors = [*chain.from_iterable(_tensors(part) for part in fixed)]
        self._marks = self._marks_now()
        self._samples = [_samples(part) for part in networks]
        self._numbers = self._numbers_now()
        self._words = self._words_now()

    def unchanged(self) -> bool:
        """Whether the pipeline is what it was when this was made."""
        now = parts_of(self._pipe)
        if now.keys() != self._parts.keys() or any(
            now[name] is not part for name, part in self._parts.items()
        ):
            return False
        try:  # A weight in another's place has no truth value, and a dict may have grown meanwhile.
            same = self._values_now() == self._values and self._held == self._copies
        except (RuntimeError, ValueError, TypeError):
            return False
        return (
            same
            and self._marks_now() == self._marks
            and self._words_now() == self._words
            and all(map(torch.equal, self._numbers_now(), self._numbers))
        )

    def digest(self) -> str:
        """Tells pipelines apart by what they say and by the numbers that are looked at: equal for equal ones,
        in any process, wherever hooks move their parts."""
        mark = hashlib.blake2b(digest_size=8)
        for numbers in self._numbers:
            mark.update(numbers.cpu().numpy().tobytes())
        for values in self._dicts:
            said = [(name, _plain(value)) for name, value in values.items() if name not in MOVING]
            mark.update(repr(said).encode())
        mark.update(repr([words[1:] for words in self._words]).encode())
        return mark.hexdigest()

    def _values_now(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, self._dicts))]

    def _marks_now(self) -> list[int]:
        return [mark for x in self._tensors for mark in (x.data_ptr(), x._version)]

    def _numbers_now(self) -> list[Tensor]:
        return [torch.cat(group) for samples in self._samples for group in samples()]

    def _words_now(self) -> list[tuple[Any, ...]]:
        names = [name for name in self._parts if name.startswith("tokenizer")]
        return [(id(part), name, part.get_added_vocab()) for name in names for part in (self._parts[name],)]


def parts_of(pipe: Any) -> dict[str, Any]:
    """A pipeline's networks and tokenizers by name. Its scheduler is read anew for every run."""
    names = (name for name in (*PARTS, *MORE) if name != "scheduler")
    return {name: getattr(pipe, name) for name in names if getattr(pipe, name, None) is not None}


def _tensors(part: torch.nn.Module) -> Iterator[Tensor]:
    return chain(part.parameters(), part.buffers())


def _samples(part: torch.nn.Module) -> Callable[[], Iterable[list[Tensor]]]:
    """Some numbers of every weight as bits, in groups of one dtype and device: views, made once, or read each
    time where hooks move the weights. Of an embedding one number of each word, which is changed by itself."""
    tables = {id(m.weight) for m in part.modules() if isinstance(m, torch.nn.Embedding)}
    named = [*part.named_parameters(), *part.named_buffers()]
    counts = [len(x) if id(x) in tables else SAMPLES for _, x in named]
    if is_hooked(part):
        return lambda: _grouped((stored_weight(part, name, x).cpu() for name, x in named), counts)
    groups = [*_grouped((x for _, x in named), counts)]
    return lambda: groups


def _grouped(tensors: Iterable[Tensor], counts: Iterable[int]) -> Iterable[list[Tensor]]:
    groups: dict[tuple[Any, ...], list[Tensor]] = {}
    for x, wanted in zip(tensors, counts, strict=True):
        if x.numel() and x.device.type != "meta":
            bits = x.detach().view(BITS[x.itemsize])
            count = min(wanted, x.numel())
            view = bits.as_strided((count,), (x.numel() // count,), x.storage_offset())
            groups.setdefault((view.dtype, view.device), []).append(view)
    return groups.values()


def _plain(value: Any) -> Any:
    """What a value says wherever it is read: numbers and texts, their containers, else the kind of it."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return [(name, _plain(item)) for name, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return str(getattr(value, "__qualname__", type(value).__name__))
