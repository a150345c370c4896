"""What a recorded source holds, and the most memory that a run takes.

    python -m benchmarks.memory [--model storybook|sd15|sd21|sdxl] [--steps N] [--out docs/memory.json]

Each run is a process of its own. On a GPU its peak is what torch allocated there, on a CPU the process's
largest resident size; both include the model, whose share is the row "model alone". On a GPU the peak of an
edit is counted from when its source is made, and begins with all that is still there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from p2p_core import PromptToPrompt, Source
from p2p_core.memory import peak_bytes
from reference import by_hand, side_by_side

from .equality import written
from .models import NAMES, load
from .speed import CROSS, EDIT, GUIDANCE, PROMPT, SELF, TARGET, WORDS, final_latents, machine, two

MUCH = 1 << 40
# what is run, and the budgets of the source's tiers meanwhile
TASKS: dict[str, dict[str, int]] = {
    "model alone": {},
    "generate": {"device": MUCH},
    "edit, source on the device": {"device": MUCH},
    "edit, source on the host": {"device": 0, "host": MUCH},
    "edit, source on disk": {"device": 0, "host": 0, "disk": MUCH},
    "edit, source recorded again": {"device": 0, "host": 0},
    "side by side": {"device": 0, "host": 0},
    "generate and edit, offloaded, decoded": {"device": 0, "host": MUCH},
}
ALONE, GENERATE, DEVICE, *_, BESIDE, OFFLOADED = TASKS
# on a GPU: bytes beyond the weights, and in all
BEYOND = {"sd15": {"edit, source on the device": 4e9, "edit, source on the host": 1e9}}
IN_ALL = {"sdxl": {OFFLOADED: 16e9}}
Table = dict[str, Any]


def shares(source: Source) -> Table:
    """Bytes of one recorded step by what they are, of the text keys and of the latents."""
    record = source.engine.cache.get(source.key, 0)
    assert record is not None
    cross = [term for terms in record.cross.values() for term in terms]
    return {
        "cross-attention queries, a step": sum(term.q.nbytes for term in cross),
        "self-attention queries and keys, a step": sum(q.nbytes + k.nbytes for q, k in record.self_.values()),
        "text keys, once": sum(term.k.nbytes for term in cross),
        "latents, a step": source.latents[:1].nbytes,
    }


def beside(p2p: PromptToPrompt, source: Source) -> None:
    """The same edit side by side."""
    N, (h, w) = source.steps, source.latent_size
    controls = by_hand.controls(
        p2p.pipe.tokenizer, PROMPT, TARGET, WORDS, N,
        cross=(0, int(CROSS * N + 0.5)), self_steps=(0, int(SELF * N + 0.5)), self_pixels=max(256, h * w / 4),
    )  # fmt: skip
    added = None
    texts: Any = ()
    if two(p2p):
        texts, added = by_hand.embed_two(p2p.pipe, PROMPT, TARGET, (source.height, source.width))
    else:
        texts = tuple(by_hand.embed(p2p.pipe, text) for text in ("", PROMPT, TARGET))
    side_by_side.sample(
        p2p.pipe, texts, source.latents[:1], controls,
        steps=N, guidance_scale=GUIDANCE, columnwise=False, added=added,
    )  # fmt: skip


def run(name: str, task: str, steps: int) -> Table:
    """One task in this process."""
    with tempfile.TemporaryDirectory() as folder:
        more = {"cache_folder": folder} if "disk" in task else {}
        p2p, weights = load(name, cache_bytes=TASKS[task], offload=task == OFFLOADED, **more)
        table: Table = {"weights": weights, "dtype": str(p2p.dtype).removeprefix("torch.")}
        if p2p.device.type == "cuda" and task == ALONE:
            torch.cuda.reset_peak_memory_stats()
        states = p2p.iter_generate(PROMPT, seed=1, steps=steps, guidance_scale=GUIDANCE)
        if task == GENERATE:
            final_latents(states)
        elif task != ALONE:
            source = p2p.generate(PROMPT, seed=1, steps=steps, guidance_scale=GUIDANCE)
            if p2p.device.type == "cuda" and task != OFFLOADED:
                torch.cuda.reset_peak_memory_stats()
            if task == BESIDE:
                beside(p2p, source)
            elif task == OFFLOADED:
                p2p.edit(source, EDIT)
            else:
                final_latents(p2p.iter_edit(source, EDIT))
            if task == DEVICE:
                table["shares"] = shares(source)
                table["source"] = source.nbytes
        if p2p.device.type == "cuda":
            return table | {"peak": torch.cuda.max_memory_allocated()}
        return table | {"peak": peak_bytes()}


def measure(name: str, steps: int, save: Callable[[Table], None] = lambda _table: None) -> Table:
    """Every task in a process of its own. save: hears of the table after each."""
    table: Table = {"machine": machine(), "steps": steps, "peaks": {}, "failed": {}}
    for task in TASKS:
        if task == OFFLOADED and not torch.cuda.is_available():
            continue
        command = [sys.executable, "-m", "benchmarks.memory", "--model", name, "--steps", str(steps)]
        done = subprocess.run([*command, "--task", task], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{task} failed ({done.returncode}):\n{done.stderr}", file=sys.stderr, flush=True)
            table["failed"][task] = (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]
        else:
            found = json.loads(done.stdout.splitlines()[-1])
            table["peaks"][task] = found.pop("peak")
            table |= found
        save(table)
    return table


def markdown(name: str, table: Table) -> str:
    """One model's table."""
    m, alone = table["machine"], table["peaks"].get(ALONE)
    source = (
        f" A source of {table['steps']} steps holds {table['source'] / 1e6:.1f} MB."
        if "source" in table
        else ""
    )
    lines = [
        f"**{name}** ({table.get('weights', '')}), {table.get('dtype', '')}, {table['steps']} steps: "
        f"{m['device']}, torch {m['torch']}.{source}",
        "",
        "| what | MB | beyond the model, MB | at most, on a GPU |",
        "|---|---|---|---|",
    ]
    lines += [f"| {what} | {nbytes / 1e6:.2f} | | |" for what, nbytes in table.get("shares", {}).items()]
    for task, nbytes in table["peaks"].items():
        beyond = f"{(nbytes - alone) / 1e6:.0f}" if alone and task != ALONE else ""
        limit, all_ = BEYOND.get(name, {}).get(task), IN_ALL.get(name, {}).get(task)
        most = f"{limit / 1e6:.0f} beyond" if limit else f"{all_ / 1e6:.0f} in all" if all_ else ""
        lines.append(f"| peak: {task} | {nbytes / 1e6:.0f} | {beyond} | {most} |")
    lines += [f"| failed: {task} | {why} | | |" for task, why in table.get("failed", {}).items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and put it into a JSON and a Markdown file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Memory of sources.")
    parser.add_argument("--model", choices=[*NAMES, "tiny"], default="storybook")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--task", choices=list(TASKS), help="one task in this process: a line of JSON")
    parser.add_argument("--out", type=Path, help="a JSON file; beside it the same as .md")
    args = parser.parse_args(argv)
    if args.task:
        print(json.dumps(run(args.model, args.task, args.steps)))
        return
    title = "# Memory\n\n`python -m benchmarks.memory`"

    def save(table: Table) -> None:
        written(args.out, args.model, table, title, markdown, quiet=True)

    table = measure(args.model, args.steps, save)
    written(args.out, args.model, table, title, markdown)
    if table["failed"]:
        sys.exit(f"Failed: {', '.join(table['failed'])}")


if __name__ == "__main__":
    main()
