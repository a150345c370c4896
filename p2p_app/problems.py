"""What went wrong, as a sentence for the page and as one line for the log.

The log gets no message of an error: what a visitor has typed may be in it.
"""

from __future__ import annotations

import errno
import logging
import traceback

from p2p_core import P2PError

from .engine import NotReady

log = logging.getLogger("p2p.ui")
DISK_FULL = "The server's disk is full, so the picture can't be shown. Try again later."
NO_MEMORY = "The device ran out of memory. Fewer steps, or a smaller --cache-mb, leave more room."


def sentence(error: BaseException) -> str:
    """An error as the page says it. What nobody expected is logged."""
    if isinstance(error, NotReady):
        return f"The model could not be loaded. {error}"
    if isinstance(error, P2PError):
        return str(error)
    log_briefly(error)
    if is_disk_full(error):
        return DISK_FULL
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return NO_MEMORY
    return f"Something went wrong ({type(error).__name__}); the server's log has the details."


def is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def log_briefly(error: BaseException) -> None:
    """The error's type and where it was raised, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames[-3:]]
    log.error("%s at %s", type(error).__name__, " < ".join(reversed(places)) or "no place")
