"""How equal an edit is to the reference, whatever tier, dtype, sampler and batch size it is made with.

    python -m benchmarks.equality [--model storybook] [--steps N] [--out docs/equality.json]

The reference is the same edit in float32, alone, with its source on the device. Two figures: the largest
difference of the final latents relative to the reference's largest value, and the largest difference of the
pictures in steps of 255. "0" is equality bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Result
from p2p_core.schedulers import SAMPLERS

from .models import NAMES, load
from .speed import PROMPT, TARGET, machine

EDIT = Edit(
    TARGET,
    cross_steps=0.8,
    self_steps=0.4,
    weights={"snowy": 1.5},
    blend=Blend(source_words=("house",), target_words=("castle",), start=0.4),
)
MUCH = 1 << 40
TIERS = {
    "host": {"device": 0, "host": MUCH},
    "disk": {"device": 0, "host": 0, "disk": MUCH},
    "nothing": {"device": 0, "host": 0, "disk": 0},
}
BATCHES = (2, 4, 8)
# the one table of what is allowed, of the latents' largest relative difference, by what the comparison begins
# with: other batch shapes and a source's row that is run alone round differently; half precision has 11 bits
# (float16) or 8 (bfloat16), and errors grow over the steps
ALLOWED = {
    "resumed half way": 0.0,
    "source in tier: nothing": 1e-4,
    "source in tier": 0.0,
    "in a batch": 1e-4,
    "records kept in fp16": 2e-2,
    "records kept in bf16": 8e-2,
    "model in fp16": 5e-2,
    "model in bf16": 2e-1,
}
Table = dict[str, Any]


def settings(sampler: str, steps: int) -> Table:
    """Of a source: few-step samplers as they are used."""
    few = sampler in ("lcm", "euler_ancestral")
    scale = 0.0 if few else 7.5
    return {"seed": 1, "steps": min(4, steps) if few else steps, "guidance_scale": scale, "sampler": sampler}


def edited(p2p: PromptToPrompt, asked: Table) -> Result:
    """The edit from nothing."""
    p2p.forget_edits()
    return p2p.edit(p2p.generate(PROMPT, **asked), EDIT)


def resumed(p2p: PromptToPrompt, asked: Table) -> Result:
    """The edit after it was stopped half way."""
    p2p.forget_edits()
    source = p2p.generate(PROMPT, **asked)
    for state in (states := p2p.iter_edit(source, EDIT)):
        if state.index >= source.steps // 2:
            states.close()
            break
    return p2p.edit(source, EDIT)


def in_batch(p2p: PromptToPrompt, asked: Table, n: int) -> Result:
    """The edit as the first of n in one batch."""
    p2p.forget_edits()
    source = p2p.generate(PROMPT, **asked)
    others = [EDIT.replace(weights={"snowy": 1.5 - k / n}) for k in range(1, n)]
    return p2p.edit_many(source, [EDIT, *others])[0]


def difference(got: Result, latents: torch.Tensor, picture: np.ndarray) -> tuple[float, int]:
    """(largest relative difference of latents, largest difference of pictures)."""
    a, b = got.latents.double().cpu(), latents.double()
    pictures = np.asarray(got.image, np.int64), picture.astype(np.int64)
    return float((a - b).abs().max() / b.abs().max()), int(np.abs(pictures[0] - pictures[1]).max())


def rows(name: str, steps: int) -> Iterator[Table]:
    """Every combination that is compared, sampler by sampler. No source outlives its comparison: at full size
    in float32 one alone has gigabytes."""
    references: dict[str, tuple[torch.Tensor, np.ndarray]] = {}

    def row(what: str, sampler: str, got: Result) -> Table:
        latents, picture = difference(got, *references[sampler])
        got.source.engine.forget(got.source)
        return {"what": what, "sampler": sampler, "latents": latents, "picture": picture}

    full, _ = load(name, dtype="fp32", cache_bytes=MUCH)

    def engine(**options: Any) -> PromptToPrompt:
        return PromptToPrompt(full.pipe, **({"dtype": "fp32", "cache_bytes": MUCH} | options))

    for sampler in SAMPLERS:
        asked = settings(sampler, steps)
        reference = edited(full, asked)
        references[sampler] = reference.latents.cpu(), np.asarray(reference.image)
        yield row("resumed half way", sampler, resumed(full, asked))
        for n in BATCHES:
            yield row(f"in a batch of {n}", sampler, in_batch(full, asked, n))
        with tempfile.TemporaryDirectory() as folder:
            for tier, budget in TIERS.items():
                p2p = engine(cache_bytes=budget, cache_folder=folder)
                yield row(f"source in tier: {tier}", sampler, edited(p2p, asked))
        for store in ("fp16", "bf16"):
            yield row(f"records kept in {store}", sampler, edited(engine(cache_dtype=store), asked))
    for dtype in ("bf16", "fp16"):
        half, _ = load(name, dtype=dtype)
        for sampler in references:
            yield row(f"model in {dtype}", sampler, edited(half, settings(sampler, steps)))
        del half


def allowed(what: str) -> float:
    """The tolerance of a comparison."""
    return next(limit for begins, limit in ALLOWED.items() if what.startswith(begins))


def markdown(name: str, table: Table) -> str:
    """What is compared in rows, samplers in columns."""
    whats = list(dict.fromkeys(row["what"] for row in table["rows"]))
    samplers = list(dict.fromkeys(row["sampler"] for row in table["rows"]))
    found = {(row["what"], row["sampler"]): row for row in table["rows"]}

    def cell(what: str, sampler: str) -> str:
        row = found.get((what, sampler))
        if row is None:
            return ""
        text = "0" if row["latents"] == 0 else f"{row['latents']:.1e}, {row['picture']}"
        return text if row["latents"] <= allowed(what) else f"**{text}**"

    m = table["machine"]
    return "\n".join(
        [
            f"**{name}**, {table['steps']} steps (few-step samplers 4): {m['device']}, {m['processor']}, "
            f"torch {m['torch']}. Largest relative difference of the final latents, then of the pictures in "
            "steps of 255; 0: bit for bit; bold: more than is allowed.",
            "",
            f"| what | at most | {' | '.join(samplers)} |",
            "|---" * (len(samplers) + 2) + "|",
            *(
                f"| {what} | {allowed(what):g} | {' | '.join(cell(what, s) for s in samplers)} |"
                for what in whats
            ),
        ]
    )


def measure(name: str, steps: int, save: Callable[[Table], None] = lambda _table: None) -> Table:
    """All comparisons. save: hears of the table after each sampler's."""
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32
    table: Table = {"machine": machine(), "steps": steps, "rows": []}
    for n, row in enumerate(rows(name, steps)):
        table["rows"].append(row)
        if n % 9 == 8:
            save(table)
    table["failed"] = [row for row in table["rows"] if row["latents"] > allowed(row["what"])]
    return table


def main(argv: list[str] | None = None) -> None:
    """Compare, print the table, and put it into a JSON and a Markdown file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equality", description="How equal edits are.")
    parser.add_argument("--model", choices=[*NAMES, "tiny"], default="storybook")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="a JSON file; beside it the same as .md")
    args = parser.parse_args(argv)
    title = "# Equality\n\n`python -m benchmarks.equality`"

    def save(table: Table) -> None:
        written(args.out, args.model, table, title, markdown, quiet=True)

    with torch.no_grad():
        table = measure(args.model, args.steps, save)
    written(args.out, args.model, table, title, markdown)
    if table["failed"]:
        sys.exit(
            "More than is allowed: " + ", ".join(f"{r['what']} ({r['sampler']})" for r in table["failed"])
        )


def written(out: Path | None, name: str, table: Table, title: str, page: Any, *, quiet: bool = False) -> None:
    """Print a table unless `quiet`, and keep it beside those of other models."""
    if not quiet:
        print(page(name, table), flush=True)
    if out is None:
        return
    tables = json.loads(out.read_text()) if out.exists() else {}
    tables[name] = table
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(tables, indent=1) + "\n")
    out.with_suffix(".md").write_text("\n\n".join([title, *(page(*item) for item in tables.items())]) + "\n")


if __name__ == "__main__":
    main()
