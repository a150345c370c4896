"""The tiers that recorded queries and keys live in: device, host, disk. What leaves one moves to the next.

- device: where the model runs.
- host: pinned memory beside a GPU. Without a GPU it is the same memory as the device's, so it gets no budget
  of its own unless asked.
- disk: files in a folder that the user names, read ahead by a thread.
- nothing: what no tier holds is recorded again from the source's latents (`store`).

Every tier evicts as `RecordCache` says and gives back what was put in, bit for bit; with a storage dtype what
is put in is rounded first, so all tiers still agree.
"""

from __future__ import annotations

import numbers
import os
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..attention import AttentionRecord, Term
from ..errors import P2PError, shown
from ..memory import device_budget, disk_budget, host_budget
from .disk import Disk, outline
from .lru import RecordCache

TIERS = ("device", "host", "disk")
MAX_FLOAT16 = torch.finfo(torch.float16).max


def tier_budgets(asked: object, device: torch.device, folder: str | Path | None) -> dict[str, int]:
    """Bytes for each tier: what is asked for, and by what is free where nothing is.

    asked: bytes of the device, or of tiers by name, or None. folder: of the disk's tier; None: it gets none.
    Raises `P2PError`.
    """
    by_tier: dict[Any, Any] = dict(asked) if isinstance(asked, Mapping) else {"device": asked}
    by_tier = {} if asked is None else by_tier
    whole = (
        isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) >= 0 for n in by_tier.values()
    )
    if not all(whole) or not set(by_tier) <= set(TIERS):
        raise P2PError(
            f"cache_bytes is a whole number of bytes of at least 0, one for each of {', '.join(TIERS)}, or "
            f"None; got {shown(asked)}."
        )
    budgets = {tier: int(n) for tier, n in by_tier.items()}
    if "device" not in budgets:
        budgets["device"] = device_budget(device)
    disk = 0 if folder is None else disk_budget(Path(folder).expanduser().absolute())
    return {"host": host_budget(device), "disk": disk, **budgets}


def to_host(record: AttentionRecord, device: torch.device) -> AttentionRecord:
    """A record of the device in the host's memory, beside a GPU in pinned memory; every copy has arrived.

    Raises `RuntimeError` where no more memory can be pinned.
    """
    if device.type != "cuda":
        return record.map(lambda x: x.to("cpu"), text_keys=False)

    def pinned(x: Tensor) -> Tensor:
        return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)

    copies = record.map(pinned, text_keys=False)
    torch.cuda.current_stream(device).synchronize()
    return copies


def host_bytes(record: AttentionRecord, device: torch.device) -> int:
    """Bytes of a record on the host: torch rounds pinned memory up to a power of two, tensor by tensor."""
    if device.type != "cuda":
        return record.nbytes
    return sum(1 << (x.nbytes - 1).bit_length() for x in record.tensors())


def _whole(x: Tensor) -> Tensor:
    """x, or a copy if it is a part of something larger, which would be kept alive."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


class TieredCache:
    """Recorded steps of sources, each in the first tier that has room for it.

    budgets: bytes for each of `TIERS`. store: dtype to keep queries and keys in, None: as they come. What has
    moved down stays there and is copied to the device for the step that reads it.

    A forked child has what its parent held in memory, and no disk's tier.

    A text's keys are the same in every step, so they are held once a source, on the device and beside the
    budgets, for as long as a tier holds one of its steps: less than a hundredth of what these take.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        budgets: Mapping[str, int],
        folder: str | Path | None = None,
        store: torch.dtype | None = None,
    ) -> None:
        self.device, self.dtype, self.store = device, dtype, store
        self.disk = None if folder is None else Disk(folder)
        self._tiers: dict[str, RecordCache[AttentionRecord]] = {
            tier: RecordCache(budgets.get(tier, 0), partial(self._move_down, tier)) for tier in TIERS
        }
        self._text_keys: dict[str, dict[tuple[str, str], Tensor]] = {}  # source -> (text, layer) -> keys
        self._host_is_full = False  # for good: no more memory could be pinned
        self._reader = None if folder is None else ThreadPoolExecutor(1, thread_name_prefix="records")
        self._ahead: tuple[str, int, Future[AttentionRecord | None]] | None = None
        if hasattr(os, "register_at_fork"):  # Windows has no fork
            this = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (call := this()) and call())

    def _after_fork(self) -> None:
        """A forked child has neither the reader's thread nor a right to its parent's files."""
        self.disk = self._reader = self._ahead = None
        self._tiers["disk"] = RecordCache(0, partial(self._move_down, "disk"))

    # --- what it holds ------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        return sum(held.nbytes for held in self._tiers.values()) + sum(map(self._key_bytes, self._text_keys))

    @property
    def budget(self) -> int:
        return sum(held.budget for held in self._tiers.values())

    def bytes_in(self, tier: str) -> tuple[int, int]:
        """(bytes held, budget) of one of `TIERS`."""
        return self._tiers[tier].nbytes, self._tiers[tier].budget

    def size(self, source: str) -> int:
        """Bytes held for one source, in all tiers."""
        return sum(held.size(source) for held in self._tiers.values()) + self._key_bytes(source)

    def steps(self, source: str) -> int:
        """Number of steps held for one source."""
        return len(set().union(*(held.held(source) for held in self._tiers.values())))

    def counts(self, source: str) -> dict[str, int]:
        """Number of steps of a source in each tier that holds some, each step in its first tier."""
        seen: set[int] = set()
        counts = {}
        for tier, held in self._tiers.items():
            if new := held.held(source) - seen:
                counts[tier] = len(new)
                seen |= new
        return counts

    def where(self, source: str, N: int) -> str:
        """Where the N steps of a source lie, for people."""
        cuda = self.device.type == "cuda"
        names = {"device": "GPU memory" if cuda else "CPU memory", "disk": "disk"}
        names["host"] = "CPU memory" if cuda else "host memory"
        counts = {names[tier]: n for tier, n in self.counts(source).items()}
        if not counts:
            return "latents only"
        if len(counts) == 1:
            ((name, n),) = counts.items()
            return name if n >= N else f"{name}, {n} of {N} steps"
        return ", ".join(f"{name} {n}" for name, n in counts.items()) + f" of {N} steps"

    def _key_bytes(self, source: str) -> int:
        return sum(k.nbytes for k in self._text_keys.get(source, {}).values())

    # --- in -----------------------------------------------------------------------------------------

    def keep(self, source: str, step: int, record: AttentionRecord) -> AttentionRecord:
        """Keep a step's record. Gives it back as it will be read."""
        keys = self._text_keys.setdefault(source, {})

        def shared(layer: str, term: Term) -> Term:
            name = (term.text or source, layer)
            if name not in keys:
                keys[name] = self._stored(_whole(term.k))
            return replace(term, k=keys[name], text=name[0])

        cross = {layer: tuple(shared(layer, t) for t in terms) for layer, terms in record.cross.items()}
        record = replace(record, cross=cross).map(self._stored, text_keys=False)
        for tier in TIERS[1:]:  # an older copy further down is out of date
            self._discard(tier, source, step)
        self._tiers["device"].put(source, step, record, record.nbytes)
        return self._read(record)

    def _stored(self, x: Tensor) -> Tensor:
        """In the storage dtype; what float16 can't hold becomes its largest number."""
        if self.store is None or x.dtype == self.store:
            return x
        return (x.clamp(-MAX_FLOAT16, MAX_FLOAT16) if self.store == torch.float16 else x).to(self.store)

    def _move_down(self, tier: str, source: str, step: int, record: AttentionRecord) -> None:
        """Put what a tier has no room for into the next one that has."""
        if tier == "disk" and self.disk:
            self.disk.remove(source, step)
        if not (tier == "device" and self._put_host(source, step, record)) and tier != "disk":
            self._put_disk(source, step, record)
        if not self.steps(source):
            self._text_keys.pop(source, None)

    def _put_host(self, source: str, step: int, record: AttentionRecord) -> bool:
        size = host_bytes(record, self.device)
        if self._host_is_full or size > self._tiers["host"].budget:
            return False
        try:
            copies = to_host(record, self.device)
        except RuntimeError:  # no more memory can be pinned; what is there stays
            self._host_is_full = True
            return False
        self._tiers["host"].put(source, step, copies, size)
        return True

    def _put_disk(self, source: str, step: int, record: AttentionRecord) -> None:
        if self.disk is None or record.nbytes > self._tiers["disk"].budget:
            return
        if size := self.disk.write(source, step, record):
            self._tiers["disk"].put(source, step, outline(record), size)

    # --- out ----------------------------------------------------------------------------------------

    def get(self, source: str, step: int, layers: frozenset[str] | None = None) -> AttentionRecord | None:
        """A step's record on the device, with self-attention of at least some layers; None: not held.

        layers: None: all that there are.
        """
        for tier, held in self._tiers.items():
            record = held.get(source, step)
            if record is None:
                continue
            if layers is not None and not layers <= record.self_.keys():
                return None
            if tier == "host" and layers is not None:
                record = replace(record, self_={name: record.self_[name] for name in layers})
            if tier == "disk":
                record = self._from_disk(source, step, record, layers)
            return None if record is None else self._read(record)
        return None

    def _from_disk(
        self, source: str, step: int, outlined: AttentionRecord, layers: frozenset[str] | None
    ) -> AttentionRecord | None:
        assert self.disk is not None
        record = None
        if self._ahead is not None and self._ahead[:2] == (source, step):
            record, self._ahead = self._ahead[2].result(), None
        if record is None or not (outlined.self_.keys() if layers is None else layers) <= record.self_.keys():
            record = self.disk.read(source, step, outlined, layers)
        if record is None:
            self._discard("disk", source, step)
        return record

    def prefetch(self, source: str, step: int, layers: frozenset[str] | None = None) -> None:
        """Begin to read a step that lies on disk, while the one before it is computed."""
        if self.disk is None or self._reader is None:
            return
        under_way = self._ahead is not None and self._ahead[:2] == (source, step)
        if under_way or any(self._tiers[tier].get(source, step) is not None for tier in TIERS[:2]):
            return
        outlined = self._tiers["disk"].get(source, step)
        if outlined is not None:
            reading = self._reader.submit(self.disk.read, source, step, outlined, layers)
            self._ahead = (source, step, reading)

    def _read(self, record: AttentionRecord) -> AttentionRecord:
        """On the device, in the model's dtype."""
        return record.map(lambda x: x.to(self.device, non_blocking=True).to(self.dtype))

    # --- away ---------------------------------------------------------------------------------------

    def drop(self, source: str) -> None:
        """Forget a source, in all tiers."""
        for tier in TIERS:
            for step in self._tiers[tier].held(source):
                self._discard(tier, source, step)
        self._text_keys.pop(source, None)
        self._ahead = None

    def _discard(self, tier: str, source: str, step: int) -> None:
        if self._tiers[tier].discard(source, step) and tier == "disk" and self.disk:
            self.disk.remove(source, step)
        if self._ahead is not None and self._ahead[:2] == (source, step):
            self._ahead = None
