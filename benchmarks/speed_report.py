"""What `benchmarks.speed` prints and draws: a table for each model, and figures of what an edit costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Table = dict[str, Any]
TITLE = ("# Speed", "`python -m benchmarks.speed`")
SECTIONS = (
    "against_side_by_side", "first_preview", "cost_of_recording", "exact_reuse", "sweep", "costs", "tiers",
    "compiled",
)  # fmt: skip
FLOOR = 1.10  # an edit over diffusers' plain generation of one picture, at most
# figures of others (seconds), with what is not the same there
OTHERS = {
    "sd15": (
        (
            "side by side, explicit maps, per step, two cores, measured earlier",
            54.4,
            "another machine; float32, 64 x 64 latent, one step",
        ),
        (
            "side by side, fused attention, per step, two cores, measured earlier",
            30.0,
            "the same machine as above",
        ),
        (
            "an edit of a cached source, per step, two cores, measured earlier",
            15.3,
            "a sketch of this engine",
        ),
        ("two plain rows, per step, two cores, measured earlier", 15.05, "the UNet alone, no scheduler"),
        (
            "Prompt-to-Prompt, Stable Diffusion 1.4, 50 steps, side by side, A40, as published by others",
            12.8,
            "another GPU, real weights, decoding included",
        ),
        ("InfEdit, LCM, 12 steps, A40, as published by others", 2.2, "another method of 12 steps"),
    )
}


def markdown(name: str, table: Table) -> str:
    """One model's table; sections that are not measured (yet) are left out."""
    m = table["machine"]
    lines = [
        f"**{name}** ({table['weights']}): {table['picture']} pixels, {table['steps']} steps, "
        f"{table['edit']}, {table['dtype']}; {table['rounds']} interleaved rounds{_rounds(table)}. "
        f"{m['processor']}, {m['cores']} cores, {m['threads']} threads, {m['device']}, torch {m['torch']}, "
        f"load average {m['load_average_before']} to {m['load_average_after']}. A recorded source has "
        f"{table['source_megabytes']:.1f} MB.",
        "",
        "| what | measured | expected |",
        "|---|---|---|",
        *_edit(table),
        *_preview(table),
    ]
    if "cost_of_recording" in table:
        c = table["cost_of_recording"]
        lines += [
            f"| diffusers' own pipeline, one picture | {c['seconds_diffusers']:.2f} s | |",
            f"| generate, recorded | {c['seconds_generate']:.2f} s, {c['overhead_percent']:+.1f} % "
            "| at most +5 % |",
        ]
    for row in table.get("exact_reuse", ()):
        lines.append(
            f"| {row['what']} | {row['steps_computed']} steps, {row['unet_calls']} UNet calls, "
            f"{row['seconds']:.2f} s | |"
        )
    if "sweep" in table:
        s = table["sweep"]
        lines += [
            f"| sweep of 11 windows, steps | {s['steps_sweep']} of {s['steps_alone']}: "
            f"{s['steps_percent']:.0f} % | at most 62 % |",
            f"| sweep of 11 windows, time | {s['seconds_sweep']:.2f} of {s['seconds_alone']:.2f} s: "
            f"{s['time_percent']:.0f} % | at most 60 %, on a GPU 45 % |",
        ]
    for row in table.get("tiers", ()):
        lines.append(
            f"| an edit, source in {row['where']} | {row['seconds']:.2f} s, {row['megabytes']:.1f} MB | |"
        )
    if "compiled" in table:
        c = table["compiled"]
        lines += [
            f"| an edit, {c['regions']} regions compiled | {c['seconds_compiled']:.2f} s, not compiled "
            f"{c['seconds_plain']:.2f} s | |",
            f"| the first run, which compiles them | {c['seconds_first']:.0f} s | |",
        ]
    if "costs" in table:
        lines += _costs(table["costs"])
    return "\n".join([*lines, *_others(name, table)])


def _edit(table: Table) -> list[str]:
    if "against_side_by_side" not in table:
        return []
    a = table["against_side_by_side"]
    expected = f"at least {table['expected_gain']}" if table["expected_gain"] else ""
    lines = [
        f"| an edit, all steps computed | {a['seconds_edit']:.2f} s | |",
        f"| the same side by side (4 rows, explicit maps) | {a['seconds_side_by_side']:.2f} s | |",
        f"| side by side / edit | **{a['gain']:.2f}** | {expected} |",
    ]
    if "over_plain" in a:
        lines += [
            f"| diffusers' plain generation of one picture (2 rows) | {a['seconds_plain']:.2f} s | |",
            f"| edit / plain generation, in the same rounds | **{a['over_plain']:.2f}** "
            f"| at most {FLOOR:.2f} |",
        ]
    if "gain_over_literal" in a:
        lines.append(f"| side by side, columns edited one by one / edit | {a['gain_over_literal']:.2f} | |")
    return lines


def _preview(table: Table) -> list[str]:
    if "first_preview" not in table:
        return []
    limit = "at most 150 ms" if table["device"] == "cuda" else "at most 150 ms on a GPU"
    fader, window = (table["first_preview"][f"seconds_{what}"] for what in ("fader", "window"))
    return [
        f"| a fader moved, till the first preview | {1000 * fader:.0f} ms | {limit} |",
        f"| a window's end moved, till the first preview | {1000 * window:.0f} ms | |",
    ]


def _costs(costs: Table) -> list[str]:
    lines = [f"| an edit of {row['steps']} steps | {row['seconds']:.2f} s | |" for row in costs["steps"]]
    lines += [f"| an edit of {row['pixels']} pixels | {row['seconds']:.2f} s | |" for row in costs["sizes"]]
    for row in costs["targets"]:
        n = row["targets"]
        each = f", {row['seconds'] / n:.2f} s each" if n > 1 else ""
        lines.append(f"| {n} target{'s' if n > 1 else ''} in one call | {row['seconds']:.2f} s{each} | |")
    return lines


def _others(name: str, table: Table) -> list[str]:
    """Figures of other implementations beside ours, with what differs."""
    if name not in OTHERS or "against_side_by_side" not in table:
        return []
    a, N = table["against_side_by_side"], table["steps"]
    where = f"{table['machine']['device']}, {table['dtype']}, random weights, no decoding"
    lines = ["", "| beside others | seconds | what differs |", "|---|---|---|"]
    lines += [f"| {what} | {seconds} | {differs} |" for what, seconds, differs in OTHERS[name]]
    for what, key in (
        ("side by side", "side_by_side"),
        ("an edit", "edit"),
        ("plain generation", "plain"),
    ):
        if f"seconds_{key}" in a:
            seconds = a[f"seconds_{key}"]
            lines.append(f"| here: {what}, {N} steps | {seconds:.2f}, {seconds / N:.3f} a step | {where} |")
    return lines


def figure(name: str, table: Table) -> Figure:
    """Cost against steps, resolution and the number of targets."""
    costs = table["costs"]
    made = Figure(figsize=(10, 3.2), layout="constrained")
    axes = made.subplots(1, 3)
    panels = (
        ("steps", "steps", "steps"),
        ("sizes", "megapixels", "megapixels"),
        ("targets", "targets", "targets in one call"),
    )
    for ax, (rows, key, label) in zip(axes, panels, strict=True):
        x, y = [row[key] for row in costs[rows]], [row["seconds"] for row in costs[rows]]
        ax.plot(x, y, marker="o", color="tab:blue", label="measured")
        if rows == "targets":
            ax.plot(x, [y[0] * n for n in x], ls=":", color="tab:gray", label="one by one")
            ax.legend(frameon=False)
        ax.set(xlabel=label, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    m = table["machine"]
    made.suptitle(f"{name}: an edit, all steps computed ({m['device']}, {table['dtype']})", fontsize=10)
    return made


def _rounds(table: Table) -> str:
    """What was measured by itself, in so many rounds."""
    return "".join(f"; {what.replace('_', ' ')}: {n}" for what, n in table.get("rounds_of", {}).items())


def written(out: Path, name: str, table: Table, *, beside: bool = False) -> None:
    """Put a model's table beside those of others, as JSON, Markdown and, where there is one, a figure.

    beside: its sections join those that the model has already, if they are of as many steps on the same
    processor. Raises `ValueError` if they aren't.
    """
    tables = json.loads(out.read_text()) if out.exists() else {}
    if beside and name in tables:
        known = tables[name]
        for what in ("steps", "picture", "dtype", "device"):
            if known[what] != table[what]:
                raise ValueError(f"{out} has {what} {known[what]} of {name}; got {table[what]}.")
        if known["machine"]["processor"] != table["machine"]["processor"]:
            raise ValueError(f"{out} has figures of another processor: {known['machine']['processor']}.")
        new = {key: value for key, value in table.items() if key not in known or key in SECTIONS}
        rounds = known.get("rounds_of", {}) | {key: table["rounds"] for key in new if key in SECTIONS}
        other = {key: n for key, n in rounds.items() if n != known["rounds"]}
        table = {**known, **new, "rounds_of": other}
    tables[name] = table
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(tables, indent=2) + "\n")
    pages = [*TITLE]
    for each, its in tables.items():
        pages.append(markdown(each, its))
        drawn = out.with_name(f"{out.stem}-{each}.png")
        if each == name and "costs" in its:
            figure(each, its).savefig(drawn, dpi=110)
        if drawn.exists():
            pages.append(f"![{each}: cost against steps, resolution and targets]({drawn.name})")
    out.with_suffix(".md").write_text("\n\n".join(pages) + "\n")
