"""Every sampler against diffusers' scheduler of its name, alone and in a whole pipeline; reuse and blend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source, errors, load_recipe
from p2p_core.sampler import noise
from p2p_core.schedulers import SAMPLERS, make_sampler

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import RELATIVE, assert_close, relative

CASTLE = "a red castle on a snowy hill at night"
NAMES = list(SAMPLERS)
THEIRS: dict[str, tuple[type, dict[str, Any]]] = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
}
BLEND = Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.25)
EDITS = [
    Edit(CASTLE, cross_steps=0.7, self_steps=0.4),
    Edit(CASTLE, cross_steps=0.7, self_steps=0.4, blend=BLEND, weights={"snowy": 1.4}),
    Edit(HOUSE, weights={"night": -1.0}, weight_steps=(0.5, 1.0)),
]


def theirs_of(name: str, config: Any) -> Any:
    kind, fixed = THEIRS[name]
    return kind.from_config({"clip_sample": False, **config, **fixed})


def tolerance(name: str, zero_snr: bool) -> float:
    """diffusers' Euler counts latents in noise levels, which without signal are of 4096 standard deviations:
    that costs it three digits of float32, which ours, on DDIM's scale, keeps."""
    return 2e-3 if zero_snr and "euler" in name else RELATIVE[torch.float32]


def settings(name: str, **more: Any) -> dict[str, Any]:
    few = name in ("lcm", "euler_ancestral")
    return {
        "seed": 3,
        "steps": 4 if few else 8,
        "guidance_scale": 0.0 if few else 5.0,
        "sampler": name,
    } | more


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 20, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "zero SNR"])
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_diffusers(name: str, prediction: str, steps: int) -> None:
    """A whole run over a random network: the same times, and the same latents after each step."""
    config = dict(tiny.scheduler("v_prediction" if prediction == "zero SNR" else prediction).config)
    config["rescale_betas_zero_snr"] = prediction == "zero SNR"
    scheduler, ours = theirs_of(name, config), make_sampler(config, steps, name)
    scheduler.set_timesteps(steps)
    assert ours.timesteps.tolist() == scheduler.timesteps.tolist() and len(ours) == steps
    draws = noise((1, 4, 8, 8), 5, steps)
    rng = torch.Generator().manual_seed(5)
    x = torch.randn(1, 4, 8, 8, generator=rng)
    assert torch.equal(x, draws[:1])
    theirs, x, x_0 = x * float(scheduler.init_noise_sigma), ours.start * x, None
    network = torch.nn.Conv2d(4, 4, 3, padding=1)
    stochastic = {"generator": rng} if name in ("lcm", "euler_ancestral") else {}
    sigmas = (
        getattr(scheduler, "sigmas", torch.zeros(steps + 1)) if "euler" in name else torch.zeros(steps + 1)
    )
    with torch.no_grad():
        for i, t in enumerate(scheduler.timesteps):
            out = network(scheduler.scale_model_input(theirs, t)).tanh()
            mine = network(x).tanh()
            x, x_0 = ours.step(x, mine, i, x_0, draws[i + 1, None])
            theirs = scheduler.step(out, t, theirs, **stochastic).prev_sample
            expected = theirs / (sigmas[i + 1] ** 2 + 1) ** 0.5
            assert relative(x, expected) <= tolerance(name, prediction == "zero SNR")


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", ["dpmpp_2m", "euler", "euler_ancestral"])
def test_every_spacing(name: str, spacing: str) -> None:
    config = {**tiny.scheduler().config, "timestep_spacing": spacing}
    for more in ({}, {"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"}):
        scheduler, ours = theirs_of(name, config | more), make_sampler(config | more, 17, name)
        scheduler.set_timesteps(17)
        x, generator = noise((1, 4, 8, 8), 1, 17), torch.Generator().manual_seed(1)
        torch.randn(1, 4, 8, 8, generator=generator)
        stochastic = {"generator": generator} if ours.stochastic else {}
        mine, x_0 = ours.start * x[:1], None
        theirs = x[:1] * float(scheduler.init_noise_sigma)
        for i, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(theirs, t)
            out = 0.5 * torch.sin(mine)
            mine, x_0 = ours.step(mine, out, i, x_0, x[i + 1, None])
            theirs = scheduler.step(out, t, theirs, **stochastic).prev_sample
        last = float(scheduler.sigmas[-1]) if "euler" in name else 0.0
        assert_close(mine, theirs / math.sqrt(last**2 + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_diffusers_pipeline(p2p: PromptToPrompt, name: str) -> None:
    """From the seed alone: start latents and every step's noise come out of one generator."""
    asked = settings(name)
    source = p2p.generate(HOUSE, **asked)
    pipe, original = p2p.pipe, p2p.pipe.scheduler
    pipe.scheduler = theirs_of(name, original.config)
    try:
        theirs = pipe(
            HOUSE,
            num_inference_steps=asked["steps"],
            guidance_scale=asked["guidance_scale"],
            generator=torch.Generator("cpu").manual_seed(3),
            height=64,
            width=64,
            output_type="latent",
        ).images
    finally:
        pipe.scheduler = original
    assert source.sampler == name
    zero_snr = bool(original.config.rescale_betas_zero_snr)
    assert relative(source.latents[-1:], theirs) <= tolerance(name, zero_snr)


@pytest.mark.parametrize("edit", EDITS, ids=["swap", "blend", "late fader"])
@pytest.mark.parametrize("name", NAMES)
def test_resuming_from_every_step_is_a_run_from_scratch(p2p: PromptToPrompt, name: str, edit: Edit) -> None:
    source = p2p.generate(HOUSE, **settings(name))
    p2p.forget_edits()
    whole = p2p.edit(source, edit)
    for k in range(1, source.steps + 1):
        p2p.forget_edits()
        states = p2p.stream(source, edit)
        for state in states:
            if state.index >= k:
                break
        states.close()
        resumed = p2p.edit(source, edit)
        assert torch.equal(resumed.latents, whole.latents) and resumed.steps_computed <= source.steps - k
    assert not torch.equal(whole.latents, source.latents[-1])


@pytest.mark.parametrize("name", NAMES)
def test_equal_prompts_are_the_source(p2p: PromptToPrompt, name: str) -> None:
    """Through the whole machinery, bit for bit; and so is a blend whose region is empty."""
    from p2p_core.plan import make_plan

    source = p2p.generate(HOUSE, **settings(name))
    plan = make_plan(source.prompt, source.prompt, Edit(HOUSE, cross_steps=1.0, self_steps=1.0), source.steps)
    state = source.state(0)
    for i in range(source.steps):
        state = p2p.edit_step(source, [plan], [state])[0]
        assert torch.equal(state.latents, source.latents[i + 1, None])
    nowhere = Blend(source_words=("house",), target_words=("castle",), threshold=1.0, start=0.0)
    same = p2p.edit(source, Edit(CASTLE, cross_steps=0.0, self_steps=0.0, blend=nowhere))
    assert torch.equal(same.latents, source.latents[-1]), "outside the mask the source's steps go on exactly"


@pytest.mark.parametrize("name", NAMES)
def test_many_edits_and_edits_of_edits(p2p: PromptToPrompt, name: str) -> None:
    source = p2p.generate(HOUSE, **settings(name))
    p2p.forget_edits()
    alone = [p2p.edit(source, edit) for edit in EDITS]
    p2p.forget_edits()
    for one, other in zip(p2p.edit_many(source, EDITS), alone, strict=True):
        assert_close(one.latents, other.latents)
    p2p.forget_edits()
    assert torch.equal(p2p.edit(source, EDITS[1]).latents, alone[1].latents)
    chained = alone[1].as_source()
    p2p.forget_edits()
    forgotten = alone[1].as_source()
    assert torch.equal(chained.latents, forgotten.latents)
    assert (chained.denoised is None) == (source.denoised is None)
    whole = Edit(CASTLE, cross_steps=1.0, self_steps=1.0)
    assert p2p.edit(alone[0].as_source(), whole).steps_computed == 0
    second = p2p.edit(chained, Edit("a red cat on a snowy hill at night", cross_steps=0.5, self_steps=0.25))
    if chained.denoised is not None and forgotten.denoised is not None:
        assert torch.equal(chained.denoised, forgotten.denoised)
    p2p.forget_edits()
    assert_close(p2p.edit(forgotten, second.edit).latents, second.latents)


def test_only_what_is_used_is_kept(eps: PromptToPrompt) -> None:
    sources = {name: eps.generate(HOUSE, **settings(name)) for name in NAMES}
    assert {name for name, s in sources.items() if s.noise is not None} == {"lcm", "euler_ancestral"}
    assert {name for name, s in sources.items() if s.denoised is not None} == {"dpmpp_2m"}
    assert all(s.noise is None or s.noise.shape == (3, 4, 16, 16) for s in sources.values())
    assert len({s.key for s in sources.values()}) == len(NAMES)
    one = eps.generate(HOUSE, **settings("lcm", steps=1))
    assert one.noise is None and one.latents.shape[0] == 2


def test_auto_is_ddim_and_lcm_for_its_models(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, seed=3, steps=4)
    named = eps.generate(HOUSE, seed=3, steps=4, sampler="ddim")
    assert source.sampler == "ddim" and torch.equal(source.latents, named.latents) and source.key == named.key
    pipe = tiny.pipeline()
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    assert PromptToPrompt(pipe).generate(HOUSE, steps=2, guidance_scale=0.0).sampler == "lcm"


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_brings_the_sampler_back(eps: PromptToPrompt, name: str, tmp_path: Path) -> None:
    result = eps.edit(eps.generate(HOUSE, **settings(name)), EDITS[0])
    recipe = load_recipe(result.save(tmp_path / "edit.png"))
    assert recipe.source["sampler"] == name
    again = eps.edit(eps.generate(**recipe.source), recipe.edit)
    assert np.array_equal(np.asarray(again.image), np.asarray(result.image))
    old = recipe.to_dict() | {"source": {k: v for k, v in recipe.source.items() if k != "sampler"}}
    assert "sampler" not in load_recipe(old).source, "recipes of before say nothing of a sampler"


def test_few_steps_without_guidance_run_one_row(eps: PromptToPrompt) -> None:
    rows: list[int] = []
    handle = eps.pipe.unet.register_forward_hook(lambda _m, args, _out: rows.append(args[0].shape[0]))
    try:
        source = eps.generate(HOUSE, **settings("lcm", seed=8))
        eps.edit(source, EDITS[0])
    finally:
        handle.remove()
    assert rows == [1] * 8


def test_a_distilled_model_reads_the_guidance_scale() -> None:
    """LCM's own models take the scale as an embedding and have no unconditional row (Luo et al. 2023)."""
    pipe = tiny.pipeline(time_cond_proj_dim=16)
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    p2p = PromptToPrompt(pipe)
    source: Source = p2p.generate(HOUSE, seed=3, steps=4, guidance_scale=6.0)
    theirs = pipe(
        HOUSE,
        num_inference_steps=4,
        guidance_scale=6.0,
        generator=torch.Generator("cpu").manual_seed(3),
        height=64,
        width=64,
        output_type="latent",
    ).images
    assert_close(source.latents[-1:], theirs)
    other = p2p.generate(HOUSE, seed=3, steps=4, guidance_scale=2.0)
    assert not torch.equal(other.latents, source.latents)
    result = p2p.edit(source, Edit(HOUSE, cross_steps=1.0, weights={"snowy": 1.5}))
    p2p.forget(source)
    assert_close(p2p.edit(source, result.edit).latents, result.latents)


def test_a_sampler_that_there_is_none_of(eps: PromptToPrompt) -> None:
    for wrong in ("heun", None, 3):
        with pytest.raises(errors.BadSampler, match="ddim, dpmpp_2m, euler"):
            eps.generate(HOUSE, steps=2, sampler=wrong)
    with pytest.raises(errors.BadSteps, match="at most"):
        eps.generate(HOUSE, steps=51, sampler="lcm")
    image = eps.generate(HOUSE, steps=2).image
    with pytest.raises(errors.BadSampler, match="inverted with sampler ddim"):
        eps.invert(image, HOUSE, steps=2, sampler="euler")
    assert eps.invert(image, HOUSE, steps=2, sampler="ddim").sampler == "ddim"


# --- the pipeline's scheduler -----------------------------------------------------------------------


def test_a_scheduler_that_is_swapped_is_seen() -> None:
    """New sources are sampled with it and named by it; a source of before keeps its own."""
    p2p = PromptToPrompt(tiny.pipeline())
    before = p2p.generate(HOUSE, seed=3, steps=4)
    first = p2p.edit(before, EDITS[0])
    config = p2p.pipe.scheduler.config
    p2p.pipe.scheduler = diffusers.DDIMScheduler.from_config(config, timestep_spacing="trailing")
    after = p2p.generate(HOUSE, seed=3, steps=4)
    fresh = PromptToPrompt(p2p.pipe).generate(HOUSE, seed=3, steps=4)
    assert torch.equal(after.latents, fresh.latents) and not torch.equal(after.latents, before.latents)
    assert after.key != before.key
    p2p.forget_edits()
    p2p.forget(before)
    assert_close(p2p.edit(before, EDITS[0]).latents, first.latents)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler_ancestral"),
        ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler"),
        ("DPMSolverMultistepScheduler", {}, "dpmpp_2m"),
        ("PNDMScheduler", {"skip_prk_steps": True}, "ddim"),
        ("LCMScheduler", {}, "lcm"),
    ],
)
def test_auto_is_the_sampler_of_the_models_scheduler(kind: str, more: Any, expected: str) -> None:
    """SDXL-Turbo's folder, one step without guidance: what diffusers makes of it."""
    pipe = tiny.pipeline()
    pipe.scheduler = getattr(diffusers, kind).from_config(pipe.scheduler.config, **more)
    source = PromptToPrompt(pipe).generate(HOUSE, seed=3, steps=2, guidance_scale=0.0)
    assert source.sampler == expected
    if expected != "ddim":
        generator = torch.Generator("cpu").manual_seed(3)
        asked: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 0.0, "generator": generator}
        theirs = pipe(HOUSE, output_type="latent", height=64, width=64, **asked).images
        assert relative(source.latents[-1:], theirs) <= tolerance(expected, False)


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.EDMDPMSolverMultistepScheduler(),
        diffusers.EDMEulerScheduler(),
        diffusers.FlowMatchEulerDiscreteScheduler(),
        diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_schedulers_of_other_diffusions_are_refused(scheduler: Any) -> None:
    pipe = tiny.pipeline()
    p2p, pipe.scheduler = PromptToPrompt(pipe), scheduler
    with pytest.raises(errors.UnsupportedModel, match="Expected a scheduler with betas"):
        PromptToPrompt(pipe)
    with pytest.raises(errors.UnsupportedModel, match=type(scheduler).__name__):
        p2p.generate(HOUSE, steps=2)


# --- schedulers that are replaced say so ------------------------------------------------------------------

LAST = {"final_sigmas_type": "sigma_min"}  # which those without ++ want
OWN: list[tuple[str, dict[str, Any], str]] = [
    ("DDIMScheduler", {}, "ddim"),
    ("DPMSolverMultistepScheduler", {}, "dpmpp_2m"),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "dpmpp_2m"),
    ("EulerDiscreteScheduler", {}, "euler"),
    ("EulerAncestralDiscreteScheduler", {}, "euler_ancestral"),
    ("LCMScheduler", {}, "lcm"),
]
REPLACED: list[tuple[str, dict[str, Any], str]] = [
    *((name, {}, "ddim") for name in ("PNDMScheduler", "DDPMScheduler", "UniPCMultistepScheduler")),
    *((name, {}, "ddim") for name in ("DEISMultistepScheduler", "HeunDiscreteScheduler")),
    ("LMSDiscreteScheduler", {}, "ddim"),
    *((name, {}, "ddim") for name in ("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")),
    ("DPMSolverSinglestepScheduler", {}, "ddim"),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", **LAST}, "dpmpp_2m"),
    ("DPMSolverMultistepScheduler", {"solver_order": 3}, "dpmpp_2m"),
    ("DPMSolverMultistepScheduler", {"solver_order": 1}, "dpmpp_2m"),
    ("DPMSolverMultistepScheduler", {"solver_type": "heun"}, "dpmpp_2m"),
]  # fmt: skip
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("TCDScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver", **LAST}),
]


def with_scheduler(kind: str, more: dict[str, Any]) -> PromptToPrompt:
    pipe = tiny.pipeline()
    pipe.scheduler = getattr(diffusers, kind).from_config({**pipe.scheduler.config, **more})
    return PromptToPrompt(pipe)


@pytest.mark.parametrize(("kind", "more", "sampler"), OWN)
def test_a_models_own_sampler_needs_no_note(kind: str, more: dict[str, Any], sampler: str) -> None:
    source = with_scheduler(kind, more).generate(HOUSE, steps=3)
    assert source.sampler == sampler and source.notes == ()


@pytest.mark.parametrize(("kind", "more", "sampler"), REPLACED)
def test_a_scheduler_that_is_replaced_is_named_with_what_stands_in(
    kind: str, more: dict[str, Any], sampler: str
) -> None:
    p2p = with_scheduler(kind, more)
    source = p2p.generate(HOUSE, steps=3)
    (note,) = source.notes
    assert source.sampler == sampler and kind in note and sampler in note
    assert all(str(value) in note for name, value in more.items() if name != "final_sigmas_type")
    chosen = p2p.generate(HOUSE, steps=3, sampler=sampler)
    assert chosen.notes == () and torch.equal(chosen.latents, source.latents)
    assert p2p.edit(source, Edit("a red castle on a snowy hill at night")).as_source().notes == source.notes


@pytest.mark.parametrize(("kind", "more"), REFUSED)
def test_a_scheduler_that_a_model_may_be_made_for_alone_is_refused(kind: str, more: dict[str, Any]) -> None:
    p2p = with_scheduler(kind, more)
    with pytest.raises(errors.UnsupportedModel, match=rf"{kind}.*'ddim' say"):
        p2p.generate(HOUSE, steps=3)
    assert p2p.generate(HOUSE, steps=3, sampler="ddim").notes == ()


def test_a_negative_prompt_that_is_cut_says_so(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, steps=2, negative_prompt="blurry " * 60 + "dragon")
    assert any("negative prompt is longer" in note and "dragon" in note for note in source.notes)
    assert eps.generate(HOUSE, steps=2, negative_prompt="blurry").notes == ()
