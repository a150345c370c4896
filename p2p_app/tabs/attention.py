"""Attention: one word over the picture, and figures of all words.

Maps hold the device a step at a time, and leave it to whatever else the page wants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from p2p_core import mask_text

from ..components.line import line
from ..components.look import LookValue
from ..components.region import toggled
from ..guards import queued, reports_errors, settles
from ..maps import Picked, edited_source, map_over, mean_map, picked_word
from ..messages import NO_SOURCE
from ..runner import Runner, Updates
from ..sessions import Session
from ..views import Update, shown_pair
from ..wish import Wish

if TYPE_CHECKING:
    from p2p_core import Source

VIEWS = ("mean of all steps", "step by step")
DEFAULT_LAYERS = "the usual layers"
SIDES = ("source", "edit")
FOUND_ABOVE = 0.5  # of the largest value: what a region of asked words holds, see docs/regions.md
MAX_ROWS = 6
MAX_COLUMNS = 6  # of a figure of means


@dataclass(frozen=True)
class Panel:
    """A map of a figure: the mean over some steps of a word."""

    title: str
    word: int
    steps: Sequence[int]


class AttentionTab:
    """The handlers of the tab, and of the picked word beside the picture."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    # --- a word -------------------------------------------------------------------------------------

    @settles
    def pick(self, wish: Wish) -> Updates:
        """A word was clicked: show where it looks."""
        session = wish.session
        if session.controls is not None:
            desk = wish.values["desk"]
            desk = session.controls.desk.replace(words=desk.words, picked=desk.picked)
            session.controls = replace(session.controls, desk=desk)
        yield from self._looks(session, 0, wish.clock)

    @settles
    def look(self, wish: Wish) -> Updates:
        """Another step of the picked word's map, or the edit's map after a new edit."""
        yield from self._looks(wish.session, wish.values["look"].step, wish.clock)

    def _looks(self, session: Session, step: int, clock: float) -> Updates:
        """The picked word's look: first over the source, then over the edit."""
        source = session.source
        if source is None:
            return
        picked = picked_word(session, self.runner.reading(session))
        if picked is None:
            yield {"look": LookValue()}
            return
        look = picked.look.replace(step=min(step, source.steps))
        todo: list[tuple[str, Callable[[], Source | None], Sequence[int]]] = []
        if picked.partners:
            todo.append(("before", lambda: session.source, picked.partners))
        if look.stale:
            todo.append(("after", lambda: edited_source(session), [picked.number]))
        if not todo:
            yield {"look": look}
        for name, pictured, numbers in todo:
            heat = yield from self.runner.in_turn(
                session, clock, self._heat(session, clock, pictured, numbers, look.step), "look"
            )
            shown = pictured()
            if heat is None or shown is None:
                return
            look = look.replace(**{name: map_over(self.runner.engine, shown.image, heat)})
            yield {"look": look}

    def _heat(
        self,
        session: Session,
        clock: float,
        pictured: Callable[[], Source | None],
        numbers: Sequence[int],
        step: int,
    ) -> Generator[Update, None, Any]:
        """A map, or None if the page wants something else."""
        source = pictured()
        if source is None or session.outdated(clock, "look"):
            return None
        heat = None
        for mean in mean_map(source, numbers, step):
            heat = mean
            yield {}
            if session.outdated(clock, "look"):
                return None
        return heat

    @queued("edit")
    def only_there(self, wish: Wish) -> Updates:
        """The picked word becomes the region of the edit, or leaves it."""
        session, look = wish.session, wish.values["look"]
        if session.controls is None or not look.key:
            return
        region = toggled(wish.values["region"], look.key)
        session.controls = replace(session.controls, region=region)
        yield {"look": look.replace(region=look.key in region.chosen)}
        yield from self.runner.run_edit(session, wish.clock)

    @queued("edit")
    def find(self, wish: Wish) -> Updates:
        """The place of any words, whether the prompt has them or not, becomes the region of the edit."""
        session, region = wish.session, wish.values["region"]
        if session.source is None:
            yield {"line": line("error", NO_SOURCE)}
            return
        found = session.source.region(region.ask)
        mask = mask_text((found > FOUND_ABOVE).astype(float))
        region = region.replace(mask=mask, ask="", show=True)
        session.controls = replace(wish.controls, region=region)
        yield {"region": region}
        yield from self.runner.run_edit(session, wish.clock)

    @reports_errors
    def show_region(self, wish: Wish) -> Updates:
        """Draw the region over the edited picture, or don't."""
        session, show = wish.session, wish.values["region"].show
        if session.controls is not None:
            region = session.controls.region.replace(show=show)
            session.controls = replace(session.controls, region=region)
        yield {"picture": shown_pair(self.runner.engine, session, region=show)}

    # --- figures ------------------------------------------------------------------------------------

    @settles
    def maps(self, wish: Wish) -> Updates:
        """Figures: every word's map, or a grid of words x steps, in the source and in the edit.

        maps_view: one of `VIEWS`. maps_layers: a group of `PromptToPrompt.map_layers`; else the usual ones.
        """
        session, runner = wish.session, self.runner
        view, layers = wish.values["maps_view"], wish.values["maps_layers"]
        if session.source is None:
            yield {"maps_note": NO_SOURCE}
            return
        groups = runner.engine.p2p.map_layers(session.source)
        sites = groups.get(layers)
        yield {
            "maps_note": "drawing \u2026",
            "maps_layers": gr.update(
                choices=[DEFAULT_LAYERS, *groups], value=layers if sites else DEFAULT_LAYERS
            ),
        }
        picked = picked_word(session, runner.reading(session))
        for side in SIDES:
            if side == "edit" and not session.shows_edit:
                yield {"maps_edit": plot(None)}
                continue
            panels = yield from runner.in_turn(
                session, wish.clock, self._panels(wish, side, view, picked, sites), "look"
            )
            shown = self._pictured(session, side)
            if panels is None or shown is None:
                yield {"maps_note": "Left for what you asked for meanwhile. Press Draw."}
                return
            figure = runner.engine.figures.grid(shown.image, panels, columns=count_columns(panels, view))
            yield {f"maps_{side}": plot(figure), f"maps_{side}_png": save(figure, session, side)}
        every = view == VIEWS[0] or picked
        yield {
            "maps_note": "" if every else f"The first {MAX_ROWS} words; pick one on the desk for it alone."
        }

    def _pictured(self, session: Session, side: str) -> Source | None:
        return session.source if side == "source" else edited_source(session)

    def _panels(
        self, wish: Wish, side: str, view: str, picked: Picked | None, sites: Any
    ) -> Generator[Update, None, list[tuple[str, Any]] | None]:
        """The maps of a figure with their titles, or None if the page wants something else."""
        session = wish.session
        if session.outdated(wish.clock, "look"):
            return None
        shown = self._pictured(session, side)
        if shown is None:
            return None
        words: Sequence[int] = ()
        if picked is not None:
            words = [picked.number] if side == "edit" else picked.partners
        panels = panels_of(shown, view, words)
        sums: list[Any] = [None] * len(panels)
        for i in range(shown.steps):
            for k, panel in enumerate(panels):
                if i in panel.steps:
                    if session.outdated(wish.clock, "look"):
                        return None
                    heat = shown.attention(panel.word, step=i, sites=sites) / len(panel.steps)
                    sums[k] = heat if sums[k] is None else sums[k] + heat
            yield {}
        return [(panel.title, heat) for panel, heat in zip(panels, sums, strict=True)]


def panels_of(shown: Source, view: str, words: Sequence[int]) -> list[Panel]:
    """The maps of a figure: of all words, or step by step of `words`, else of the first few."""
    prompt, steps = shown.prompt.words, range(shown.steps)
    there = [n for n, word in enumerate(prompt) if word.tokens]
    if view == VIEWS[0]:
        return [Panel(prompt[n].text, n, steps) for n in there]
    some = sorted({round(i * (shown.steps - 1) / 5) for i in range(6)})
    panels = []
    for n in ([n for n in words if n in there] or there)[:MAX_ROWS]:
        panels += [Panel(f"{prompt[n].text} \u00b7 {i + 1}", n, [i]) for i in some]
        panels.append(Panel(f"{prompt[n].text} \u00b7 mean", n, steps))
    return panels


def count_columns(panels: Sequence[tuple[str, Any]], view: str) -> int:
    """Columns of a figure: up to six words in rows of like length, or one word's steps and their mean."""
    if view == VIEWS[0]:
        rows = max(1, math.ceil(len(panels) / MAX_COLUMNS))
        return max(1, math.ceil(len(panels) / rows))
    return len({title.split(" \u00b7 ")[-1] for title, _ in panels})


def save(figure: Any, session: Session, side: str) -> Any:
    """The figure as a file to download."""
    path = session.path(f"attention-{side}.png")
    figure.savefig(path, facecolor="white")
    return gr.update(value=str(path), interactive=True)


def plot(figure: Any) -> Any:
    """A plot with a figure; without one it doesn't show."""
    return gr.update(value=figure, visible=figure is not None)
