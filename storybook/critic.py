"""A small critic of patches: drawn, or decoded? What it can tell apart, a decoder has still to learn."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """(B, 3, H, W) -> features of each layer; the last is a score per patch, above 0 for drawn."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96)) -> None:
        super().__init__()
        sizes = (3, *widths)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in zip(sizes, widths, strict=False)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return [*features, self.score(x)]


def critic_loss(drawn: Tensor, decoded: Tensor) -> Tensor:
    """Hinge: scores of drawn patches above 1, of decoded ones below -1."""
    return F.relu(1 - drawn).mean() + F.relu(1 + decoded).mean()


def decoder_loss(drawn: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """What the decoder is told: the score of its patches, and how its features differ from the drawing's."""
    apart = [(a.detach() - b).abs().mean() for a, b in zip(drawn[:-1], decoded[:-1], strict=True)]
    return sum(apart, -decoded[-1].mean())
