"""`p2p generate`, `p2p edit` and `p2p replay`: pictures from the command line. Every PNG holds its recipe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2p_core import Blend, Edit, P2PError, load_recipe

if TYPE_CHECKING:
    from p2p_core import PromptToPrompt, Result, Source

DEFAULT_MODEL = "storybook"


def add_commands(commands: Any) -> None:
    """Add them to argparse's sub-parsers; `args.run(args)` runs the one that was chosen."""
    generate = _command(commands, "generate", run_generate, "generate a picture from a prompt")
    generate.add_argument("prompt")
    generate.add_argument("--seed", type=int, default=0)
    _settings(generate)
    edit = _command(commands, "edit", run_edit, "edit a picture by its prompt")
    edit.add_argument("picture", type=Path, help="a PNG that p2p saved, or with --shows any picture")
    edit.add_argument("prompt", help="what it is to show")
    edit.add_argument(
        "--shows", metavar="PROMPT", help="what a picture without a recipe shows: it is inverted"
    )
    edit.add_argument("--method", default="direct", help="of the inversion: direct, null_text, ...")
    edit.add_argument("--cross-steps", type=float, default=Edit.cross_steps, metavar="0..1")
    edit.add_argument("--self-steps", type=float, default=Edit.self_steps, metavar="0..1")
    edit.add_argument("--weight", action="append", default=[], metavar="WORD=NUMBER", help="may come again")
    edit.add_argument("--blend", action="append", default=[], metavar="WORD", help="only where it looks")
    _settings(edit)
    replay = _command(commands, "replay", run_replay, "make a picture again from its recipe")
    replay.add_argument("picture", type=Path, help="a PNG that p2p saved, or a recipe's .json")


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str) -> Any:
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about.capitalize()}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG to write")
    model = os.environ.get("P2P_MODEL") or None
    parser.add_argument("--model", default=model, help="storybook, a Hub id, or a folder [P2P_MODEL]")
    parser.add_argument("--device", default=os.environ.get("P2P_DEVICE") or None, help="[P2P_DEVICE]")
    parser.add_argument("--dtype", default=os.environ.get("P2P_DTYPE") or None, help="[P2P_DTYPE]")
    return parser


def _settings(parser: Any) -> None:
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance-scale", type=float, default=5.0)
    parser.add_argument("--negative-prompt", default="")


def run_generate(args: argparse.Namespace) -> None:
    p2p = _load(args)
    source = p2p.generate(args.prompt, seed=args.seed, **_chosen(args))
    p2p.edit(source, Edit(args.prompt)).save(args.output)  # which changes nothing, and makes the recipe whole


def run_edit(args: argparse.Namespace) -> None:
    weights: dict[str | int, float] = dict(map(_weight, args.weight))
    blend = Blend(target_words=args.blend) if args.blend else None
    edit = Edit(
        args.prompt, cross_steps=args.cross_steps, self_steps=args.self_steps, weights=weights, blend=blend
    )
    if args.shows is None:
        p2p, source, _ = _replayed(args)
    else:
        p2p = _load(args)
        source = p2p.invert(args.picture, args.shows, method=args.method, **_chosen(args))
    p2p.edit(source, edit).save(args.output)


def run_replay(args: argparse.Namespace) -> None:
    _replayed(args)[2].save(args.output)


def _replayed(args: argparse.Namespace) -> tuple[PromptToPrompt, Source, Result]:
    """A picture made again from its recipe: as a source, and as the result of the last edit."""
    recipe = load_recipe(args.picture)
    if args.model is None and recipe.model != DEFAULT_MODEL:
        raise P2PError(f"This picture was made by the model {recipe.model}: name it, or another, as --model.")
    p2p = _load(args)
    source = p2p.source_of(recipe)
    for edit in recipe.edits:
        result = p2p.edit(source, edit)
        source = source if result.plan.changes_nothing else result.as_source()
    return p2p, source, result


def _load(args: argparse.Namespace) -> PromptToPrompt:
    from p2p_core import PromptToPrompt

    name = args.model or DEFAULT_MODEL
    return PromptToPrompt.from_pretrained(name, device=args.device, dtype=args.dtype)


def _chosen(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in ("steps", "guidance_scale", "negative_prompt")}


def _weight(text: str) -> tuple[str, float]:
    word, _, number = text.rpartition("=")
    try:
        return word, float(number)
    except ValueError:
        raise P2PError(f"A weight is WORD=NUMBER, such as snowy=1.5; got {text!r}.") from None
