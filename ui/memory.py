"""Memory that runs have freed, given back to the system.

glibc keeps what many threads free in pools of its own, so that a server that only edits grows by a megabyte
or two an edit. It is asked for it after a run, not more than once in a few seconds.
"""

from __future__ import annotations

import ctypes
import sys
import time

EVERY = 2.0  # seconds
_last = 0.0


def give_back() -> None:
    """Ask the C library for what is free, where it can be asked."""
    global _last
    if sys.platform != "linux" or time.monotonic() - _last < EVERY:
        return
    _last = time.monotonic()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; musl has none
    if trim is not None:
        trim(0)
