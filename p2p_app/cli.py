"""The command `p2p`. Each sub-command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="p2p", description="Edit a picture by editing its prompt.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # the app reads its own options, `--help` too
    commands.add_parser("app", help="start the app in the browser", add_help=False)
    args, options = parser.parse_known_args(argv)
    if args.command == "app":
        from .launch import main as start

        sys.argv[0] = "p2p app"
        start(options)
