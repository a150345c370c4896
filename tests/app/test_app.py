"""The app without a browser: its endpoints, its handlers, its sessions and what it makes of odd payloads."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2p_app import Engine, build_app, launch_options, memory, runner
from p2p_app.api import Api
from p2p_app.components.desk import Desk, DeskValue, with_words, word_keys
from p2p_app.components.examples import Examples
from p2p_app.components.history import History
from p2p_app.components.look import Look
from p2p_app.components.region import Region
from p2p_app.components.timeline import Timeline
from p2p_app.controls import example_controls, read
from p2p_app.examples import PAPER, STORYBOOK
from p2p_app.handlers import Handlers
from p2p_app.layout import build_page
from p2p_app.sessions import Sessions
from p2p_app.tabs.attention import DEFAULT_LAYERS, VIEWS
from p2p_app.wiring import Wiring
from p2p_core import PromptToPrompt

from .. import tiny
from ..app_fixtures import ROOT, free_port
from .visitor import boards, last, said, wish

gradio_client = pytest.importorskip("gradio_client")

HOUSE, CASTLE = "a red house on a snowy hill", "a red castle on a snowy hill"
STEPS = 4


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline("v_prediction"))


# --- the endpoints ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(p2p: PromptToPrompt) -> Iterator[str]:
    demo = build_app(Engine(p2p=p2p))
    _, address, _ = demo.launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        quiet=True,
        **launch_options(),
    )
    yield address
    demo.close()


@pytest.fixture
def client(url: str, tmp_path: Any) -> Any:
    return gradio_client.Client(url, verbose=False, download_files=str(tmp_path))


def make(client: Any, prompt: str = HOUSE, **changes: Any) -> tuple[Image.Image, dict[str, Any]]:
    path, info = client.predict(
        **{"prompt": prompt, "seed": 3, "steps": STEPS, **changes}, api_name="/generate"
    )
    return Image.open(path), info


def test_only_the_two_documented_endpoints_are_public(client: Any) -> None:
    listed = client.view_api(return_format="dict")
    assert sorted(listed["named_endpoints"]) == ["/edit", "/generate"]
    assert listed["unnamed_endpoints"] == {}
    names = [p["parameter_name"] for p in listed["named_endpoints"]["/generate"]["parameters"]]
    assert names == ["prompt", "seed", "steps", "guidance_scale", "negative_prompt"]


def test_generate_then_edit_then_the_same_edit_again(client: Any, p2p: PromptToPrompt) -> None:
    picture, info = make(client)
    assert info["prompt"] == HOUSE and info["seed"] == 3 and info["steps"] == STEPS and info["nbytes"] > 0
    assert picture.size == (info["width"], info["height"])
    source = p2p.generate(HOUSE, seed=3, steps=STEPS, guidance_scale=info["guidance_scale"])
    assert picture.convert("RGB").tobytes() == source.image.tobytes()

    edit = {"prompt": CASTLE, "weights": {"snowy": 1.5}, "cross_steps": 0.5}
    path, told = client.predict(source_id=info["source_id"], edit=edit, api_name="/edit")
    assert told["steps_total"] == STEPS and told["steps_computed"] == STEPS and told["steps_reused"] == 0
    assert told["edit"]["weights"] == {"snowy": 1.5}
    assert Image.open(path).convert("RGB").tobytes() != picture.convert("RGB").tobytes()

    _, again = client.predict(source_id=info["source_id"], edit=edit, api_name="/edit")
    assert again["steps_computed"] == 0 and again["steps_reused"] == STEPS


def test_an_edit_that_changes_nothing_says_so(client: Any) -> None:
    picture, info = make(client)
    path, told = client.predict(source_id=info["source_id"], edit={"prompt": HOUSE}, api_name="/edit")
    assert any("changes nothing because" in note for note in told["notes"])
    assert Image.open(path).convert("RGB").tobytes() == picture.convert("RGB").tobytes()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"steps": 0}, "number of steps is a whole number"),
        ({"steps": 2.5}, "number of steps is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
        ({"guidance_scale": -3}, "guidance_scale is a number"),
    ],
)
def test_bad_settings_come_back_as_a_sentence(client: Any, arguments: dict, sentence: str) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=sentence):
        make(client, **arguments)


@pytest.mark.parametrize(
    "edit, sentence",
    [
        ({"prompt": CASTLE, "weights": {"dragon": 2}}, "'dragon' is not in the prompt"),
        ({"prompt": CASTLE, "colour": "red"}, "Unknown field 'colour'"),
        ({"prompt": CASTLE, "self_steps": 7}, "self_steps is a fraction"),
        ({"weights": {}}, 'needs at least "prompt"'),
        ([1, 2], "JSON object"),
    ],
)
def test_bad_edits_come_back_as_a_sentence_and_the_source_survives(
    client: Any, edit: Any, sentence: str
) -> None:
    _, info = make(client)
    with pytest.raises(gradio_client.exceptions.AppError, match=sentence):
        client.predict(source_id=info["source_id"], edit=edit, api_name="/edit")
    _, told = client.predict(source_id=info["source_id"], edit={"prompt": CASTLE}, api_name="/edit")
    assert told["steps_total"] == STEPS


def test_a_source_is_known_by_nothing_but_its_id(client: Any, url: str) -> None:
    _, mine = make(client)
    other = gradio_client.Client(url, verbose=False)
    _, theirs = make(other, seed=3)
    assert mine["source_id"] != theirs["source_id"] and len(mine["source_id"]) >= 16
    with pytest.raises(gradio_client.exceptions.AppError, match="There is no source"):
        other.predict(source_id="session", edit={"prompt": CASTLE}, api_name="/edit")


# --- the page's handlers ---------------------------------------------------------------------------------


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    p2p.forget_edits()
    engine = Engine(p2p=p2p)
    return Handlers(engine, Sessions(forget=p2p.forget))


def generated(handlers: Handlers, name: str = "me", **changes: Any) -> dict[str, Any]:
    settings = {"source_prompt": HOUSE, "seed": 3, "steps": STEPS, "guidance": 5.0, "negative": ""}
    return last(handlers.generate(wish(handlers, 0.0, name, **{**settings, **changes})))


def test_generate_then_edit_tells_what_it_recomputed(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_ECHO_SECONDS", 600.0)  # however long this takes
    first = generated(handlers)
    assert first["picture"][0] == first["picture"][1] and first["line"]["kind"] == "done"
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    assert f"recomputed {STEPS} of {STEPS} steps, 0 reused — source in CPU memory" in said(done)
    assert done["picture"][0] != done["picture"][1]
    assert [span["kind"] for span in done["chips"]["spans"]].count("swapped") == 1
    echo = last(handlers.edit(wish(handlers, 1.5, **boards(CASTLE))))
    assert echo["line"] == done["line"] and "picture" not in echo
    handlers.sessions.get("me").answer = None  # a while later
    again = last(handlers.edit(wish(handlers, 2.0, **boards(CASTLE))))
    assert f"recomputed 0 of {STEPS} steps, {STEPS} reused" in said(again)
    assert [item["kind"] for item in again["history"]["items"]] == ["source", "edit"], "each picture once"


def test_the_downloaded_picture_holds_the_recipe(handlers: Handlers) -> None:
    from p2p_core import load_recipe

    generated(handlers)
    desk = Desk.clean({"weights": {"snowy/0": -1.5}})
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, desk=desk))))
    recipe = load_recipe(done["download"]["value"])
    assert recipe.source["prompt"] == HOUSE and recipe.edit.prompt == CASTLE
    assert recipe.edit.weights == {"#5": -1.5}


def test_moving_a_window_reuses_the_steps_before_it(handlers: Handlers) -> None:
    generated(handlers)
    last(
        handlers.edit(
            wish(handlers, 1.0, **boards(CASTLE, timeline=Timeline.clean({"cross": [0, 1], "self": [0, 0]})))
        )
    )
    shorter = Timeline.clean({"cross": [0, 0.5], "self": [0, 0]})
    done = last(handlers.edit(wish(handlers, 2.0, **boards(CASTLE, timeline=shorter))))
    assert done["timeline"]["run"] == {"computed": STEPS // 2, "total": STEPS}


def test_a_newer_wish_stops_a_run_at_its_next_step(handlers: Handlers) -> None:
    generated(handlers)
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    next(run)
    handlers.touch(wish(handlers, 2.0, **boards(HOUSE + " at night")))
    assert "picture" not in last(run)
    done = last(handlers.edit(wish(handlers, 3.0, **boards(CASTLE))))
    assert done["line"]["kind"] == "done"


def test_stop_stops_and_says_where(handlers: Handlers) -> None:
    generated(handlers)
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    next(run), next(run)
    handlers.stop(wish(handlers, 2.0))
    stopped = last(run)
    assert stopped["line"]["kind"] == "stopped" and f"step 1 of {STEPS}" in said(stopped)


def test_a_wish_of_another_page_stops_nothing(handlers: Handlers) -> None:
    generated(handlers)
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    next(run)
    handlers.stop(wish(handlers, 9.0, "somebody else"))
    assert last(run)["line"]["kind"] == "done"


def test_no_silent_no_ops(handlers: Handlers) -> None:
    generated(handlers)
    same = last(handlers.edit(wish(handlers, 1.0, **boards(HOUSE))))
    assert any("changes nothing because the prompts are the same" in note for note in same["chips"]["notes"])
    empty = last(handlers.edit(wish(handlers, 2.0, **boards("  "))))
    assert empty["line"]["kind"] == "error" and "empty" in said(empty)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": None}, {"seed": -5}, {"guidance": None}])
def test_a_handler_never_raises_it_says_what_is_wrong(handlers: Handlers, wrong: dict) -> None:
    told = generated(handlers, **wrong)
    assert told["line"]["kind"] == "error" and "got" in said(told)
    assert generated(handlers)["line"]["kind"] == "done"


def test_editing_before_there_is_a_source(handlers: Handlers) -> None:
    told = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    assert "Press Generate first" in said(told)


def test_a_region_confines_the_edit_and_can_be_shown(handlers: Handlers) -> None:
    generated(handlers)
    region = Region.clean({"chosen": ["castle/0"], "threshold": 0.9})
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, region=region))))
    assert "region covers" in said(done)
    blend = handlers.sessions.get("me").result.edit.blend
    assert blend.source_words == ("#2",) and blend.target_words == ("#2",) and blend.threshold == 0.9
    shown = last(handlers.attention.show_region(wish(handlers, region={**done["region"], "show": True})))
    assert shown["picture"][1] != done["picture"][1]


def test_a_picked_word_shows_where_it_looks_in_both(handlers: Handlers) -> None:
    generated(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    look = last(handlers.attention.pick(wish(handlers, 1.5, desk={**done["desk"], "picked": "castle/0"})))[
        "look"
    ]
    assert (look["old"], look["word"]) == ("house", "castle")
    assert look["before"].startswith("data:image/jpeg") and look["after"].startswith("data:image/jpeg")
    confined = last(handlers.attention.only_there(wish(handlers, 2.0, region=done["region"], look=look)))
    assert confined["region"]["chosen"] == ["castle/0"]


def test_a_word_that_leaves_the_prompt_is_looked_at_no_more(handlers: Handlers) -> None:
    generated(handlers)
    done = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    picked = {**done["desk"], "picked": "castle/0"}
    assert last(handlers.attention.pick(wish(handlers, 1.5, desk=picked)))["look"]["word"] == "castle"
    typed = handlers.refresh(
        wish(
            handlers,
            2.0,
            prompt=HOUSE.replace("house", "tower"),
            desk=picked,
            timeline=done["timeline"],
            region=done["region"],
        )
    )
    assert last(typed)["look"] == Look.clean(None)
    assert "look" not in last(handlers.edit(wish(handlers, 3.0, **boards(CASTLE)))), "it is told once"


@pytest.mark.parametrize("view", VIEWS)
def test_the_figures_of_all_words(handlers: Handlers, p2p: PromptToPrompt, view: str) -> None:
    assert (
        "no source picture"
        in last(handlers.attention.maps(wish(handlers, 0.0, maps_view=view, maps_layers=DEFAULT_LAYERS)))[
            "maps_note"
        ]
    )
    generated(handlers)
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    for layers in (
        DEFAULT_LAYERS,
        next(iter(p2p.map_layers(handlers.sessions.get("me").source))),
        "no such layers",
    ):
        drawn = last(handlers.attention.maps(wish(handlers, 2.0, maps_view=view, maps_layers=layers)))
        assert drawn["maps_source"]["value"].axes and drawn["maps_edit"]["value"].axes
        assert Image.open(drawn["maps_edit_png"]["value"]).width > 200
        assert drawn["maps_layers"]["value"] == (DEFAULT_LAYERS if layers == "no such layers" else layers)


def test_history_puts_everything_back(handlers: Handlers) -> None:
    generated(handlers)
    desk = Desk.clean({"weights": {"snowy/0": 2.0}})
    first = last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE, desk=desk))))
    last(handlers.edit(wish(handlers, 2.0, **boards("a blue house on a snowy hill"))))
    back = last(handlers.recall(wish(handlers, 3.0, history={"clicked": 1})))
    assert back["prompt"] == CASTLE and back["desk"]["weights"] == {"snowy/0": 2.0}
    assert back["source_prompt"] == HOUSE and back["history"]["current"] == 1
    assert "recomputed 0 of" in said(back)
    assert first["desk"] == back["desk"]
    source = last(handlers.recall(wish(handlers, 4.0, history={"clicked": 0})))
    assert source["prompt"] == HOUSE and source["picture"][0] == source["picture"][1]
    assert len(source["history"]["items"]) == 3 and source["history"]["current"] == 0


@pytest.mark.parametrize("example", [*STORYBOOK, *PAPER], ids=lambda e: e.title)
def test_every_example_asks_for_something(handlers: Handlers, example: Any) -> None:
    reading = read(handlers.engine, example.source, example_controls(example), STEPS)
    lost = set(
        reading.plan.target.truncated_words
    )  # the tiny tokenizer knows few words; the bundled one knows them all
    assert lost or not reading.plan.changes_nothing
    assert lost or len(reading.edit.weights) == len(example.weights)
    assert lost or bool(reading.edit.blend) == bool(example.region)


def test_a_handler_without_news_empties_nothing() -> None:
    with gr.Blocks():
        page = build_page(STORYBOOK, 5.0, {}, "")
    sessions = Sessions(forget=lambda source: None)
    wiring = Wiring(page, Handlers(Engine(), sessions))
    (update,) = wiring.answer(lambda wish: iter(()), ())(SimpleNamespace(session_hash="me"))
    assert list(update) == [page.line]


@pytest.mark.parametrize(
    ("model", "rows", "methods"),
    [
        ("storybook", 1, ["direct", "aligned", "DDIM"]),
        ("storybook-base", 2, ["direct", "aligned", "null-text", "negative prompt", "DDIM"]),
    ],
)
def test_a_model_of_one_row_is_offered_nothing_that_needs_two(
    model: str, rows: int, methods: list[str]
) -> None:
    assert Engine(model).rows == rows
    with gr.Blocks():
        page = build_page(STORYBOOK, 5.0, {}, "", rows)
    assert [name for name, _ in page.yours_method.choices] == methods
    assert page.negative.parent.visible == (rows == 2)


def test_the_page_is_built_without_torch() -> None:
    """Importing torch and diffusers takes most of the start: the page is served before that."""
    build = "import sys, p2p_app; p2p_app.build_app(p2p_app.Engine()); "
    code = build + "print(sorted({'torch', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]


def test_options_come_from_the_environment_and_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from p2p_app import launch

    for name, value in {
        "P2P_MODEL": "some/folder",
        "GRADIO_SERVER_PORT": "7999",
        "P2P_CACHE_MB": "64",
        "P2P_STEPS": "20",
        "P2P_INVERSIONS": "/kept/here",
        "P2P_INVERSIONS_MB": "50",
    }.items():
        monkeypatch.setenv(name, value)
    args = launch.arguments(["--device", "cpu"])
    assert (args.model, args.port, args.cache_mb, args.device) == ("some/folder", 7999, 64, "cpu")
    assert (args.inversions, args.inversions_mb) == ("/kept/here", 50)
    assert args.steps == 20 and launch.arguments(["--steps", "12"]).steps == 12
    for wrong in ("0", "1001", "many", "-3"):
        with pytest.raises(SystemExit):
            launch.arguments([f"--steps={wrong}"])
        assert "whole number from 1 to 1000" in capsys.readouterr().err
    assert launch.arguments(["--model", "storybook"]).model == "storybook"
    assert launch.arguments(["--inversions", ""]).inversions == ""
    monkeypatch.delenv("P2P_INVERSIONS")
    assert launch.arguments([]).inversions == "~/.cache/p2p/inversions"


# --- sessions --------------------------------------------------------------------------------------------


def test_closing_a_tab_frees_what_it_alone_held(handlers: Handlers, p2p: PromptToPrompt) -> None:
    generated(handlers, "me", seed=11)
    generated(handlers, "you", seed=11)
    generated(handlers, "me", seed=12)
    mine = handlers.sessions.get("me").source
    shared = handlers.sessions.get("you").source
    last(handlers.edit(wish(handlers, 1.0, "me", **boards(CASTLE))))
    folder = handlers.sessions.get("me").path("x").parent
    assert p2p.cache.size(mine.key) and p2p.cache.size(shared.key) and folder.exists()
    handlers.sessions.close("me")
    assert not p2p.cache.size(mine.key) and not folder.exists()
    assert p2p.cache.size(shared.key)
    handlers.sessions.close("you")
    assert not p2p.cache.size(shared.key)


def test_closing_a_tab_stops_its_run(handlers: Handlers) -> None:
    generated(handlers)
    run = handlers.edit(wish(handlers, 1.0, **boards(CASTLE)))
    next(run)
    handlers.sessions.close("me")
    assert last(run)["line"]["kind"] == "stopped"


def test_sessions_do_not_see_each_other(handlers: Handlers) -> None:
    generated(handlers, "me")
    assert handlers.sessions.get("you").source is None
    told = last(handlers.recall(wish(handlers, 1.0, "you", history={"clicked": 0})))
    assert told["line"]["kind"] == "error" and "no longer in the history" in said(told)
    assert "picture" not in told and told["history"]["items"] == []


def test_api_callers_wait_in_the_same_queue(handlers: Handlers) -> None:
    api = Api(handlers.engine, handlers.sessions, handlers.runner.turns)
    done: list[Any] = []

    def call() -> None:
        _, info = api.generate(HOUSE, 3, STEPS)
        done.append(api.edit(info["source_id"], json.dumps({"prompt": CASTLE})))

    caller = threading.Thread(target=call)
    with handlers.runner.turns.ticket():
        caller.start()
        caller.join(0.5)
        assert not done and len(handlers.runner.turns) == 2
    caller.join(60)
    assert done and len(handlers.runner.turns) == 0


# --- odd payloads ----------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "words",
                    "weights",
                    "picked",
                    "text",
                    "key",
                    "steps",
                    "cross",
                    "self",
                    "run",
                    "chosen",
                    "items",
                    "x/0",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("board", [Desk, Timeline, Region, Look, Examples, History])
@given(payload=ANYTHING)
@settings(max_examples=60, deadline=None)
def test_no_payload_breaks_a_board(board: Any, payload: Any) -> None:
    cleaned = board.clean(payload)
    json.dumps(cleaned, allow_nan=False)
    assert board.clean(cleaned) == cleaned


def test_faders_are_clamped() -> None:
    rows = {
        "words": [],
        "weights": {"a/0": 9, "b/0": -9, "c/0": float("nan"), "d/0": "2", "e/0": True, "f/0": 1},
    }
    assert Desk.clean(rows)["weights"] == {"a/0": 2.0, "b/0": -2.0}


def test_faders_stay_with_their_word_and_occurrence() -> None:
    assert word_keys(["a", "Red", "cat", "a", "red"]) == ["a/0", "red/0", "cat/0", "a/1", "red/1"]
    desk = DeskValue.read({"weights": {"a/1": 0.5, "cat/0": 2.0}})
    gone = with_words(desk, ["a", "dog"], ["kept", "swapped"], [False, False])
    back = with_words(gone, ["one", "a", "cat", "a"], ["kept"] * 4, [False] * 4)
    assert back.weights == {"a/1": 0.5, "cat/0": 2.0}
    assert [word.key for word in back.words] == ["one/0", "a/0", "cat/0", "a/1"]


def test_reading_the_controls_runs_no_model(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    generated(handlers)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model ran")

    monkeypatch.setattr(handlers.engine.p2p.model, "predict", never)
    monkeypatch.setattr(handlers.engine.p2p.model, "embed", never)
    update = last(handlers.refresh(wish(handlers, 1.0, **boards(CASTLE))))
    assert update["chips"]["spans"] and "line" not in update


def test_freed_memory_is_asked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    library = SimpleNamespace(malloc_trim=asked.append)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory, "_last", -1e9)
    for _ in range(3):
        memory.give_back()
    assert asked == [0], "once in a few seconds"
    monkeypatch.setattr(memory, "_last", -1e9)
    del library.malloc_trim
    memory.give_back()


def test_what_only_cycles_hold_is_freed_after_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio's copies of components have cycles; Python looks at old objects too seldom by itself."""

    class Copy:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()  # nothing but the asked one collects
    try:
        value = Copy()
        gone = weakref.ref(value)
        del value
        assert gone() is not None
        monkeypatch.setattr(memory, "_last", -1e9)
        memory.give_back()
        assert gone() is None
    finally:
        gc.enable()


def test_what_stays_is_left_out_of_collections() -> None:
    before = gc.get_freeze_count()
    try:
        memory.settle()
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
