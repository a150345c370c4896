"""The mixing desk's parts without a browser: queue, axes, explorations, recipes, painted regions."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2p_app import Engine, runner, session_storage
from p2p_app.axes import Cell, Sheet, axes, cells
from p2p_app.components.board import script
from p2p_app.components.desk import Desk, DeskValue, weights_by_number, with_words, word_keys
from p2p_app.components.explore import Explore
from p2p_app.components.guide import Guide
from p2p_app.components.history import History
from p2p_app.components.region import Region, RegionValue, toggled
from p2p_app.components.timeline import Timeline, TimelineValue
from p2p_app.controls import Controls, controls_of, read
from p2p_app.examples import with_steps
from p2p_app.handlers import Handlers
from p2p_app.queue import Turns
from p2p_app.sessions import Session, Sessions
from p2p_app.tabs.attention import DEFAULT_LAYERS, VIEWS
from p2p_app.tabs.explore import export
from p2p_app.tabs.paint import layer_of, mask_of
from p2p_app.wiring import stamped
from p2p_core import Blend, Edit, PromptToPrompt, load_recipe, mask_text
from p2p_core.images.mask import mask_array
from p2p_core.steps import Steps

from .. import tiny
from .visitor import boards, last, said, wish, words

HOUSE, CASTLE = "a red house on a snowy hill", "a red castle on a snowy hill at night"
STEPS = 4


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline("v_prediction"))


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    p2p.forget_edits()
    return Handlers(Engine(p2p=p2p), Sessions(forget=p2p.forget))


def begun(handlers: Handlers, name: str = "me", prompt: str = HOUSE) -> dict[str, Any]:
    done = last(handlers.generate(wish(handlers, 0.0, name, **words(prompt, 3, STEPS))))
    assert done["line"]["kind"] == "done"
    return done


def held(session: Session, **changes: Any) -> dict[str, Any]:
    """What the page's controls were last seen at, as `wish` takes them."""
    names = ("prompt", "desk", "timeline", "region")
    return {**{name: getattr(session.controls, name) for name in names}, **changes}


# --- whose turn it is -----------------------------------------------------------------------------------


def test_first_come_first_served() -> None:
    turns, order, started = Turns(), [], threading.Semaphore(0)

    def visitor(n: int) -> None:
        with turns.ticket() as mine:
            started.release()
            while turns.ahead(mine, 5):
                pass
            order.append(n)
            time.sleep(0.01)

    threads = []
    for n in range(6):
        threads.append(threading.Thread(target=visitor, args=(n,)))
        threads[-1].start()
        started.acquire()
    for thread in threads:
        thread.join(10)
    assert order == list(range(6)) and len(turns) == 0


def test_the_number_ahead_falls_and_a_place_is_given_back() -> None:
    turns = Turns()
    with turns.ticket() as first:
        with pytest.raises(RuntimeError), turns.ticket():
            raise RuntimeError
        with turns.ticket() as second:
            assert turns.ahead(first, 0.01) == 0 and turns.ahead(second, 0.01) == 1
        assert len(turns) == 1


def test_another_visitor_is_told_how_many_are_ahead(handlers: Handlers) -> None:
    begun(handlers)
    with handlers.runner.turns.ticket():
        waiting = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
        assert "one run is ahead of yours" in said(next(waiting))
        handlers.sessions.get("me").want(2.0)  # meanwhile the page wants something else
        assert list(waiting) == [] and len(handlers.runner.turns) == 1
    assert last(handlers.edit(wish(handlers, 3.0, **boards(CASTLE))))["line"]["kind"] == "done"


def test_a_closed_tab_leaves_the_queue(handlers: Handlers) -> None:
    begun(handlers)
    with handlers.runner.turns.ticket():
        waiting = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
        next(waiting)
        waiting.close()
        assert len(handlers.runner.turns) == 1


# --- two clocks: a source that is under way is not lost to an edit ----------------------------------------


def previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is shown, so that a test can do something after each."""
    monkeypatch.setattr(runner, "MIN_PREVIEW_SECONDS", -1.0)
    monkeypatch.setattr(runner, "PREVIEW_REST", 0)


def until(updates: Any, text: str) -> dict[str, Any]:
    """Go on until the line says so."""
    for update in updates:
        if "line" in update and text in said(update):
            return update
    raise AssertionError(f"The line never said {text!r}.")


def recordings(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of every source that is generated from now on."""
    asked: list[dict[str, Any]] = []
    record = handlers.engine.p2p.iter_generate
    monkeypatch.setattr(handlers.engine.p2p, "iter_generate", lambda **k: asked.append(k) or record(**k))
    return asked


def test_two_pages_with_the_same_picture_have_one_source(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recordings(handlers, monkeypatch)
    begun(handlers)
    begun(handlers, "other")
    one, other = (handlers.sessions.get(name) for name in ("me", "other"))
    assert len(asked) == 1 and one.source is other.source and one.source_path != other.source_path
    handlers.sessions.close("me")
    assert last(handlers.edit(wish(handlers, 1.0, "other", **boards(CASTLE))))["line"]["kind"] == "done"
    assert len(asked) == 1 and handlers.engine.p2p.cache.steps(other.source.key) == STEPS
    handlers.sessions.close("other")
    assert handlers.engine.p2p.cache.steps(other.source.key) == 0
    begun(handlers, "third")
    assert len(asked) == 2, "what nobody has is made again"
    begun(handlers, "third", prompt=CASTLE)
    assert len(asked) == 3


def test_only_the_first_page_waits_for_what_all_open_with(
    p2p: PromptToPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(p2p=p2p, steps=STEPS)
    engine.model = "storybook"
    handlers = Handlers(engine, Sessions(forget=p2p.forget))
    asked = recordings(handlers, monkeypatch)
    first = last(handlers.first(wish(handlers, 0.0, storage="")))
    assert f"recomputed {STEPS} of {STEPS} steps" in said(first) and len(asked) == 1
    handlers.sessions.close("me")
    second = last(handlers.first(wish(handlers, 0.0, "other", storage="")))
    assert f"recomputed 0 of {STEPS} steps" in said(second) and len(asked) == 1
    p2p.forget(handlers.sessions.get("other").source)


@pytest.mark.parametrize("name", ["history", "examples", "yours_examples", "guide", "desk", "look"])
def test_what_somebody_clicks_knows_what_came_before(name: str) -> None:
    """A value that was wished for before a click must not take the click back (`components/common.js`)."""
    value = stamped({name: {"clicked": None}, "prompt": "a"}, 5.0)
    assert value == {name: {"clicked": None, "at": 5.0}, "prompt": "a"}
    assert "interactive(draw)" in script(name.removeprefix("yours_"))
    assert stamped({name: {"clicked": None}}, None) == {name: {"clicked": None}}


def other_seed(recipe: str) -> str:
    return recipe.replace('"seed": 3', '"seed": 8')


SOURCES = {
    "generate": lambda h, _: h.generate(wish(h, 10.0, **words("a blue house on a hill", 5, STEPS))),
    "example": lambda h, _: h.example(wish(h, 10.0, examples={"clicked": 1})),
    "first": lambda h, _: h.first(wish(h, 10.0, "fresh", storage="")),
    "restore": lambda h, done: h.recipes.paste(
        wish(h, 10.0, recipe_json=done["storage"].replace('"seed": 3', '"seed": 8'))
    ),
}


@pytest.mark.parametrize("how", SOURCES)
def test_a_fader_moved_while_a_source_is_made_waits_for_it(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    previews(monkeypatch)
    handlers.examples = with_steps(handlers.examples, STEPS)
    begun(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    name = "fresh" if how == "first" else "me"
    monkeypatch.setattr(Engine, "bundled", property(lambda self: True))
    session = handlers.sessions.get(name)
    old = session.source
    run = SOURCES[how](handlers, done)
    until(run, "step 2 of")
    controls = session.controls
    desk = controls.desk.replace(weights={"a/0": 1.5})
    moved = held(session, desk=desk)
    handlers.touch(wish(handlers, 11.0, name, **moved))
    waiting = handlers.edit(wish(handlers, 11.0, name, **moved))
    thread: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: thread.append(last(waiting)))
    other.start()
    last(run)
    other.join(60)
    assert session.source is not None and session.source is not old, "the source is there"
    assert thread[0]["line"]["kind"] == "done" and session.result.source is session.source
    assert session.result.edit.weights == {"#0": 1.5}, "and the newest controls are applied to it"
    assert session.result.edit.prompt == ("a blue house on a hill" if how == "generate" else controls.prompt)


@pytest.mark.parametrize("how", ["renew", "stop"])
def test_another_source_or_stop_ends_a_source(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    previews(monkeypatch)
    begun(handlers)
    session = handlers.sessions.get("me")
    old = session.source
    run = handlers.generate(wish(handlers, 10.0, **words("a blue house", 5, STEPS)))
    until(run, "step 2 of")
    getattr(handlers, how)(wish(handlers, 11.0))
    ended = last(run)
    assert session.source is old
    assert ("line" in ended) == (how == "stop"), "the next run has its own say"


def test_a_wish_in_the_last_step_is_heard(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    previews(monkeypatch)
    begun(handlers)
    session = handlers.sessions.get("me")
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    until(run, f"step {STEPS - 1} of")
    results = p2p_stream(handlers, monkeypatch, lambda: handlers.touch(wish(handlers, 2.0, **boards(HOUSE))))
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    update = last(run)
    assert results and "storage" not in update and "history" not in update
    assert update["line"]["kind"] == "busy" and session.result.edit.prompt == HOUSE


def p2p_stream(handlers: Handlers, monkeypatch: pytest.MonkeyPatch, late: Any) -> list[Any]:
    """`late` is called in the last step of the next edit. Gives the list of results it had by then."""
    p2p, found = handlers.engine.p2p, []
    iter_edit = p2p.iter_edit

    def slow(source: Any, edit: Any) -> Any:
        result = yield from iter_edit(source, edit)
        late()
        found.append(result)
        return result

    monkeypatch.setattr(p2p, "iter_edit", lambda source, edit: Steps(slow(source, edit)))
    return found


def test_a_tab_closed_in_the_last_step_leaves_nothing(
    handlers: Handlers, p2p: PromptToPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(handlers)
    session = handlers.sessions.get("me")
    folder = session.path("x").parent
    key = session.source.key
    p2p_stream(handlers, monkeypatch, lambda: handlers.sessions.close("me"))
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    last(run)
    assert not folder.exists() and not p2p.cache.size(key)

    record = p2p.iter_generate
    made = []

    def slow(*args: Any, **settings: Any) -> Any:
        source = yield from record(*args, **settings)
        handlers.sessions.close("two")
        made.append(source)
        return source

    monkeypatch.setattr(p2p, "iter_generate", lambda **settings: Steps(slow(**settings)))
    last(
        handlers.generate(
            wish(
                handlers,
                1.0,
                "two",
                source_prompt="a blue tree",
                seed=77,
                steps=STEPS,
                guidance=5.0,
                negative="",
            )
        )
    )
    assert made and not p2p.cache.size(made[0].key)


# --- nothing unfinished stays ---------------------------------------------------------------------------


def test_the_same_wish_again_clears_a_preview(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    previews(monkeypatch)
    monkeypatch.setattr(runner, "MAX_ECHO_SECONDS", 600.0)  # however long this takes
    begun(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    other = handlers.edit(wish(handlers, 2.0, **boards("a blue house on a hill")))
    until(other, "step 2 of")
    handlers.touch(wish(handlers, 3.0, **boards(CASTLE)))
    assert last(other) == {}
    echo = last(handlers.edit(wish(handlers, 3.0, **boards(CASTLE))))
    assert said(echo) == said(done) and echo["picture"] == done["picture"]


@pytest.mark.parametrize(("step_seconds", "finished"), [(0.001, True), (10.0, False)])
def test_a_fader_dragged_on_lets_a_run_end_that_is_soon_done(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, step_seconds: float, finished: bool
) -> None:
    """Its picture is shown in passing: the history, the file to save and the tab keep what they had."""
    previews(monkeypatch)
    begun(handlers)
    session = handlers.sessions.get("me")
    kept = session.result, len(session.history)
    handlers.engine.step_seconds = step_seconds
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE, desk={"weights": {"red/0": 1.5}})))
    until(run, "step 2 of")
    handlers.touch(wish(handlers, 2.0, **boards(CASTLE, desk={"weights": {"red/0": 2.0}})))
    seen = list(run)
    assert bool(seen) == finished
    if finished:
        assert seen[-1]["line"]["kind"] == "done" and seen[-1]["picture"].is_preview
        assert not {"history", "storage", "download"} & seen[-1].keys()
    assert (session.result, len(session.history)) == kept


def test_stop_ends_a_dragged_run_at_its_next_step(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    previews(monkeypatch)
    begun(handlers)
    handlers.engine.step_seconds = 0.001
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE, desk={"weights": {"red/0": 1.5}})))
    until(run, "step 2 of")
    handlers.touch(wish(handlers, 2.0, **boards(CASTLE, desk={"weights": {"red/0": 2.0}})))
    handlers.stop(wish(handlers, 3.0))
    assert last(run)["line"]["kind"] == "stopped"


@pytest.mark.parametrize("how", ["stop", "error", "empty", "explore", "paste"])
def test_an_abandoned_preview_gives_way_to_the_picture(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    previews(monkeypatch)
    begun(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    other = handlers.edit(wish(handlers, 2.0, **boards("a blue house on a hill")))
    until(other, "step 2 of")
    if how == "stop":
        handlers.stop(wish(handlers, 3.0))
        ended = last(other)
        assert ended["line"]["kind"] == "stopped" and ended["line"]["edited"]
    elif how == "error":
        monkeypatch.setattr(handlers.engine.p2p, "preview", lambda state: 1 / 0)
        ended = last(other)
        assert ended["line"]["kind"] == "error" and ended["line"]["edited"], "it can still be the next source"
    else:
        asked = boards("" if how == "empty" else CASTLE)
        handlers.renew(wish(handlers, 3.0)) if how == "paste" else handlers.touch(
            wish(handlers, 3.0, **asked)
        )
        assert last(other) == {}
        ended = last(
            handlers.edit(wish(handlers, 3.0, **asked))
            if how == "empty"
            else handlers.explore.explore(
                wish(handlers, 3.0, explore=Explore.clean({"x": "window:cross", "n": 2}))
            )
            if how == "explore"
            else handlers.recipes.paste(wish(handlers, 3.0, recipe_json="{"))
        )
    assert ended["picture"] == done["picture"]


def test_stop_while_waiting_says_so(handlers: Handlers) -> None:
    begun(handlers)
    with handlers.runner.turns.ticket():
        waiting = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
        assert "waiting" in said(next(waiting))
        handlers.stop(wish(handlers, 2.0))
        ended = last(waiting)
        assert ended["line"]["kind"] == "stopped" and len(handlers.runner.turns) == 1
    replayed = handlers.edit(
        wish(handlers, 2.0, **boards(CASTLE))
    )  # a deferred run has the time of the stop itself
    assert "picture" not in last(replayed) and handlers.sessions.get("me").result.edit.prompt == HOUSE
    assert last(handlers.edit(wish(handlers, 3.0, **boards(CASTLE))))["line"]["kind"] == "done"


@pytest.mark.parametrize("how", ["pick", "look", "maps"])
def test_a_map_that_waited_puts_the_line_back(handlers: Handlers, how: str) -> None:
    begun(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    session = handlers.sessions.get("me")
    session.controls = replace(session.controls, desk=session.controls.desk.replace(picked="castle/0"))
    look = {"step": 0}
    picked = {**done["desk"], "picked": "castle/0"}
    figures_of = {"maps_view": VIEWS[0], "maps_layers": DEFAULT_LAYERS}
    asked = {
        "pick": lambda: handlers.attention.pick(wish(handlers, 2.0, desk=picked)),
        "look": lambda: handlers.attention.look(wish(handlers, 2.0, look=look)),
        "maps": lambda: handlers.attention.maps(wish(handlers, 2.0, **figures_of)),
    }[how]()
    with handlers.runner.turns.ticket():
        seen = {}
        for update in asked:
            seen.update(update)
            if "line" in seen:
                break
        assert "one run is ahead" in said(seen)
    assert said(last(asked)) == said(done)


def test_a_map_gives_way_to_an_edit_and_to_another_map(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    session = handlers.sessions.get("me")
    asked = []
    attention = handlers.engine.p2p.attention

    def counted(source: Any, word: Any, **how: Any) -> Any:
        asked.append((source is session.source, how["step"]))
        if not asked[-1][0]:
            handlers.touch(wish(handlers, 3.0, **boards(HOUSE))) if len(asked) < 10 else handlers.glance(
                wish(handlers, 5.0)
            )
        return attention(source, word, **how)

    monkeypatch.setattr(handlers.engine.p2p, "attention", counted)
    for clock in (2.0, 4.0):
        asked.clear()
        asked.extend([(True, 0)] * (0 if clock < 3 else 10))
        look = last(
            handlers.attention.pick(wish(handlers, clock, desk={**done["desk"], "picked": "castle/0"}))
        )["look"]
        assert look["before"] and not look.get("after"), "the source's map is there, the edit's was left"
        assert [mine for mine, _ in asked].count(False) == 1
        handlers.sessions.get("me").controls = Controls(CASTLE)
    assert session.line["kind"] == "done" and len(handlers.runner.turns) == 0


def test_files_of_an_exploration_are_written_outside_the_turn(handlers: Handlers) -> None:
    begun(handlers)
    seen = {}
    for update in handlers.explore.explore(
        wish(handlers, 5.0, explore=Explore.clean({"x": "window:cross", "n": 3}))
    ):
        for name in update:
            seen[name] = len(handlers.runner.turns)
    assert all(seen[f"sheet_{kind}"] == 0 for kind in ("png", "gif", "webp")) and seen["explore"] == 0


def test_an_animation_has_one_palette_for_all_its_frames() -> None:
    """A palette for each takes most of the time, and flickers."""
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    images = [Image.fromarray(one) for one in noise]
    cells = [Cell(controls=Controls(), settings={}, captions=(str(n),)) for n in range(4)]
    sheet = Sheet(source=None, source_path="", cells=cells, images=images, columns=4, along="x", down="")
    session = Session(key="x")
    path = next(path for kind, path in export(sheet, session) if kind == "gif")
    colors: set[tuple[int, int, int]] = set()
    with Image.open(path) as animation:
        assert animation.n_frames > 8 and animation.info["loop"] == 0
        for n in range(animation.n_frames):
            animation.seek(n)
            colors |= set(animation.convert("RGB").get_flattened_data())
    session.close()
    assert 16 < len(colors) <= 256


@pytest.mark.parametrize("axis", ["window:cross", "fader:red/0"])
@pytest.mark.parametrize("kind", ["edit", "inverted", "left"])
def test_a_cell_goes_back_to_the_source_it_was_made_of(
    handlers: Handlers, p2p: PromptToPrompt, axis: str, kind: str
) -> None:
    begun(handlers)
    session = handlers.sessions.get("me")
    if kind == "edit":
        last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
        last(handlers.recipes.use_as_source(wish(handlers, 2.0)))
    elif kind == "inverted":
        session.source = p2p.invert(Image.effect_noise((64, 64), 60).convert("RGB"), HOUSE, steps=STEPS)
    last(handlers.edit(wish(handlers, 3.0, **boards("a red tree on a snowy hill"))))
    shown = explored(handlers, x=axis, n=3)["explore"]
    source, images = session.source, session.sheet.images
    if kind == "left":
        last(handlers.generate(wish(handlers, 6.0, **words("a blue boat", 9, STEPS))))
        assert session.source is not source and p2p.cache.size(source.key), "the sheet holds its source"
    taken = last(handlers.explore.take(wish(handlers, 9.0, explore={**shown, "clicked": 0})))
    assert taken["line"]["kind"] == "done" and session.source is source
    one, other = (np.asarray(i).astype(int) for i in (session.result.image, images[0]))
    assert np.abs(one - other).max() <= 1


# --- mute and solo --------------------------------------------------------------------------------------


def desk(text: str, **changes: Any) -> DeskValue:
    words = text.split()
    return with_words(DeskValue.read(changes), words, ["kept"] * len(words), [False] * len(words))


def test_mute_and_solo_silence_words_and_keep_their_faders() -> None:
    assert weights_by_number(desk("a red house", weights={"red/0": 1.5}, muted=["red/0"])) == {1: 0.0}
    assert weights_by_number(desk("a red house , big", solo=["red/0", "big/0"])) == {0: 0.0, 2: 0.0}
    muted = desk("a red house", weights={"red/0": 1.5}, muted=["red/0"])
    assert muted.weights == {"red/0": 1.5}
    assert weights_by_number(muted.replace(muted=[])) == {1: 1.5}
    assert weights_by_number(desk("a red house", solo=["dragon/0"])) == {}, (
        "a solo word that left silences nobody"
    )


# --- controls and edits, both ways ----------------------------------------------------------------------

WORDS = HOUSE.split()
fractions = st.integers(0, 20).map(lambda i: i / 20)
windows = st.tuples(fractions, fractions).map(sorted)
KEYS = word_keys(CASTLE.split())
some_keys = st.lists(st.sampled_from(KEYS), max_size=3, unique=True)


@st.composite
def wishes(draw: Any) -> Controls:
    chosen = draw(some_keys)
    region = {
        "chosen": chosen,
        "out": [k for k in draw(some_keys) if k not in chosen],
        "threshold": draw(fractions),
        "start": draw(fractions),
        "soft": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "mask": draw(st.sampled_from(["", mask_text(np.eye(8))])),
    }
    if not chosen and not region["mask"]:
        region = {}
    return Controls(
        draw(st.sampled_from([CASTLE, HOUSE, "a castle"])),
        desk=DeskValue.read(
            {
                "weights": draw(
                    st.dictionaries(
                        st.sampled_from(word_keys(CASTLE.split())),
                        st.sampled_from([-2, 0.5, 1.75]),
                        max_size=3,
                    )
                )
            }
        ),
        timeline=TimelineValue.read(
            {
                "cross": draw(windows),
                "self": draw(windows),
                "faders": draw(windows),
                "words": {k: draw(windows) for k in draw(some_keys)},
            }
        ),
        region=RegionValue.read(region),
    )


@settings(max_examples=60, deadline=None)
@given(wishes())
def test_an_edit_comes_back_to_the_controls_that_asked_for_it(p2p: PromptToPrompt, wish: Controls) -> None:
    engine = Engine(p2p=p2p)
    asked = read(engine, HOUSE, wish, STEPS)
    again, notes = controls_of(engine, HOUSE, Edit.from_json(asked.edit.to_json()), STEPS)
    assert read(engine, HOUSE, again, STEPS).edit == asked.edit and not notes


def test_phrases_and_words_come_to_faders(p2p: PromptToPrompt) -> None:
    edit = Edit(
        CASTLE,
        weights={"red castle": 1.5, "castle": 0.5, "#0": 9.0},
        cross_steps={"default_": 0.4, "snowy hill": (0.1, 0.6)},
        kind="refine",
    )
    controls, notes = controls_of(Engine(p2p=p2p), HOUSE, edit, STEPS)
    assert controls.desk.weights == {"a/0": 2.0, "red/0": 1.5, "castle/0": 1.5}
    assert controls.timeline.words == {"snowy/0": [0.1, 0.6], "hill/0": [0.1, 0.6]}
    assert controls.extra == {"kind": "refine"} and "-2 to 2" in notes[0]


# --- explore --------------------------------------------------------------------------------------------


def wish_and_settings(p2p: PromptToPrompt, **region: Any) -> tuple[Controls, dict[str, Any]]:
    controls = Controls(CASTLE, region=RegionValue.read(region))
    source = {"prompt": HOUSE, "seed": 7, "steps": STEPS, "guidance_scale": 5.0, "negative_prompt": ""}
    return read(Engine(p2p=p2p), HOUSE, controls, STEPS).controls, source


def test_every_control_is_an_axis(p2p: PromptToPrompt) -> None:
    controls, source = wish_and_settings(p2p, chosen=["castle/0"])
    found = axes(controls, source)
    faders = {f"fader:{key}" for key in word_keys(CASTLE.split())}
    assert set(found) == {"window:cross", "window:self", "region", "seed", "guidance"} | faders
    assert found["fader:snowy/0"].values(5) == [-2, -1, 0, 1, 2]
    assert found["seed"].values(3) == [7, 8, 9] and found["window:cross"].values(3) == [0, 0.5, 1]
    assert set(axes(controls, source)) - set(axes(controls, source, fresh=False)) == {"seed", "guidance"}


def test_a_grid_runs_along_and_down(p2p: PromptToPrompt) -> None:
    controls, source = wish_and_settings(p2p)
    found = axes(controls, source)
    grid = cells(found["fader:snowy/0"], found["seed"], 3, 2, controls, source)
    assert [cell.captions for cell in grid] == [
        (c, s) for s in ("7", "8") for c in ("-2.00", "+0.00", "+2.00")
    ]
    assert [cell.settings["seed"] for cell in grid] == [7, 7, 7, 8, 8, 8]
    assert grid[2].controls.desk.weights == {"snowy/0": 2} and source["seed"] == 7
    assert controls.desk.weights == {}, "the page's own controls stay"


def explored(handlers: Handlers, clock: float = 5.0, **asked: Any) -> dict[str, Any]:
    return last(handlers.explore.explore(wish(handlers, clock, explore=Explore.clean(asked))))


def test_a_strip_shares_steps_and_is_what_single_edits_give(handlers: Handlers, p2p: PromptToPrompt) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    p2p.forget_edits()
    done = explored(handlers, x="window:cross", n=5)
    shown = done["explore"]
    assert len(shown["cells"]) == 5 and shown["columns"] == 5 and shown["along"] == "layout window"
    assert [cell["captions"] for cell in shown["cells"]] == [["0%"], ["25%"], ["50%"], ["75%"], ["100%"]]
    computed = int(said(done).split("computed ")[1].split(" of")[0])
    assert computed < 5 * STEPS
    session = handlers.sessions.get("me")
    for cell, image in zip(session.sheet.cells, session.sheet.images, strict=True):
        edit = read(handlers.engine, HOUSE, cell.controls, STEPS).edit
        alone = np.asarray(p2p.edit(session.source, edit).image).astype(int)
        assert np.abs(np.asarray(image).astype(int) - alone).max() <= 1
    for kind in ("png", "gif", "webp"):
        with Image.open(done[f"sheet_{kind}"]["value"]) as picture:
            assert picture.width > 200
            assert (getattr(picture, "n_frames", 1) > 20) == (kind != "png")


def test_a_click_takes_the_cells_settings(handlers: Handlers) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    shown = explored(handlers, x="fader:snowy/0", y="seed", n=2, m=2)["explore"]
    session = handlers.sessions.get("me")
    taken = last(handlers.explore.take(wish(handlers, 9.0, explore={**shown, "clicked": 2})))
    assert taken["seed"] == 4 and taken["desk"]["weights"] == {"snowy/0": -2.0} and taken["prompt"] == CASTLE
    assert session.source.seed == 4
    one, other = (np.asarray(i).astype(int) for i in (session.result.image, session.sheet.images[2]))
    assert np.abs(one - other).max() <= 1, "a row's last bits may change with the size of its batch"
    assert last(handlers.explore.take(wish(handlers, 10.0, explore={**shown, "clicked": 99}))) == {}


def test_explorations_that_make_no_sense_say_so(handlers: Handlers) -> None:
    assert "no source picture" in said(explored(handlers, x="seed"))
    begun(handlers)
    assert "at most 48" in said(explored(handlers, x="window:cross", y="window:self", n=13, m=7))
    odd = explored(handlers, x="window:cross", y="window:cross", n=2)  # twice the same is a strip
    assert odd["explore"]["down"] == "" and len(odd["explore"]["cells"]) == 2


def test_a_stopped_exploration_keeps_the_page(handlers: Handlers, p2p: PromptToPrompt) -> None:
    begun(handlers)
    session = handlers.sessions.get("me")
    run = handlers.explore.explore(wish(handlers, 5.0, explore=Explore.clean({"x": "seed", "n": 3})))
    next(run)
    session.stop(6.0)
    assert last(run)["line"]["kind"] == "stopped"
    assert session.sheet is None and p2p.cache.steps(session.source.key) == STEPS
    assert len(handlers.runner.turns) == 0
    assert len(explored(handlers, 7.0, x="seed", n=2)["explore"]["cells"]) == 2


def test_sources_of_an_exploration_are_freed(handlers: Handlers, p2p: PromptToPrompt) -> None:
    begun(handlers)
    before = p2p.cache.nbytes
    explored(handlers, x="seed", n=3)
    assert p2p.cache.nbytes == before


# --- take away and bring back ---------------------------------------------------------------------------


def elaborate(handlers: Handlers) -> dict[str, Any]:
    begun(handlers)
    asked = boards(
        CASTLE,
        desk=Desk.clean({"weights": {"snowy/0": 1.5}, "muted": ["red/0"]}),
        timeline=Timeline.clean({"cross": [0.1, 0.7], "words": {"castle/0": [0, 0.4]}, "faders": [0, 0.9]}),
        region=Region.clean({"chosen": ["castle/0"], "mask": mask_text(np.eye(8)), "soft": 0.1}),
    )
    return last(handlers.edit(wish(handlers, 1.0, **asked)))


@pytest.mark.parametrize("how", ["png", "json", "text", "reload"])
def test_everything_comes_back_pixel_for_pixel(
    handlers: Handlers, p2p: PromptToPrompt, tmp_path: Any, how: str
) -> None:
    done = elaborate(handlers)
    picture = handlers.sessions.get("me").result.image.tobytes()
    recipe = last(handlers.recipes.show(wish(handlers)))
    p2p.forget_edits()
    if how == "png":
        back = last(handlers.recipes.bring(wish(handlers, 2.0, "other", bring=done["download"]["value"])))
    elif how == "json":
        (tmp_path / "r.json").write_text(recipe["recipe_json"])
        back = last(handlers.recipes.bring(wish(handlers, 2.0, "other", bring=str(tmp_path / "r.json"))))
    elif how == "text":
        back = last(handlers.recipes.paste(wish(handlers, 2.0, "other", recipe_json=recipe["recipe_json"])))
    else:
        back = last(handlers.first(wish(handlers, 2.0, "other", storage=done["storage"])))
    other = handlers.sessions.get("other")
    assert other.result.image.tobytes() == picture
    assert back["source_prompt"] == HOUSE and back["prompt"] == CASTLE and back["seed"] == 3
    assert other.controls.timeline.words == {"castle/0": [0, 0.4]}
    if how == "reload":
        assert other.controls.desk.weights == {"snowy/0": 1.5} and other.controls.desk.muted == ["red/0"]
    else:
        assert other.controls.desk.weights == {"snowy/0": 1.5, "red/0": 0.0}, "a muted word is a fader at 0"
    assert other.controls.region.chosen == ["castle/0"] and other.controls.region.soft == 0.1


def test_the_python_lines_give_the_same_picture(
    handlers: Handlers, p2p: PromptToPrompt, tmp_path: Any
) -> None:
    elaborate(handlers)
    session = handlers.sessions.get("me")
    lines = last(handlers.recipes.show(wish(handlers)))["recipe_python"]
    lines = lines.replace("edit.png", str(tmp_path / "edit.png"))
    scope: dict[str, Any] = {}
    loaded = PromptToPrompt.from_pretrained
    try:
        PromptToPrompt.from_pretrained = lambda *_, **__: p2p  # type: ignore[method-assign,assignment]
        exec(compile(lines, "recipe", "exec"), scope)
    finally:
        PromptToPrompt.from_pretrained = loaded  # type: ignore[method-assign]
    assert scope["result"].image.tobytes() == session.result.image.tobytes()
    assert (tmp_path / "edit.png").exists()


def test_a_recipe_that_no_control_can_show_runs_as_it_is(handlers: Handlers, p2p: PromptToPrompt) -> None:
    edit = Edit(
        CASTLE,
        weights={"snowy": 7.5},
        self_pixels=16,
        kind="refine",
        blend=Blend(target_words=("castle",), subtract_words=("hill",), subtract_threshold=0.8),
    )
    recipe = {
        "p2p": 1,
        "model": "elsewhere",
        "source": {"prompt": HOUSE, "seed": 3, "steps": STEPS, "guidance_scale": 5.0},
        "edits": [edit.to_dict()],
    }
    back = last(handlers.recipes.paste(wish(handlers, 1.0, recipe_json=json.dumps(recipe))))
    source = p2p.generate(HOUSE, seed=3, steps=STEPS, guidance_scale=5.0)
    session = handlers.sessions.get("me")
    assert session.result.image.tobytes() == p2p.edit(source, edit).image.tobytes()
    assert "made with elsewhere" in said(back) and "-2 to 2" in said(back)
    moved = last(
        handlers.edit(
            wish(
                handlers,
                2.0,
                prompt=CASTLE,
                desk=session.controls.desk.replace(weights={}),
                timeline=session.controls.timeline,
                region=session.controls.region,
            )
        )
    )
    assert moved["line"]["kind"] == "done" and session.result.edit.weights == {}
    assert session.result.edit.kind == "refine", "what no control shows stays as the recipe had it"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"edits": []}', '{"source": {"prompt": 5}, "edits": [{}]}', "[" * 5000]
)
def test_what_is_no_recipe_is_a_sentence(handlers: Handlers, text: str) -> None:
    done = begun(handlers)
    assert last(handlers.recipes.paste(wish(handlers, 2.0, recipe_json=text)))["line"]["kind"] == "error"
    assert handlers.sessions.get("me").source is not None and done


@pytest.mark.parametrize(
    "name, data", [("a.png", b"no picture"), ("b.json", b"{"), ("c.png", None), ("d.json", b"\xff\xfe")]
)
def test_files_that_hold_no_recipe_are_a_sentence(
    handlers: Handlers, tmp_path: Any, name: str, data: bytes | None
) -> None:
    file = tmp_path / name
    if data is None:
        Image.new("RGB", (8, 8)).save(file)
    else:
        file.write_bytes(data)
    assert last(handlers.recipes.bring(wish(handlers, 1.0, bring=str(file))))["line"]["kind"] == "error"


def test_a_kept_page_of_an_older_version_gives_way_to_the_first_example(handlers: Handlers) -> None:
    for kept in ("{", '{"p2p": 0}', '{"source": {"prompt": "x", "colour": 1}, "edits": [{"prompt": "x"}]}'):
        assert last(handlers.first(wish(handlers, 1.0, storage=kept)))["line"]["kind"] == "idle"


# --- an edit as the next source -------------------------------------------------------------------------


def test_an_edit_becomes_the_source_and_its_recipe_holds_both(
    handlers: Handlers, p2p: PromptToPrompt
) -> None:
    begun(handlers)
    assert "no edit" in said(last(handlers.recipes.use_as_source(wish(handlers, 0.5))))
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    session = handlers.sessions.get("me")
    first = session.result.image.tobytes()
    now = last(handlers.recipes.use_as_source(wish(handlers, 2.0)))
    assert now["source_prompt"] == now["prompt"] == CASTLE and session.source.image.tobytes() == first
    last(handlers.edit(wish(handlers, 3.0, **boards("a red castle on a snowy hill"))))
    second = session.result.image.tobytes()
    recipe = load_recipe(json.loads(last(handlers.recipes.show(wish(handlers)))["recipe_json"]))
    assert [edit.prompt for edit in recipe.edits] == [CASTLE, "a red castle on a snowy hill"]
    last(handlers.recipes.paste(wish(handlers, 4.0, "other", recipe_json=recipe.to_json())))
    assert handlers.sessions.get("other").result.image.tobytes() == second
    names = [
        name
        for name, _ in last(handlers.explore.offer(wish(handlers, explore=Explore.clean({}))))["explore"][
            "axes"
        ]
    ]
    assert "seed" not in names, "an edit can't be generated again with another seed"


# --- history --------------------------------------------------------------------------------------------


def test_any_two_edits_can_be_compared(handlers: Handlers) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    done = last(handlers.edit(wish(handlers, 9.0, **boards("a red house on a hill"))))
    both = last(handlers.compare(wish(handlers, 9.0, history=History.clean({"against": 1}))))
    session = handlers.sessions.get("me")
    assert both["picture"][0] == session.history[1].path and both["history"]["against"] == 1
    assert CASTLE in said(both)
    assert (
        last(handlers.compare(wish(handlers, 9.0, history=History.clean({}))))["picture"][0]
        == done["picture"][0]
    )
    assert (
        last(handlers.compare(wish(handlers, 9.0, history=History.clean({"against": 9}))))["history"][
            "against"
        ]
        is None
    )


def test_every_edit_is_kept_and_says_its_settings(handlers: Handlers) -> None:
    begun(handlers)
    for n in range(20):
        desk = Desk.clean({"weights": {"snowy/0": 1.5 - n / 10}, "muted": ["red/0"]})
        timeline = Timeline.clean({"cross": [0, 0.5], "self": [0, 0]})
        region = Region.clean({"chosen": ["castle/0"], "threshold": 0.1})
        done = last(
            handlers.edit(
                wish(handlers, n + 1.0, **boards(CASTLE, desk=desk, timeline=timeline, region=region))
            )
        )
    items = done["history"]["items"][1:]  # after the source
    assert len(items) == 20, "edits in quick succession don't replace each other"
    title = items[0]["title"]
    assert title.startswith(CASTLE)
    for part in ("snowy 1.50", "red muted", "layout 0\u20132", "shape off", "region castle"):
        assert part in title
    assert len({item["title"] for item in items}) == 20
    assert len(History.clean(done["history"])["items"]) == 21


def test_loading_the_page_again_brings_the_history_and_the_levers_back(handlers: Handlers) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards("a red tree on a snowy hill"))))
    first = handlers.sessions.get("me").result.image.tobytes()
    desk = Desk.clean({"weights": {"snowy/0": 1.5}, "solo": ["castle/0"]})
    done = last(handlers.edit(wish(handlers, 2.0, **boards(CASTLE, desk=desk))))
    handlers.sessions.close("me")
    back = last(handlers.first(wish(handlers, 3.0, "again", storage=done["storage"])))
    session = handlers.sessions.get("again")
    assert session.controls.desk.solo == ["castle/0"] and session.controls.desk.weights == {"snowy/0": 1.5}
    assert [item["title"] for item in back["history"]["items"]] == [
        item["title"] for item in done["history"]["items"]
    ]
    assert all(item["src"].startswith("data:image/jpeg") for item in back["history"]["items"])
    cold = last(handlers.compare(wish(handlers, 9.0, "again", history=History.clean({"against": 0}))))
    assert cold["line"]["kind"] == "error" and "loaded again" in said(cold)
    recalled = last(handlers.recall(wish(handlers, 4.0, "again", history=History.clean({"clicked": 1}))))
    assert session.result.image.tobytes() == first and recalled["history"]["current"] == 1
    assert [item["kind"] for item in recalled["history"]["items"]] == ["source", "edit", "edit"]


def test_what_a_tab_keeps_is_bounded(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(handlers)
    monkeypatch.setattr(session_storage, "MAX_CHARACTERS", 8000)
    for n in range(6):
        done = last(
            handlers.edit(
                wish(handlers, n + 1.0, **boards(CASTLE, desk=Desk.clean({"weights": {"red/0": n / 4 - 1}})))
            )
        )
    assert len(done["storage"]) < 9000 and 0 < len(json.loads(done["storage"])["page"]["history"]) < 6
    assert load_recipe(json.loads(done["storage"])).edit.prompt == CASTLE


@settings(max_examples=60, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["page", "source", "sources", "history", "recipe", "levers", "weights", "title"]
                ),
                inner,
            )
        ),
    )
)
def test_a_kept_page_can_be_anything(data: Any) -> None:
    levers, entries = session_storage.load_page(data)
    assert set(levers) == {"weights", "muted", "solo"} and all(isinstance(e.title, str) for e in entries)


def test_a_page_that_was_freed_says_so(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    monkeypatch.setattr("p2p_app.sessions.MAX_SESSIONS", 2)
    for name in "ab":
        handlers.sessions.get(name)
    for told in (
        last(handlers.edit(wish(handlers, 2.0, **boards(CASTLE)))),
        last(handlers.recall(wish(handlers, 3.0, history={"clicked": 0}))),
    ):
        assert told["line"]["kind"] == "error" and "Load it again" in said(told)


def test_compare_works_for_an_edit_whose_region_was_shown(handlers: Handlers) -> None:
    begun(handlers)
    region = Region.clean({"chosen": ["castle/0"], "threshold": 0.1, "show": True})
    first = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, region=region))))
    last(handlers.edit(wish(handlers, 9.0, **boards("a red tree on a hill"))))
    both = last(handlers.compare(wish(handlers, 9.0, history=History.clean({"against": 0}))))
    session = handlers.sessions.get("me")
    assert both["history"]["against"] == 0 and both["picture"][0] == session.history[0].path
    assert session.history[0].path != first["picture"][1], "the plain picture, without the region over it"


# --- painting -------------------------------------------------------------------------------------------


def saved(layer: Image.Image, folder: Path) -> str:
    """A layer as the page uploads it."""
    layer.save(path := folder / f"{len([*folder.iterdir()])}.png")
    return str(path)


def painted(box: tuple[int, int, int, int], folder: Path) -> str:
    layer = Image.new("RGBA", (512, 512))
    layer.paste((230, 82, 41, 136), box)
    return saved(layer, folder)


def test_strokes_become_a_mask(tmp_path: Path) -> None:
    mask = mask_array(mask_of(painted((0, 0, 256, 512), tmp_path)))
    assert mask.shape == (128, 128) and mask[:, :64].all() and not mask[:, 64:].any()
    assert mask_of(None) == mask_of(saved(Image.new("RGBA", (64, 64)), tmp_path)) == ""


def test_a_painted_region_is_used_and_wiped(handlers: Handlers, tmp_path: Path) -> None:
    assert "no source picture" in said(last(handlers.paint.open(wish(handlers))))
    begun(handlers)
    opened = last(handlers.paint.open(wish(handlers)))
    assert opened["painting"]["visible"] and opened["painter"]["value"]["background"].size[1] >= 512
    used = last(
        handlers.paint.use(wish(handlers, 1.0, painter=painted((0, 0, 256, 512), tmp_path), **boards(CASTLE)))
    )
    session = handlers.sessions.get("me")
    assert not used["painting"]["visible"] and used["region"]["mask"]
    assert session.result.mask[:, 0].all() and not session.result.mask[:, -1].any()
    layer = layer_of(mask_array(used["region"]["mask"]), (512, 512))
    assert mask_of(saved(layer, tmp_path)) == used["region"]["mask"]
    line = session.line
    again = last(handlers.paint.open(wish(handlers)))["painter"]["value"]
    (layer,) = again["layers"]
    assert mask_of(saved(layer, tmp_path)) == used["region"]["mask"], "what is painted is there to be changed"
    assert "Paint over" in said({"line": session.line})
    assert last(handlers.paint.close(wish(handlers)))["line"] == line
    none = last(handlers.paint.use(wish(handlers, 1.5, painter=None, **boards(CASTLE))))
    assert (
        "Nothing is painted yet" in said(none) and "painting" not in none and session.result.mask is not None
    )
    wiped = last(handlers.paint.wipe(wish(handlers, 2.0, **held(session))))
    assert session.result.mask is None and wiped["line"]["kind"] == "done"


def test_in_out_and_off() -> None:
    region = RegionValue.read({"out": ["castle/0"]})
    assert toggled(region, "castle/0").chosen == ["castle/0"] and not toggled(region, "castle/0").out


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"region": {"out": ["castle/0"]}}, "changes nothing because there is no region"),
        ({"region": {"chosen": ["castle/0"], "out": ["castle/0"]}}, "both in the region and left out"),
        ({"region": {"chosen": ["castle/0"], "threshold": 1.0, "out": ["castle/0"]}}, "covers no part"),
        ({"timeline": {"words": {"castle/0": [0, 0.8]}}}, "changes nothing because it is that of the layout"),
    ],
)
def test_controls_that_change_nothing_say_why(handlers: Handlers, changes: dict, sentence: str) -> None:
    begun(handlers)
    clean = {"region": Region.clean, "timeline": Timeline.clean}
    asked = {name: clean[name](value) for name, value in changes.items()}
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, **asked))))
    assert any(sentence in note for note in done["chips"]["notes"]), done["chips"]["notes"]


def test_exploring_a_silent_word_says_why_not(handlers: Handlers) -> None:
    begun(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, desk=Desk.clean({"muted": ["red/0"]})))))
    told = explored(handlers, x="fader:red/0", n=3)
    assert "changes nothing because \u201cred\u201d is silent" in said(told)


# --- the guide ------------------------------------------------------------------------------------------


def test_the_walk_unlocks_in_order(handlers: Handlers) -> None:
    handlers.examples = with_steps(handlers.examples, STEPS)
    guide = Guide.clean({"steps": [{"title": str(i)} for i in range(3)], "clicked": 0})
    assert guide["done"] == [False] * 3
    done = last(handlers.walk(wish(handlers, 1.0, guide=guide)))["guide"]["done"]
    assert done == [True, False, False]
    assert last(handlers.walk(wish(handlers, 2.0, guide={**guide, "clicked": 7}))) == {}


# --- odd payloads ---------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("board", [Desk, Timeline, Region, Explore, History, Guide])
@given(value=st.data())
@settings(max_examples=60, deadline=None)
def test_boards_make_sense_of_anything(board: Any, value: Any) -> None:
    names = list(board.clean(None))
    given_ = value.draw(anything | st.fixed_dictionaries({}, optional={name: anything for name in names}))
    cleaned = board.clean(given_)
    assert board.clean(cleaned) == cleaned and list(cleaned) == names
    json.dumps(cleaned)
