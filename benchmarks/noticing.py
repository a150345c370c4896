"""What it costs to notice that a pipeline has changed: `python -m benchmarks.noticing`.

The look that every call begins with, at the bundled model and at one of Stable Diffusion 1.5's size (UNet,
autoencoder and text encoder of its configurations, random weights). Writes docs/noticing.json and .md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from p2p_core import PromptToPrompt
from p2p_core.model.watch import Watch

from .models import random_pipeline

ROOT = Path(__file__).resolve().parent.parent
LOOKS = 200
SD15_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SD15_TEXT = CLIPTextConfig(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
)
PAGE = """# Noticing changes

Made by `python -m benchmarks.noticing`: the look at the pipeline that every call takes once, {looks} times,
by one thread of a CPU, torch {torch}. Nothing of it is in the loop over the steps.

| model | weights and buffers | median, ms | asked for, ms |
|---|--:|--:|--:|
"""


def milliseconds(pipe: Any) -> float:
    """The median time of a look at a pipeline that has not changed."""
    watch, found = Watch(pipe), []
    for _ in range(LOOKS):
        begun = time.perf_counter()
        same = watch.unchanged()
        found.append(1000 * (time.perf_counter() - begun))
        if not same:
            raise RuntimeError("The pipeline has changed under the benchmark; its times would say nothing.")
    return statistics.median(found)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    large = random_pipeline("sd15")
    large.vae, large.text_encoder = AutoencoderKL(**SD15_VAE), CLIPTextModel(SD15_TEXT)
    rows = []
    for name, pipe, most in (
        ("storybook", PromptToPrompt.from_pretrained("storybook", device="cpu").pipe, 1.0),
        ("Stable Diffusion 1.5's size", large, 5.0),
    ):
        networks = (pipe.unet, pipe.vae, pipe.text_encoder)
        count = sum(len([*net.parameters(), *net.buffers()]) for net in networks)
        rows.append({"model": name, "tensors": count, "ms": round(milliseconds(pipe), 2), "most": most})
    (args.out / "noticing.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = PAGE.format(looks=LOOKS, torch=torch.__version__)
    text += "".join(f"| {r['model']} | {r['tensors']} | **{r['ms']:.2f}** | {r['most']:g} |\n" for r in rows)
    (args.out / "noticing.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
