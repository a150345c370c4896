"""DDIM with eta 0 as pure steps with an explicit index (Song et al. 2021, equation 12), and guidance.

A step depends on nothing but its arguments, so a run can be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from .errors import BadSteps, UnsupportedModel, shown
from .plan import check_steps

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """N steps, 0 the noisiest. alpha, alpha_prev: the cumulative products of the papers' alpha-bar."""

    timesteps: Tensor  # (N,) int64
    alpha: tuple[float, ...]  # at timesteps[i]
    alpha_prev: tuple[float, ...]  # where step i arrives
    prediction: str
    clip: float | None  # clip_sample_range, or None

    @classmethod
    def of(cls, config: Mapping[str, Any], steps: int) -> Sampler:
        """From a diffusers scheduler's config: spacing, offset, final alpha and prediction as it says.

        A model whose own scheduler is another one (PNDM in Stable Diffusion 1's folder) is sampled by DDIM
        with that scheduler's betas.
        """
        # Schedulers that never clip don't mention it, and DDIM's default would clip latents as if pixels.
        scheduler = DDIMScheduler.from_config({"clip_sample": False, **config})
        cfg = scheduler.config
        if cfg.prediction_type not in PREDICTIONS:
            raise UnsupportedModel(
                f"The model's prediction type is one of {', '.join(PREDICTIONS)}; "
                f"got {shown(cfg.prediction_type)}."
            )
        if cfg.thresholding:
            raise UnsupportedModel("Dynamic thresholding is made for pixels; this sampler works on latents.")
        N, train = check_steps(steps), cfg.num_train_timesteps
        if train >= N:
            scheduler.set_timesteps(N)
        if train < N or int(scheduler.timesteps.max()) >= train:  # an offset can lead past the last one
            raise BadSteps(f"The model was trained with {train} steps, too few to be sampled with {N}.")
        bars = scheduler.alphas_cumprod
        previous = [int(t) - train // N for t in scheduler.timesteps]
        return cls(
            timesteps=scheduler.timesteps,
            alpha=tuple(float(bars[int(t)]) for t in scheduler.timesteps),
            alpha_prev=tuple(float(bars[t] if t >= 0 else scheduler.final_alpha_cumprod) for t in previous),
            prediction=cfg.prediction_type,
            clip=float(cfg.clip_sample_range) if cfg.clip_sample else None,
        )

    def __len__(self) -> int:
        return len(self.alpha)

    def step(self, x_t: Tensor, out: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """(x_prev, x_0): step i from the latents x_t and the network's guided output, all (B, C, h, w)."""
        a_prev = self.alpha_prev[i]
        eps, x_0 = self._read(x_t, out, i)
        if self.clip is not None:
            x_0 = x_0.clamp(-self.clip, self.clip)
        return a_prev**0.5 * x_0 + (1 - a_prev) ** 0.5 * eps, x_0

    def step_back(self, x_prev: Tensor, out: Tensor, i: int) -> Tensor:
        """Step i the other way: from where it arrives to where it starts, DDIM inversion.

        out: the network's output at timesteps[i] for x_prev, taken for its output for x_t.
        """
        a, a_prev = self.alpha[i], self.alpha_prev[i]
        if self.prediction == "sample":
            x_0 = out
            eps = (x_prev - a_prev**0.5 * x_0) / max(1 - a_prev, 1e-6) ** 0.5
        else:
            eps, _ = self._read(x_prev, out, i)
            x_0 = (x_prev - (1 - a_prev) ** 0.5 * eps) / a_prev**0.5
        return a**0.5 * x_0 + (1 - a) ** 0.5 * eps

    def _read(self, x_t: Tensor, out: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """(eps, x_0) that the network's output at timesteps[i] means."""
        a = self.alpha[i]
        if self.prediction == "epsilon":
            return out, (x_t - (1 - a) ** 0.5 * out) / a**0.5
        if self.prediction == "v_prediction":  # Salimans & Ho 2022, section 2.4
            return a**0.5 * out + (1 - a) ** 0.5 * x_t, a**0.5 * x_t - (1 - a) ** 0.5 * out
        return (x_t - a**0.5 * out) / (1 - a) ** 0.5, out


def guide(out: Tensor, n: int, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6). out (2n or n, ...) -> (n, ...)."""
    if out.shape[0] == n:
        return out
    unconditional, conditional = out.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def guided(guidance_scale: float) -> bool:
    """Whether the unconditional row is run at all: as diffusers, not at a scale of 1 or less."""
    return guidance_scale > 1


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal (float32, CPU): drawn on the CPU so that a seed means one picture everywhere."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))
