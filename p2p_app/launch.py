"""Start the app. Every option has an environment variable too."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence

from .build import build_app, launch_options
from .engine import Engine
from .hosting import end_cleanly, own_temporary_folder
from .limits import add_arguments, limits_of

INVERSIONS = "~/.cache/p2p/inversions"


def steps(text: str) -> int:
    """How many steps a picture has, 1 to 1000."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 1000 was expected, got {text!r}")
    return int(text)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    env = os.environ.get
    defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=defaults)
    parser.add_argument(
        "--model", default=env("P2P_MODEL", "storybook"), help="storybook, a Hub id, or a folder [P2P_MODEL]"
    )
    parser.add_argument(
        "--device", default=env("P2P_DEVICE"), help="cpu or cuda, else what there is [P2P_DEVICE]"
    )
    parser.add_argument("--dtype", default=env("P2P_DTYPE"), help="fp32, fp16 or bf16 [P2P_DTYPE]")
    parser.add_argument(
        "--steps",
        type=steps,
        default=env("P2P_STEPS") or None,
        help="steps of the pictures that the page opens with and of the examples, else their own [P2P_STEPS]",
    )
    parser.add_argument("--host", default=env("GRADIO_SERVER_NAME", "127.0.0.1"), help="[GRADIO_SERVER_NAME]")
    parser.add_argument(
        "--port", type=int, default=env("GRADIO_SERVER_PORT", 7860), help="[GRADIO_SERVER_PORT]"
    )
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's servers")
    parser.add_argument(
        "--cache-mb", type=int, default=env("P2P_CACHE_MB"), help="memory for recorded sources [P2P_CACHE_MB]"
    )
    parser.add_argument(
        "--inversions",
        default=env("P2P_INVERSIONS"),
        help="folder that keeps inversions of pictures; '' for none, as with --public; else "
        f"{INVERSIONS} [P2P_INVERSIONS]",
    )
    parser.add_argument(
        "--inversions-mb",
        type=int,
        default=env("P2P_INVERSIONS_MB", 1000),
        help="its size [P2P_INVERSIONS_MB]",
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    if args.inversions is None:  # a public app is shared by its visitors, whose pictures it should not keep
        args.inversions = "" if args.public else INVERSIONS
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
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
    engine.start()  # the page is served: now the model
    demo.block_thread()
