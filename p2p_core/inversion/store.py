"""Inversions on disk: a bounded folder of safetensors, so that a picture is inverted once for ever."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..errors import BadInput, shown

BUDGET = 1 << 30
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ASIDE = 600.0  # seconds after which a file that is written aside belongs to nobody
Shapes = Mapping[str, tuple[int, ...]]


def check_budget(value: object) -> int | None:
    """Bytes for inversions on disk; None: the usual budget. Raises `BadInput`."""
    if value is None or (isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0):
        return None if value is None else int(value)
    raise BadInput(f"inversion_bytes is a whole number of bytes of at least 0, or None; got {shown(value)}.")


class InversionStore:
    """A folder of tensors by key, the longest unused removed first.

    A file that can't be read, or holds something else, counts as missing and is removed. Nothing here raises
    for a full or read-only disk: the shelf only saves time. Several processes may share a folder. A picture
    can be decoded from its inversion, so a folder that is made here is for its owner alone.
    """

    def __init__(self, folder: str | Path, budget: int | None = None) -> None:
        self.folder, self.budget = Path(folder).expanduser(), BUDGET if budget is None else budget

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str, shapes: Shapes) -> dict[str, Tensor] | None:
        """What was put under the key, if it is tensors of these names and shapes; else None."""
        file = self._file(key)
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > self.budget:  # a pipe would never end
                return None
            found = load(file.read_bytes())
        except OSError:  # missing, or not to be read just now
            return None
        # what safetensors raises for a type that this torch has none of differs by version
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
            found = {}
        if {name: tuple(x.shape) for name, x in found.items()} == dict(shapes) and all(
            x.dtype in DTYPES and bool(torch.isfinite(x).all()) for x in found.values()
        ):
            with contextlib.suppress(OSError):
                os.utime(file)
            return found
        with contextlib.suppress(OSError):
            file.unlink()
        return None

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors; written aside and moved, so that nobody reads half a file."""
        data = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
        if len(data) > self.budget:
            return
        aside = self.folder / f"{key}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(len(data))
            with aside.open("xb") as file:
                file.write(data)
            aside.replace(self._file(key))
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()

    @property
    def nbytes(self) -> int:
        """Of all files, those written aside too."""
        return sum(size for _, size, _ in self._files())

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, file), the longest unused first."""
        found = []
        for pattern in ("*.safetensors", "*.tmp"):
            for file in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    found.append((status.st_mtime, status.st_size, file))
        return sorted(found)

    def _make_room(self, needed: int) -> None:
        now, files = time.time(), self._files()
        held = sum(size for _, size, _ in files)
        for used, size, file in files:
            aside = file.suffix == ".tmp"  # of a process that is gone, or of one that still writes
            if now - used > ASIDE if aside else held + needed > self.budget:
                with contextlib.suppress(OSError):
                    file.unlink()
                    held -= size
