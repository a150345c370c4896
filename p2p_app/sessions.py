"""What each open page holds: its source, its edits and its files. Freed when the tab closes.

Gradio's State never sees a tensor: a page is known by its session hash, and the heavy things stay here. API
callers get a source id, which nobody can guess.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from .api_sources import ApiSources
from .axes import Sheet
from .controls import Controls
from .files import PageFiles
from .limits import LOCAL, Limits, TooManyPages
from .queue import Client

if TYPE_CHECKING:
    from p2p_core import Edit, Result, Source

MAX_SESSIONS = 64
MAX_FREED_PAGES = 1024
MAX_HISTORY = 100
MAX_IDLE_SECONDS = 2 * 3600.0
NEVER = -math.inf
Kind = Literal["source", "edit", "look"]  # what a run makes: a source, an edit of it, or a map to look at


@dataclass(kw_only=True)
class Entry:
    """One edit of the history: enough to put everything back. Of a page that was loaded again there is only
    the recipe, until the edit is asked for."""

    title: str
    thumb: str  # data URI
    key: str  # of the picture, so that the same picture is one entry
    recipe: dict[str, Any]
    levers: dict[str, Any]  # of the desk: faders, mutes and solos
    kind: str = "edit"  # "source", "edit", or "branch": an edit of what was an edit
    source: Source | None = None
    source_path: str = ""
    controls: Controls = field(default_factory=Controls)
    path: str = ""  # of the edited picture as the page shows it
    exact_edit: tuple[str, Edit] | None = None  # as `Session.exact_edit`


@dataclass(kw_only=True)
class Session:
    """One open page."""

    key: str
    address: str = ""  # of the client
    open: int = 0  # how many events say that the page is open
    source: Source | None = None
    source_path: str = ""
    result: Result | None = None
    result_path: str = ""  # of its picture as the page shows it, without the region over it
    result_source: Source | None = None  # the result as a source, for its maps
    exact_edit: tuple[str, Edit] | None = None  # an edit that controls can't show in full, by their key
    suggestion: tuple[tuple[str, str], Edit] | None = None  # by the source's key and the edit's prompt
    sheet: Sheet | None = None  # the last exploration
    controls: Controls | None = None  # what the page's controls were last seen at
    history: list[Entry] = field(default_factory=list)
    current: int | None = None
    uploads: dict[str, str] = field(default_factory=dict)  # files of real pictures, by their source's key
    answer: tuple[str, float, Any] | None = None  # the last finished edit, when it was, and the line about it
    line: Any = None  # what the page's line says
    settled_line: Any = None  # and what it said last when nothing was under way
    shows_preview: bool = False
    shows_look: bool = False  # the page shows where a word looks
    # The page's clock: all that follows from one act carries the time of that act.
    wanted_at: float = NEVER  # its latest wish for another picture
    renewed_at: float = NEVER  # its latest wish for another source
    glanced_at: float = NEVER  # its latest wish to see a map
    stopped_at: float = NEVER  # when it last said stop
    seen_at: float = NEVER  # when `controls` were as they are
    used_at: float = field(default_factory=time.monotonic)
    opening: bool = False  # the page's first picture is still to come
    closed: bool = False
    freed: bool = False  # an earlier session of the same page was freed for want of room
    files: PageFiles = field(default_factory=PageFiles)

    def path(self, suffix: str) -> Path:
        """A fresh file in the session's own folder."""
        shown = (path for entry in self.history for path in (entry.source_path, entry.path))
        return self.files.path(suffix, {self.source_path, self.result_path, *shown})

    @property
    def client(self) -> Client:
        """Who it is in the queue."""
        return Client(self.address, self.key)

    def want(self, clock: float) -> None:
        """The page wants another picture of its source: earlier edits stop, a source under way goes on."""
        self.wanted_at = max(self.wanted_at, clock)

    def renew(self, clock: float) -> None:
        """The page wants another source: whatever runs for it stops."""
        self.renewed_at = max(self.renewed_at, clock)
        self.want(clock)

    def glance(self, clock: float) -> None:
        """The page wants to see a map: an earlier one is left."""
        self.glanced_at = max(self.glanced_at, clock)

    def stop(self, clock: float) -> None:
        """The page wants nothing any more."""
        self.stopped_at = max(self.stopped_at, clock)

    def outdated(self, clock: float, kind: Kind = "edit") -> bool:
        """True if a run of `clock` has lost its sense. A run that waited may have the stop's time."""
        newest = {
            "source": self.renewed_at,
            "edit": self.wanted_at,
            "look": max(self.wanted_at, self.glanced_at),
        }
        return newest[kind] > clock or self.stopped_at >= clock

    def dragged_on(self, clock: float, prompt: str) -> bool:
        """True if only another edit of the same source to the same prompt outdates a run of `clock`."""
        same = self.controls is not None and self.controls.prompt == prompt
        return same and self.wanted_at > clock > max(self.renewed_at, self.stopped_at)

    def lost(self, clock: float, kind: Kind, dragged: str | None) -> bool:
        """Whether a run is outdated. dragged: an edit's prompt, of which only faders have moved on if not."""
        return self.outdated(clock, kind) and not (dragged is not None and self.dragged_on(clock, dragged))

    def halted(self, clock: float) -> bool:
        """True if the page said stop, and nothing after it."""
        return self.stopped_at >= max(clock, self.wanted_at)

    def see(self, controls: Controls, clock: float) -> None:
        """The page's controls at `clock`; what comes late is not taken for the newest."""
        if clock >= self.seen_at:
            self.controls, self.seen_at = controls, clock

    @property
    def shows_edit(self) -> bool:
        """True if the page shows an edit that differs from its source."""
        return self.result is not None and not self.result.plan.changes_nothing

    def sources(self) -> dict[str, Source]:
        """All that it holds, by their keys."""
        sheet = self.sheet.source if self.sheet is not None else None
        held = [self.source, self.result_source, sheet, *(entry.source for entry in self.history)]
        return {source.key: source for source in held if source is not None}

    def remember(self, entry: Entry) -> None:
        """Put an edit into the history; the same edit again moves nothing."""
        for n, other in enumerate(self.history):
            if other.key == entry.key:
                self.history[n], self.current = entry, n
                return
        self.history.append(entry)
        del self.history[:-MAX_HISTORY]
        self.current = len(self.history) - 1

    def close(self) -> None:
        self.files.remove()


class Sessions:
    """All sessions, and the sources that API callers hold by their id.

    `forget(source)` is called once nobody holds a source any more.
    """

    def __init__(self, forget: Callable[[Source], None], limits: Limits = LOCAL) -> None:
        self.limits = limits
        self.ended = False
        self._forget = forget
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._api = ApiSources(limits.sources)
        self._freed: OrderedDict[str, None] = OrderedDict()  # pages whose sessions were freed for room
        self._generated: WeakValueDictionary[str, Source] = WeakValueDictionary()  # by their settings
        self._first: Source | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, key: str | None, address: str = "") -> Session:
        """The session `key`, made on first sight, which is when its page opens. Old ones are closed on the
        way, but none to make room while its page is open. Raises `TooManyPages`."""
        key = key or "local"
        with self._lock:
            if key not in self._sessions:
                self._make_room(address)
                self._sessions[key] = Session(key=key, address=address, freed=key in self._freed)
            session = self._sessions[key]
            session.used_at = time.monotonic()
            self._sessions.move_to_end(key)
            for name, other in list(self._sessions.items()):
                if session.used_at - other.used_at > MAX_IDLE_SECONDS:
                    self._free(name)
            return session

    def find(self, key: str | None) -> Session | None:
        """The session of a page that has opened, or None."""
        with self._lock:
            return self.get(key) if (key or "local") in self._sessions else None

    def _make_room(self, address: str) -> None:
        """Close what is too much for one more page from an address: its own first."""
        for theirs, most in ((True, self.limits.pages), (False, MAX_SESSIONS)):
            crowd = [s for s in self._sessions.values() if not theirs or s.address == address]
            idle = [session.key for session in crowd if not session.open]
            for key in idle[: max(0, len(crowd) + 1 - most)]:
                self._free(key)
            if len(crowd) - len(idle) >= most:
                where = "from your address" if theirs else "here"
                raise TooManyPages(f"{most} pages are open {where}. Close one, and load this one again.")

    def _free(self, key: str) -> None:
        """Close a session whose page may still be there, and will be told."""
        self.close(key)
        self._freed[key] = None
        while len(self._freed) > MAX_FREED_PAGES:
            self._freed.popitem(last=False)

    def close(self, key: str | None) -> None:
        """Free what a session holds."""
        with self._lock:
            session = self._sessions.pop(key or "local", None)
            if session is None:
                return
            session.closed = True
            session.stop(math.inf)  # whatever still runs for it stops at its next step
            self.sweep(session)

    def sweep(self, session: Session) -> None:
        """Free what a closed session holds, which a run that was in its last step may have added to."""
        with self._lock:
            sources = session.sources()
            session.close()
            self._release(sources)

    def trim(self, session: Session, before: dict[str, Source]) -> None:
        """Free the sources in `before` that the session has let go of."""
        with self._lock:
            held = session.sources()
            self._release({key: source for key, source in before.items() if key not in held})

    def add_generated(self, settings: Mapping[str, Any], source: Source | None) -> None:
        """A picture was generated with these settings, by the one model that the app has."""
        if source is not None:
            with self._lock:
                self._generated[json.dumps(settings, sort_keys=True)] = source

    def find_generated(self, settings: Mapping[str, Any]) -> Source | None:
        """The source that these settings make, if a page has it; else None."""
        with self._lock:
            source = self._generated.get(json.dumps(settings, sort_keys=True))
            return source if source is not None and source.key in self._held_keys() else None

    def open_with(self, source: Source | None) -> None:
        """Keep what every page opens with: only the first one waits for it."""
        with self._lock:
            self._first = self._first or source

    def add_api_source(self, source: Source, address: str = "") -> str:
        """Keep a source for API callers; returns its id."""
        with self._lock:
            name, dropped = self._api.add(source, address)
            self._release({old.key: old for old in dropped})
        return name

    def api_source(self, name: str) -> Source | None:
        """The source of an id, or None."""
        with self._lock:
            return self._api.get(name)

    def end(self) -> None:
        """The app ends: what runs stops at its next step, and says so."""
        with self._lock:
            self.ended = True
            for session in self._sessions.values():
                session.stop(math.inf)

    def _held_keys(self) -> set[str]:
        """Keys of the sources that somebody has."""
        held = {source.key for source in (*self._api.all(), self._first) if source is not None}
        for session in self._sessions.values():
            held |= set(session.sources())
        return held

    def _release(self, sources: dict[str, Source]) -> None:
        held = self._held_keys()
        for key, source in sources.items():
            if key not in held:
                self._forget(source)
