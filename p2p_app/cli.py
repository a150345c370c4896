"""The command `p2p`. Each sub-command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from p2p_core import P2PError

from .commands import add_commands


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="p2p", description="Edit a picture by editing its prompt.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # the app reads its own options, `--help` too
    commands.add_parser("app", help="start the app in the browser", add_help=False)
    add_commands(commands)
    args, options = parser.parse_known_args(argv)
    if args.command == "app":
        from .launch import main as start

        sys.argv[0] = "p2p app"
        start(options)
        return
    args = parser.parse_args(argv)  # which refuses what it doesn't know
    try:
        args.run(args)
    except P2PError as error:
        sys.exit(f"p2p {args.command}: {error}")
