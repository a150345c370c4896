"""What a recorded source holds, and the most memory that a run takes.

    python -m benchmarks.memory [--model storybook|sd15|sd21|sdxl] [--steps N] [--out docs/memory.json]

Each run is a process of its own. On a GPU its peak is what torch allocated there, on a CPU the process's
largest resident size; both include the model, whose share is the row "model alone".
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from p2p_core import PromptToPrompt, Source
from tests import by_hand, side_by_side

from .equality import written
from .models import NAMES, load
from .speed import CROSS, EDIT, GUIDANCE, PROMPT, SELF, TARGET, WORDS, final_latents, machine, two

TASKS = (
    "model alone",
    "generate",
    "edit, source on the device",
    "edit, source recorded again",
    "side by side",
)
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
    p2p, weights = load(name, cache_bytes=0 if task in (TASKS[3], TASKS[4]) else 1 << 40)
    table: Table = {"weights": weights, "dtype": str(p2p.dtype).removeprefix("torch.")}
    if task != TASKS[0]:
        states = p2p.record(PROMPT, seed=1, steps=steps, guidance_scale=GUIDANCE)
        if task == TASKS[1]:
            final_latents(states)
        else:
            states.close()
            source = p2p.generate(PROMPT, seed=1, steps=steps, guidance_scale=GUIDANCE)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            if task == TASKS[4]:
                beside(p2p, source)
            else:
                final_latents(p2p.stream(source, EDIT))
            if task == TASKS[2]:
                table["shares"] = shares(source)
                table["source"] = source.nbytes
    if torch.cuda.is_available():
        return table | {"peak": torch.cuda.max_memory_allocated()}
    return table | {"peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def measure(name: str, steps: int) -> Table:
    """Every task in a process of its own."""
    table: Table = {"machine": machine(), "steps": steps, "peaks": {}}
    for task in TASKS:
        command = [sys.executable, "-m", "benchmarks.memory", "--model", name, "--steps", str(steps)]
        done = subprocess.run([*command, "--task", task], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        table["peaks"][task] = found.pop("peak")
        table |= found
    return table


def markdown(name: str, table: Table) -> str:
    """One model's table."""
    m = table["machine"]
    lines = [
        f"**{name}** ({table['weights']}), {table['dtype']}, {table['steps']} steps: {m['device']}, "
        f"torch {m['torch']}. A source of {table['steps']} steps holds {table['source'] / 1e6:.1f} MB.",
        "",
        "| what | MB |",
        "|---|---|",
    ]
    lines += [f"| {what} | {nbytes / 1e6:.2f} |" for what, nbytes in table["shares"].items()]
    lines += [f"| peak: {task} | {nbytes / 1e6:.0f} |" for task, nbytes in table["peaks"].items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and put it into a JSON and a Markdown file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Memory of sources.")
    parser.add_argument("--model", choices=[*NAMES, "tiny"], default="storybook")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--task", choices=TASKS, help="one task in this process: a line of JSON")
    parser.add_argument("--out", type=Path, help="a JSON file; beside it the same as .md")
    args = parser.parse_args(argv)
    if args.task:
        print(json.dumps(run(args.model, args.task, args.steps)))
        return
    table = measure(args.model, args.steps)
    written(args.out, args.model, table, "# Memory\n\n`python -m benchmarks.memory`", markdown)


if __name__ == "__main__":
    main()
