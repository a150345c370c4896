"""diffusers' schedulers as `Sampler`s: times, noise levels and coefficients, read from a scheduler's config.

- `ddim`: Song et al. 2021, equation 12, with eta 0.
- `dpmpp_2m`: DPM-Solver++ (2M), Lu et al. 2022, algorithm 2; its first and last steps are of first order.
- `euler`: Karras et al. 2022, algorithm 1 without churn, on the model's own times.
- `euler_ancestral`: the same with the ancestral noise of Song et al. 2021, equation 16 at eta 1; few-step
  models such as Turbo are made for it or for `euler`.
- `lcm`: latent consistency models, Luo et al. 2023, algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)

from .errors import BadInput, UnsupportedModel, shown
from .plan import check_steps
from .sampler import Coefficients, Sampler

Config = Mapping[str, Any]
PREDICTIONS = ("epsilon", "v_prediction", "sample")
DPMPP_2M = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}


def make_sampler(config: Config, steps: int, name: str = "ddim") -> Sampler:
    """A sampler with the spacing, offset, final alpha and prediction of a diffusers scheduler's config.

    A model whose own scheduler is another one (PNDM in Stable Diffusion 1's folder) is sampled with that
    scheduler's betas. Raises `BadInput`, `UnsupportedModel`.
    """
    name, N = sampler_name(name, config), check_steps(steps)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise UnsupportedModel(
            f"The model's prediction type is one of {', '.join(PREDICTIONS)}; got {shown(prediction)}."
        )
    if config.get("thresholding"):
        raise UnsupportedModel("Dynamic thresholding is made for pixels; this sampler works on latents.")
    train_steps = int(config.get("num_train_timesteps", 1000))
    too_few = BadInput(f"The model was trained with {train_steps} steps, too few to be sampled with {N}.")
    if train_steps < N:
        raise too_few
    sampler = SAMPLERS[name](config, N)
    if int(sampler.timesteps.max()) >= train_steps:  # an offset can lead past the last one
        raise too_few
    if len(sampler) != N:
        raise BadInput(f"This model's times can't be spaced in {N} steps by {name}; got {len(sampler)}.")
    return sampler


def sampler_name(name: object, config: Config, scheduler: str = "") -> str:
    """The sampler that `name` stands for. Raises `BadInput`.

    "auto": the one of the model's own scheduler, by the name of its class, or DDIM if there is none.
    Raises `UnsupportedModel` where a model with that scheduler may be made for it alone.
    """
    if name == "auto":
        if scheduler == "TCDScheduler" or str(config.get("algorithm_type")).startswith("sde-"):
            raise UnsupportedModel(
                f"The model's scheduler is {_own(scheduler, config)}, which no sampler here equals, and its "
                f"model may be made for it alone. Name a sampler, 'ddim' say, or set pipe.scheduler."
            )
        distilled = "original_inference_steps" in config  # LCM
        return "lcm" if distilled else SAMPLER_OF_SCHEDULER.get(scheduler, "ddim")
    if isinstance(name, str) and name in SAMPLERS:
        return name
    raise BadInput(f"sampler is auto or one of {', '.join(SAMPLERS)}; got {shown(name)}.")


def sampler_note(name: object, config: Config, scheduler: str) -> str:
    """What "auto" has put in the place of the model's own scheduler; "" where that is its own."""
    own = {"DDIMScheduler": "ddim", **SAMPLER_OF_SCHEDULER}.get(scheduler)
    chosen = sampler_name(name, config, scheduler)
    if name != "auto" or (chosen == own and not _other_settings(scheduler, config)):
        return ""
    return (
        f"The model's scheduler is {_own(scheduler, config)}; {chosen} stands in for it on its noise levels."
    )


def _other_settings(scheduler: str, config: Config) -> dict[str, Any]:
    """The settings of a DPM-Solver that make it another one than `dpmpp_2m`."""
    ours = DPMPP_2M if scheduler == "DPMSolverMultistepScheduler" else {}
    return {name: config[name] for name, value in ours.items() if config.get(name, value) != value}


def _own(scheduler: str, config: Config) -> str:
    """The scheduler by its class and what is unusual in it."""
    others = ", ".join(f"{name} {value}" for name, value in _other_settings(scheduler, config).items())
    return f"{scheduler} ({others})" if others else scheduler


def check_scheduler(scheduler: Any) -> None:
    """Raises `UnsupportedModel` for a scheduler without betas, which all samplers here start from.

    Those of EDM and of flow matching count other times; diffusers' default betas would sample them wrongly.
    """
    config = scheduler.config
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if "beta_schedule" not in config or flow:
        raise UnsupportedModel(
            "Expected a scheduler with betas, such as DDIM, PNDM, Euler, DPM-Solver or LCM; got "
            f"{type(scheduler).__name__}{' with flow matching' if flow else ''}. "
            "If the model was trained so, set pipe.scheduler to one of those."
        )


def _ddim(config: Config, N: int) -> Sampler:
    # Schedulers that never clip don't mention it, and DDIM's default would clip latents as if pixels.
    scheduler = _spaced(DDIMScheduler, {"clip_sample": False, **config}, N)
    cfg, alphas, final_alpha = scheduler.config, scheduler.alphas_cumprod, scheduler.final_alpha_cumprod
    gap = cfg.num_train_timesteps // N
    times = [min(int(t), len(alphas) - 1) for t in scheduler.timesteps]
    return Sampler(
        name="ddim",
        timesteps=scheduler.timesteps,
        alpha=tuple(float(alphas[t]) for t in times),
        alpha_prev=tuple(float(alphas[t - gap] if t >= gap else final_alpha) for t in times),
        prediction=cfg.prediction_type,
        clip=float(cfg.clip_sample_range) if cfg.clip_sample else None,
        upcasts=False,
    )


def _dpmpp_2m(config: Config, N: int) -> Sampler:
    scheduler = _spaced(DPMSolverMultistepScheduler, {**config, **DPMPP_2M}, N)
    cfg, sigmas = scheduler.config, [float(s) for s in scheduler.sigmas]
    first_order_end = (
        cfg.euler_at_final or (cfg.lower_order_final and N < 15) or cfg.final_sigmas_type == "zero"
    )
    lambdas = [-math.log(s) if s else math.inf for s in sigmas]
    c_prev = [0.0] * N
    for i in range(1, N - 1 if first_order_end else N):  # a step of first order is DDIM's
        h, h_before = lambdas[i + 1] - lambdas[i], lambdas[i] - lambdas[i - 1]
        if h > 0 and h_before > 0:
            c_prev[i] = -(_alpha(sigmas[i + 1]) ** 0.5) * math.expm1(-h) * h / (2 * h_before)
    return _of_sigmas("dpmpp_2m", scheduler, c_prev=tuple(c_prev))


def _euler(config: Config, N: int) -> Sampler:
    scheduler = _spaced(EulerDiscreteScheduler, config, N)
    return _of_sigmas("euler", scheduler, start=_start(scheduler))


def _euler_ancestral(config: Config, N: int) -> Sampler:
    scheduler = _spaced(EulerAncestralDiscreteScheduler, config, N)
    c_eps, c_noise = [], []
    for sigma, sigma_to in pairwise(float(s) for s in scheduler.sigmas):
        sigma_up = sigma_to * math.sqrt(sigma**2 - sigma_to**2) / sigma
        scale = _alpha(sigma_to) ** 0.5
        c_eps.append(scale * math.sqrt(sigma_to**2 - sigma_up**2))
        c_noise.append(scale * sigma_up)
    return _of_sigmas(
        "euler_ancestral", scheduler, start=_start(scheduler), c_eps=tuple(c_eps), c_noise=tuple(c_noise)
    )


def _lcm(config: Config, N: int) -> Sampler:
    if config.get("clip_sample"):
        raise UnsupportedModel("lcm works on latents, which are not clipped; the model's scheduler clips.")
    try:
        scheduler = _spaced(LCMScheduler, {"clip_sample": False, **config}, N)
    except ValueError:
        teacher_steps = config.get("original_inference_steps", 50)
        raise BadInput(
            f"lcm has at most as many steps as the model was distilled from, {teacher_steps}; got {N}."
        ) from None
    times = [int(t) for t in scheduler.timesteps]
    alpha = tuple(float(scheduler.alphas_cumprod[t]) for t in times)
    alpha_prev = (*alpha[1:], 1.0)
    c_x0, c_eps, c_noise = [], [], []
    for t, a, a_prev in zip(times, alpha, alpha_prev, strict=True):
        # The consistency function c_skip x + c_out x_0, with x written as x_0 and eps.
        c_skip, c_out = (float(c) for c in scheduler.get_scalings_for_boundary_condition_discrete(t))
        scale = a_prev**0.5
        c_x0.append(scale * (c_out + c_skip * a**0.5))
        c_eps.append(scale * c_skip * (1 - a) ** 0.5)
        c_noise.append((1 - a_prev) ** 0.5)
    return Sampler(
        name="lcm",
        timesteps=scheduler.timesteps,
        alpha=alpha,
        alpha_prev=alpha_prev,
        c_x0=tuple(c_x0),
        c_eps=tuple(c_eps),
        c_noise=tuple(c_noise),
        prediction=scheduler.config.prediction_type,
    )


def _spaced(kind: Any, config: Config, N: int) -> Any:
    """A diffusers scheduler of this class with its times for N steps."""
    scheduler = kind.from_config(config)
    scheduler.set_timesteps(N)
    return scheduler


def _of_sigmas(
    name: str,
    scheduler: Any,
    *,
    start: float = 1.0,
    c_eps: Coefficients = (),
    c_prev: Coefficients = (),
    c_noise: Coefficients = (),
) -> Sampler:
    """From a scheduler that counts in noise levels sigma, of latents x_0 + sigma eps."""
    alpha = tuple(_alpha(float(s)) for s in scheduler.sigmas)
    return Sampler(
        name=name,
        timesteps=scheduler.timesteps,
        alpha=alpha[:-1],
        alpha_prev=alpha[1:],
        prediction=scheduler.config.prediction_type,
        start=start,
        c_eps=c_eps,
        c_prev=c_prev,
        c_noise=c_noise,
    )


def _alpha(sigma: float) -> float:
    """alpha-bar at a noise level sigma."""
    return 1 / (1 + sigma**2)


def _start(scheduler: Any) -> float:
    """The scale of Euler's first latents, sigma or sqrt(sigma^2 + 1) by the spacing, brought to DDIM's."""
    sigma, scale = float(scheduler.sigmas[0]), float(scheduler.init_noise_sigma)
    return scale / float((sigma**2 + 1) ** 0.5)


SAMPLERS: dict[str, Callable[[Config, int], Sampler]] = {
    "ddim": _ddim,
    "dpmpp_2m": _dpmpp_2m,
    "euler": _euler,
    "euler_ancestral": _euler_ancestral,
    "lcm": _lcm,
}

# What "auto" is where the model's folder holds such a scheduler: Turbo and Lightning are made for theirs.
SAMPLER_OF_SCHEDULER = {
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "LCMScheduler": "lcm",
}
