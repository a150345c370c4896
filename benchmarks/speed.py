"""How fast an edit is: against the public way, from every tier, and what is computed again when it changes.

    python -m benchmarks.speed [--model storybook|sd15|sd21|sdxl|all] [--steps N] [--rounds N] [--full]
                               [--out docs/speed.json]

Everything is measured in one process in interleaved rounds (the order turns round in every other one). Gains
are medians of each round's ratio, so a machine whose speed drifts does not decide them. "side by side" is the
way of the public code: both prompts in one batch of four rows, explicit maps in every layer, columns edited
in one product (reference/side_by_side.py). Text encoding is left out on both sides throughout, decoding in
the first comparisons. Beside the file it is written to, cost against steps, resolution and number of targets
is drawn.

"sd15", "sd21" and "sdxl" have the sizes of these UNets at 512, 768 and 1024 pixels with random weights: times
don't depend on what the weights are. Their text encoders and autoencoders are small stand-ins. On a CPU they
are only compared side by side, with few steps, unless --full is given; a GPU runs everything.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from p2p_core import Edit, PromptToPrompt, Source
from p2p_core.model.compiling import compile_regions
from reference import by_hand, side_by_side

from . import speed_report as report
from .models import NAMES, load

PROMPT, TARGET = "a red house on a snowy hill at night", "a red castle on a snowy hill at night"
WORDS = [([n], [n]) for n in range(9)]  # each word of TARGET reads the one of PROMPT
GUIDANCE, CROSS, SELF = 7.5, 0.8, 0.4
EDIT = Edit(TARGET, cross_steps=CROSS, self_steps=SELF)
# steps, rounds, whether a round is run before that isn't counted, expected gain over side by side
SETTINGS: dict[str, tuple[int, int, bool, float | None]] = {
    "storybook": (50, 7, True, 1.8),
    "sd15": (2, 2, False, 3.0),
    "sd21": (2, 1, False, None),
    "sdxl": (1, 1, False, None),
    "tiny": (10, 1, True, None),
}
LARGE = ("sd15", "sd21", "sdxl")
Table = dict[str, Any]


# --- measuring --------------------------------------------------------------------------------------


class Times:
    """Seconds of several runs in interleaved rounds."""

    def __init__(self, rounds: int, warm_up: bool, **runs: Callable[[], None]) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in runs}
        for r in range(-1 if warm_up else 0, rounds):
            for name in list(runs)[:: -1 if r % 2 else 1]:
                begun = time.perf_counter()
                runs[name]()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if r >= 0:
                    self.seconds[name].append(time.perf_counter() - begun)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, a: str, b: str) -> float:
        """Median of each round's a / b."""
        return statistics.median(x / y for x, y in zip(self.seconds[a], self.seconds[b], strict=True))


@contextmanager
def unet_calls(p2p: PromptToPrompt) -> Iterator[list[int]]:
    """The number of rows of each UNet call while the block runs."""
    kind, rows = type(p2p.pipe.unet), list[int]()
    plain = kind.forward  # of the class: a hook would be a change of the pipeline, which is noticed

    def forward(self: Any, sample: torch.Tensor, *args: Any, **more: Any) -> Any:
        rows.append(len(sample))
        return plain(self, sample, *args, **more)

    kind.forward = forward
    try:
        yield rows
    finally:
        kind.forward = plain


def final_latents(states: Any) -> torch.Tensor:
    """Run a generator of states to its last step, but not to the picture."""
    for state in states:
        if state.index == state.total:
            states.close()
            return state.latents
    raise RuntimeError("a run without a last step")


def against_side_by_side(p2p: PromptToPrompt, source: Source, rounds: int, warm_up: bool) -> Table:
    """An edit from a recorded source, every step of it, and the same edit side by side."""
    pipe, N = p2p.pipe, source.steps
    h, w = source.latents.shape[-2:]
    controls = by_hand.controls(
        pipe.tokenizer,
        PROMPT,
        TARGET,
        WORDS,
        N,
        cross=(0, int(CROSS * N + 0.5)),
        self_steps=(0, int(SELF * N + 0.5)),
        self_pixels=max(256, h * w / 4),
    )
    added: dict[str, torch.Tensor] | None = None
    texts: Any = tuple(by_hand.embed(pipe, text) for text in ("", PROMPT, TARGET)) if not two(p2p) else ()
    if two(p2p):
        texts, added = by_hand.embed_two(pipe, PROMPT, TARGET, (source.height, source.width))
    asked: Any = {"steps": N, "guidance_scale": GUIDANCE, "added": added}
    last: dict[str, torch.Tensor] = {}

    def public() -> None:
        last["theirs"] = side_by_side.sample(
            pipe, texts, source.latents[:1], controls, columnwise=False, **asked
        )[1]

    def ours() -> None:
        p2p.forget_edits()
        last["ours"] = final_latents(p2p.iter_edit(source, EDIT))

    def literal() -> None:  # as the paper writes it, and as the tests compare: column by column
        side_by_side.sample(pipe, texts, source.latents[:1], controls, **asked)

    conditioned = conditions(p2p)

    def plain() -> None:  # the floor: what one picture costs without any of this
        pipe(
            **conditioned,
            latents=source.latents[:1],
            num_inference_steps=N,
            guidance_scale=GUIDANCE,
            output_type="latent",
        )

    runs = {"side_by_side": public, "edit": ours, "plain": plain}
    runs |= {"literal": literal} if h * w <= 1024 else {}
    times = Times(rounds, warm_up, **runs)
    gap = (last["ours"] - last["theirs"]).abs().max() / last["theirs"].abs().max()
    literally = {"gain_over_literal": times.ratio("literal", "edit")} if "literal" in runs else {}
    return literally | {
        "seconds_side_by_side": times.median("side_by_side"),
        "seconds_edit": times.median("edit"),
        "gain": times.ratio("side_by_side", "edit"),
        "seconds_plain": times.median("plain"),
        "over_plain": times.ratio("edit", "plain"),
        "largest_difference_of_latents": float(gap),
    }


def two(p2p: PromptToPrompt) -> bool:
    """Whether the model has SDXL's two text encoders."""
    return getattr(p2p.pipe, "text_encoder_2", None) is not None


def conditions(p2p: PromptToPrompt) -> dict[str, torch.Tensor]:
    """The encoded prompt, by the names of the arguments of diffusers' pipeline."""
    if not two(p2p):
        negative, text = by_hand.embed(p2p.pipe, ""), by_hand.embed(p2p.pipe, PROMPT)
        return {"prompt_embeds": text, "negative_prompt_embeds": negative}
    with torch.no_grad():
        encoded = p2p.pipe.encode_prompt(PROMPT, device=p2p.device)
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    return dict(zip(names, encoded, strict=True))


def cost_of_recording(p2p: PromptToPrompt, source: Source, rounds: int, warm_up: bool) -> Table:
    """Generating with everything recorded, and diffusers' own pipeline, from the same start latents."""
    pipe, N = p2p.pipe, source.steps
    text = conditions(p2p)
    x_T = source.latents[:1].flip(-1)  # not the source's own, whose record is to stay

    def diffusers() -> None:
        pipe(
            **text,
            latents=x_T,
            num_inference_steps=N,
            guidance_scale=GUIDANCE,
            output_type="latent",
        )

    def recorded() -> None:
        final_latents(p2p.iter_generate(PROMPT, steps=N, guidance_scale=GUIDANCE, latents=x_T))

    times = Times(rounds, warm_up, diffusers=diffusers, generate=recorded)
    return {
        "seconds_diffusers": times.median("diffusers"),
        "seconds_generate": times.median("generate"),
        "overhead_percent": 100 * (times.ratio("generate", "diffusers") - 1),
    }


def exact_reuse(p2p: PromptToPrompt, source: Source) -> list[Table]:
    """What is computed again when an edit changes a little. Seconds hold decoding."""
    p2p.forget_edits()
    table = []
    for what, edit in (
        ("first edit, window to 80 %", EDIT),
        ("window's end to 60 %", EDIT.replace(cross_steps=0.6)),
        ("back to 80 %", EDIT),
        ("the same edit again", EDIT),
        ("a fader moved, all steps", EDIT.replace(weights={"snowy": 1.5})),
        ("a fader from 60 % on", EDIT.replace(weights={"snowy": 1.5}, weight_steps=(0.6, 1.0))),
        ("equal prompts", Edit(PROMPT)),
    ):
        with unet_calls(p2p) as rows:
            result = p2p.edit(source, edit)
        counts = {"steps_computed": result.steps_computed, "unet_calls": len(rows)}
        table.append({"what": what, **counts, "seconds": result.seconds})
    return table


def first_preview(p2p: PromptToPrompt, source: Source, rounds: int) -> Table:
    """Seconds from a change to the first preview: of a fader that holds from the first step on, and of a
    window's end, whose steps before are known."""
    p2p.edit(source, EDIT)
    seconds: dict[str, list[float]] = {"fader": [], "window": []}
    for r in range(-1, max(3, rounds)):
        for what, edit in (
            ("fader", EDIT.replace(weights={"snowy": 1.1 + r / 50})),
            ("window", EDIT.replace(cross_steps=0.5 + 0.02 * r)),
        ):
            begun = time.perf_counter()
            states = p2p.iter_edit(source, edit)
            p2p.preview(next(states))
            if r >= 0:  # one before, that isn't counted
                seconds[what].append(time.perf_counter() - begun)
            states.close()
    return {f"seconds_{what}": statistics.median(of) for what, of in seconds.items()}


def costs(p2p: PromptToPrompt, source: Source, rounds: int) -> Table:
    """What an edit takes against steps and resolution, and each of several targets in one call."""
    N, (height, width) = source.steps, (source.height, source.width)
    halvings = len(p2p.pipe.unet.config.block_out_channels) - 1
    unit = 2**halvings * p2p.model.factor

    def seconds(of: Source, edits: list[Edit]) -> float:
        def run() -> None:
            p2p.forget_edits()
            states, left = p2p.iter_edit_many(of, edits), len(edits) * of.steps
            for _ in states:
                left -= 1
                if not left:  # to the last step, but not to the pictures
                    break
            states.close()

        return Times(rounds, rounds > 1, edit=run).median("edit")

    steps, sizes, targets = [], [], []
    for n in sorted({max(1, N // 4), max(1, N // 2), N}):
        other = p2p.generate(PROMPT, seed=2, steps=n, guidance_scale=GUIDANCE)
        steps.append({"steps": n, "seconds": seconds(other, [EDIT])})
        p2p.forget(other)
    for share in (0.5, 0.75, 1.0):
        h, w = (max(unit, round(share * side / unit) * unit) for side in (height, width))
        other = p2p.generate(PROMPT, seed=2, steps=N, guidance_scale=GUIDANCE, height=h, width=w)
        sizes.append({"pixels": f"{w} x {h}", "megapixels": h * w / 1e6, "seconds": seconds(other, [EDIT])})
        p2p.forget(other)
    for n in (1, 2, 4, 8):
        edits = [EDIT.replace(weights={"snowy": 0.5 + k / 8}) for k in range(n)]
        targets.append({"targets": n, "seconds": seconds(source, edits)})
    return {"steps": steps, "sizes": sizes, "targets": targets}


def sweep(p2p: PromptToPrompt, source: Source, rounds: int) -> Table:
    """Eleven windows, 0 to 100 %, as one call and as eleven runs from nothing; decoding in both."""
    edits = [EDIT.replace(cross_steps=n / 10) for n in range(11)]
    steps = {"sweep": 0, "alone": 0}

    def together() -> None:
        p2p.forget_edits()
        steps["sweep"] = sum(result.steps_computed for result in p2p.edit_many(source, edits))

    def alone() -> None:
        steps["alone"] = 0
        for edit in edits:
            p2p.forget_edits()
            steps["alone"] += p2p.edit(source, edit).steps_computed

    times = Times(rounds, False, sweep=together, alone=alone)
    return {
        "steps_sweep": steps["sweep"],
        "steps_alone": steps["alone"],
        "steps_percent": 100 * steps["sweep"] / steps["alone"],
        "seconds_sweep": times.median("sweep"),
        "seconds_alone": times.median("alone"),
        "time_percent": 100 * times.ratio("sweep", "alone"),
    }


def tiers(p2p: PromptToPrompt, steps: int, rounds: int) -> list[Table]:
    """An edit, every step of it, with the source in each tier; "nothing" records it again on the way."""
    much = 1 << 40
    budgets = {
        "device": {"device": much},
        "host": {"device": 0, "host": much},
        "disk": {"device": 0, "host": 0, "disk": much},
        "nothing": {"device": 0, "host": 0, "disk": 0},
    }
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for tier, budget in budgets.items():
            more = {"cache_folder": folder} if tier == "disk" else {}
            other = PromptToPrompt(p2p.pipe, device=p2p.device, dtype=p2p.dtype, cache_bytes=budget, **more)
            source = other.generate(PROMPT, seed=1, steps=steps, guidance_scale=GUIDANCE)

            def edited(other: PromptToPrompt = other, source: Source = source) -> None:
                other.forget_edits()
                final_latents(other.iter_edit(source, EDIT))

            times = Times(rounds, False, edit=edited)
            table.append(
                {
                    "tier": tier,
                    "where": source.where,
                    "seconds": times.median("edit"),
                    "megabytes": source.nbytes / 1e6,
                }
            )
            other.forget(source)
            del other
    return table


def compiled(p2p: PromptToPrompt, source: Source, rounds: int) -> Table:
    """An edit before and after the regions are compiled, which they stay: the last to be measured."""
    last: dict[str, torch.Tensor] = {}

    def edit(name: str) -> None:
        p2p.forget_edits()
        last[name] = final_latents(p2p.iter_edit(source, EDIT))

    plain = Times(rounds, True, plain=lambda: edit("plain"))
    regions = compile_regions(p2p.pipe.unet)
    begun = time.perf_counter()
    edit("compiled")
    first = time.perf_counter() - begun
    after = Times(rounds, True, compiled=lambda: edit("compiled"))
    gap = (last["compiled"] - last["plain"]).abs().max() / last["plain"].abs().max()
    return {
        "regions": regions,
        "seconds_first": first,
        "seconds_plain": plain.median("plain"),
        "seconds_compiled": after.median("compiled"),
        "largest_difference_of_latents": float(gap),
    }


def machine() -> Table:
    """What it runs on, and how busy that is."""
    info = Path("/proc/cpuinfo")
    names = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "load_average_before": round(os.getloadavg()[0], 1),
    }


def measure(
    name: str,
    steps: int | None = None,
    rounds: int | None = None,
    full: bool = False,
    only: Collection[str] = (),
    save: Callable[[Table], None] = lambda _table: None,
) -> Table:
    """All measurements of one model; of a large one on a CPU only the edit against side by side.

    only: the sections to measure, others are left out. save: hears of the table after each section, so that
    a run that is cut off leaves what it has.
    """
    default_steps, default_rounds, warm_up, expected = SETTINGS[name]
    where = machine()
    p2p, weights = load(name)
    if p2p.device.type == "cuda":
        default_steps, default_rounds, warm_up = 30 if name == "sdxl" else 50, 3, True
        full, expected = True, 3.0 if name in LARGE else expected
    N, rounds = steps or default_steps, rounds or default_rounds
    source = p2p.generate(PROMPT, seed=1, steps=N, guidance_scale=GUIDANCE)
    table: Table = {
        "machine": where,
        "weights": weights,
        "dtype": str(p2p.dtype).removeprefix("torch."),
        "device": p2p.device.type,
        "picture": f"{source.width} x {source.height}",
        "steps": N,
        "rounds": rounds,
        "edit": f"cross {CROSS}, self {SELF}, guidance {GUIDANCE}",
        "source_megabytes": source.nbytes / 1e6,
        "expected_gain": expected,
    }
    sections: dict[str, Callable[[], Any]] = {
        "against_side_by_side": lambda: against_side_by_side(p2p, source, rounds, warm_up),
        "first_preview": lambda: first_preview(p2p, source, rounds),
    }
    if name not in LARGE or full or only:
        sections |= {
            "cost_of_recording": lambda: cost_of_recording(p2p, source, rounds, warm_up),
            "exact_reuse": lambda: exact_reuse(p2p, source),
            "sweep": lambda: sweep(p2p, source, min(rounds, 2)),
            "costs": lambda: costs(p2p, source, min(rounds, 2)),
            "tiers": lambda: tiers(p2p, N, min(rounds, 2)),
        }
    if "compiled" in only or p2p.device.type == "cuda":
        sections["compiled"] = lambda: compiled(p2p, source, rounds)
    for section, run in sections.items():
        if only and section not in only:
            continue
        if section == "tiers":  # what lies on the device for the others is in its way
            p2p.forget(source)
        if section == "compiled" and not p2p.cache.steps(source.key):
            source = p2p.generate(PROMPT, seed=1, steps=N, guidance_scale=GUIDANCE)
        table[section] = run()
        where["load_average_after"] = round(os.getloadavg()[0], 1)
        save(table)
    return table


def main(argv: list[str] | None = None) -> None:
    """Measure, print tables, and put them beside those of other models in a JSON and a Markdown file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="The speed of edits.")
    parser.add_argument("--model", choices=[*SETTINGS, "all"], default="all")
    parser.add_argument("--steps", type=int, help="default: 50, of large models on a CPU 1 or 2")
    parser.add_argument("--rounds", type=int, help="default: 7, of large models on a CPU 1 or 2")
    parser.add_argument("--full", action="store_true", help="everything, of large models on a CPU too")
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=report.SECTIONS,
        default=(),
        help="only these, beside what --out has already",
    )
    parser.add_argument("--out", type=Path, help="a JSON file, e.g. docs/speed.json; beside it the same .md")
    args = parser.parse_args(argv)
    for name in NAMES if args.model == "all" else (args.model,):

        def save(table: Table, name: str = name) -> None:
            if args.out:
                try:
                    report.written(args.out, name, table, beside=bool(args.sections))
                except ValueError as error:
                    parser.error(str(error))

        table = measure(name, args.steps, args.rounds, args.full, args.sections, save)
        print(report.markdown(name, table), end="\n\n", flush=True)
        save(table)


if __name__ == "__main__":
    main()
