"""How fast an edit is: `python -m benchmarks.speed --model storybook|sd15|all`.

Compared in one process, in interleaved rounds: prompt-to-prompt side by side with explicit maps (the public
way, four rows), diffusers' own pipeline (the floor for a plain picture, two rows), and this engine. Ratios
are medians of each round's ratio, so that a machine whose speed drifts does not decide them. The decoding of
pictures is left out everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from p2p_core import Edit, PromptToPrompt, Source
from tests import side_by_side
from tests.by_hand import controls, embed

SOURCE = "a red house on a snowy hill at night"
TARGET = "a red castle on a snowy hill at night"
SAME = [([i], [i]) for i in range(9)]
CROSS, SELF = 0.8, 0.4
Figures = dict[str, Any]


def seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def rounds(count: int, calls: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Each call once a round, after one round that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count + 1):
        for name, call in calls.items():
            took = seconds(call)
            if number:
                taken[name].append(took)
    return taken


def ratio(taken: dict[str, list[float]], slow: str, fast: str) -> float:
    return statistics.median(a / b for a, b in zip(taken[slow], taken[fast], strict=True))


class Counter:
    """UNet calls and rows."""

    def __init__(self, unet: Any) -> None:
        self.calls = self.rows = 0
        unet.register_forward_hook(self._hook)

    def _hook(self, _module: Any, args: tuple[torch.Tensor, ...], _out: Any) -> None:
        self.calls += 1
        self.rows += args[0].shape[0]


def silent_decode(p2p: PromptToPrompt) -> None:
    """Leave the VAE out: the engine's decode gives one small grey picture."""
    from PIL import Image

    grey = Image.new("RGB", (8, 8))
    p2p.model.decode = lambda latents: grey  # type: ignore[method-assign]
    p2p.model.learn_preview = lambda latents, image: None  # type: ignore[method-assign]


def side_by_side_run(p2p: PromptToPrompt, source: Source) -> Callable[[], Any]:
    pipe = p2p.pipe
    N = source.steps
    texts = tuple(embed(pipe, text) for text in ("", SOURCE, TARGET))
    h, w = source.latents.shape[-2:]
    asked = controls(
        pipe.tokenizer, SOURCE, TARGET, SAME, N,
        cross=(0, round(CROSS * N)), self_steps=(0, round(SELF * N)), self_pixels=max(256, h * w / 4),
    )  # fmt: skip
    return lambda: side_by_side.sample(
        pipe, texts, source.latents[:1], asked, steps=N, guidance_scale=source.guidance_scale
    )


def measure(p2p: PromptToPrompt, steps: int, count: int, sweep: int) -> Figures:
    silent_decode(p2p)
    pipe, scale = p2p.pipe, 5.0
    source = p2p.generate(SOURCE, seed=3, steps=steps, guidance_scale=scale)
    x_T = source.latents[:1]
    edit = Edit(TARGET, cross_steps=CROSS, self_steps=SELF)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)

    def fresh_edit() -> None:
        p2p.forget_edits()
        p2p.edit(source, edit)

    def diffusers() -> None:
        pipe(
            SOURCE, latents=x_T.clone(), num_inference_steps=steps, guidance_scale=scale, output_type="latent"
        )

    taken = rounds(
        count,
        {
            "side by side": side_by_side_run(p2p, source),
            "edit": fresh_edit,
            "diffusers, one plain picture": diffusers,
            "generate, recording": lambda: p2p.generate(SOURCE, seed=3, steps=steps, guidance_scale=scale),
        },
    )
    figures: Figures = {
        "steps": steps,
        "rounds": count,
        "seconds a step": {k: round(statistics.median(v) / steps, 4) for k, v in taken.items()},
        "side by side / edit": round(ratio(taken, "side by side", "edit"), 2),
        "edit / one plain picture": round(ratio(taken, "edit", "diffusers, one plain picture"), 3),
        "recording / plain": round(ratio(taken, "generate, recording", "diffusers, one plain picture"), 3),
        "source bytes": source.nbytes,
    }
    counter = Counter(p2p.pipe.unet)

    def calls(change: Edit) -> int:
        before = counter.calls
        p2p.edit(source, change)
        return counter.calls - before

    fresh_edit()
    figures["the same edit again, UNet calls"] = calls(edit)
    shorter = edit.replace(cross_steps=0.5)
    figures["window's end from 0.8 to 0.5, steps computed"] = calls(shorter)
    figures["steps after it"] = steps - int(0.5 * steps + 0.5)
    figures["and back"] = calls(edit)
    if sweep:
        figures["sweep of 11 windows"] = sweeping(p2p, source, counter, sweep)
    return figures


def sweeping(p2p: PromptToPrompt, source: Source, counter: Counter, count: int) -> Figures:
    """Injection from 0 to 100 % (the paper's Figure 6): one edit_many against eleven edits from scratch."""
    edits = [Edit(TARGET, cross_steps=f / 10, self_steps=0.0) for f in range(11)]
    steps = {}

    def together() -> None:
        p2p.forget_edits()
        before = counter.rows
        p2p.edit_many(source, edits)
        steps["together"] = (counter.rows - before) // 2

    def apart() -> None:
        before = counter.rows
        for edit in edits:
            p2p.forget_edits()
            p2p.edit(source, edit)
        steps["apart"] = (counter.rows - before) // 2

    taken = rounds(count, {"together": together, "apart": apart})
    return {
        "steps": steps,
        "share of steps": round(steps["together"] / steps["apart"], 3),
        "share of time": round(ratio(taken, "together", "apart"), 3),
        "seconds": {k: round(statistics.median(v), 2) for k, v in taken.items()},
    }


def table(report: Figures) -> str:
    lines = ["| | " + " | ".join(report["models"]) + " |", "|---" * (len(report["models"]) + 1) + "|"]

    def row(name: str, pick: Callable[[Figures], Any]) -> None:
        cells = []
        for figures in report["models"].values():
            try:
                cells.append(str(pick(figures)))
            except KeyError:
                cells.append("-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    row("steps", lambda f: f["steps"])
    for name in ("side by side", "edit", "diffusers, one plain picture", "generate, recording"):
        row(f"{name}, s a step", lambda f, name=name: f["seconds a step"][name])
    for name in (
        "side by side / edit",
        "edit / one plain picture",
        "recording / plain",
        "the same edit again, UNet calls",
        "window's end from 0.8 to 0.5, steps computed",
        "steps after it",
        "and back",
    ):
        row(name, lambda f, name=name: f[name])
    row("sweep of 11 windows, share of steps", lambda f: f["sweep of 11 windows"]["share of steps"])
    row("sweep of 11 windows, share of time", lambda f: f["sweep of 11 windows"]["share of time"])
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all", choices=("storybook", "sd15", "all"))
    parser.add_argument("--steps", type=int, help="default: 30 for storybook, 2 for sd15")
    parser.add_argument("--rounds", type=int, help="default: 7 for storybook, 2 for sd15")
    parser.add_argument("--out", type=Path, help="write a JSON and a Markdown file of this stem")
    args = parser.parse_args()
    report: Figures = {
        "machine": {
            "cpu": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "torch": torch.__version__,
        },
        "models": {},
    }
    if args.model in ("storybook", "all"):
        p2p = PromptToPrompt.from_pretrained("storybook")
        p2p.pipe.set_progress_bar_config(disable=True)
        report["models"]["storybook"] = measure(p2p, args.steps or 30, args.rounds or 7, sweep=3)
    if args.model in ("sd15", "all"):
        from .models import sd15

        p2p = PromptToPrompt(sd15())
        name = "SD 1.5 size, random weights"
        report["models"][name] = measure(p2p, args.steps or 2, args.rounds or 2, sweep=0)
    text = f"{json.dumps(report['machine'])}\n\n{table(report)}\n"
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        args.out.with_suffix(".md").write_text("# Speed\n\n`python -m benchmarks.speed`\n\n" + text)


if __name__ == "__main__":
    main()
