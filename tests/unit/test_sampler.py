"""DDIM as pure steps: diffusers' own, step by step, for every kind of prediction and spacing."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from p2p_core import PromptToPrompt
from p2p_core.errors import BadSteps, UnsupportedModel
from p2p_core.sampler import guide, is_guided, noise
from p2p_core.schedulers import make_sampler


def test_sampler_steps_are_diffusers(eps: PromptToPrompt, v: PromptToPrompt) -> None:
    for p2p in (eps, v):
        for steps in (1, 7, 50, 999):
            scheduler = DDIMScheduler.from_config(p2p.pipe.scheduler.config)
            scheduler.set_timesteps(steps)
            sampler = make_sampler(p2p.pipe.scheduler.config, steps)
            assert sampler.timesteps.tolist() == scheduler.timesteps.tolist() and len(sampler) == steps
            x, out = torch.randn(2, 2, 4, 8, 8)
            for i in {0, steps // 2, steps - 1}:
                theirs = scheduler.step(out, scheduler.timesteps[i], x)
                ours, x_0 = sampler.step(x, out, i)
                assert torch.allclose(ours, theirs.prev_sample, rtol=1e-5, atol=1e-5)
                assert torch.allclose(x_0, theirs.pred_original_sample, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
def test_timesteps_of_every_spacing(spacing: str, offset: int) -> None:
    scheduler = DDIMScheduler(
        timestep_spacing=spacing, steps_offset=offset, set_alpha_to_one=False, clip_sample=False
    )
    x, out = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for steps in (1, 3, 50, 333):
        scheduler.set_timesteps(steps)
        sampler = make_sampler(scheduler.config, steps)
        assert sampler.timesteps.tolist() == scheduler.timesteps.tolist()
        last = scheduler.step(out, scheduler.timesteps[-1], x).prev_sample
        assert torch.allclose(sampler.step(x, out, steps - 1)[0], last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
def test_clipping_and_sample_prediction(prediction: str) -> None:
    scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=True, clip_sample_range=0.7)
    scheduler.set_timesteps(10)
    sampler = make_sampler(scheduler.config, 10)
    x, out = torch.randn(2, 1, 4, 8, 8)
    for i in range(10):
        theirs = scheduler.step(out, scheduler.timesteps[i], x).prev_sample
        assert torch.allclose(sampler.step(x, out, i)[0], theirs, rtol=1e-5, atol=1e-5)


def test_a_step_is_pure(v: PromptToPrompt) -> None:
    """No hidden index: any step in any order, any number of times, rows for themselves, inputs untouched."""
    sampler = make_sampler(v.pipe.scheduler.config, 6)
    x, out = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    before = x.clone(), out.clone()
    forwards = [sampler.step(x, out, i)[0] for i in range(6)]
    backwards = [sampler.step(x, out, i)[0] for i in reversed(range(6))]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    rows = torch.cat([sampler.step(x[r, None], out[r, None], 2)[0] for r in range(3)])
    assert torch.equal(rows, forwards[2])
    assert torch.equal(x, before[0]) and torch.equal(out, before[1])


def test_guidance_is_the_formula() -> None:
    out = torch.randn(4, 1, 2, 2)
    assert torch.equal(guide(out, 2, 3.0), out[:2] + 3.0 * (out[2:] - out[:2]))
    assert guide(out, 4, 1.0) is out
    assert [is_guided(s) for s in (0.0, 1.0, 1.01, 7.5)] == [False, False, True, True]


def test_noise_is_the_seeds_own() -> None:
    before = torch.random.get_rng_state()
    one = noise((1, 4, 8, 8), 0)
    assert one.dtype == torch.float32 and torch.equal(one, noise((1, 4, 8, 8), 0))
    assert not torch.equal(one, noise((1, 4, 8, 8), 1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_schedulers_it_cannot_follow() -> None:
    for wrong, pattern in (({"prediction_type": "flow"}, "flow"), ({"thresholding": True}, "thresholding")):
        with pytest.raises(UnsupportedModel, match=pattern):
            make_sampler(DDIMScheduler(**wrong).config, 10)
    with pytest.raises(BadSteps, match="100"):
        make_sampler(DDIMScheduler(num_train_timesteps=100).config, 101)
    with pytest.raises(BadSteps, match="1000"):  # the offset asks for a time that the model never saw
        make_sampler(DDIMScheduler(steps_offset=1).config, 1000)
