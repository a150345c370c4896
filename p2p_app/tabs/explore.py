"""Explore: a strip over one control or a grid over two, as one run; and what can be taken away of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from PIL import Image

from p2p_core import Edit

from .. import pictures, sheets
from ..auto import following
from ..axes import Axis, Cell, Settings, Sheet, axes, cells
from ..components.desk import DeskValue, silent_words
from ..components.explore import MAX_CELLS, CellValue, ExploreValue
from ..components.line import line
from ..controls import Controls, read
from ..guards import queued, reports_errors, settles
from ..messages import NO_SOURCE
from ..runner import Runner, Updates
from ..sessions import Session
from ..views import Update, source_settings
from ..wish import Wish

if TYPE_CHECKING:
    from p2p_core import Source
    from p2p_core.steps import Steps

T = TypeVar("T")
SIDE = 160  # pixels of a cell
EXPORT_SIDE, LOOP_SIDE = 256, 512
MIN_PROGRESS_SECONDS = 0.3
KINDS = ("png", "gif", "webp")


@dataclass
class Progress:
    """How far an exploration is. explore: the board's value, without cells."""

    session: Session
    clock: float
    explore: ExploreValue
    total: int
    step: int = 0
    shown_at: float = 0.0

    def update(self) -> Update:
        self.shown_at = time.perf_counter()
        text = f"exploring — step {self.step} of at most {self.total}"
        return {
            "line": line("busy", text, step=self.step, total=self.total),
            "explore": self.explore.replace(step=self.step, total=self.total),
        }


class ExploreTab:
    """The handlers of the tab."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @reports_errors
    def offer(self, wish: Wish) -> Updates:
        """The controls that can be explored now."""
        explore = wish.values["explore"]
        if wish.session.source is None:
            yield {"explore": explore.replace(axes=[])}
            return
        yield {"explore": self._with_axes(wish.session, explore)}

    @settles
    def explore(self, wish: Wish) -> Updates:
        """Run it."""
        session, explore = wish.session, wish.values["explore"]
        sheet = yield from self.runner.in_turn(session, wish.clock, self._sheet(session, explore, wish.clock))
        if sheet is None:
            return
        yield {"explore": sheet_value(sheet, self._with_axes(session, explore))}
        for kind, path in export(sheet, session):
            yield {f"sheet_{kind}": gr.update(value=str(path), interactive=True)}

    @queued("source")
    def take(self, wish: Wish) -> Updates:
        """A click on a cell: the controls take its settings, and the source is the one it was made of."""
        session, runner = wish.session, self.runner
        n, sheet = wish.values["explore"].clicked, session.sheet
        if sheet is None or session.source is None or n is None or not 0 <= n < len(sheet.cells):
            return
        cell = sheet.cells[n]
        if not same_source(cell.settings, sheet.source.to_dict()):
            made = session.source.origin is None and cell.settings == session.source.to_dict()
            if not made and not (yield from runner.run_generated(session, dict(cell.settings), wish.clock)):
                return
        elif session.source is not sheet.source:
            runner.set_source(session, sheet.source, sheet.source_path)
        controls = session.controls = cell.controls
        yield {**source_settings(session.source), "prompt": controls.prompt}
        yield {"timeline": controls.timeline, "desk": controls.desk, "region": controls.region}
        yield from runner.run_edit(session, wish.clock)

    def _axes(self, session: Session) -> dict[str, Axis]:
        reading, source = self.runner.reading(session), session.source
        if source is None:
            return {}
        engine = self.runner.engine

        @functools.cache
        def suggested(prompt: str) -> list[Edit]:
            return engine.p2p.variants(source, prompt)

        def variants(controls: Controls) -> list[Controls]:
            return [following(engine, controls, edit) for edit in suggested(controls.prompt)]

        fresh = source.origin is None and source.seed is not None
        return axes(reading.controls, source.to_dict(), fresh=fresh, variants=variants)

    def _with_axes(self, session: Session, explore: ExploreValue) -> ExploreValue:
        """The value with the axes there are; what was chosen stays while it is there."""
        found = self._axes(session)
        return explore.replace(
            axes=[[axis.name, axis.label] for axis in found.values()],
            x=explore.x if explore.x in found else next(iter(found), ""),
            y=explore.y if explore.y in found else "",
        )

    def _sheet(
        self, session: Session, explore: ExploreValue, clock: float
    ) -> Generator[Update, None, Sheet | None]:
        """The part that needs the device. None: nothing came of it."""
        source, path = session.source, session.source_path
        if source is None:
            yield {"line": line("error", NO_SOURCE)}
            return None
        explore, found = self._with_axes(session, explore), self._axes(session)
        controls = self.runner.reading(session).controls
        x, y = found.get(explore.x), found.get(explore.y)
        n, m = explore.n, explore.m
        if x is None:
            yield {"line": line("error", "Choose what to explore.")}
            return None
        y = None if y is x else y
        problem = pointless(controls.desk, [axis for axis in (x, y) if axis])
        if y is not None and n * m > MAX_CELLS:
            problem = problem or f"A grid has at most {MAX_CELLS} pictures; {n} x {m} are {n * m}."
        if problem:
            yield {"line": line("error", problem)}
            return None
        n, m = len(x.values(n)), len(y.values(m)) if y else m
        todo = cells(x, y, n, m, controls, source.to_dict())
        empty = explore.replace(cells=[], clicked=None, step=0, total=0)
        images = yield from self._images(session, source, todo, clock, empty)
        if images is None or session.outdated(clock):
            yield {"explore": empty}
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
        self.runner.sessions.trim(session, before)
        return session.sheet

    def _images(
        self, session: Session, source: Source, todo: Sequence[Cell], clock: float, explore: ExploreValue
    ) -> Generator[Update, None, list[Image.Image] | None]:
        """All cells' pictures, source by source, each source's edits as one run. None if it was stopped."""
        engine, steps = self.runner.engine, source.steps
        groups: dict[tuple[Any, Any], list[int]] = {}
        for i, cell in enumerate(todo):
            groups.setdefault((cell.settings["seed"], cell.settings["guidance_scale"]), []).append(i)
        total = sum(steps * (len(members) + 1) for members in groups.values())
        self.runner.sessions.limits.check(source.to_dict(), engine.p2p.default_size, total / steps)
        progress = Progress(session, clock, explore, total)
        images: dict[int, Image.Image] = {}
        temporary: list[Source] = []
        step = computed = 0
        try:
            for members in groups.values():
                settings, group_source = todo[members[0]].settings, source
                if not same_source(settings, source.to_dict()):
                    progress.step = step
                    made = yield from self._run(progress, engine.p2p.iter_generate(**settings))
                    if made is None:
                        return None
                    temporary.append(made)
                    group_source = made
                step += steps
                text = group_source.prompt.text
                edits = [read(engine, text, todo[i].controls, steps).edit for i in members]
                progress.step = step
                results = yield from self._run(progress, engine.p2p.iter_edit_many(group_source, edits))
                if results is None:
                    return None
                step += steps * len(members)
                images.update((i, result.image) for i, result in zip(members, results, strict=True))
                computed += sum(result.steps_computed for result in results)
            yield {
                "line": line(
                    "done",
                    f"{len(todo)} pictures — computed ",
                    f"*{computed}",
                    f" of {len(todo) * steps} steps, the others were shared or known",
                )
            }
            return [images[i] for i in range(len(todo))]
        finally:
            for made in temporary:
                if made.key not in session.sources():
                    engine.p2p.forget(made)

    def _run(self, progress: Progress, run: Steps[T]) -> Generator[Update, None, T | None]:
        """A run's result, telling how far it is; None if the page wanted something else."""
        try:
            while not progress.session.outdated(progress.clock):
                if next(run, None) is None:
                    return run.result
                progress.step += 1
                if time.perf_counter() - progress.shown_at > MIN_PROGRESS_SECONDS:
                    yield progress.update()
            if progress.session.halted(progress.clock):
                yield {"line": line("stopped", "Stopped; what was computed is kept.")}
            return None
        finally:
            run.close()


def pointless(desk: DeskValue, chosen: Sequence[Axis]) -> str:
    """Why these axes change nothing, else "": a silent word counts as 0 wherever its fader stands."""
    for axis in chosen:
        for word in desk.words:
            if axis.name == f"fader:{word.key}" and word.key in silent_words(desk):
                because = f"\u201c{word.text}\u201d is silent on the desk, by a mute or a solo"
                return f"This changes nothing because {because}."
    return ""


def same_source(one: Settings, other: Mapping[str, Any]) -> bool:
    """True if the cells of an exploration with these settings have one source: axes move only these two."""
    return all(one[name] == other[name] for name in ("seed", "guidance_scale"))


def sheet_value(sheet: Sheet, explore: ExploreValue) -> ExploreValue:
    """The board's value with the sheet on it."""
    return explore.replace(
        cells=[
            CellValue(src=pictures.data_uri(image, SIDE), captions=list(cell.captions))
            for cell, image in zip(sheet.cells, sheet.images, strict=True)
        ],
        columns=sheet.columns,
        along=sheet.along,
        down=sheet.down,
        step=0,
        total=0,
        clicked=None,
    )


def export(sheet: Sheet, session: Session) -> Iterator[tuple[str, Path]]:
    """The sheet as a PNG with captions, and as loops there and back, by `KINDS`."""
    path = session.path("sheet.png")
    large = [pictures.enlarged(image, EXPORT_SIDE) for image in sheet.images]
    names = [", ".join(cell.captions) for cell in sheet.cells]
    title = sheet.along + (f" and {sheet.down}" if sheet.down else "")
    whole = sheets.sheet(large, names, columns=sheet.columns, title=title)
    whole.save(path)
    yield "png", path
    frames, times = sheets.loop([pictures.enlarged(image, LOOP_SIDE) for image in sheet.images], names)
    options: dict[str, Any] = {"save_all": True, "duration": times, "loop": 0}
    path = session.path("sheet.gif")
    # One palette for all frames: a palette for each takes most of the time, and flickers.
    palette = sheets.strip(frames[:: len(frames) // 8 + 1]).quantize(255, Image.Quantize.MEDIANCUT)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    flat[0].save(path, append_images=flat[1:], optimize=False, **options)
    yield "gif", path
    path = session.path("sheet.webp")
    frames[0].save(path, append_images=frames[1:], quality=85, **options)
    yield "webp", path
