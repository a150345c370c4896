"""What one visitor may take: freely on one's own machine, bounded where strangers come.

Each limit is an option of the command line and an environment variable (docs/operators.md).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from p2p_core.errors import BadInput, P2PError, shown

if TYPE_CHECKING:
    from p2p_core import Edit

MAX_DEPTH = 64  # of JSON in a request


class TooManyPages(P2PError):
    """A page that finds no room; the message is fit for it."""


def _limit(local: Any, public: Any, about: str) -> Any:
    return field(default=local, metadata={"public": public, "about": about})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of an app. The defaults are those of one's own machine."""

    steps: int = _limit(1000, 100, "steps of a picture")
    pixels: int = _limit(1 << 22, 1 << 20, "pixels of a picture")
    work: float = _limit(1e9, 400.0, "of one run: steps x pictures x million pixels")
    weight: float = _limit(float("inf"), 2.0, "factor of a word, up or down")
    waiting: int = _limit(16, 2, "runs that wait, of one page, and of one address through the API")
    pages: int = _limit(64, 16, "open pages of one address")
    events: int = _limit(256, 64, "events under way of one address")
    sources: int = _limit(32, 4, "sources that one address holds through the API")
    body_mb: float = _limit(16.0, 1.0, "MB of a request that uploads nothing")
    upload_mb: float = _limit(64.0, 32.0, "MB of one upload")
    uploads_mb: float = _limit(100_000.0, 200.0, "MB that one address uploads in an hour")
    folder_mb: float = _limit(100_000.0, 2_000.0, "MB of temporary files, beyond which nothing is uploaded")

    def check(self, settings: Mapping[str, Any], size: tuple[int, int], pictures: float = 1) -> None:
        """Refuse a run that is too large. What isn't a number is left for the engine to refuse.

        settings: arguments of `generate`. size: (height, width) where they name none. pictures: how many
        such pictures the run is worth. Raises `BadInput`.
        """
        steps = settings.get("steps", 50)
        height, width = (settings.get(name) or n for name, n in zip(("height", "width"), size, strict=True))
        if not all(isinstance(n, (int, float)) for n in (steps, height, width)):
            return
        pixels = height * width
        if steps > self.steps:
            raise BadInput(f"A picture has at most {self.steps} steps here; got more.")
        if pixels > self.pixels:
            raise BadInput(f"A picture has at most {self.pixels} pixels here; got {height} x {width}.")
        if steps * pictures * pixels / 1e6 > self.work:
            fewer = "fewer steps or pictures" if pictures > 1 else "fewer steps"
            raise BadInput(f"That is more than one run may be here; try {fewer}, or a smaller picture.")

    def check_edit(self, edit: Edit) -> None:
        """Raises `BadInput` for a weight out of range."""
        for word, weight in edit.weights.items():
            if abs(weight) > self.weight:
                raise BadInput(
                    f"The weight of {shown(word)} is from {-self.weight:g} to {self.weight:g} here; "
                    f"got {weight:g}."
                )


LOCAL = Limits()
PUBLIC = Limits(**{f.name: f.metadata["public"] for f in fields(Limits)})


def option(name: str) -> str:
    return f"--max-{name.replace('_', '-')}"


def variable(name: str) -> str:
    return f"P2P_MAX_{name.upper()}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--public`, and an option for each limit."""
    env = os.environ.get
    public = env("P2P_PUBLIC", "1" if env("SPACE_ID") else "0") not in ("", "0", "false", "False")
    group = parser.add_argument_group("limits", "what one visitor may take; with --public the second number")
    group.add_argument(
        "--public",
        action=argparse.BooleanOptionalAction,
        default=public,
        help="strangers may come: limits on what each may take; usual on a Space [P2P_PUBLIC]",
    )
    for f in fields(Limits):
        group.add_argument(
            option(f.name),
            type=type(f.default),
            default=env(variable(f.name)) or argparse.SUPPRESS,
            metavar="N",
            help=f"{f.metadata['about']}: {f.default:g}, {f.metadata['public']:g} [{variable(f.name)}]",
        )


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that the command line asks for."""
    asked = {f.name: getattr(args, f"max_{f.name}", None) for f in fields(Limits)}
    return replace(PUBLIC if args.public else LOCAL, **{k: v for k, v in asked.items() if v is not None})
