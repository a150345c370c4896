"""Quick looks at latents where decoding would take too long: a linear map from latents to colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MAX_LATENT = 30.0  # standard deviations; what is beyond is no picture's, but of a weight of millions, say
DECAY = 0.9  # of the sums with each picture, so that no one picture stays for ever


class LinearPreview:
    """Latents -> RGB by least squares, fitted to every picture that is decoded, so that it needs no constants
    of any one model. The sums stay where the latents are, and nothing is read back to fit it."""

    def __init__(self) -> None:
        self._xx: Tensor | None = None  # (C + 1, C + 1)
        self._xy: Tensor | None = None  # (C + 1, 3)
        self._map: Tensor | None = None  # (C + 1, 3), from the sums; None: they have changed since

    @property
    def learned(self) -> bool:
        return self._xx is not None

    def learn(self, latents: Tensor, pixels: Tensor) -> None:
        """Latents (1, C, h, w) and what they decode to, (1, 3, H, W) in -1..1; outliers are left out."""
        small = F.interpolate(pixels.float(), size=latents.shape[-2:], mode="area")
        x, y = _rows(latents), (small.clamp(-1, 1) / 2 + 0.5).flatten(2)[0].T.double()
        usual = (x.abs().amax(1) < MAX_LATENT) & y.isfinite().all(1)  # NaN compares as unusual, too
        x, y = (torch.where(usual[:, None], rows, 0) for rows in (x, y))
        xx, xy = x.T @ x, x.T @ y
        self._xx = xx if self._xx is None else DECAY * self._xx + xx
        self._xy = xy if self._xy is None else DECAY * self._xy + xy
        self._map = None

    def picture(self, latents: Tensor, factor: int) -> Image.Image:
        """Latents (C, h, w) as a picture `factor` times as large."""
        assert self._xx is not None and self._xy is not None
        if self._map is None:
            least = 1e-6 * self._xx.diagonal().mean().clamp_min(1e-6) * torch.eye(len(self._xx)).to(self._xx)
            self._map = torch.linalg.solve_ex(self._xx + least, self._xy)[0]
        h, w = latents.shape[-2:]
        rgb = (_rows(latents[None]) @ self._map).reshape(h, w, 3).nan_to_num().clamp(0, 1)
        small = rgb.mul(255).round().byte().cpu().numpy()
        return Image.fromarray(small).resize((w * factor, h * factor), Image.Resampling.BILINEAR)


def _rows(latents: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, C + 1) float64, the last column ones."""
    x = latents.flatten(2)[0].T.double()
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
