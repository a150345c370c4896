"""The process as a server: its temporary folder, which goes with it, and a clean end."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocks import Blocks

PREFIX = "p2p-app-"
END_SECONDS = 5.0  # for runs to stop
TELL_SECONDS = 0.5  # for what they said last to reach their pages


def own_temporary_folder() -> Path:
    """A folder of this process for all its temporary files, Gradio's too; for its owner alone.

    It goes with the process. What earlier ones have left that were killed is removed: they hold no lock any
    more. Nothing falls back to the working directory where the disk is full.
    """
    os.umask(0o077)  # pictures are nobody else's
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix="p2p-new-", dir=parent))
    with contextlib.suppress(OSError):
        _lock(folder)  # held as long as the process lives, however it ends
    folder = folder.rename(parent / folder.name.replace("p2p-new-", PREFIX))  # from now on others may look
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "gradio").mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    tempfile.tempdir = str(folder)
    return folder


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that are gone. A process's number says nothing: in a container each
    has the same."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            handle = _lock(folder)
        except OSError:  # alive, or somebody else's
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _lock(folder: Path) -> int:
    """A lock on a folder, by the handle that holds it. Raises `OSError` if somebody has it."""
    if os.name != "posix":  # then nothing that was left is removed
        raise OSError("There are no such locks here.")
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def end_cleanly(demo: Blocks) -> None:
    """On SIGTERM and SIGINT: runs stop at their next step and say so, then the server closes.

    SIGTERM needs a handler of its own: the first process of a container ignores it otherwise.
    """

    def end(*_: Any) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # a second one ends at once
        demo.sessions.end()
        last = time.monotonic() + END_SECONDS
        while len(demo.turns) and time.monotonic() < last:
            time.sleep(0.05)
        time.sleep(TELL_SECONDS)
        demo.close(verbose=False)
        raise SystemExit(0)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)
