"""Samplers as data: every step is one linear form with an explicit index; guidance; noise.

With x_0 and eps what the network's output means at step i (x_i = c x_0 + s eps, c^2 = 1 - s^2 = alpha-bar),
x_0' the x_0 of the step before and xi noise that is drawn before the run,

    x_{i+1} = c_x0 x_0 + c_eps eps + c_prev (x_0 - x_0') + c_noise xi

A step depends on nothing but its arguments, so a run can be resumed anywhere. Latents are on the scale of
DDIM (variance preserving) under every sampler. The coefficients come from `schedulers`.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BadInput, shown

Coefficients = tuple[float, ...]  # one a step


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """N steps, 0 the noisiest. Coefficients that are left empty are those of DDIM with eta 0
    (Song et al. 2021, equation 12)."""

    name: str
    timesteps: Tensor  # (N,) int64, of Euler's samplers float32
    alpha: Coefficients  # alpha-bar, the cumulative product, where step i starts
    alpha_prev: Coefficients  # and where it arrives
    c_x0: Coefficients = ()
    c_eps: Coefficients = ()
    c_prev: Coefficients = ()
    c_noise: Coefficients = ()
    prediction: str  # "epsilon", "v_prediction" or "sample"
    clip: float | None = None  # x_0 is clipped to -clip..clip
    start: float = 1.0  # scale of the noise that a run starts from
    note: str = ""  # what it stands in for, for people
    upcasts: bool = True  # half precision is computed in float32, as diffusers' schedulers but DDIM do

    def __post_init__(self) -> None:
        ddim: dict[str, Coefficients] = {
            "c_x0": tuple(a**0.5 for a in self.alpha_prev),
            "c_eps": tuple((1 - a) ** 0.5 for a in self.alpha_prev),
            "c_prev": (0.0,) * len(self),
            "c_noise": (0.0,) * len(self),
        }
        for name, coefficients in ddim.items():
            object.__setattr__(self, name, getattr(self, name) or coefficients)

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def numbers(self) -> tuple[object, ...]:
        """All that its steps are computed from: two samplers with equal numbers give equal pictures."""
        steps = (self.alpha, self.alpha_prev, self.c_x0, self.c_eps, self.c_prev, self.c_noise)
        return (self.name, *steps, self.prediction, self.clip, self.start)

    @property
    def history(self) -> bool:
        """Whether some step uses x_0 of the step before."""
        return any(self.c_prev)

    @property
    def stochastic(self) -> bool:
        """Whether some step adds noise."""
        return any(self.c_noise)

    def step(
        self,
        x_t: Tensor,
        out: Tensor,
        i: int,
        x_0_before: Tensor | None = None,
        noise: Tensor | None = None,
        asked: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(x_prev, x_0): step i from the latents x_t and the network's guided output, all (B, C, h, w).

        x_0_before: x_0 of step i - 1, needed where `c_prev[i]` is not 0. noise: needed where `c_noise[i]` is
        not 0, (B or 1, C, h, w). asked: the latents that `out` is the answer to, if others than x_t: what it
        says of the noise is read there. That undoes `step_back` where the answers are the same.
        """
        dtype = x_t.dtype
        if self.upcasts:
            x_t, out = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (x_t, out))
        eps, x_0 = self._eps_and_x_0(x_t if asked is None else asked, out, i)
        if asked is not None and self.alpha[i] > 0:  # At pure noise there is only the network's own x_0.
            x_0 = (x_t - (1 - self.alpha[i]) ** 0.5 * eps) / self.alpha[i] ** 0.5
        if self.clip is not None:
            x_0 = x_0.clamp(-self.clip, self.clip)
        x_prev = self.c_x0[i] * x_0 + self.c_eps[i] * eps
        if self.c_prev[i]:
            assert x_0_before is not None
            x_prev = x_prev + self.c_prev[i] * (x_0 - x_0_before)
        if self.c_noise[i]:
            assert noise is not None
            x_prev = x_prev + self.c_noise[i] * noise
        return x_prev.to(dtype), x_0.to(dtype)

    def step_back(self, x_prev: Tensor, out: Tensor, i: int) -> Tensor:
        """Step i the other way, from where it arrives to where it starts: DDIM inversion.

        out: the network's output at timesteps[i] for x_prev, in place of its output for x_t.
        """
        a, a_prev = self.alpha[i], self.alpha_prev[i]
        if self.prediction == "sample":
            x_0 = out
            eps = (x_prev - a_prev**0.5 * x_0) / max(1 - a_prev, 1e-6) ** 0.5
        else:
            eps, _ = self._eps_and_x_0(x_prev, out, i)
            x_0 = (x_prev - (1 - a_prev) ** 0.5 * eps) / a_prev**0.5
        x_t: Tensor = a**0.5 * x_0 + (1 - a) ** 0.5 * eps
        return x_t

    def _eps_and_x_0(self, x_t: Tensor, out: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """What the network's output at timesteps[i] means: both solve x_t = c x_0 + s eps."""
        c, s = self.alpha[i] ** 0.5, (1 - self.alpha[i]) ** 0.5
        if self.prediction == "epsilon":
            return out, (x_t - s * out) / c
        if self.prediction == "v_prediction":  # v = c eps - s x_0, Salimans & Ho 2022, section 2.4
            return c * out + s * x_t, c * x_t - s * out
        return (x_t - c * out) / s, out


def guide(out: Tensor, n: int, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6). out (2n or n, ...) -> (n, ...)."""
    if out.shape[0] == n:
        return out
    unconditional, conditional = out.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def is_guided(guidance_scale: float) -> bool:
    """Whether there are unconditional rows at all: as in diffusers, not at a scale of 1 or less."""
    return guidance_scale > 1


def noise(shape: tuple[int, ...], seed: int, steps: int = 0) -> Tensor:
    """Standard normal (float32, CPU): drawn on the CPU so that a seed means one picture everywhere.

    shape: (1, ...). steps: how many further draws of the same seed follow, for the steps of a stochastic
    sampler. -> (1 + steps, ...)
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.cat(
        [torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") for _ in range(1 + steps)]
    )


def check_seed(seed: object) -> int:
    """A seed for torch's generator. Raises `BadInput`."""
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool) and 0 <= int(seed) < 2**63:
        return int(seed)
    raise BadInput(f"A seed is a whole number from 0 to 2**63 - 1; got {shown(seed)}.")
