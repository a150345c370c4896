"""Does the bundled model show what prompts ask? `python -m storybook.evaluate [--count N]`.

Prompts are of combinations of subject, colour and place that were never trained on; the judge, which knows
renders only, reads the pictures. Writes docs/evaluation.json and .md, and docs/evaluation.png: the first 64
pictures, none picked. Sharpness is measured against drawings of the same prompts, and with `--frechet N` the
Frechet distance of N pictures to as many drawings. How well edits do is measured by
`python -m benchmarks.edits`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from .captions import caption
from .fidelity import drawings, frechet, sharpness
from .judge import Judge
from .report import contact_sheet, curve, page
from .scenes import ATTRIBUTES, DEGREES, Scene, sample

ROOT = Path(__file__).resolve().parent.parent
BATCH = 16
DRAWN = 1 << 41  # layouts of the drawings that pictures are compared with: above all that were trained on


def held_out(count: int, seed: int) -> list[Scene]:
    """Scenes of combinations never trained on, of all times, seasons, weathers and styles."""
    rng = np.random.default_rng(seed)
    return [sample(rng, held_out=True) for _ in range(count)]


def draw(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], *, steps: int, guidance: float, seed: int
) -> list[Image.Image]:
    """A picture for each prompt; the i-th from the noise of seed + i."""
    images: list[Image.Image] = []
    for first in range(0, len(prompts), BATCH):
        some = list(prompts[first : first + BATCH])
        generators = [torch.Generator().manual_seed(seed + first + i) for i in range(len(some))]
        images += pipe(some, num_inference_steps=steps, guidance_scale=guidance, generator=generators).images
    return images


def judged(scenes: Sequence[Scene], images: Sequence[Image.Image], judge: Judge) -> dict[str, Any]:
    """Shares of pictures that show each attribute as asked, and all of them at once."""
    readings = judge.read(images)
    right = {
        name: [r[name] == getattr(s, name) for r, s in zip(readings, scenes, strict=True)]
        for name in ATTRIBUTES
    }
    shares = {name: round(float(np.mean(values)), 3) for name, values in right.items()}
    return {**shares, "all": round(float(np.all([*right.values()], axis=0).mean()), 3)}


def judged_styles(scenes: Sequence[Scene], images: Sequence[Image.Image], judge: Judge) -> dict[str, Any]:
    """What `judged` says of the prompts of each style by itself, with how many they are."""
    found = {}
    for style in ATTRIBUTES["style"]:
        some = [i for i, scene in enumerate(scenes) if scene.style == style]
        if some:
            shares = judged([scenes[i] for i in some], [images[i] for i in some], judge)
            found[style] = {"prompts": len(some), **shares}
    return found


def judged_degrees(scenes: Sequence[Scene], images: Sequence[Image.Image], judge: Judge) -> dict[str, Any]:
    """Per word of degree the mean degree read where the prompt has the word and where it has not."""
    readings = judge.read(images)
    found = {}
    for name in DEGREES:
        said = np.array([getattr(s, name) > 0 for s in scenes])
        read = np.array([r[name] for r in readings])
        found[name] = {
            "prompts": int(said.sum()),
            "said": round(float(read[said].mean()), 3) if said.any() else None,
            "not said": round(float(read[~said].mean()), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=256, help="pictures")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--frechet", type=int, default=0, help="pictures for the Frechet distance; 2000 is good"
    )
    parser.add_argument(
        "--model", type=Path, default=ROOT / "assets" / "storybook", help="a diffusers folder"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for evaluation.*")
    parser.add_argument(
        "--logs",
        type=Path,
        nargs="*",
        default=[ROOT / "docs" / "training" / name for name in ("unet-before.jsonl", "unet.jsonl")],
        help="of the UNet's training, one after the other",
    )
    args = parser.parse_args()

    pipe = StableDiffusionPipeline.from_pretrained(args.model, dtype=torch.float32)
    pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    every, begun = held_out(max(args.count, args.frechet), args.seed), time.monotonic()
    pictures = draw(
        pipe, [caption(s) for s in every], steps=args.steps, guidance=args.guidance, seed=1000 + args.seed
    )
    seconds = time.monotonic() - begun
    drawn, judge = drawings(every, DRAWN), Judge.load()
    scenes, images = every[: args.count], pictures[: args.count]
    result = {
        "settings": {
            "prompts": args.count,
            "steps": args.steps,
            "guidance_scale": args.guidance,
            "seed": args.seed,
            "torch": torch.__version__,
            "device": str(pipe.device),
        },
        "shown": judged(scenes, images, judge),
        "styles": judged_styles(scenes, images, judge),
        "degrees": judged_degrees(scenes, images, judge),
        "sharpness": sharpness(scenes, images, drawn[: args.count]),
        "seconds a picture, in batches": round(seconds / len(every), 2),
    }
    if args.frechet:
        n = args.frechet
        others = drawings(every[:n], DRAWN + n)
        result["frechet"] = frechet(pictures[:n], drawn[:n], others, judge)
        result["settings"]["frechet"] = n
    (args.out / "training").mkdir(parents=True, exist_ok=True)
    (args.out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.out / "evaluation.md").write_text(page(result))
    contact_sheet(scenes[:64], images[:64]).save(args.out / "evaluation.png")
    logs = [log for log in args.logs if log.exists()]
    if logs:
        curve(*logs).savefig(args.out / "training" / "curve.png", dpi=110)
    print(page(result))


if __name__ == "__main__":
    main()
