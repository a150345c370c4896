"""How like drawings generated pictures are: sharpness, and a Frechet distance in the judge's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .draw import SIDE, render
from .judge import Judge
from .scenes import ATTRIBUTES, Scene
from .vae import steepness


def drawings(scenes: Sequence[Scene], seed: int) -> list[Image.Image]:
    """A drawing of each scene; the i-th has the layout of seed + i."""
    return [Image.fromarray(render(scene, seed + i, SIDE)) for i, scene in enumerate(scenes)]


def sharpness(
    scenes: Sequence[Scene], images: Sequence[Image.Image], drawn: Sequence[Image.Image]
) -> dict[str, dict[str, float]]:
    """Per style the mean gradient magnitude of the pictures over that of drawings of the same scenes, and the
    same of the root of its mean square, which tells soft edges from steep ones (see `steepness`)."""
    found = {}
    for style in ATTRIBUTES["style"]:
        mine = [i for i, scene in enumerate(scenes) if scene.style == style]
        if mine:
            generated, true = (_steepness([some[i] for i in mine]) for some in (images, drawn))
            mean, edges = generated / true
            found[style] = {"mean": round(float(mean), 3), "edges": round(float(edges), 3)}
    return found


def _steepness(images: Sequence[Image.Image]) -> Tensor:
    """(2,) of `steepness`, means over the pictures."""
    pictures = (torch.from_numpy(np.array(_scaled(image))) for image in images)
    return torch.stack([torch.cat(steepness(p.permute(2, 0, 1)[None].float())) for p in pictures]).mean(0)


def _scaled(image: Image.Image) -> Image.Image:
    return image if image.width == SIDE else image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def frechet(
    images: Sequence[Image.Image], drawn: Sequence[Image.Image], others: Sequence[Image.Image], judge: Judge
) -> dict[str, Any]:
    """Frechet distance of pictures to drawings, and as the floor that of other drawings to these."""
    of_images, of_drawn, of_others = (
        judge.features([_scaled(image) for image in some]) for some in (images, drawn, others)
    )
    return {
        "pictures": len(images),
        "generated": round(frechet_distance(of_images, of_drawn), 3),
        "drawn": round(frechet_distance(of_others, of_drawn), 3),
    }


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between Gaussians with the means and covariances of features a and b, (n, d) each (Heusel et al. 2017).

    |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)); the trace of the root is the sum of the roots of the
    eigenvalues of A^(1/2) B A^(1/2), which is symmetric.
    """
    a, b = a.double(), b.double()
    A, B = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    roots = torch.linalg.eigvalsh(root @ B @ root).clamp_min(0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * roots)
