"""The tiers that recorded queries and keys live in: device, host, disk. What leaves one moves to the next.

- device: where the model runs.
- host: pinned memory beside a GPU; copied back ahead of its use on a side stream. Without a GPU it is the
  same memory as the device's, so it gets no budget of its own unless asked.
- disk: safetensors files, memory-mapped, in a folder that the user names; read ahead by a thread.
- nothing: what no tier holds is recorded again from the source's latents (`records`).

Every tier evicts as `RecordCache` says and gives back what was put in, bit for bit; with a storage dtype what
is put in is rounded first, so all tiers still agree.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..attention import AttentionRecord, Mix, Term
from ..checks import TIERS
from ..errors import BadFolder, shown
from .lru import RecordCache

KEYS = -1  # the step under which a source's text keys are kept: they are the same in every step
HALF_MOST = torch.finfo(torch.float16).max


@dataclass(kw_only=True)
class Packed:
    """A record as flat tensors: self/SITE/q and k, cross/SITE/N/q of the terms, mix/N that many terms share.

    terms: by a term's name, cross/SITE/N, the name of its text keys and that of its mix, if it has one.
    """

    tensors: dict[str, Tensor]
    terms: dict[str, str] = field(default_factory=dict)
    ready: torch.cuda.Event | None = None  # after which the tensors are there

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.tensors.values())


def packed(record: AttentionRecord) -> Packed:
    """A record without its text keys, which are named."""
    out = Packed(tensors={})
    for site, terms in record.cross.items():
        for n, term in enumerate(terms):
            name = f"cross/{site}/{n}"
            out.tensors[f"{name}/q"] = term.q
            out.terms[name] = key_name(site, term)
            if term.mix is not None:
                mix = f"mix/{term.mix.digest.hex()}"
                out.tensors[mix] = term.mix.matrix
                out.terms[name] += f" {mix}"
    for site, (q, k) in record.self_.items():
        out.tensors[f"self/{site}/q"], out.tensors[f"self/{site}/k"] = q, k
    return out


def unpacked(
    tensors: Mapping[str, Tensor], terms: Mapping[str, str], keys: Mapping[str, Tensor]
) -> AttentionRecord:
    """The record of flat tensors, which may lack some layers of self-attention. terms: as `Packed.terms`."""
    record = AttentionRecord()
    for name, refers in sorted(terms.items(), key=lambda item: int(item[0].split("/")[2])):
        site, (key, *mix) = name.split("/")[1], refers.split(" ")
        mixed = Mix(tensors[mix[0]], bytes.fromhex(mix[0].removeprefix("mix/"))) if mix else None
        term = Term(tensors[f"{name}/q"], keys[key], mixed, key.split("/")[0])
        record.cross[site] = (*record.cross.get(site, ()), term)
    for site in _self_sites(tensors):
        record.self_[site] = (tensors[f"self/{site}/q"], tensors[f"self/{site}/k"])
    return record


def key_name(site: str, term: Term) -> str:
    """The name of a term's text keys: whose text, and at which layer."""
    return f"{term.text}/{site}"


def wanted(name: str, sites: frozenset[str] | None) -> bool:
    """Whether a flat tensor is needed: self-attention only of some layers (None: of all)."""
    return not name.startswith("self/") or sites is None or name.split("/")[1] in sites


def whole(x: Tensor) -> Tensor:
    """x, or a copy if it is a part of something larger, which would be kept alive."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def grouped(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of tensors that share one buffer, in order: of one dtype, and as many as fill it well, since
    torch rounds pinned memory up to a power of two."""
    groups: list[list[str]] = []
    block = 4 * _power_of_two(max((x.nbytes for x in tensors.values()), default=1))
    room, dtype = 0, None
    for name, x in tensors.items():
        if not groups or x.nbytes > room or x.dtype != dtype:
            groups.append([])
            room, dtype = block, x.dtype
        groups[-1].append(name)
        room -= x.nbytes
    return groups


def pinned_bytes(tensors: Mapping[str, Tensor]) -> int:
    """What pinned copies of tensors take, with what torch rounds up."""
    away = {name: x for name, x in tensors.items() if not name.startswith("mix/")}
    sizes = (_power_of_two(sum(away[name].nbytes for name in names)) for names in grouped(away))
    return sum(sizes) + sum(x.nbytes for name, x in tensors.items() if name not in away)


def _power_of_two(n: int) -> int:
    """The smallest that is at least n."""
    return 1 << max(0, n - 1).bit_length()


def divided(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A flat tensor as views with the shapes of `like`, which lie in it one after the other."""
    parts = flat.split([x.numel() for x in like.values()])
    return {name: part.view(x.shape) for part, (name, x) in zip(parts, like.items(), strict=True)}


def adjoining(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors in groups that lie end to end in one buffer, so that one copy moves a group."""
    runs: list[dict[str, Tensor]] = []
    at = (0, 0)
    places = {name: (x.untyped_storage().data_ptr(), int(x.storage_offset())) for name, x in tensors.items()}
    for name in sorted(tensors, key=places.__getitem__):
        x, place = tensors[name], places[name]
        if not runs or place != at or x.dtype != next(iter(runs[-1].values())).dtype:
            runs.append({})
        runs[-1][name] = x
        at = (place[0], place[1] + x.numel())
    return runs


def end_to_end(run: Mapping[str, Tensor]) -> Tensor:
    """A group of `adjoining` as one flat tensor, not copied."""
    first = next(iter(run.values()))
    return first.as_strided((sum(x.numel() for x in run.values()),), (1,))


def pinned(numel: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(numel, dtype=dtype, pin_memory=True)


class Mover:
    """Copies between the device and the host; on a side stream where there is a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def to_host(self, tensors: Mapping[str, Tensor]) -> Packed:
        """Pinned copies, under way, in a few buffers. Mixes lie on the host already; without a GPU everything
        does. Raises `RuntimeError` where no more memory can be pinned."""
        if self.stream is None:
            return Packed(tensors=dict(tensors))
        here = {name: x for name, x in tensors.items() if x.device.type != "cpu"}
        # side by side on the device first, in order of its work: then each buffer is one copy
        flats = [torch.cat([here[name].reshape(-1) for name in names]) for names in grouped(here)]
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        out = {name: x for name, x in tensors.items() if name not in here}
        with torch.cuda.stream(self.stream):
            for names, flat in zip(grouped(here), flats, strict=True):
                buffer = pinned(len(flat), flat.dtype)
                buffer.copy_(flat, non_blocking=True)
                flat.record_stream(self.stream)  # its memory may not be given away before the copy is made
                out |= divided(buffer, {name: here[name] for name in names})
        return Packed(tensors=out, ready=self.stream.record_event())

    def to_device(self, tensors: Mapping[str, Tensor]) -> Packed:
        """Copies on the device, under way; mixes stay on the host, where they are multiplied."""
        if self.stream is None:
            return Packed(tensors=dict(tensors))
        out = {name: x for name, x in tensors.items() if name.startswith("mix/")}
        with torch.cuda.stream(self.stream):
            for run in adjoining({name: x for name, x in tensors.items() if name not in out}):
                flat = end_to_end(run).to(self.device, non_blocking=True)
                out |= divided(flat, run)
        return Packed(tensors=out, ready=self.stream.record_event())

    def arrived(self, copies: Packed) -> dict[str, Tensor]:
        """The tensors, for work that is queued from here on: the device waits for them, not the host."""
        if copies.ready is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copies.ready)
            for x in copies.tensors.values():
                if x.device.type == "cuda":
                    x.record_stream(current)
        return copies.tensors


class Disk:
    """Packed records as safetensors files in a folder of this process, which goes when it ends.

    Raises `BadFolder` for a folder that can't be written to.
    """

    def __init__(self, folder: str | Path) -> None:
        parent = Path(folder).expanduser()
        name = f"records-{socket.gethostname()}-{os.getpid()}-"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(parent)
            self.folder = Path(tempfile.mkdtemp(prefix=name, dir=parent))
        except OSError as error:
            raise BadFolder(
                f"cache_folder is a folder that can be written to; {shown(str(folder))} is not "
                f"({error.strerror or error})."
            ) from None
        self.close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def _file(self, source: str, step: int) -> Path:
        return self.folder / f"{source}{step:+d}.safetensors"

    def write(self, source: str, step: int, record: Packed) -> int:
        """Bytes of the file, 0 if it couldn't be written; aside first so that nobody reads half of one."""
        if record.ready is not None:
            record.ready.synchronize()
        file = self._file(source, step)
        aside = file.with_suffix(".tmp")
        try:
            tensors = {name: whole(x).contiguous() for name, x in record.tensors.items()}
            save_file(tensors, aside, metadata=record.terms)
            size = aside.stat().st_size
            aside.replace(file)
        except (OSError, SafetensorError):
            self.remove(source, step)
            return 0
        return size

    def read(self, source: str, step: int, sites: frozenset[str] | None) -> Packed | None:
        """What was written, memory-mapped: pages are read when they are used. None: it can't be read."""
        try:
            with safe_open(self._file(source, step), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys() if wanted(name, sites)}
                return Packed(tensors=tensors, terms=file.metadata() or {})
        except (OSError, SafetensorError):
            return None

    def remove(self, source: str, step: int) -> None:
        for file in (self._file(source, step), self._file(source, step).with_suffix(".tmp")):
            with contextlib.suppress(OSError):
                file.unlink()


def _remove_abandoned(parent: Path) -> None:
    """Remove what processes of this machine left that have died without clearing up."""
    if os.name != "posix":  # elsewhere asking for a process by a signal may end it
        return
    for folder in parent.glob(f"records-{socket.gethostname()}-*-*"):
        pid = folder.name.split("-")[-2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue


class TieredCache:
    """Recorded steps of sources, each in the first tier that has room for it.

    budgets: bytes for each of `TIERS`. store: dtype to keep queries and keys in, None: as they come. What was
    moved down stays there and is lent to the device for the steps that read it, one step ahead.
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
        self._mover = Mover(device)
        self._reader = None if folder is None else ThreadPoolExecutor(1, thread_name_prefix="records")
        self._held: dict[str, RecordCache[AttentionRecord | Packed]] = {
            tier: RecordCache(budgets.get(tier, 0), self._moving_down(tier)) for tier in TIERS
        }
        self._lost: set[str] = set()  # tiers that turned out to have no room
        self._lent: tuple[str, dict[str, Tensor]] = ("", {})  # the text keys of the source in use
        self._ahead: tuple[str, int, Packed | Future[Packed | None]] | None = None

    # --- what it holds ------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        return sum(held.nbytes for held in self._held.values())

    @property
    def budget(self) -> int:
        return sum(held.budget for held in self._held.values())

    def bytes_in(self, tier: str) -> tuple[int, int]:
        """(bytes held, budget) of one of `TIERS`."""
        return self._held[tier].nbytes, self._held[tier].budget

    def size(self, source: str) -> int:
        """Bytes held for one source, in all tiers."""
        return sum(held.size(source) for held in self._held.values())

    def steps(self, source: str) -> int:
        """Number of steps held for one source."""
        return sum(self.counts(source).values())

    def counts(self, source: str) -> dict[str, int]:
        """Number of steps of a source in each tier that holds some."""
        seen: set[int] = {KEYS}
        counts = {}
        for tier, held in self._held.items():
            new = held.held(source) - seen
            seen |= new
            if new:
                counts[tier] = len(new)
        return counts

    def where(self, source: str, N: int) -> str:
        """Where the N steps of a source lie, for people."""
        cuda = self.device.type == "cuda"
        names = {"device": "GPU memory" if cuda else "CPU memory", "disk": "disk"}
        names["host"] = "CPU memory" if cuda else "host memory"
        counts = self.counts(source)
        if not counts:
            return "latents only"
        if len(counts) == 1:
            ((tier, n),) = counts.items()
            return names[tier] if n >= N else f"{names[tier]}, {n} of {N} steps"
        return ", ".join(f"{names[tier]} {n}" for tier, n in counts.items()) + f" of {N} steps"

    # --- in -----------------------------------------------------------------------------------------

    def share(self, source: str, record: AttentionRecord) -> AttentionRecord:
        """A record of a source's own run, its text keys replaced by those kept once for all steps."""
        keys = self._keys(source) or {}
        known = len(keys)
        shared = AttentionRecord(self_=record.self_)
        for site, terms in record.cross.items():
            owned = [replace(term, text=term.text or source) for term in terms]
            for term in owned:
                name = key_name(site, term)
                if name not in keys:
                    keys[name] = self._stored(whole(term.k))
            shared.cross[site] = tuple(replace(term, k=keys[key_name(site, term)]) for term in owned)
        if len(keys) > known:
            self._lent = (source, keys)
            self._put(source, KEYS, Packed(tensors=dict(keys)))
        return shared

    def keep(self, source: str, step: int, record: AttentionRecord) -> AttentionRecord:
        """Keep a step's record, whose text keys are `share`d here. Gives it back as it will be read."""
        record = self.share(source, record)
        if self.store is not None:
            record = record.map(self._stored)
        self._put(source, step, record)
        return self._read(record)

    def _stored(self, x: Tensor) -> Tensor:
        if self.store is None or x.dtype == self.store:
            return x
        limited = x.clamp(-HALF_MOST, HALF_MOST) if self.store == torch.float16 else x
        return limited.to(self.store)

    def _put(self, source: str, step: int, value: AttentionRecord | Packed) -> None:
        for tier in TIERS[1:]:  # an older copy further down is out of date
            self._discard(tier, source, step)
        if self._ahead is not None and self._ahead[:2] == (source, step):
            self._ahead = None
        nbytes = (value if isinstance(value, Packed) else packed(value)).nbytes
        self._held["device"].put(source, step, value, nbytes)

    def _moving_down(self, tier: str) -> Callable[[str, int, AttentionRecord | Packed, int], None]:
        below = TIERS[TIERS.index(tier) + 1 :]

        def down(source: str, step: int, value: AttentionRecord | Packed, nbytes: int) -> None:
            if tier == "disk":
                if self.disk:
                    self.disk.remove(source, step)
                return
            flat = value if isinstance(value, Packed) else packed(value)
            for lower in below:
                held = self._held[lower]
                if nbytes > held.budget:
                    continue
                if lower == "host":
                    size = pinned_bytes(flat.tensors) if self._mover.stream is not None else nbytes
                    if size > held.budget or lower in self._lost:
                        continue
                    try:
                        copies = replace(self._mover.to_host(flat.tensors), terms=flat.terms)
                    except RuntimeError:  # no more memory can be pinned; what is there stays
                        self._lost.add(lower)
                        continue
                    held.put(source, step, copies, size)
                    return
                size = self.disk.write(source, step, flat) if self.disk else 0
                if size:
                    held.put(source, step, Packed(tensors={}), size)
                return

        return down

    # --- out ----------------------------------------------------------------------------------------

    def get(self, source: str, step: int, sites: frozenset[str] | None = None) -> AttentionRecord | None:
        """A step's record on the device, with self-attention of at least some layers; None: not held.

        sites: None: all that there is.
        """
        found = self._held["device"].get(source, step)
        if isinstance(found, AttentionRecord):
            return self._read(found) if sites is None or sites <= found.self_.keys() else None
        flat: Packed | None = None
        if self._ahead is not None and self._ahead[:2] == (source, step):
            ahead, self._ahead = self._ahead[2], None
            flat = self._lifted(ahead) if isinstance(ahead, Future) else ahead  # else on its way already
            if flat is not None and sites is not None and not sites <= _self_sites(flat.tensors):
                flat = None  # it was read for another edit, which needed less
        flat = flat or self._lifted(self._below(source, step, sites))
        keys = self._keys(source)
        if flat is None or keys is None or not (sites or frozenset()) <= _self_sites(flat.tensors):
            return None
        if not {refers.split(" ")[0] for refers in flat.terms.values()} <= keys.keys():
            return None
        return self._read(unpacked(self._mover.arrived(flat), flat.terms, keys))

    def prefetch(self, source: str, step: int, sites: frozenset[str] | None = None) -> None:
        """Begin to bring a step up that lies further down, while the one before it is computed."""
        known = self._ahead is not None and self._ahead[:2] == (source, step)
        if known or self._held["device"].get(source, step) is not None:
            return
        below = self._below(source, step, sites, wait=False)
        if below is not None:
            flat = below if isinstance(below, Future) else self._lifted(below)
            self._ahead = None if flat is None else (source, step, flat)

    def _below(
        self, source: str, step: int, sites: frozenset[str] | None, wait: bool = True
    ) -> Packed | Future[Packed | None] | None:
        found = self._held["host"].get(source, step)
        if isinstance(found, Packed):
            tensors = {name: x for name, x in found.tensors.items() if step == KEYS or wanted(name, sites)}
            return replace(found, tensors=tensors)
        if self.disk is None or self._reader is None or self._held["disk"].get(source, step) is None:
            return None
        if not wait:
            return self._reader.submit(self._read_whole, source, step, sites)
        flat = self.disk.read(source, step, None if step == KEYS else sites)
        if flat is None:
            self._discard("disk", source, step)
        return flat

    def _read_whole(self, source: str, step: int, sites: frozenset[str] | None) -> Packed | None:
        """Read from disk into memory, in a thread of its own: a mapped file would be read when it is used."""
        flat = self.disk.read(source, step, sites) if self.disk else None
        if flat is None:
            return None
        beside = self.device.type == "cuda"
        tensors: dict[str, Tensor] = {}
        for names in grouped(flat.tensors):
            parts = {name: flat.tensors[name] for name in names}
            whole_ = torch.cat([x.reshape(-1) for x in parts.values()])
            with contextlib.suppress(RuntimeError):  # a copy from pageable memory is only slower
                whole_ = whole_.pin_memory() if beside else whole_
            tensors |= divided(whole_, parts)
        return Packed(tensors=tensors, terms=flat.terms)

    def _lifted(self, below: Packed | Future[Packed | None] | None) -> Packed | None:
        """What lies further down, on its way to the device."""
        flat = below.result() if isinstance(below, Future) else below
        return flat and replace(self._mover.to_device(flat.tensors), terms=flat.terms)

    def _read(self, record: AttentionRecord) -> AttentionRecord:
        """In the model's dtype."""
        return record if self.store in (None, self.dtype) else record.map(lambda x: x.to(self.dtype))

    def _keys(self, source: str) -> dict[str, Tensor] | None:
        """The text keys of a source on the device, by name."""
        if self._lent[0] == source:
            return self._lent[1]
        found = self._held["device"].get(source, KEYS)
        flat = found if isinstance(found, Packed) else self._lifted(self._below(source, KEYS, None))
        if flat is None:
            return None
        self._lent = (source, dict(self._mover.arrived(flat)))
        return self._lent[1]

    # --- away ---------------------------------------------------------------------------------------

    def drop(self, source: str) -> None:
        """Forget a source, in all tiers."""
        for tier in TIERS:
            for step in self._held[tier].held(source):
                self._discard(tier, source, step)
        self._lent = ("", {}) if self._lent[0] == source else self._lent
        self._ahead = None

    def _discard(self, tier: str, source: str, step: int) -> None:
        if self._held[tier].discard(source, step) and tier == "disk" and self.disk:
            self.disk.remove(source, step)


def _self_sites(tensors: Mapping[str, Tensor]) -> set[str]:
    return {name.split("/")[1] for name in tensors if name.startswith("self/")}
