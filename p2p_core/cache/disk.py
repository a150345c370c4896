"""The lowest tier: records as safetensors files in a folder that goes with the process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..attention import AttentionRecord
from ..errors import BadFolder, shown


def outline(record: AttentionRecord) -> AttentionRecord:
    """What stays in memory of a record on disk: its layers, terms and text keys, the rest without numbers."""
    return record.map(lambda x: x.to("meta"), text_keys=False)


def _named(record: AttentionRecord) -> Iterator[tuple[str, Tensor]]:
    """A record's queries and keys, with a name for each."""
    for layer, terms in record.cross.items():
        yield from ((f"cross/{layer}/{n}", term.q) for n, term in enumerate(terms))
    for layer, (q, k) in record.self_.items():
        yield from ((f"self/{layer}/q", q), (f"self/{layer}/k", k))


class Disk:
    """Records of a process in a folder of its own. Raises `BadFolder` for one that can't be written to."""

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
        self.close = weakref.finalize(self, _remove, self.folder, os.getpid())

    def _file(self, source: str, step: int) -> Path:
        return self.folder / f"{source}+{step}.safetensors"

    def write(self, source: str, step: int, record: AttentionRecord) -> int:
        """Bytes of the file, 0 if it can't be written. It is moved into place: nobody reads half of one."""
        file = self._file(source, step)
        temporary = file.with_suffix(".tmp")
        try:
            save_file({name: x.contiguous() for name, x in _named(record)}, temporary)
            size = temporary.stat().st_size
            temporary.replace(file)
        except (OSError, SafetensorError):
            self.remove(source, step)
            return 0
        return size

    def read(
        self, source: str, step: int, outlined: AttentionRecord, layers: frozenset[str] | None
    ) -> AttentionRecord | None:
        """The record that was written, on the host; None: it can't be read.

        outlined: its `outline`. layers: of self-attention, that are read; None: all.
        """
        try:
            with safe_open(self._file(source, step), framework="pt") as file:
                # A copy, because a tensor of a mapped file would be read only when it is used.
                wanted = AttentionRecord(
                    cross=outlined.cross,
                    self_={n: qk for n, qk in outlined.self_.items() if layers is None or n in layers},
                )
                found = {name: file.get_tensor(name).clone() for name, _ in _named(wanted)}
        except (OSError, SafetensorError):
            return None
        cross = {
            layer: tuple(replace(term, q=found[f"cross/{layer}/{n}"]) for n, term in enumerate(terms))
            for layer, terms in wanted.cross.items()
        }
        self_ = {layer: (found[f"self/{layer}/q"], found[f"self/{layer}/k"]) for layer in wanted.self_}
        return AttentionRecord(cross=cross, self_=self_)

    def remove(self, source: str, step: int) -> None:
        for file in (self._file(source, step), self._file(source, step).with_suffix(".tmp")):
            with contextlib.suppress(OSError):
                file.unlink()


def _remove(folder: Path, pid: int) -> None:
    """Remove a process's folder, unless this is a child that was forked from it."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


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
