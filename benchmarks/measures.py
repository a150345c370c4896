"""How alike two pictures are, and how well a map finds a region. Pictures are (H, W, 3) uint8."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from storybook.judge import Judge, as_input

Mask = np.ndarray  # (H, W) bool


def widened(mask: Mask, pixels: int = 8) -> Mask:
    """The mask and all within `pixels` of it: a decoder blurs a little over every border."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def psnr(a: np.ndarray, b: np.ndarray, where: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB where the mask is true; 60 at most, nan where nothing is."""
    error = (a.astype(float) - b.astype(float)) ** 2
    error = error if where is None else error[where]
    return float(10 * np.log10(255**2 / max(error.mean(), 0.065))) if error.size else float("nan")


def ssim(a: np.ndarray, b: np.ndarray, where: Mask | None = None) -> float:
    """Structural similarity (Wang et al. 2004), mean over where the mask is true."""
    _, full = structural_similarity(a, b, channel_axis=-1, full=True)
    whole = full.mean(-1)
    chosen = whole if where is None else whole[where]
    return float(chosen.mean()) if chosen.size else float("nan")


@torch.no_grad()
def structure(judge: Judge, a: np.ndarray, b: np.ndarray, where: Mask | None = None) -> float:
    """Distance of the judge's features: 1 - cosine per cell, mean where the mask is true.

    Made as LPIPS is (Zhang et al. 2018: unit-normalised features of a network, compared cell by cell), with
    the judge as the network: it knows this world's shapes and was trained on renders only.
    """
    one, two = judge.low(torch.stack([as_input(a), as_input(b)]))
    distance = 1 - F.cosine_similarity(one, two, dim=0)
    if where is None:
        return float(distance.mean())
    n, side = len(distance), len(where)
    cells = torch.from_numpy(where.reshape(n, side // n, n, side // n).all((1, 3)))
    return float(distance[cells].mean()) if cells.any() else float("nan")


def map_iou(attention: np.ndarray, region: Mask, threshold: float) -> float:
    """Intersection over union of a region and a word's map above a share of its maximum.

    The map is enlarged to the region's size, smoothly, and scaled to 0..1 first, as DAAM does (Tang et al.
    2023, section 3.1).
    """
    side = region.shape[::-1]
    wide = cv2.resize(attention.astype(np.float32), side, interpolation=cv2.INTER_CUBIC)
    wide = (wide - wide.min()) / max(float(np.ptp(wide)), 1e-12)
    mine = wide > threshold
    return float((mine & region).sum() / max(1, (mine | region).sum()))


def correlation(c: Sequence[float], degrees: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where nothing moves at all."""
    if np.ptp(degrees) == 0:
        return 0.0
    return float(spearmanr(c, degrees).statistic)
