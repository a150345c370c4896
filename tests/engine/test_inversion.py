"""Recording along a given path, and DDIM's path back to noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core import Edit, PromptToPrompt, engine
from p2p_core.errors import BadSource, BadSteps, P2PError
from p2p_core.injection import AttentionContext
from p2p_core.inversion.methods import ddim_path
from p2p_core.schedulers import make_sampler

PROMPT = "a red house on a hill"


def along(p2p: PromptToPrompt, *args, **settings):
    states = p2p.iter_record_path(*args, **settings)
    seen = list(states)
    return states.result, seen


def test_along_a_source_s_own_path_it_is_that_source(p2p: PromptToPrompt) -> None:
    """Same picture, same maps, same edits as the generated source whose path it is."""
    source = p2p.generate(PROMPT, seed=3, steps=6, guidance_scale=4.0)
    again, seen = along(p2p, PROMPT, source.latents, guidance_scale=4.0)
    assert [s.index for s in seen] == list(range(1, 7))
    assert again.seed is None and again.key != source.key
    assert torch.equal(again.latents, source.latents)
    assert np.array_equal(np.asarray(again.image), np.asarray(source.image))
    assert np.allclose(again.attention("house"), source.attention("house"), atol=1e-6)
    edit = Edit("a red castle on a hill", cross_steps=0.8, self_steps=0.5)
    assert torch.allclose(p2p.edit(again, edit).latents, p2p.edit(source, edit).latents, atol=1e-4)


def test_steps_recorded_in_batches_are_those_recorded_one_by_one(
    p2p: PromptToPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = torch.randn(12, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    calls: list[int] = []
    predict = p2p.model.predict

    def counted(x: torch.Tensor, *args) -> torch.Tensor:
        calls.append(len(x))
        return predict(x, *args)

    monkeypatch.setattr(p2p.model, "predict", counted)
    found = []
    for at_once in (8, 1):
        monkeypatch.setattr(engine, "PATH_BATCH", at_once)
        source, seen = along(p2p, PROMPT, path)
        found.append(([p2p.cache.get(source.key, i) for i in range(11)], [s.denoised for s in seen]))
        assert calls == ([8, 3] if at_once > 1 else [1] * 11) and len(seen) == 11
        calls.clear()
        p2p.forget(source)
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert a.cross.keys() == b.cross.keys() and a.self_.keys() == b.self_.keys() and a.cross and a.self_
        pairs = [(a.cross[site][0].q, b.cross[site][0].q) for site in a.cross]
        pairs += [(a.cross[site][0].k, b.cross[site][0].k) for site in a.cross]
        pairs += [pair for site in a.self_ for pair in zip(a.self_[site], b.self_[site], strict=True)]
        for x, y in pairs:
            assert x.untyped_storage().nbytes() == y.untyped_storage().nbytes(), "no batch is kept alive"
            assert (x - y).norm() < 1e-5 * y.norm()
    predicted = [torch.cat(denoised) for _, denoised in found]
    assert (predicted[0] - predicted[1]).norm() < 1e-5 * predicted[1].norm()


def test_any_path_is_kept_and_reused(p2p: PromptToPrompt) -> None:
    path = torch.randn(5, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    source, _ = along(p2p, PROMPT, path)
    assert torch.equal(source.latents, path) and source.steps == 4
    assert p2p.edit(source, Edit(PROMPT)).steps_computed == 0
    before = source.attention("hill")
    p2p.forget(source)
    assert np.allclose(source.attention("hill"), before, atol=1e-6), "recorded again along the same path"


@pytest.mark.parametrize(
    "path", [None, "noise", torch.zeros(4, 16, 16), torch.zeros(1, 4, 16, 16), torch.zeros(3, 5, 16, 16)]
)
def test_a_path_that_is_none(eps: PromptToPrompt, path: object) -> None:
    with pytest.raises(P2PError):
        along(eps, PROMPT, path)
    with pytest.raises((BadSource, BadSteps)):
        along(eps, PROMPT, torch.zeros(1, 4, 16, 16))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_step_back_undoes_a_step_that_sees_the_same_noise(prediction: str) -> None:
    """With the network's answer for the same noise and the same clean latents, there and back is nothing."""
    config = {"prediction_type": prediction, "clip_sample": False, "num_train_timesteps": 1000}
    sampler = make_sampler(config, 10)
    noise, x_0 = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for i in range(9):
        a, a_prev = sampler.alpha[i], sampler.alpha_prev[i]
        x_t = a**0.5 * x_0 + (1 - a) ** 0.5 * noise
        x_prev = a_prev**0.5 * x_0 + (1 - a_prev) ** 0.5 * noise
        out = {"epsilon": noise, "sample": x_0, "v_prediction": a**0.5 * noise - (1 - a) ** 0.5 * x_0}
        assert torch.allclose(sampler.step(x_t, out[prediction], i)[0], x_prev)
        # read at x_prev, the velocity that means this noise is another one
        out["v_prediction"] = (noise - (1 - a) ** 0.5 * x_prev) / a**0.5
        assert torch.allclose(sampler.step_back(x_prev, out[prediction], i), x_t)


def test_the_path_goes_up_and_comes_back(p2p: PromptToPrompt) -> None:
    """Many small steps: sampled at guidance 1 from its end, the path comes back near to its beginning."""
    sampler = p2p.store.sampler(200)
    z_0 = p2p.generate(PROMPT, seed=5, steps=20, guidance_scale=1.0).latents[-1:]
    path = ddim_path(p2p.model, sampler, z_0, p2p.prompt(PROMPT))
    assert path.shape == (201, 4, 16, 16) and torch.equal(path[-1:], z_0)
    x, text = path[:1], p2p.model.embed(p2p.prompt(PROMPT))
    with torch.no_grad():
        for i in range(200):
            out = p2p.model.predict(
                x, sampler.timesteps[i], text, AttentionContext(conditional=1, latent=(16, 16))
            )
            x, _ = sampler.step(x, out, i)
    assert (x - z_0).abs().mean() < 0.1 * z_0.abs().mean()
