"""The files of one page: pictures as it shows them, in a folder of its own that goes with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

MAX_FILES = 320  # of a page: two for each edit of its history, and what else it has shown


class PageFiles:
    """Files with numbers in their names. The folder is made with the first one."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._files: list[Path] = []
        self._count = 0

    def path(self, suffix: str, needed: Collection[str]) -> Path:
        """A fresh path. Where there are too many, the oldest that isn't needed goes."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="p2p-"))
        self._count += 1
        path = self._folder / f"{self._count:04d}-{suffix}"
        while len(self._files) >= MAX_FILES:  # Gradio has its own copy of what it has shown
            old = next((file for file in self._files if str(file) not in needed), self._files[0])
            self._files.remove(old)
            old.unlink(missing_ok=True)
        self._files.append(path)
        return path

    def remove(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
