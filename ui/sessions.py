"""What each open page holds: its source, its edits and its files. Freed when the tab closes.

Gradio's State never sees a tensor: a page is known by its session hash, and the heavy things stay here. API
callers get a source id, which nobody can guess.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_SESSIONS = 64
MOST_API_SOURCES = 32
MOST_HISTORY = 12
MOST_FILES = 48
IDLE_SECONDS = 2 * 3600.0
SETTLED = 4.0  # seconds until an edit counts as one of its own


@dataclass(kw_only=True)
class Entry:
    """One edit of the history: enough to put everything back."""

    source: Any
    source_path: str
    controls: Any
    title: str
    thumb: str  # data URI
    path: str = ""  # of the edited picture as the page shows it
    key: str  # of the edit, so that the same edit is one entry
    family: str  # of edits that differ in their faders, windows or region only
    made: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True)
class Session:
    """One open page."""

    key: str
    source: Any = None
    source_path: str = ""
    result: Any = None
    edited: Any = None  # the result as a source, for its maps
    exact: tuple[str, Any] | None = (
        None  # an edit that says more than the controls can: (their key, the edit)
    )
    sheet: Any = None  # the last exploration
    controls: Any = None  # what the page's controls were last seen at
    history: list[Entry] = field(default_factory=list)
    current: int | None = None
    uploads: dict[str, str] = field(default_factory=dict)  # files of real pictures, by their source's key
    told: tuple[str, float, Any] | None = None  # the last finished edit, when it was, and the line about it
    wanted: float = 0.0  # the page's clock at its latest wish
    stopped: float = 0.0  # and when it last said stop
    used: float = field(default_factory=time.monotonic)
    closed: bool = False
    _folder: Path | None = None
    _files: list[Path] = field(default_factory=list)
    _count: int = 0

    def path(self, suffix: str) -> Path:
        """A fresh file in the session's own folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="p2p-"))
        self._count += 1
        path = self._folder / f"{self._count:04d}-{suffix}"
        kept = {
            self.source_path,
            *(path for entry in self.history for path in (entry.source_path, entry.path)),
        }
        while len(self._files) >= MOST_FILES:  # Gradio has its own copy of what it has shown
            old = next((known for known in self._files if str(known) not in kept), self._files[0])
            self._files.remove(old)
            old.unlink(missing_ok=True)
        self._files.append(path)
        return path

    def want(self, clock: float) -> None:
        self.wanted = max(self.wanted, clock)

    def outdated(self, clock: float) -> bool:
        """True if the page has asked for something else, or to stop, since `clock`."""
        return self.wanted > clock

    def stop(self, clock: float) -> None:
        self.stopped = max(self.stopped, clock)
        self.want(clock)

    def sources(self) -> dict[str, Any]:
        held = [self.source, self.edited, *(entry.source for entry in self.history)]
        return {source.key: source for source in held if source is not None}

    def remember(self, entry: Entry) -> None:
        """Put an edit into the history; the same edit again moves nothing."""
        for n, known in enumerate(self.history):
            if known.key == entry.key:
                self.history[n], self.current = entry, n
                return
        last = self.history[-1] if self.history else None
        if last is not None and last.family == entry.family and entry.made - last.made < SETTLED:
            self.history.pop()  # a fader on its way
        self.history.append(entry)
        del self.history[:-MOST_HISTORY]
        self.current = len(self.history) - 1

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class Sessions:
    """All sessions, and the sources that API callers hold by their id.

    `forget(source)` is called once nobody holds a source any more.
    """

    def __init__(self, forget: Callable[[Any], None]) -> None:
        self._forget = forget
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._api: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, key: str | None) -> Session:
        """The session `key`, made on first sight. Old ones are closed on the way."""
        key = key or "local"
        with self._lock:
            session = self._sessions.setdefault(key, Session(key=key))
            session.used = time.monotonic()
            self._sessions.move_to_end(key)
            stale = [k for k, s in self._sessions.items() if session.used - s.used > IDLE_SECONDS]
            stale += list(self._sessions)[: max(0, len(self._sessions) - MOST_SESSIONS)]
            for old in dict.fromkeys(stale):
                self.close(old)
            return session

    def close(self, key: str | None) -> None:
        """Free what a session holds."""
        with self._lock:
            session = self._sessions.pop(key or "local", None)
            if session is None:
                return
            session.closed = True
            session.stop(float("inf"))  # whatever still runs for it stops at its next step
            held = session.sources()
            session.close()
            self._release(held)

    def trim(self, session: Session, before: dict[str, Any]) -> None:
        """Free the sources in `before` that the session has let go of."""
        with self._lock:
            held = session.sources()
            self._release({key: source for key, source in before.items() if key not in held})

    def add_api_source(self, source: Any) -> str:
        """Keep a source for API callers; returns its id."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._api[name] = source
            while len(self._api) > MOST_API_SOURCES:
                _, old = self._api.popitem(last=False)
                self._release({old.key: old})
        return name

    def api_source(self, name: str) -> Any:
        """The source of an id, or None."""
        with self._lock:
            if name in self._api:
                self._api.move_to_end(name)
            return self._api.get(name)

    def _release(self, sources: dict[str, Any]) -> None:
        held = {source.key for source in self._api.values()}
        for session in self._sessions.values():
            held |= set(session.sources())
        for key, source in sources.items():
            if key not in held:
                self._forget(source)
