"""What one visitor can take from the others: an app that is served, and requests as no page sends them."""

from __future__ import annotations

import concurrent.futures
import http.client
import io
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from p2p_app import Engine, build_app, launch_options
from p2p_app.blocks import Blocks
from p2p_app.limits import PUBLIC
from p2p_core import PromptToPrompt

from .. import tiny
from ..app_fixtures import free_port
from ..hostile import bomb

HOUSE = "a red house on a snowy hill"
API = "gradio_api/"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        p2p = PromptToPrompt(tiny.pipeline("v_prediction"))
        demo = build_app(Engine(p2p=p2p), PUBLIC)
        demo.launch(
            server_name="127.0.0.1",
            server_port=free_port(),
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(PUBLIC),
        )
        yield demo
        demo.close()


class Answer:
    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status, self.body, self.headers = status, body, headers

    @property
    def data(self) -> Any:
        return json.loads(self.body)


def ask(demo: Blocks, path: str, body: Any = None, **headers: str) -> Answer:
    """A request, with JSON or bytes as its body; 30 seconds at most."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None and "Content-Type" not in names:
        names["Content-Type"] = "application/json"
    request = urllib.request.Request(demo.local_url + path, data, names)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.read(), answer.headers)
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), error.headers)


def number(demo: Blocks, target: str, *, queue: bool = True) -> int:
    """The number of the event "element.trigger"; queue=False: of the one that goes ahead of a run."""
    element, trigger = target.split(".")
    return next(
        n
        for n, fn in demo.fns.items()
        for block, event in fn.targets
        if event == trigger
        and fn.queue is queue
        and getattr(demo.blocks.get(block), "elem_id", "") == element
    )


def opening(demo: Blocks, *, stay: bool) -> int:
    """The number of the event that a page stays open with, or of the one that starts it."""
    loads = [n for n, fn in demo.fns.items() for _, event in fn.targets if event == "load"]
    return next(n for n in loads if bool(demo.fns[n].outputs) is not stay)


def join(demo: Blocks, fn: int, data: list[Any], session: str) -> Answer:
    body = {"fn_index": fn, "data": data, "session_hash": session, "event_data": None, "trigger_id": None}
    return ask(demo, API + "queue/join", body)


def outcome(demo: Blocks, session: str, seconds: float = 60) -> list[dict[str, Any]]:
    """What comes back to a session until its last event is done."""
    messages = []
    url = f"{demo.local_url}{API}queue/data?session_hash={session}"
    with urllib.request.urlopen(url, timeout=seconds) as stream:
        for row in stream:
            if row.startswith(b"data: "):
                messages.append(json.loads(row[6:]))
                if messages[-1]["msg"] in ("close_stream", "unexpected_error"):
                    break
                if messages[-1]["msg"] == "process_completed":
                    break
    return messages


def call(demo: Blocks, name: str, *data: Any) -> tuple[str, Any]:
    """A call of an endpoint: how it ended, "complete" or "error", and with what."""
    joined = ask(demo, f"{API}call/{name}", {"data": list(data)})
    assert joined.status == 200, joined.body
    return ended(demo, name, joined.data["event_id"])


def ended(demo: Blocks, name: str, event: str) -> tuple[str, Any]:
    answer = ask(demo, f"{API}call/{name}/{event}").body.decode()
    *_, kind, data = [row.split(": ", 1)[1] for row in answer.splitlines() if ": " in row]
    return kind, json.loads(data)


def generate(demo: Blocks, **changes: Any) -> tuple[str, Any]:
    asked = {"prompt": HOUSE, "seed": 1, "steps": 3, "scale": 5.0, "negative": "", **changes}
    return call(demo, "generate", *asked.values())


def form(
    demo: Blocks, path: str, files: list[tuple[str, bytes]], fields: dict[str, Any] | None = None
) -> Answer:
    """A form with files and other fields."""
    head = b'--mark\r\nContent-Disposition: form-data; name="%s"'
    parts = [head % name.encode() + b"\r\n\r\n" + str(v).encode() for name, v in (fields or {}).items()]
    parts += [head % b"files" + b'; filename="%s"\r\n\r\n%s' % (n.encode(), data) for n, data in files]
    body = b"\r\n".join([*parts, b"--mark--\r\n"])
    return ask(demo, API + path, body, Content_Type="multipart/form-data; boundary=mark")


def upload(demo: Blocks, data: bytes, name: str = "picture.png") -> Answer:
    return form(demo, "upload", [(name, data)])


def heard(demo: Blocks, target: str, data: list[Any], session: str) -> Answer:
    """An event that goes ahead of a run, which needs no queue."""
    body = {"fn_index": number(demo, target, queue=False), "data": data, "session_hash": session}
    return ask(demo, API + "run/predict", body)


def file(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def page(demo: Blocks) -> Iterator[str]:
    """A page that stays open."""
    name = f"page-{time.monotonic_ns()}"
    session = demo.sessions.get(name, "another address")
    session.open += 1
    yield name
    session.open -= 1
    demo.sessions.close(name)


# --- runs ------------------------------------------------------------------------------------------------


def test_a_flood_of_api_calls_keeps_nobody_out(demo: Blocks, page: str) -> None:
    asked = {"data": [HOUSE, 1, 3, 5.0, ""]}
    with demo.turns.ticket() as mine:  # the device is busy
        assert demo.turns.ahead(mine, 1) == 0
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            flood = [*pool.map(lambda _: ask(demo, f"{API}call/generate", asked), range(80))]
        deadline = time.monotonic() + 20
        while len(demo.turns) > 1 + PUBLIC.waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(demo.turns) == 1 + PUBLIC.waiting, "of an address two runs wait"
        refused = [answer for answer in flood if answer.status != 200]
        assert all(a.status == 503 and "under way already" in a.data["detail"] for a in refused)
        assert heard(demo, "line.stop", [1.0], page).status == 200
        assert demo.sessions.find(page).stopped_at == 1.0, "the page is heard at once"
        name = demo.fns[number(demo, "take-tab.select")]
        assert join(demo, name._id, [], page).status == 200
        assert outcome(demo, page)[-1]["success"], "and answered"
    events = [answer.data["event_id"] for answer in flood if answer.status == 200]
    assert {ended(demo, "generate", event)[0] for event in events[:1]} <= {"complete", "error"}
    while len(demo.turns):
        time.sleep(0.05)


def test_what_waits_for_a_caller_who_has_left_is_dropped(demo: Blocks) -> None:
    before = demo.turns.seconds
    fn = next(n for n, f in demo.fns.items() if f.api_name == "generate")
    with demo.turns.ticket() as mine:
        assert demo.turns.ahead(mine, 1) == 0
        assert join(demo, fn, [HOUSE, 1, 90, 5.0, ""], "leaver").status == 200
        address = urlsplit(demo.local_url).netloc
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", f"/{API}queue/data?session_hash=leaver")
        answer = connection.getresponse()
        answer.readline()
        while len(demo.turns) < 2:
            time.sleep(0.02)
        connection.sock.shutdown(2)
        connection.close()
        deadline = time.monotonic() + 30
        while len(demo.turns) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(demo.turns) == 1
    assert before is None or demo.turns.seconds is not None


def test_runs_do_not_skip_the_queue(demo: Blocks) -> None:
    body = {"data": [HOUSE, 1, 3, 5.0, ""]}
    assert ask(demo, API + "run/generate", body).status == 404
    assert ask(demo, API + "api/generate", body).status == 404


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"steps": 101}, "at most 100 steps"),
        ({"steps": 1e300}, "at most 100 steps"),
        ({"prompt": "a " * 50_000}, "at most 4000 characters"),
        ({"negative": "a " * 50_000}, "at most 4000 characters"),
        ({"seed": 10**400}, "seed is a whole number"),
        ({"seed": -1, "prompt": "secret " * 500}, "seed is a whole number"),
    ],
)
def test_a_run_is_bounded_and_says_so(demo: Blocks, changes: Any, sentence: str) -> None:
    kind, told = generate(demo, **changes)
    assert kind == "error" and sentence in told["error"] and len(json.dumps(told)) < 2000


def test_weights_stay_in_the_faders_range(demo: Blocks) -> None:
    _, (_, info) = generate(demo)
    edit = {"prompt": "a red castle on a snowy hill", "weights": {"castle": 1e8}}
    kind, told = call(demo, "edit", info["source_id"], edit)
    assert kind == "error" and "from -2 to 2 here" in told["error"]
    assert call(demo, "edit", info["source_id"], {**edit, "weights": {"castle": 2}})[0] == "complete"


def test_an_address_has_a_share_of_the_apis_sources(demo: Blocks) -> None:
    _, (_, first) = generate(demo, seed=50)
    theirs = demo.sessions.add_api_source(demo.sessions.api_source(first["source_id"]), "another address")
    for seed in range(51, 51 + PUBLIC.sources):
        _, (_, info) = generate(demo, seed=seed)
    assert demo.sessions.api_source(theirs) is not None
    assert demo.sessions.api_source(info["source_id"]) is not None
    kind, told = call(demo, "edit", first["source_id"], {"prompt": "a castle"})
    assert kind == "error" and "call /generate again" in told["error"]


# --- sessions --------------------------------------------------------------------------------------------


def test_made_up_sessions_close_nobodys(demo: Blocks, page: str) -> None:
    before = len(demo.sessions)
    for n in range(80):
        assert heard(demo, "line.stop", [1.0], f"made-up-{n}").status == 200
    assert len(demo.sessions) == before and demo.sessions.find(page) is not None
    assert join(demo, number(demo, "take-tab.select"), [], "made-up").status == 200
    assert "Load it again" in json.dumps(outcome(demo, "made-up"))
    assert len(demo.sessions) == before


def test_pages_of_one_address_have_their_share_of_the_room(demo: Blocks, page: str) -> None:
    start = opening(demo, stay=False)
    data = [None] * len(demo.fns[start].inputs[:-1]) + [1.0]
    for n in range(PUBLIC.pages + 10):
        join(demo, start, data, f"many-{n}")
        outcome(demo, f"many-{n}")
    theirs = [n for n in range(PUBLIC.pages + 10) if demo.sessions.find(f"many-{n}")]
    assert theirs == [*range(10, PUBLIC.pages + 10)], "the newest ones"
    assert demo.sessions.find(page) is not None
    for n in theirs:
        demo.sessions.close(f"many-{n}")


def test_a_page_that_stays_open_keeps_its_session(demo: Blocks) -> None:
    stays, start = opening(demo, stay=True), opening(demo, stay=False)
    data = [None] * len(demo.fns[start].inputs[:-1]) + [1.0]
    names = [f"open-{n}" for n in range(PUBLIC.pages)]
    for name in names:
        assert join(demo, stays, [], name).status == 200
    deadline = time.monotonic() + 20
    while not all((s := demo.sessions.find(name)) and s.open for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    join(demo, start, data, "one-more")
    assert "pages are open from your address" in json.dumps(outcome(demo, "one-more"))
    assert all(demo.sessions.find(name) for name in names) and not demo.sessions.find("one-more")
    for name in names:
        demo.sessions.close(name)


# --- requests --------------------------------------------------------------------------------------------


def test_a_request_is_bounded(demo: Blocks) -> None:
    for path in ("call/generate", "queue/join", "run/predict", "cancel", "reset"):
        answer = ask(demo, API + path, {"data": ["a" * 1_100_000], "session_hash": "s"})
        assert answer.status == 413 and "at most 1 MB" in answer.data["detail"], path


@pytest.mark.parametrize("depth", [100, 300, 900, 5000, 100_000])
def test_json_of_any_depth_is_a_sentence(demo: Blocks, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for path, body in {
        "call/edit": b'{"data": ["x", %s]}' % deep,
        "queue/join": b'{"fn_index": 1, "session_hash": "s", "data": %s}' % deep,
        "component_server": b'{"data": %s, "component_id": 1, "session_hash": "s", "fn_name": "x"}' % deep,
    }.items():
        answer = ask(demo, API + path, body)
        assert answer.status >= 400 and answer.data["detail"]


@pytest.mark.parametrize("digits", [400, 4000, 5000, 100_000])
def test_numbers_of_any_length_are_a_sentence(demo: Blocks, digits: int) -> None:
    body = b'{"data": ["a house", %s, 3, 5, ""]}' % (b"9" * digits)
    answer = ask(demo, API + "call/generate", body)
    if answer.status == 200:
        kind, told = ended(demo, "generate", answer.data["event_id"])
        assert kind == "error" and "seed" in told["error"]
    else:
        assert answer.status == 400 and "bounded" in answer.data["detail"]


@pytest.mark.parametrize(
    "edit", ["[" * 100_000, "9" * 5000, {"prompt": "a house", "weights": {"#" + "9" * 5000: 2}}]
)
def test_an_edit_of_nonsense_is_a_sentence(demo: Blocks, edit: Any) -> None:
    _, (_, info) = generate(demo)
    kind, told = call(demo, "edit", info["source_id"], edit)
    assert kind == "error" and told["error"] and len(told["error"]) < 1000


@pytest.mark.parametrize(
    "path",
    [
        "monitoring/summary",
        "monitoring",
        "openapi.json",
        "docs",
        "redoc",
        "proxy=http://localhost/",
        "vibe-code",
    ],
)
def test_what_a_visitor_needs_none_of_is_shut(demo: Blocks, path: str) -> None:
    assert ask(demo, path).status == ask(demo, API + path).status == 404


def test_answers_keep_other_sites_away(demo: Blocks) -> None:
    for path in ("", "config", API + "info", API + "nothing", "monitoring"):
        headers = ask(demo, path, Origin="https://elsewhere.example", Host="p2p.example").headers
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy
        assert "Access-Control-Allow-Origin" not in headers
    own = ask(demo, "config", Origin="https://p2p.example", Host="p2p.example").headers
    assert own["Access-Control-Allow-Origin"] == "https://p2p.example"


# --- files -----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that must not be asked: its address, and the paths it was asked for."""
    import http.server

    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/picture.png", asked
    server.shutdown()


def test_addresses_of_the_web_are_not_fetched(
    demo: Blocks, page: str, elsewhere: tuple[str, list[str]]
) -> None:
    address, asked = elsewhere
    for path in (
        f"file={address}",
        f"file/{address}",
        f"file={address.upper()}",
        "file=https%3A//example.com",
    ):
        assert ask(demo, API + path).status == 403
    fn = number(demo, "invert.click")
    for there in (address, f" {address}", address.replace("http", "HTTP", 1)):
        data = [file(there), "a house", "direct", "crop", 0.5, 0.5, 3, 5.0, "", 1.0]
        assert join(demo, fn, data, page).status == 200
        told = outcome(demo, page)[-1]
        assert not told["success"] and "not fetched here" in told["output"]["error"]
    bring = number(demo, "bring.upload")
    assert join(demo, bring, [[file(address)], 1.0], page).status == 200
    assert "not fetched here" in json.dumps(outcome(demo, page)[-1])
    assert not asked


def test_an_upload_is_bounded(demo: Blocks) -> None:
    assert upload(demo, b"x" * 1000).status == 200
    answer = upload(demo, b"x" * 33_000_000)
    assert answer.status == 413 and b"32 MB" in answer.body


def test_painted_layers_are_bounded_before_they_are_decoded(
    demo: Blocks, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = io.BytesIO()
    Image.new("RGBA", (4000, 4000)).save(large, "PNG")
    fn = number(demo, "use-paint.click")
    boards = [HOUSE, {}, {}, {}, 1.0]
    session = demo.sessions.find(page)
    for layers, files in ((1, large.getvalue()), (1, bomb()), (40, large.getvalue())):
        (path,) = upload(demo, files, name="layer.png").data
        painter = {"background": None, "layers": [file(path)] * layers, "composite": file(path), "id": None}
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
            patch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
            assert join(demo, fn, [painter, *boards], page).status == 200
            messages = outcome(demo, page)
        assert messages[-1]["success"] and session.line["kind"] == "error"


def test_no_layer_is_kept_in_memory(demo: Blocks) -> None:
    painter = next(block for block in demo.blocks.values() if block.elem_id == "painter")
    fields = {"component_id": painter._id, "session_hash": "s", "fn_name": "accept_blobs"}
    fields |= {"type": "layer", "index": 10**9, "id": "one"}
    answer = form(demo, "component_server", [("layer.png", b"x")], fields)
    assert answer.status >= 400 and not painter.blob_storage


# --- the log ---------------------------------------------------------------------------------------------


def test_no_mistake_puts_what_was_sent_into_the_log(
    demo: Blocks, page: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "Xyzzy"
    with caplog.at_level(logging.DEBUG, "p2p"):
        generate(demo, seed=-1, prompt=secret)
        generate(demo, seed=secret)
        call(demo, "edit", secret, {"prompt": secret})
        call(demo, "edit", secret, secret)
        for data in ([secret] * 6, [[secret]] * 6, [{"path": secret}] * 6, [secret]):
            join(demo, number(demo, "generate.click"), data, page)
            outcome(demo, page)
            join(demo, number(demo, "invert.click"), [file(f"/{secret}"), *data], page)
            outcome(demo, page)
        ask(demo, f"{API}call/{secret}", {"data": [secret]})
        ask(demo, API + "queue/join", {"data": secret, "fn_index": secret})
        ask(demo, API + "upload", secret.encode())
        ask(demo, API + "component_server", {"data": secret})
    written = caplog.text + "".join(capfd.readouterr())
    assert secret not in written and "Traceback" not in written
