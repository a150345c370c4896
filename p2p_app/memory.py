"""Memory that runs have freed, given back to the system.

Gradio makes a copy of a component for every update, with cycles in it, so that only Python's collector frees
what an old value held; and by itself that looks at everything only once a quarter as much has come as there
is, which takes hundreds of edits. glibc keeps what many threads free in pools of its own. Both are asked for
what they have after a run, not more than once in a few seconds.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time

MIN_SECONDS = 2.0  # between two collections
_last = 0.0


def settle() -> None:
    """The app is loaded: the half million objects that stay are left out of every later collection, which
    takes milliseconds then.

    Nothing is collected first: loading leaves next to no garbage, and it would take a third of a second.
    """
    gc.freeze()


def give_back() -> None:
    """Free what only cycles hold, and ask the C library for what is free, where it can be asked."""
    global _last
    if time.monotonic() - _last < MIN_SECONDS:
        return
    _last = time.monotonic()
    gc.collect()
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; musl has none
    if trim is not None:
        trim(0)
