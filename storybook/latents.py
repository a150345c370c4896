"""Shards of latents and scenes, which the UNet is trained on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .drawings import ROUGH_EVERY, drawing, renders
from .scenes import Scene
from .vae import CHANNELS, digest, latents_of

SHARD = 1000


def make_latents(folder: Path, count: int, seed: int, device: torch.device, *, bf16: bool) -> None:
    """Shards of latents and scenes, every fifth by another hand (`rough-*.pt`).

    Those that exist are kept, so it can be stopped and given again. Each keeps the digest of the encoder that
    made it; one of another encoder is refused.
    """
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    mark = digest(vae)
    vae.to(device).eval()
    with drawing() as pool:
        for number in range((count + SHARD - 1) // SHARD):
            rough = number % ROUGH_EVERY == ROUGH_EVERY - 1
            file = folder / f"{'rough' if rough else 'latents'}-{number:03d}.pt"
            if file.exists():
                shard(file, mark)
                continue
            pictures, scenes = renders(SHARD, seed + 100_000 + number, rough=rough, pool=pool)
            z = latents_of(vae, torch.from_numpy(pictures), bf16=bf16)
            aside = file.with_suffix(".tmp")
            torch.save({"latents": z.half(), "scenes": [asdict(s) for s in scenes], "encoder": mark}, aside)
            aside.replace(file)
            print("latents:", file.name, flush=True)


def shard(file: Path, mark: str) -> dict[str, Any]:
    """A shard of latents made by the encoder with this digest."""
    found: dict[str, Any] = torch.load(file, weights_only=True)
    if found.get("encoder") != mark:
        raise ValueError(
            f"{file.name} holds latents of another autoencoder; expected digest {mark}, "
            f"got {found.get('encoder')}. Remove the latents-*.pt and rough-*.pt and make them anew."
        )
    return found


class Latents:
    """The shards there are whose names begin with `kind`. New ones may appear while training goes on."""

    def __init__(self, folder: Path, kind: str = "latents") -> None:
        self.folder, self.kind = folder, kind
        self.mark = digest(AutoencoderKL.from_pretrained(folder / "vae"))
        self.files: set[str] = set()
        self.values = torch.empty(0, CHANNELS, 16, 16, dtype=torch.float16)
        self.scenes: list[Scene] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self.scenes)

    def refresh(self) -> None:
        for file in sorted(self.folder.glob(f"{self.kind}-*.pt")):
            if file.name not in self.files:
                found = shard(file, self.mark)
                self.values = torch.cat([self.values, found["latents"]])
                self.scenes += [Scene(**s) for s in found["scenes"]]
                self.files.add(file.name)

    def batch(self, picked: Any) -> tuple[Tensor, list[Scene]]:
        """(B, C, 16, 16) float32 and their scenes."""
        return self.values[picked].float(), [self.scenes[i] for i in picked]
