"""Samplers as data: every step is one linear form with an explicit index, and guidance.

With x_0 and eps what the network's output means at step i (x_i = sqrt(a_i) x_0 + sqrt(1 - a_i) eps), x_0' the
clean latents of the step before and xi noise that is kept,

    x_{i+1} = clean_i x_0 + noisy_i eps + before_i (x_0 - x_0') + fresh_i xi

- `ddim`: Song et al. 2021, equation 12, with eta 0.
- `dpmpp_2m`: DPM-Solver++ (2M), Lu et al. 2022, algorithm 2; its first and last steps are of first order.
- `euler`: Karras et al. 2022, algorithm 1 without churn, on the model's own times.
- `euler_ancestral`: the same with the ancestral noise of Song et al. 2021, equation 16 at eta 1; few-step
  models such as Turbo are made for it or for `euler`.
- `lcm`: latent consistency models, Luo et al. 2023, algorithm 3.

A step depends on nothing but its arguments, so a run can be resumed anywhere. Latents are kept on the scale
of DDIM (variance preserving) under every sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from torch import Tensor

from .errors import BadInput, UnsupportedModel, shown
from .plan import check_steps

PREDICTIONS = ("epsilon", "v_prediction", "sample")
Coefficients = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """N steps, 0 the noisiest. alpha, alpha_prev: the cumulative products of the papers' alpha-bar.

    history: some step uses the clean latents of the step before. stochastic: some step uses noise.
    """

    name: str
    timesteps: Tensor  # (N,) int64, of Euler's samplers float32
    alpha: Coefficients  # at timesteps[i]
    alpha_prev: Coefficients  # where step i arrives
    clean: Coefficients
    noisy: Coefficients
    before: Coefficients
    fresh: Coefficients
    prediction: str
    clip: float | None  # clip_sample_range, or None
    start: float = 1.0  # of the noise that a run starts from

    @classmethod
    def of(cls, config: Mapping[str, Any], steps: int, name: str = "ddim") -> Sampler:
        """From a diffusers scheduler's config: spacing, offset, final alpha and prediction as it says.

        A model whose own scheduler is another one (PNDM in Stable Diffusion 1's folder) is sampled with that
        scheduler's betas. Raises `BadInput`, `BadInput`, `UnsupportedModel`.
        """
        name = chosen(name, config)
        N = check_steps(steps)
        prediction = config.get("prediction_type", "epsilon")
        if prediction not in PREDICTIONS:
            raise UnsupportedModel(
                f"The model's prediction type is one of {', '.join(PREDICTIONS)}; got {shown(prediction)}."
            )
        if config.get("thresholding"):
            raise UnsupportedModel("Dynamic thresholding is made for pixels; this sampler works on latents.")
        train = int(config.get("num_train_timesteps", 1000))
        if train < N:
            raise BadInput(f"The model was trained with {train} steps, too few to be sampled with {N}.")
        sampler = SAMPLERS[name](config, N)
        if int(sampler.timesteps.max()) >= train:  # an offset can lead past the last one
            raise BadInput(f"The model was trained with {train} steps, too few to be sampled with {N}.")
        if len(sampler) != N:
            raise BadInput(f"This model's times can't be spaced in {N} steps by {name}; got {len(sampler)}.")
        return sampler

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def numbers(self) -> tuple[object, ...]:
        """All that its steps are computed from: two samplers with equal numbers give equal pictures."""
        steps = (self.alpha, self.alpha_prev, self.clean, self.noisy, self.before, self.fresh)
        return (self.name, *steps, self.prediction, self.clip, self.start)

    @property
    def history(self) -> bool:
        return any(self.before)

    @property
    def stochastic(self) -> bool:
        return any(self.fresh)

    def step(
        self, x_t: Tensor, out: Tensor, i: int, x_0_before: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x_prev, x_0): step i from the latents x_t and the network's guided output, all (B, C, h, w).

        x_0_before: x_0 of step i - 1, needed where `before[i]` is not 0. noise: needed where `fresh[i]` is
        not 0, (B or 1, C, h, w). In half precision all but DDIM compute in float32, as they do in diffusers.
        """
        given = x_t.dtype
        if self.name != "ddim":
            x_t, out = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (x_t, out))
        eps, x_0 = self._read(x_t, out, i)
        if self.clip is not None:
            x_0 = x_0.clamp(-self.clip, self.clip)
        x_prev = self.clean[i] * x_0 + self.noisy[i] * eps
        if self.before[i]:
            assert x_0_before is not None
            x_prev = x_prev + self.before[i] * (x_0 - x_0_before)
        if self.fresh[i]:
            assert noise is not None
            x_prev = x_prev + self.fresh[i] * noise
        return x_prev.to(given), x_0.to(given)

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


def check_scheduler(scheduler: Any) -> None:
    """Whether a model's scheduler has the betas that all samplers here start from. Raises `UnsupportedModel`.

    Those of EDM and of flow matching count other times, and would be sampled wrongly with betas of default.
    """
    config = scheduler.config
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if "beta_schedule" not in config or flow:
        raise UnsupportedModel(
            "Expected a scheduler with betas, such as DDIM, PNDM, Euler, DPM-Solver or LCM; got "
            f"{type(scheduler).__name__}{' with flow matching' if flow else ''}. "
            "If the model was trained so, set pipe.scheduler to one of those."
        )


def chosen(name: object, config: Mapping[str, Any], scheduler: str = "") -> str:
    """The sampler that a name stands for. "auto": that of the model's own scheduler, by the name of its class
    (Euler, Euler ancestral, DPM-Solver++, LCM), else DDIM.

    Raises `BadInput`.
    """
    if name == "auto":
        return "lcm" if "original_inference_steps" in config else OF_CLASS.get(scheduler, "ddim")
    if isinstance(name, str) and name in SAMPLERS:
        return name
    raise BadInput(f"sampler is auto or one of {', '.join(SAMPLERS)}; got {shown(name)}.")


# --- the samplers' coefficients ---------------------------------------------------------------------


def _ddim(config: Mapping[str, Any], N: int) -> Sampler:
    # Schedulers that never clip don't mention it, and DDIM's default would clip latents as if pixels.
    scheduler = DDIMScheduler.from_config({"clip_sample": False, **config})
    cfg = scheduler.config
    scheduler.set_timesteps(N)
    bars, gap = scheduler.alphas_cumprod, cfg.num_train_timesteps // N
    times = [min(int(t), len(bars) - 1) for t in scheduler.timesteps]
    alpha = tuple(float(bars[t]) for t in times)
    alpha_prev = tuple(float(bars[t - gap] if t >= gap else scheduler.final_alpha_cumprod) for t in times)
    return _sampler(
        "ddim",
        scheduler.timesteps,
        alpha,
        alpha_prev,
        cfg.prediction_type,
        clip=float(cfg.clip_sample_range) if cfg.clip_sample else None,
    )


def _dpmpp_2m(config: Mapping[str, Any], N: int) -> Sampler:
    fixed = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
    scheduler = DPMSolverMultistepScheduler.from_config({**config, **fixed})
    scheduler.set_timesteps(N)
    cfg, sigmas = scheduler.config, [float(s) for s in scheduler.sigmas]
    last = cfg.euler_at_final or (cfg.lower_order_final and N < 15) or cfg.final_sigmas_type == "zero"
    lambdas = [-math.log(s) if s else math.inf for s in sigmas]
    before = [0.0] * N
    for i in range(1, N - 1 if last else N):  # the others are of first order, which is DDIM's step
        h, h_before = lambdas[i + 1] - lambdas[i], lambdas[i] - lambdas[i - 1]
        if h > 0 and h_before > 0:
            before[i] = -(_alpha(sigmas[i + 1]) ** 0.5) * math.expm1(-h) * h / (2 * h_before)
    return _of_sigmas("dpmpp_2m", scheduler, before=tuple(before))


def _euler(config: Mapping[str, Any], N: int) -> Sampler:
    scheduler = EulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(N)
    return _of_sigmas("euler", scheduler)


def _euler_ancestral(config: Mapping[str, Any], N: int) -> Sampler:
    scheduler = EulerAncestralDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(N)
    sigmas = [float(s) for s in scheduler.sigmas]
    noisy, fresh = [], []
    for s, to in pairwise(sigmas):
        up = to * math.sqrt(s**2 - to**2) / s
        scale = _alpha(to) ** 0.5
        noisy.append(scale * math.sqrt(to**2 - up**2))
        fresh.append(scale * up)
    return _of_sigmas("euler_ancestral", scheduler, noisy=tuple(noisy), fresh=tuple(fresh))


def _lcm(config: Mapping[str, Any], N: int) -> Sampler:
    scheduler = LCMScheduler.from_config({"clip_sample": False, **config})
    cfg, bars = scheduler.config, scheduler.alphas_cumprod
    if cfg.clip_sample:
        raise UnsupportedModel("lcm works on latents, which are not clipped; the model's scheduler clips.")
    try:
        scheduler.set_timesteps(N)
    except ValueError:
        raise BadInput(
            f"lcm has at most as many steps as the model was distilled from, {cfg.original_inference_steps}; "
            f"got {N}."
        ) from None
    times = [int(t) for t in scheduler.timesteps]
    alpha = tuple(float(bars[t]) for t in times)
    alpha_prev = (*alpha[1:], 1.0)
    clean, noisy, fresh = [], [], []
    for i, (t, a, a_prev) in enumerate(zip(times, alpha, alpha_prev, strict=True)):
        # c_skip x + c_out x_0, the consistency function, with x written as x_0 and eps
        skip, out = (float(c) for c in scheduler.get_scalings_for_boundary_condition_discrete(t))
        to = a_prev**0.5
        clean.append(to * (out + skip * a**0.5))
        noisy.append(to * skip * (1 - a) ** 0.5)
        fresh.append((1 - a_prev) ** 0.5 if i < N - 1 else 0.0)
    return _sampler(
        "lcm",
        scheduler.timesteps,
        alpha,
        alpha_prev,
        cfg.prediction_type,
        clean=tuple(clean),
        noisy=tuple(noisy),
        fresh=tuple(fresh),
    )


def _alpha(sigma: float) -> float:
    """alpha-bar at a noise level sigma of latents whose clean part isn't scaled down."""
    return 1 / (1 + sigma**2)


def _of_sigmas(
    name: str,
    scheduler: Any,
    *,
    noisy: Coefficients | None = None,
    before: Coefficients | None = None,
    fresh: Coefficients | None = None,
) -> Sampler:
    """From a scheduler that counts in noise levels."""
    sigmas = [float(s) for s in scheduler.sigmas]
    alpha = tuple(_alpha(s) for s in sigmas)
    # diffusers scales the noise a run starts from: by the first noise level, or so that the variance is 1
    start = float(scheduler.init_noise_sigma) / (sigmas[0] ** 2 + 1) ** 0.5 if "euler" in name else 1.0
    return _sampler(
        name,
        scheduler.timesteps,
        alpha[:-1],
        alpha[1:],
        scheduler.config.prediction_type,
        start=start,
        noisy=noisy,
        before=before,
        fresh=fresh,
    )


def _sampler(
    name: str,
    timesteps: Tensor,
    alpha: Coefficients,
    alpha_prev: Coefficients,
    prediction: str,
    *,
    clean: Coefficients | None = None,
    noisy: Coefficients | None = None,
    before: Coefficients | None = None,
    fresh: Coefficients | None = None,
    clip: float | None = None,
    start: float = 1.0,
) -> Sampler:
    """A sampler whose steps are DDIM's where nothing else is said."""
    none = (0.0,) * len(alpha)
    return Sampler(
        name=name,
        timesteps=timesteps,
        alpha=alpha,
        alpha_prev=alpha_prev,
        clean=clean or tuple(a**0.5 for a in alpha_prev),
        noisy=noisy or tuple((1 - a) ** 0.5 for a in alpha_prev),
        before=before or none,
        fresh=fresh or none,
        prediction=prediction,
        clip=clip,
        start=start,
    )


SAMPLERS: dict[str, Callable[[Mapping[str, Any], int], Sampler]] = {
    "ddim": _ddim,
    "dpmpp_2m": _dpmpp_2m,
    "euler": _euler,
    "euler_ancestral": _euler_ancestral,
    "lcm": _lcm,
}


# what "auto" is where the model's folder holds such a scheduler: Turbo and Lightning are made for theirs
OF_CLASS = {
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "LCMScheduler": "lcm",
}


# --- guidance and noise -----------------------------------------------------------------------------


def guide(out: Tensor, n: int, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6). out (2n or n, ...) -> (n, ...)."""
    if out.shape[0] == n:
        return out
    unconditional, conditional = out.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def guided(guidance_scale: float) -> bool:
    """Whether the unconditional row is run at all: as diffusers, not at a scale of 1 or less."""
    return guidance_scale > 1


def noise(shape: tuple[int, ...], seed: int, steps: int = 0) -> Tensor:
    """Standard normal (float32, CPU): drawn on the CPU so that a seed means one picture everywhere.

    shape: (1, ...). steps: so many further draws of the same seed follow, for the steps of a stochastic
    sampler. -> (1 + steps, ...)
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.cat([torch.randn(shape, generator=generator) for _ in range(1 + steps)])
