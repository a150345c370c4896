"""Which event runs which handler."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, cast

import gradio as gr
from gradio.blocks import Block

from .api import address_of
from .blocks import Blocks
from .components.line import line
from .components.values import Value
from .handlers import Handlers
from .layout import Page
from .limits import TooManyPages
from .messages import PAGE_FREED
from .runner import Updates
from .sessions import Session
from .views import Update
from .wish import Values, Wish

Handler = Callable[[Wish], Updates]
Names = Sequence[str]
Triggers = Sequence[Any]

# The last input of every run is the page's clock: a run stops once the page has wished for something later.
# Its time is that of the act it follows from (`links.js`), so that the touch that goes ahead of a run
# and the run itself have the same, however late either is sent.
NOW = "performance.timeOrigin + performance.now()"
CLOCK = f"(...a) => {{ a[a.length - 1] = window.p2pActed?.() ?? {NOW}; return a; }}"
DICE = "() => Math.floor(Math.random() * 1000000)"
PRESS = "() => document.querySelector('#generate').click()"
# What a tab shows lives in its own session storage: loading it again brings it back, and tabs don't mix.
# What wouldn't fit into a request stays there.
LOAD = (
    "(...a) => {{ let page = ''; try {{ page = sessionStorage.getItem('p2p') || ''; }} catch {{ }} "
    "if (new Blob([JSON.stringify(page)]).size > {most}) page = ''; "
    f"a[0] = page; a[a.length - 1] = {NOW}; return a; }}}}"
)
SAVE = "(page) => { try { sessionStorage.setItem('p2p', page); } catch { } }"

CONTROLS = ("prompt", "desk", "timeline", "region")
SETTINGS = ("source_prompt", "seed", "steps", "guidance", "negative")
YOURS_INPUTS = (
    "yours_picture", "yours_prompt", "yours_method", "yours_fit", "yours_x", "yours_y",
    "steps", "guidance", "negative",
)  # fmt: skip
BOARDS = ("line", "chips", "desk", "timeline", "region", "look")
PICTURE = (*BOARDS, "picture", "history", "download", "card", "storage")
YOURS = (
    "source_tabs", "yours_prompt", "yours_compare", "yours_picture", "yours_method", "yours_fit",
    "yours_crop", "yours_x", "yours_y", "yours_note",
)  # fmt: skip
EVERYTHING = (*PICTURE, *SETTINGS, *YOURS, "prompt", "examples")
MAPS = (
    "picture", "maps_note", "maps_layers", "maps_source", "maps_edit", "maps_source_png", "maps_edit_png",
    "line",
)  # fmt: skip
SHEET = ("picture", "explore", "line", "sheet_png", "sheet_gif", "sheet_webp")
RECIPE = ("recipe_json", "recipe_python", "line")
STAMPED = (
    "line", "desk", "timeline", "region", "look", "history", "examples", "yours_examples", "guide",
)  # fmt: skip

HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# The app's own queue (`Turns`) lets one run on the device and tells the others how many are ahead.
FREE: dict[str, Any] = {**HIDDEN, "concurrency_limit": None}
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}
AHEAD: dict[str, Any] = {**HIDDEN, "js": CLOCK, "queue": False, "trigger_mode": "multiple"}


def stamped(update: Update, clock: float | None) -> Update:
    """The boards' values know which act of the page they follow from; None: from none."""
    if clock is None:
        return update
    stamps: Update = {}
    for name in STAMPED:
        value = update.get(name)
        data = value.model_dump() if isinstance(value, Value) else value
        if isinstance(data, dict):
            stamps[name] = {**data, "at": clock}
    return {**update, **stamps}


class Wiring:
    """Connects a page with its handlers."""

    def __init__(self, page: Page, handlers: Handlers) -> None:
        self.page, self.handlers = page, handlers

    def opened(self, request: gr.Request) -> Session:
        """The session of a page that opens. Raises `TooManyPages`."""
        return self.handlers.sessions.get(request.session_hash, address_of(request))

    def session(self, request: gr.Request) -> Session | None:
        """The session of a page that has opened; anything else that is sent makes none."""
        return self.handlers.sessions.find(request.session_hash)

    def wish(self, session: Session, names: Names, values: Sequence[Any]) -> Wish:
        """What the page asks for, with the values of its components `names`; the clock may be one of them."""
        by_name = dict(zip(names, values, strict=True))
        clock = by_name.pop("clock", None)
        return Wish(session, session.wanted_at if clock is None else float(clock), cast(Values, by_name))

    def answer(
        self, handler: Handler, names: Names, opens: bool = False
    ) -> Callable[..., Iterator[dict[Block, Any]]]:
        """A handler as Gradio calls it.

        Gradio empties every output of a generator that yields nothing, so there is always one update.
        opens: the page sends it when it opens.
        """
        page = self.page

        def run(request: gr.Request, *values: Any) -> Iterator[dict[Block, Any]]:
            try:
                session = self.opened(request) if opens else self.session(request)
            except TooManyPages as error:
                yield {page.line: line("error", str(error))}
                return
            if session is None:
                yield {page.line: line("error", PAGE_FREED)}
                return
            wish, quiet = self.wish(session, names, values), True
            clock = wish.clock if "clock" in names else None
            for update in handler(wish):
                if update:
                    quiet = False
                    yield page.by_component(stamped(update, clock))
            if quiet:
                yield {page.line: gr.skip()}

        return run

    def on(self, triggers: Triggers, handler: Handler, inputs: Names, outputs: Names, **options: Any) -> Any:
        page = self.page
        return gr.on([*triggers], self.answer(handler, inputs), page.of(inputs), page.of(outputs), **options)

    def ahead(self, triggers: Triggers, heard: Callable[[Wish], Any], inputs: Names = ()) -> None:
        """An event that goes ahead of a run and is heard at once; it may give a line."""
        page, names = self.page, (*inputs, "clock")

        def run(request: gr.Request, *values: Any) -> dict[Block, Any]:
            session = self.session(request)
            told = None if session is None else heard(self.wish(session, names, values))
            return {page.line: told or gr.skip()}

        gr.on([*triggers], run, page.of(names), page.of(("line",)), **AHEAD)

    def edits(self, triggers: Triggers, handler: Handler, inputs: Names, outputs: Names) -> Any:
        """A run on the device. The touch that goes ahead of it stops earlier edits for this page; a source
        that is under way goes on."""
        self.ahead(triggers, self.handlers.touch, CONTROLS)
        return self.on(triggers, handler, (*inputs, "clock"), outputs, js=CLOCK, **LATEST, **FREE)

    def renews(self, triggers: Triggers, handler: Handler, inputs: Names, outputs: Names) -> Any:
        """A run on the device that brings another source: whatever runs for this page stops."""
        self.ahead(triggers, self.handlers.renew)
        return self.on(triggers, handler, (*inputs, "clock"), outputs, js=CLOCK, **LATEST, **FREE)

    def looks(self, triggers: Triggers, handler: Handler, inputs: Names, outputs: Names) -> Any:
        """A map of where words look, which gives way to everything else."""
        self.ahead(triggers, self.handlers.glance)
        return self.on(triggers, handler, (*inputs, "clock"), outputs, js=CLOCK, **LATEST, **FREE)


def wire(demo: Blocks, page: Page, handlers: Handlers) -> None:
    """Connect the page inside its `gr.Blocks`."""
    wiring = Wiring(page, handlers)
    wire_opening(demo, wiring)
    wire_source(wiring)
    wire_edit(wiring)
    wire_maps(wiring)
    wire_explore(wiring)
    wire_your_picture(wiring)
    wire_painting(wiring)
    wire_recipes(wiring)


def wire_opening(demo: Blocks, wiring: Wiring) -> None:
    page, handlers = wiring.page, wiring.handlers

    async def stay(request: gr.Request) -> AsyncIterator[None]:
        with contextlib.suppress(TooManyPages):  # which `start` says
            session = wiring.opened(request)
            async for _ in handlers.stay(session, lambda: demo.has_left(request.session_hash)):
                pass
        yield

    def close(request: gr.Request) -> None:
        handlers.sessions.close(request.session_hash)

    # Gradio closes a page's stream of results when nothing is under way, and a wish that is sent just then
    # can be lost. One event that ends with the page keeps the stream open; it is the first that a page sends.
    demo.load(stay, None, None, **FREE)
    opened = (*CONTROLS, "clock")
    run, outputs = wiring.answer(handlers.start, opened, opens=True), page.of(("status", *BOARDS))
    opening = gr.on([demo.load], run, page.of(opened), outputs, js=CLOCK, **FREE)
    first = ("storage", "clock")
    load = LOAD.format(most=int(0.95e6 * handlers.sessions.limits.body_mb))
    opening.then(wiring.answer(handlers.first, first), page.of(first), page.of(EVERYTHING), js=load, **FREE)
    page.storage.change(None, page.storage, None, js=SAVE, **HIDDEN)
    demo.unload(close)


def wire_source(wiring: Wiring) -> None:
    page, handlers = wiring.page, wiring.handlers
    # the dice throws a seed and presses Generate; a second throw is heard once the first has come to its end
    page.dice.click(None, None, page.seed, js=DICE, **HIDDEN).then(None, None, None, js=PRESS, **HIDDEN)
    submits = [getattr(page, name).submit for name in SETTINGS]
    wiring.renews([page.generate.click, *submits], handlers.generate, SETTINGS, EVERYTHING)
    wiring.renews([page.examples.select], handlers.example, ("examples",), EVERYTHING)
    wiring.renews([page.guide.select], handlers.walk, ("guide",), (*EVERYTHING, "guide"))


def wire_edit(wiring: Wiring) -> None:
    page, handlers = wiring.page, wiring.handlers
    typed = [page.prompt.input]
    wiring.on(typed, handlers.refresh, (*CONTROLS, "clock"), BOARDS, js=CLOCK, **LATEST, **FREE)
    moved = [page.apply.click, page.prompt.submit, page.desk.input, page.timeline.input, page.region.input]
    wiring.edits(moved, handlers.edit, CONTROLS, PICTURE)
    wiring.edits([page.chips.apply], handlers.read_weights, CONTROLS, (*PICTURE, "prompt"))
    wiring.ahead([page.line.stop], handlers.stop)
    wiring.renews([page.line.apply], handlers.recipes.use_as_source, (), EVERYTHING)
    wiring.renews([page.history.select], handlers.recall, ("history",), EVERYTHING)
    compared = ("picture", "history", "line")
    wiring.on([page.history.apply], handlers.compare, ("history", "clock"), compared, js=CLOCK, **FREE)


def wire_maps(wiring: Wiring) -> None:
    page, tab = wiring.page, wiring.handlers.attention
    look = ("look", "line", "picture")
    wiring.looks([page.desk.select], tab.pick, ("desk",), look)
    wiring.looks([page.look.input], tab.look, ("look",), look)
    wiring.edits([page.look.select], tab.only_there, ("region", "look"), PICTURE)
    wiring.edits([page.region.apply], tab.find, CONTROLS, PICTURE)
    wiring.on([page.region.select], tab.show_region, ("region",), ("picture", "line"), **LATEST, **FREE)
    drawn = [page.attention_tab.select, page.draw.click, page.maps_view.input, page.maps_layers.input]
    wiring.looks(drawn, tab.maps, ("maps_view", "maps_layers"), MAPS)


def wire_explore(wiring: Wiring) -> None:
    page, tab = wiring.page, wiring.handlers.explore
    wiring.edits([page.explore.apply], tab.explore, ("explore",), SHEET)
    wiring.renews([page.explore.select], tab.take, ("explore",), EVERYTHING)
    wiring.on([page.explore.focus], tab.offer, ("explore",), ("explore", "line"), **FREE)


def wire_your_picture(wiring: Wiring) -> None:
    page, tab = wiring.page, wiring.handlers.your_picture
    picture = ("yours_picture", "yours_fit")
    chosen = ("yours_picture", "yours_crop", "yours_x", "yours_y", "yours_compare", "line")
    wiring.on([page.yours_picture.input], tab.choose_picture, picture, chosen, **FREE)
    wiring.on([page.yours_fit.input], tab.choose_fit, picture, ("yours_crop", "line"), **FREE)
    asked = [page.yours_tab.select, page.yours_method.input, page.steps.change]
    wiring.on(asked, tab.describe_method, ("yours_method", "steps"), ("yours_note", "line"), **FREE)
    wiring.renews([page.invert.click, page.yours_prompt.submit], tab.invert, YOURS_INPUTS, EVERYTHING)
    outputs = (*EVERYTHING, "yours_examples")
    wiring.renews([page.yours_examples.select], tab.run_example, ("yours_examples",), outputs)


def wire_painting(wiring: Wiring) -> None:
    page, tab = wiring.page, wiring.handlers.paint
    wiring.on([page.region.edit], tab.open, (), ("line", "painting", "painter", "region"), **LATEST, **FREE)
    wiring.on([page.close_paint.click], tab.close, (), ("painting", "line"), **LATEST, **FREE)
    wiring.edits([page.use_paint.click], tab.use, ("painter", *CONTROLS), (*PICTURE, "painting"))
    wiring.edits([page.wipe_paint.click], tab.wipe, CONTROLS, (*PICTURE, "painting"))


def wire_recipes(wiring: Wiring) -> None:
    page, tab = wiring.page, wiring.handlers.recipes
    wiring.on([page.take_tab.select], tab.show, (), RECIPE, **FREE)
    brought = wiring.renews([page.bring.upload], tab.bring, ("bring",), (*EVERYTHING, "bring"))
    pasted = wiring.renews([page.paste.click], tab.paste, ("recipe_json",), EVERYTHING)
    for done in (brought, pasted):
        done.then(wiring.answer(tab.show, ()), None, page.of(RECIPE), **FREE)
