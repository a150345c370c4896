"""How a UNet runs fastest on this machine's CPU: its convolutions' memory format, and the number of threads.

    python -m benchmarks.layouts [--model storybook|sd15] [--threads 1 2] [--rounds N] [--out FILE.json]

Two rows of the UNet at the model's own size, in interleaved rounds; ratios are medians of each round's. On a
busy machine of two cores channels last took 0.95 of the time for the bundled model and 1.02 at Stable
Diffusion 1.5's size (one thread, 24 x 24 latents), so the engine leaves a CPU's model as it comes.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .equality import written
from .models import load
from .speed import Table, Times, machine

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def measure(name: str, threads: list[int], rounds: int) -> Table:
    """Seconds of one call for each format and number of threads."""
    p2p, weights = load(name, device="cpu")
    model = p2p.model
    unets = {form: copy.deepcopy(model.unet).to(memory_format=how) for form, how in FORMATS.items()}
    h, w = model.latent_size(None, None)
    x = torch.randn(2, model.channels, h, w, generator=torch.Generator().manual_seed(0))
    text = model.text([p2p.prompt(""), p2p.prompt("a red house")], (h, w), 7.5, 1)
    given: dict[str, Any] = {"added_cond_kwargs": text.added_cond, "return_dict": False}

    def run(form: str, n: int) -> Callable[[], None]:
        def call() -> None:
            torch.set_num_threads(n)
            unets[form](x, torch.tensor(500), encoder_hidden_states=text.rows, **given)

        return call

    before = torch.get_num_threads()
    table: Table = {"machine": machine(), "weights": weights, "picture": f"{p2p.default_size}", "rows": []}
    with torch.no_grad():
        for n in threads:
            runs = {form: run(form, n) for form in FORMATS}
            times = Times(rounds, True, **runs)
            contiguous, last = FORMATS
            table["rows"].append(
                {"threads": n, "ratio": times.ratio(last, contiguous)}
                | {form: times.median(form) for form in FORMATS}
            )
    torch.set_num_threads(before)
    return table


def markdown(name: str, table: Table) -> str:
    """One model's table."""
    m = table["machine"]
    lines = [
        f"**{name}** ({table['weights']}), {table['picture']} pixels, two rows, float32. {m['processor']}, "
        f"{m['cores']} cores, torch {m['torch']}, load average before {m['load_average_before']}.",
        "",
        "| threads | contiguous | channels last | channels last / contiguous |",
        "|---|---|---|---|",
    ]
    for row in table["rows"]:
        lines.append(
            f"| {row['threads']} | {row['contiguous']:.3f} s | {row['channels last']:.3f} s "
            f"| {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and put it into a JSON and a Markdown file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layouts", description="CPU memory formats.")
    parser.add_argument("--model", choices=["storybook", "sd15", "tiny"], default="storybook")
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file; beside it the same as .md")
    args = parser.parse_args(argv)
    table = measure(args.model, args.threads, args.rounds)
    written(args.out, args.model, table, "# Memory formats\n\n`python -m benchmarks.layouts`", markdown)


if __name__ == "__main__":
    main()
