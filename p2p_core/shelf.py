"""Inversions on disk: a bounded folder of safetensors, so that a picture is inverted once for ever."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

BUDGET = 1 << 30
KINDS = {"path": 4, "unconditional": 3}  # name -> dimensions


class Shelf:
    """A folder of tensors by key, the longest unused removed first.

    A file that can't be read counts as missing and is removed. Nothing here raises for a full or read-only
    disk: the shelf only saves time. Several processes may share a folder.
    """

    def __init__(self, folder: str | Path, budget: int = BUDGET) -> None:
        self.folder, self.budget = Path(folder).expanduser(), budget

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What was put under the key, or None."""
        file = self._file(key)
        try:
            found = load(file.read_bytes())
            whole = "path" in found and all(
                name in KINDS and x.dim() == KINDS[name] and bool(torch.isfinite(x).all())
                for name, x in found.items()
            )
            if whole:
                os.utime(file)
                return found
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError):
            pass
        with contextlib.suppress(OSError):
            file.unlink()
        return None

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors; written aside and moved, so that nobody reads half a file."""
        data = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
        if len(data) > self.budget:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".tmp", delete=False) as aside:
                aside.write(data)
            Path(aside.name).replace(self._file(key))
        except OSError:
            return

    @property
    def nbytes(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, file), the longest unused first."""
        found = []
        for file in self.folder.glob("*.safetensors"):
            with contextlib.suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        return sorted(found)

    def _make_room(self, needed: int) -> None:
        files = self._files()
        held = sum(size for _, size, _ in files)
        for _, size, file in files:
            if held + needed <= self.budget:
                return
            with contextlib.suppress(OSError):
                file.unlink()
                held -= size
