"""Explore: a strip over one control or a grid over two, as one run; and what can be taken away of it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from .. import pictures
from ..axes import MOST_CELLS, Cell, axes, cells
from ..components.board import Board, number, texts, whole
from ..components.widgets import line
from ..controls import read
from ..messages import settings_of
from ..sessions import Session

if TYPE_CHECKING:
    from ..runner import Runs

SIDE = 160
STRIP, GRID = 11, 5
NEEDS = "There is no source picture yet. Press Generate first."


class Explore(Board):
    """Value: {"axes": [[name, label]], "x": name, "y": name or "", "n": columns, "m": rows, "cells": [{"src",
    "captions"}], "columns", "along", "down", "step", "total", "clicked": number or None}."""

    script = "explore"
    about = "Explore: {x: control, y: control or '', n: columns, m: rows, clicked: number or null}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        listed = value.get("axes")
        names = [
            [pair[0][:240], pair[1][:240]]
            for pair in (listed[:200] if isinstance(listed, list) else [])
            if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
        ]
        shown = value.get("cells")
        clicked = value.get("clicked")
        columns = whole(value.get("columns"), 1, MOST_CELLS, 1)
        return {
            "axes": names,
            **{
                k: value[k][:240] if isinstance(value.get(k), str) else ""
                for k in ("x", "y", "along", "down")
            },
            "n": whole(value.get("n"), 2, STRIP + 2, STRIP),
            "m": whole(value.get("m"), 2, 7, GRID),
            "cells": [
                {"src": str(cell.get("src", "")), "captions": texts(cell.get("captions"), most=2)}
                for cell in (shown[:MOST_CELLS] if isinstance(shown, list) else [])
                if isinstance(cell, dict)
            ],
            "columns": columns,
            "step": number(value.get("step"), 0, 1e6, 0),
            "total": number(value.get("total"), 0, 1e6, 0),
            "clicked": clicked if isinstance(clicked, int) and not isinstance(clicked, bool) else None,
        }


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The last exploration of a page. source: what its cells are edits of, unless their settings differ."""

    source: Any
    source_path: str
    cells: Sequence[Cell]
    images: Sequence[Image.Image]
    columns: int
    along: str
    down: str


class ExploreHandlers:
    """Handlers of the Explore tab. Mixed into the runs."""

    def offer(self: Any, explore: dict, request: gr.Request) -> Any:
        """The controls that can be explored now."""
        session = self.sessions.get(request.session_hash)
        if session.source is None:
            yield {"explore": {**explore, "axes": []}}
            return
        yield {"explore": offered(self, session, explore)}

    def explore(self: Any, explore: dict, clock: float, request: gr.Request) -> Any:
        """Run it."""
        session = self.sessions.get(request.session_hash)
        sheet = yield from self.in_turn(session, clock, self._explored(session, explore, clock))
        if sheet is None:
            return
        yield {"explore": shown(sheet, offered(self, session, explore))}
        for kind, path in exported(self.engine.figures, sheet, session):
            yield {f"sheet_{kind}": gr.update(value=str(path), interactive=True)}

    def _explored(
        self: Any, session: Session, explore: dict, clock: float
    ) -> Generator[dict[str, Any], None, Sheet | None]:
        """The part that needs the device. None: nothing came of it."""
        if session.source is None:
            yield {"line": line("error", NEEDS)}
            return None
        explore = offered(self, session, explore)
        found = _axes(self, session)
        x, y = found.get(explore["x"]), found.get(explore["y"])
        if x is None:
            yield {"line": line("error", "Choose what to explore.")}
            return None
        if y is x:
            y = None
        for axis in (x, y):
            word = silenced(session.controls.desk, axis.name) if axis else ""
            if word:
                because = f"\u201c{word}\u201d is silent on the desk, by a mute or a solo"
                yield {"line": line("error", f"This changes nothing because {because}.")}
                return None
        n, m = explore["n"], explore["m"]
        if y is not None and n * m > MOST_CELLS:
            yield {"line": line("error", f"A grid has at most {MOST_CELLS} pictures; {n} x {m} are {n * m}.")}
            return None
        source, path = session.source, session.source_path
        todo = cells(x, y, n, m, session.controls, settings_of_source(source))
        empty = {**explore, "cells": [], "clicked": None}
        images = yield from _run(self, session, todo, clock, empty)
        if images is None or session.outdated(clock):
            yield {"explore": {**empty, "step": 0, "total": 0}}
            return None
        before = session.sources()
        session.sheet = Sheet(
            source=source,
            source_path=path,
            cells=todo,
            images=images,
            columns=n,
            along=x.label,
            down=y.label if y else "",
        )
        self.sessions.trim(session, before)
        return session.sheet

    def take(self: Any, explore: dict, clock: float, request: gr.Request) -> Any:
        """A click on a cell: the controls take its settings, and the source is the one it was made of."""
        session = self.sessions.get(request.session_hash)
        n, sheet = explore["clicked"], session.sheet
        if sheet is None or n is None or not 0 <= n < len(sheet.cells):
            return
        cell = sheet.cells[n]
        if not same_source(cell.settings, settings_of_source(sheet.source)):
            if session.source.origin is not None or cell.settings != settings_of_source(session.source):
                if not (yield from self.run_generated(session, cell.settings, clock)):
                    return
        elif session.source is not sheet.source:
            self.have(session, sheet.source, sheet.source_path)
        session.controls = cell.controls
        yield {**settings_of(session.source), "prompt": cell.controls.prompt}
        yield {"timeline": cell.controls.timeline, "desk": cell.controls.desk, "region": cell.controls.region}
        yield from self.run_edit(session, clock)


def silenced(desk: dict[str, Any], axis: str) -> str:
    """The word whose fader an axis moves, if it counts as 0 wherever that stands; else ""."""
    key = axis.removeprefix("fader:") if axis.startswith("fader:") else ""
    solo = [k for k in desk["solo"] if any(word["key"] == k for word in desk["words"])]
    for word in desk["words"]:
        if word["key"] == key and (key in desk["muted"] or (solo and key not in solo)):
            return str(word["text"])
    return ""


def settings_of_source(source: Any) -> dict[str, Any]:
    return dict(source.to_dict())


def same_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True if the cells of an exploration with these settings have one source: axes move only these two."""
    return all(one[name] == other[name] for name in ("seed", "guidance_scale"))


def _axes(runs: Runs, session: Session) -> dict[str, Any]:
    reading = runs.reading(session)
    fresh = session.source.origin is None and session.source.seed is not None
    return axes(reading.controls, settings_of_source(session.source), fresh=fresh)


def offered(runs: Runs, session: Session, explore: dict) -> dict[str, Any]:
    """The value with the axes there are; what was chosen stays while it is there."""
    found = _axes(runs, session)
    x = explore["x"] if explore["x"] in found else next(iter(found))
    y = explore["y"] if explore["y"] in found else ""
    return {**explore, "axes": [[axis.name, axis.label] for axis in found.values()], "x": x, "y": y}


def _run(runs: Runs, session: Session, todo: list[Cell], clock: float, explore: dict) -> Any:
    """All cells' pictures, source by source, each source's edits as one run. None if it was stopped."""
    engine, mine = runs.engine, settings_of_source(session.source)
    groups: dict[tuple[Any, Any], list[int]] = {}
    for i, cell in enumerate(todo):
        groups.setdefault((cell.settings["seed"], cell.settings["guidance_scale"]), []).append(i)
    images: list[Image.Image | None] = [None] * len(todo)
    steps = mine["steps"]
    total = sum(steps * (len(members) + 1) for members in groups.values())
    step, computed = 0, 0
    extra: list[Any] = []
    try:
        for members in groups.values():
            settings = todo[members[0]].settings
            source = session.source
            if not same_source(settings, mine):
                made = engine.p2p.record(**settings)
                source = yield from _through(runs, session, made, clock, explore, step, total)
                if source is None:
                    return None
                extra.append(source)
            step += steps
            edits = [read(engine, source.prompt.text, todo[i].controls, steps).edit for i in members]
            run = engine.p2p.stream_many(source, edits)
            results = yield from _through(runs, session, run, clock, explore, step, total)
            if results is None:
                return None
            step += steps * len(members)
            for i, result in zip(members, results, strict=True):
                images[i] = result.image
            computed += sum(result.steps_computed for result in results)
        plain = len(todo) * steps
        said = (
            f"{len(todo)} pictures — computed *{computed}* of {plain} steps, the others were shared or known"
        )
        yield {"line": line("done", *_stars(said))}
        return images
    finally:
        for source in extra:
            if source.key not in session.sources():
                engine.p2p.forget(source)


def _stars(text: str) -> list[str]:
    """Parts for `line`: what stands between stars is set in bold."""
    return [("*" if i % 2 else "") + part for i, part in enumerate(text.split("*")) if part]


def _through(
    runs: Runs, session: Session, states: Any, clock: float, explore: dict, first: int, total: int
) -> Any:
    """Drive a run, telling how far it is; None if the page wanted something else."""
    step, last = first, 0.0
    try:
        while True:
            if session.outdated(clock):
                if session.halted(clock):
                    yield {"line": line("stopped", "Stopped; what was computed is kept.")}
                return None
            try:
                next(states)
            except StopIteration as stop:
                return stop.value
            step += 1
            if time.perf_counter() - last > 0.3:
                last = time.perf_counter()
                yield {
                    "line": line(
                        "busy", f"exploring — step {step} of at most {total}", step=step, total=total
                    ),
                    "explore": {**explore, "step": step, "total": total},
                }
    finally:
        states.close()


def shown(sheet: Sheet, explore: dict) -> dict[str, Any]:
    return {
        **explore,
        "cells": [
            {"src": pictures.data_uri(image, SIDE), "captions": list(cell.captions)}
            for cell, image in zip(sheet.cells, sheet.images, strict=True)
        ],
        "columns": sheet.columns,
        "along": sheet.along,
        "down": sheet.down,
        "step": 0,
        "total": 0,
        "clicked": None,
    }


def exported(figures: Any, sheet: Sheet, session: Session) -> Iterator[tuple[str, Path]]:
    """The sheet as a PNG with captions, and as animations there and back, by kind."""
    path = session.path("sheet.png")
    large = [pictures.enlarged(image, 256) for image in sheet.images]
    names = [", ".join(cell.captions) for cell in sheet.cells]
    title = sheet.along + (f" and {sheet.down}" if sheet.down else "")
    whole = figures.sheet(large, names, columns=sheet.columns, title=title)
    whole.save(path)
    yield "png", path
    frames, times = figures.animation(large)
    how = {"save_all": True, "duration": times, "loop": 0}
    path = session.path("sheet.gif")
    # One palette for all frames: a palette for each takes most of the time, and flickers.
    palette = whole.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    flat[0].save(path, append_images=flat[1:], optimize=False, **how)
    yield "gif", path
    path = session.path("sheet.webp")
    frames[0].save(path, append_images=frames[1:], quality=85, **how)
    yield "webp", path
