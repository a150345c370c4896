"""Which event runs which handler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from .handlers import Handlers
from .layout import Page
from .tabs.your_picture import WISH

Handler = Callable[..., Any]
Triggers = Sequence[Any]

# The last input of every run is the page's clock: a run stops once the page has wished for something later.
# Its time is that of the act it follows from (`links.js`), so that the touch that goes ahead of a run
# and the run itself have the same, however late either is sent.
NOW = "performance.timeOrigin + performance.now()"
CLOCK = f"(...a) => {{ a[a.length - 1] = window.p2pActed?.() ?? {NOW}; return a; }}"
DICE = "() => Math.floor(Math.random() * 1000000)"
PRESS = "() => document.querySelector('#generate').click()"
CONTROLS = ("prompt", "desk", "timeline", "region")
SETTINGS = ("source_prompt", "seed", "steps", "guidance", "negative")
PICTURE = ("picture", "line", "chips", "desk", "timeline", "region", "look", "history", "download", "keep")
YOURS = (
    "source_tabs", "yours_prompt", "yours_compare", "yours_picture", "yours_method", "yours_fit",
    "yours_crop", "yours_x", "yours_y", "yours_note",
)  # fmt: skip
EVERYTHING = (*PICTURE, *SETTINGS, *YOURS, "prompt", "examples")
MAPS = (
    "picture",
    "maps_note",
    "maps_layers",
    "maps_source",
    "maps_edit",
    "maps_source_png",
    "maps_edit_png",
    "line",
)
STAMPED = (
    "line", "desk", "timeline", "region", "look", "history", "examples", "yours_examples", "guide",
)  # fmt: skip
SHEET = ("picture", "explore", "line", "sheet_png", "sheet_gif", "sheet_webp")
# What a tab shows lives in its own session storage: loading it again brings it back, and tabs don't mix.
KEPT = (
    "(...a) => { let kept = ''; try { kept = sessionStorage.getItem('p2p') || ''; } catch { } "
    f"a[0] = kept; a[a.length - 1] = {NOW}; return a; }}"
)
KEEP = "(kept) => { try { sessionStorage.setItem('p2p', kept); } catch { } }"


def named(page: Page, handler: Handler) -> Handler:
    """A handler's updates, keyed by component instead of by name.

    Gradio empties every output of a generator that yields nothing, so there is always one update.
    """

    @functools.wraps(handler)
    def run(*args: Any) -> Any:
        quiet = True
        clock = args[-2] if len(args) > 1 else None
        for update in handler(*args):
            if update:
                quiet = False
                yield {page[name]: value for name, value in stamped(update, clock).items()}
        if quiet:
            yield {page["line"]: gr.skip()}

    return run


def stamped(update: dict[str, Any], clock: Any) -> dict[str, Any]:
    """The boards' values know which act of the page they follow from."""
    if not isinstance(clock, (int, float)) or isinstance(clock, bool):
        return update
    stamped = {name for name in STAMPED if isinstance(update.get(name), dict)}
    return {**update, **{name: {**update[name], "at": clock} for name in stamped}}


def together(page: Page, handler: Handler, names: Sequence[str]) -> Handler:
    """A handler that takes its inputs as one dict by name.

    Gradio hands sets of components over in the order of their making, so the clock, made last, stays last.
    """

    def run(values: dict, request: gr.Request) -> Any:
        wish = {name: values[page[name]] for name in names}
        clock = values[page["clock"]]
        for update in handler(wish, clock, request):
            yield stamped(update, clock)

    return run


def wire(demo: gr.Blocks, page: Page, handlers: Handlers) -> None:
    """Connect the page inside its `gr.Blocks`."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # The app's own queue (`turns`) lets one run on the device and tells the others how many are ahead.
    device: dict[str, Any] = {**quiet, "concurrency_limit": None}

    def on(
        triggers: Triggers, handler: Handler, inputs: Sequence[str], outputs: Sequence[str], **how: Any
    ) -> Any:
        return gr.on(triggers, named(page, handler), page.of(*inputs), page.of(*outputs), **how)

    ahead: dict[str, Any] = {"js": CLOCK, "queue": False, "trigger_mode": "multiple", **quiet}
    latest: dict[str, Any] = {"trigger_mode": "always_last"}

    def runs(
        triggers: Triggers,
        handler: Handler,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        anew: bool = False,
    ) -> Any:
        """A run on the device. The touch that goes ahead of it stops what runs for this page.

        anew: it brings another source; else only earlier edits stop, and a source that is under way goes on.
        """
        if anew:
            gr.on(triggers, handlers.renew, page["clock"], page["line"], **ahead)
        else:
            gr.on(triggers, handlers.touch, page.of(*CONTROLS, "clock"), page["line"], **ahead)
        return on(triggers, handler, (*inputs, "clock"), outputs, js=CLOCK, **latest, **device)

    def looks(triggers: Triggers, handler: Handler, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        """A map of where words look, which gives way to everything else."""
        gr.on(triggers, handlers.glance, page["clock"], None, **ahead)
        return on(triggers, handler, (*inputs, "clock"), outputs, js=CLOCK, **latest, **device)

    free: dict[str, Any] = {**quiet, "concurrency_limit": None}
    # Gradio closes a page's stream of results when nothing is under way, and a wish that is sent just then
    # can be lost. One event that ends with the page keeps the stream open; it is the first that a page sends.
    demo.load(handlers.stay, None, None, **free)
    on(
        [demo.load],
        handlers.start,
        (*CONTROLS, "clock"),
        ("status", "line", "chips", "desk", "region", "timeline", "look"),
        js=CLOCK,
        **free,
    ).then(
        named(page, handlers.first),
        page.of("keep", "clock"),
        page.of(*EVERYTHING),
        js=KEPT,
        **device,
    )
    page["keep"].change(None, page["keep"], None, js=KEEP, **quiet)
    demo.unload(handlers.close)

    on(
        [page["prompt"].input], handlers.refresh, (*CONTROLS, "clock"),
        ("line", "chips", "desk", "region", "timeline", "look"), js=CLOCK, **latest, **free,
    )  # fmt: skip
    # the dice throws a seed and presses Generate; a second throw is heard once the first has come to its end
    page["dice"].click(None, None, page["seed"], js=DICE, **quiet).then(None, None, None, js=PRESS, **quiet)
    made = [page["generate"].click, page["source_prompt"].submit, page["seed"].submit, page["steps"].submit,
            page["guidance"].submit, page["negative"].submit]  # fmt: skip
    runs(made, handlers.generate, SETTINGS, EVERYTHING, anew=True)
    runs(
        [page["apply"].click, page["prompt"].submit, page["desk"].input, page["timeline"].input,
         page["region"].input],
        handlers.edit, CONTROLS, PICTURE,
    )  # fmt: skip
    runs([page["examples"].select], handlers.example, ("examples",), EVERYTHING, anew=True)
    runs([page["history"].select], handlers.recall, ("history",), EVERYTHING, anew=True)
    runs([page["look"].select], handlers.only_there, ("region", "look"), PICTURE)
    page["line"].stop(handlers.stop, page["clock"], None, js=CLOCK, queue=False, **quiet)

    looks([page["desk"].select], handlers.pick, ("desk",), ("look", "line", "picture"))
    looks([page["look"].input], handlers.look, ("look",), ("look", "line", "picture"))
    on([page["region"].select], handlers.show_region, ("region",), ("picture", "line"), **latest, **free)
    drawing = [
        page["attention_tab"].select,
        page["draw"].click,
        page["maps_view"].input,
        page["maps_layers"].input,
    ]
    looks(drawing, handlers.maps, ("maps_view", "maps_layers"), MAPS)

    runs([page["line"].apply], handlers.next_source, (), EVERYTHING, anew=True)
    runs([page["guide"].select], handlers.walk, ("guide",), (*EVERYTHING, "guide"), anew=True)
    on(
        [page["history"].apply], handlers.compare, ("history", "clock"), ("picture", "history", "line"),
        js=CLOCK, **free,
    )  # fmt: skip

    runs([page["explore"].apply], handlers.explore, ("explore",), SHEET)
    runs([page["explore"].select], handlers.take, ("explore",), EVERYTHING, anew=True)
    on([page["explore"].focus], handlers.offer, ("explore",), ("explore", "line"), **free)

    chosen = ("yours_crop", "yours_x", "yours_y", "yours_compare", "line")
    on([page["yours_picture"].input], handlers.chosen, ("yours_picture", "yours_fit"), chosen, **free)
    on(
        [page["yours_fit"].input],
        handlers.cropped,
        ("yours_picture", "yours_fit"),
        ("yours_crop", "line"),
        **free,
    )
    asked = [page["yours_tab"].select, page["yours_method"].input, page["steps"].change]
    on(asked, handlers.described, ("yours_method", "steps"), ("yours_note", "line"), **free)
    wished = [page["invert"].click, page["yours_prompt"].submit]
    gr.on(wished, handlers.renew, page["clock"], page["line"], **ahead)
    gr.on(
        wished, named(page, together(page, handlers.invert, WISH)), {*page.of(*WISH, "clock")},
        page.of(*EVERYTHING), js=CLOCK, trigger_mode="always_last", **device,
    )  # fmt: skip

    runs(
        [page["yours_examples"].select], handlers.example_of_yours, ("yours_examples",),
        (*EVERYTHING, "yours_examples"), anew=True,
    )  # fmt: skip

    painting = ("line", "painting", "painter", "region")
    on([page["region"].edit], handlers.open_painting, (), painting, **latest, **free)
    runs([page["use_paint"].click], handlers.use_painting, ("painter", *CONTROLS), (*PICTURE, "painting"))
    runs([page["wipe_paint"].click], handlers.wipe_painting, CONTROLS, (*PICTURE, "painting"))
    on([page["close_paint"].click], handlers.close_painting, (), ("painting", "line"), **latest, **free)

    recipe = ("recipe_json", "recipe_python", "line")
    on([page["take_tab"].select], handlers.recipe, (), recipe, **free)
    back = runs([page["bring"].upload], handlers.bring, ("bring",), (*EVERYTHING, "bring"), anew=True)
    again = runs([page["paste"].click], handlers.paste, ("recipe_json",), EVERYTHING, anew=True)
    for done in (back, again):
        done.then(named(page, handlers.recipe), None, page.of(*recipe), **free)
