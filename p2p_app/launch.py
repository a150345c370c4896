"""Start the app. Every option has an environment variable too."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence

from .engine import Engine, NotReady
from .environment import prepare
from .limits import add_arguments, limits_of

INVERSIONS = "~/.cache/p2p/inversions"


def whole(least: int, most: int = 1 << 40) -> Callable[[str], int]:
    """Of an option: a whole number in a range."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            below = f" to {most}" if most < 1 << 40 else ""
            raise argparse.ArgumentTypeError(f"a whole number from {least}{below} was expected, got {text!r}")
        return int(text)

    return number


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    def env(name: str, default: str | None = None) -> str | None:
        """A variable; one that is set and empty, as compose files do it, counts as missing."""
        return os.environ.get(name) or default

    defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=defaults,
        epilog="Behind a reverse proxy that serves the app below a path, GRADIO_ROOT_PATH is that path.",
    )
    parser.add_argument(
        "--model", default=env("P2P_MODEL", "storybook"), help="storybook, a Hub id, or a folder [P2P_MODEL]"
    )
    parser.add_argument(
        "--device", default=env("P2P_DEVICE"), help="cpu or cuda, else what there is [P2P_DEVICE]"
    )
    parser.add_argument("--dtype", default=env("P2P_DTYPE"), help="fp32, fp16 or bf16 [P2P_DTYPE]")
    parser.add_argument(
        "--steps",
        type=whole(1, 1000),
        default=env("P2P_STEPS"),
        help="steps of the pictures that the page opens with and of the examples, else their own [P2P_STEPS]",
    )
    parser.add_argument("--host", default=env("GRADIO_SERVER_NAME", "127.0.0.1"), help="[GRADIO_SERVER_NAME]")
    parser.add_argument(
        "--port",
        type=whole(1, 65535),
        default=env("GRADIO_SERVER_PORT", "7860"),
        help="[GRADIO_SERVER_PORT]",
    )
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's servers")
    parser.add_argument(
        "--cache-mb",
        type=whole(0),
        default=env("P2P_CACHE_MB"),
        help="memory for recorded sources [P2P_CACHE_MB]",
    )
    parser.add_argument(
        "--inversions",
        default=os.environ.get("P2P_INVERSIONS"),
        help="folder that keeps inversions of pictures; '' for none, as with --public; else "
        f"{INVERSIONS} [P2P_INVERSIONS]",
    )
    parser.add_argument(
        "--inversions-mb",
        type=whole(0),
        default=env("P2P_INVERSIONS_MB", "1000"),
        help="its size [P2P_INVERSIONS_MB]",
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    if args.inversions is None:  # a public app is shared by its visitors, whose pictures it should not keep
        args.inversions = "" if args.public else INVERSIONS
    return args


def check_address(host: str, port: int) -> None:
    """Exits with a sentence if nothing can listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":  # elsewhere it would take a port from the one who has it
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        sys.exit(f"The app can't listen at {host}, port {port} ({why}); --host and --port choose another.")


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    host = args.host.removeprefix("[").removesuffix("]")
    check_address(host, args.port)
    # Gradio reads both when it is imported, whatever `launch` is told later.
    os.environ |= {"GRADIO_SERVER_NAME": args.host, "GRADIO_SERVER_PORT": str(args.port)}
    prepare(host)
    from .build import build_app, launch_options
    from .hosting import end_cleanly, own_temporary_folder

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("p2p").setLevel(logging.INFO)
    own_temporary_folder()
    limits = limits_of(args)
    engine = Engine(
        args.model,
        device=args.device,
        dtype=args.dtype,
        steps=args.steps,
        cache_mb=args.cache_mb,
        inversions=args.inversions,
        inversions_mb=args.inversions_mb,
    )
    demo = build_app(engine, limits)
    demo.launch(
        server_name=args.host,
        server_port=args.port,
        share=args.share,
        prevent_thread_lock=True,
        **launch_options(limits),
    )
    end_cleanly(demo)
    try:
        engine.wait()  # the page is served: now the model
    except NotReady as error:  # a page without a model would pass for a healthy one
        demo.close(verbose=False)
        sys.exit(f"The model {args.model} could not be loaded. {error}")
    except KeyboardInterrupt:
        demo.close()
        return
    demo.block_thread()
