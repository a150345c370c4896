"""From a run's folder to the shipped one: a plain diffusers pipeline in fp16 safetensors."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .unet import scheduler

LIMIT = 40 << 20


def write(run: Path, out: Path, unet: str = "unet") -> int:
    """Write the pipeline with the UNet in the run's folder of that name. Returns its size in bytes; raises
    `ValueError` above 40 MB."""
    half = torch.float16
    vae, network = (
        AutoencoderKL.from_pretrained(run / "vae"),
        UNet2DConditionModel.from_pretrained(run / unet),
    )
    for part in (vae, network):
        part.register_to_config(_name_or_path="")  # where the run lies is nobody's business
    pipe = StableDiffusionPipeline(
        vae=vae.to(half),
        text_encoder=CLIPTextModel.from_pretrained(run / "text_encoder").to(half),
        tokenizer=CLIPTokenizer.from_pretrained(run / "tokenizer"),
        unet=network.to(half),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(out, safe_serialization=True)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):  # for older versions of transformers
        shutil.copyfile(run / "tokenizer" / name, out / "tokenizer" / name)
    for file in out.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if size > LIMIT:
        raise ValueError(
            f"The bundled model may take {LIMIT >> 20} MB; {out} takes {size / (1 << 20):.1f} MB."
        )
    print(f"export: {out}, {size / (1 << 20):.1f} MB")
    return size
