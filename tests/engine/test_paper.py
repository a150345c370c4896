"""The engine against the paper: a literal side-by-side run, diffusers' own pipeline, a loop over pixels.

The properties are those of the specification: what must hold whatever the weights are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source, prompt_to_prompt
from p2p_core.attention import AttentionRecord, Term, attend
from p2p_core.cache.store import needed
from p2p_core.injection import AttentionContext, Injection, RowEdit, RowEdits
from p2p_core.model.unet_attention import find_attention_layers, installed
from p2p_core.plan import make_plan
from reference import side_by_side
from reference.by_hand import controls, embed, loop_over_pixels

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close, relative

N, SCALE = 8, 5.0
SAME = [([i], [i]) for i in range(9)]  # "a red house on a snowy hill at night": nine words


def literal(
    p2p: PromptToPrompt, source: Source, target: str, groups: Any, scale: float = SCALE, **asked: Any
) -> Any:
    pipe = p2p.pipe
    c = controls(pipe.tokenizer, source.prompt.text, target, groups, source.steps, **asked)
    texts = tuple(embed(pipe, text) for text in (source.negative_prompt, source.prompt.text, target))
    return side_by_side.sample(pipe, texts, source.latents[:1], c, steps=source.steps, guidance_scale=scale)


CASES: dict[str, tuple[Edit, list[Any], dict[str, Any]]] = {
    "swap": (
        Edit("a red castle on a snowy hill at night", cross_steps=0.75, self_steps=0.5),
        SAME,
        {"cross": (0, 6), "self_steps": (0, 4)},
    ),
    "swap, one token for many": (
        Edit("a red hippopotamus on a snowy hill at night", cross_steps=1.0, self_steps=0.0),
        SAME,
        {"cross": (0, 8)},
    ),
    "swap, one word for two": (
        Edit("a red teddy bear on a snowy hill at night", cross_steps=0.5, self_steps=(0.25, 0.75)),
        [*SAME[:2], ([2], [2, 3]), *(([i], [i + 1]) for i in range(3, 9))],
        {"cross": (0, 4), "self_steps": (2, 6)},
    ),
    "refine": (
        Edit("a big red house on a snowy hill with a cat at night", cross_steps=0.75, self_steps=0.25),
        [([0], [0]), *(([i], [i + 1]) for i in range(1, 7)), *(([i], [i + 4]) for i in (7, 8))],
        {"cross": (0, 6), "self_steps": (0, 2)},
    ),
    "swap, two words for three": (
        Edit("a teddy bear cat on a snowy hill at night", cross_steps=1, self_steps=0),
        [([0], [0]), ([1, 2], [1, 2, 3]), *(([i], [i + 1]) for i in range(3, 9))],
        {"cross": (0, 8)},
    ),
    "no words at all": (
        Edit("", cross_steps=0.5, self_steps=0.25),
        [],
        {"cross": (0, 4), "self_steps": (0, 2)},
    ),
    "remove": (
        Edit("a house on a hill", cross_steps=1.0, self_steps=0.0),
        [([0], [0]), ([2], [1]), ([3], [2]), ([4], [3]), ([6], [4])],
        {"cross": (0, 8)},
    ),
    "refine a swapped run": (
        Edit("a red castle on a snowy hill at night", cross_steps=1.0, self_steps=0.0, kind="refine"),
        [pair for pair in SAME if pair != ([2], [2])],
        {"cross": (0, 8)},
    ),
    "re-weight": (
        Edit(HOUSE, cross_steps=1.0, self_steps=0.0, weights={"snowy": 1.7, "night": -1.2}),
        SAME,
        {"cross": (0, 8), "weights": {5: 1.7, 8: -1.2}},
    ),
    "re-weight without injection": (
        Edit(HOUSE, cross_steps=0.0, self_steps=0.0, weights={"house": 0.0}),
        SAME,
        {"weights": {2: 0.0}},
    ),
    "re-weight for a while": (
        Edit(HOUSE, cross_steps=0.5, self_steps=0.5, weights={"a": 2.0}, weight_steps=(0.25, 0.75)),
        SAME,
        {"cross": (0, 4), "self_steps": (0, 4), "weights": {0: 2.0, 4: 2.0}, "weight_steps": (2, 6)},
    ),
    "swap, add and re-weight": (
        Edit(
            "a red castle on a snowy hill with a cat at night",
            cross_steps=0.75,
            self_steps=0.25,
            weights={"snowy": -0.5, "cat": 1.6, "castle": 1.3},
        ),
        [*SAME[:7], ([7], [10]), ([8], [11])],
        {"cross": (0, 6), "self_steps": (0, 2), "weights": {5: -0.5, 9: 1.6, 2: 1.3}},
    ),
    "windows of words": (
        Edit(
            "a red castle on a snowy hill at night",
            cross_steps={"default_": 0.75, "castle": (0.125, 0.375), "snowy hill": 1.0, "#0": 0.0},
            self_steps=0.0,
        ),
        SAME,
        {"cross": (0, 6), "windows": {2: (1, 3), 5: (0, 8), 6: (0, 8), 0: (0, 0)}},
    ),
    "self-attention on small grids only": (
        Edit("a red car on a snowy hill at night", cross_steps=0.5, self_steps=1.0, self_pixels=64),
        SAME,
        {"cross": (0, 4), "self_steps": (0, 8), "self_pixels": 64},
    ),
    "self-attention everywhere": (
        Edit("a red car on a snowy hill at night", cross_steps=0.5, self_steps=1.0, self_pixels=math.inf),
        SAME,
        {"cross": (0, 4), "self_steps": (0, 8), "self_pixels": math.inf},
    ),
    "blend": (
        Edit(
            "a red castle on a snowy hill at night",
            cross_steps=0.75,
            self_steps=0.25,
            blend=Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.25),
        ),
        SAME,
        {"cross": (0, 6), "self_steps": (0, 2), "blend": ([2], [2], 0.6, 2, [], 0.3)},
    ),
    "blend on a word that is turned around": (
        Edit(
            "a red castle on a snowy hill at night",
            cross_steps=1.0,
            self_steps=0.0,
            weights={"castle": -1.0},
            blend=Blend(target_words=("castle",), threshold=0.5, start=0.25),
        ),
        SAME,
        {"cross": (0, 8), "weights": {2: -1.0}, "blend": ([], [2], 0.5, 2, [], 0.3)},
    ),
    "blend, subtract, add, windows and faders": (
        Edit(
            "a red castle on a snowy hill with a cat at night",
            cross_steps={"default_": 0.75, "castle": 0.25},
            self_steps=0.25,
            weights={"cat": 1.5, "snowy": -1.0},
            blend=Blend(
                source_words=("house",),
                target_words=("castle", "cat"),
                threshold=0.5,
                start=0.5,
                subtract_words=("hill",),
                subtract_threshold=0.8,
            ),
        ),
        [*SAME[:7], ([7], [10]), ([8], [11])],
        {
            "cross": (0, 6),
            "windows": {2: (0, 2)},
            "self_steps": (0, 2),
            "weights": {9: 1.5, 5: -1.0},
            "blend": ([2], [2, 9], 0.5, 4, [6], 0.8),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_what_the_paper_computes_side_by_side(
    p2p: PromptToPrompt, source: Source, name: str
) -> None:
    edit, groups, asked = CASES[name]
    theirs_source, theirs, mask = literal(p2p, source, edit.prompt, groups, **asked)
    p2p.forget_edits()
    result = p2p.edit(source, edit)
    assert_close(source.latents[-1:], theirs_source)
    assert_close(result.latents[None], theirs)
    assert relative(result.latents[None], theirs_source) > 0.01, "the edit must change something"
    own = 2 if name == "re-weight for a while" else 0  # equal prompts, faders not yet: the source's own steps
    assert result.steps_computed == N - own
    if mask is not None:
        assert result.mask is not None
        assert 0 < result.mask.mean() < 1, "a mask of everything or nothing tests no blend"
        assert np.array_equal(result.mask.astype(bool), mask.numpy())


@pytest.mark.parametrize("scale", [1.0, 0.0, 2.5])
def test_guidance_as_in_diffusers(eps: PromptToPrompt, scale: float) -> None:
    source = eps.generate(HOUSE, seed=1, steps=6, guidance_scale=scale)
    result = eps.edit(source, Edit("a red castle on a snowy hill at night", cross_steps=0.5, self_steps=0.5))
    _, theirs, _ = literal(
        eps, source, result.edit.prompt, SAME, scale=scale, cross=(0, 3), self_steps=(0, 3)
    )
    assert_close(result.latents[None], theirs)


@pytest.mark.parametrize("size", [(64, 96), (40, 56), (128, 64)])
def test_sizes_that_are_not_square(eps: PromptToPrompt, size: tuple[int, int]) -> None:
    height, width = size
    source = eps.generate(HOUSE, seed=1, steps=6, guidance_scale=SCALE, height=height, width=width)
    assert source.image.size == (width, height)
    edit = Edit(
        "a red castle on a snowy hill at night",
        cross_steps=0.5,
        self_steps=1.0,
        self_pixels=math.inf,
        blend=Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.5),
    )
    result = eps.edit(source, edit)
    _, theirs, mask = literal(
        eps, source, edit.prompt, SAME, cross=(0, 3), self_steps=(0, 6), self_pixels=math.inf,
        blend=([2], [2], 0.6, 3, [], 0.3),
    )  # fmt: skip
    assert_close(result.latents[None], theirs)
    assert result.mask is not None and np.array_equal(result.mask.astype(bool), mask.numpy())


def test_a_negative_prompt(eps: PromptToPrompt) -> None:
    settings = {"seed": 1, "steps": 6, "guidance_scale": SCALE}
    source = eps.generate(HOUSE, negative_prompt="a big hat", **settings)
    assert relative(eps.generate(HOUSE, **settings).latents[-1:], source.latents[-1:]) > 0.01
    result = eps.edit(source, Edit("a red castle on a snowy hill at night", cross_steps=0.5, self_steps=0.5))
    theirs = literal(eps, source, result.edit.prompt, SAME, cross=(0, 3), self_steps=(0, 3))
    assert_close(source.latents[-1:], theirs[0])
    assert_close(result.latents[None], theirs[1])


def random_edit(rng: np.random.Generator, steps: int) -> tuple[Edit, list[Any], dict[str, Any]]:
    """An edit made by taking words away and putting others in, so its alignment is known by construction.

    The words of the source are all different, but for "a", which stays.
    """
    source = HOUSE.split()
    new = list(
        rng.permutation(["castle", "car", "cat", "hippopotamus", "teddy", "bear", "hat", "with", "big"])
    )
    words: list[str] = []
    groups: list[Any] = []
    gone: list[int] = []
    put: list[int] = []

    def close() -> None:
        if len(gone) == len(put):
            groups.extend(([i], [j]) for i, j in zip(gone, put, strict=True))
        elif gone and put:
            groups.append((gone.copy(), put.copy()))
        gone.clear()
        put.clear()

    for i, word in enumerate(source):
        fate = "keep" if word == "a" else rng.choice(["keep", "keep", "remove", "swap", "insert"])
        if fate in ("remove", "swap"):
            gone.append(i)
        if fate in ("swap", "insert") and new:
            put.append(len(words))
            words.append(new.pop())
        if fate in ("keep", "insert"):
            close()
            groups.append(([i], [len(words)]))
            words.append(word)
    close()

    def window() -> tuple[int, int]:
        lo, hi = sorted(int(x) for x in rng.integers(0, steps + 1, 2))
        return lo, hi

    cross, own, self_steps, faders = (window() for _ in range(4))
    one, two = (int(x) for x in rng.choice(len(words), 2, replace=False))
    weights = {two: float(rng.uniform(-2, 2)), one: float(rng.uniform(-2, 2))}
    start = int(rng.integers(0, steps))
    edit = Edit(
        " ".join(words),
        cross_steps={"default_": (cross[0] / steps, cross[1] / steps), one: (own[0] / steps, own[1] / steps)},
        self_steps=(self_steps[0] / steps, self_steps[1] / steps),
        self_pixels=64,
        weights=weights,
        weight_steps=(faders[0] / steps, faders[1] / steps),
        blend=Blend(source_words=(2,), target_words=(one,), threshold=0.55, start=start / steps),
    )
    asked = {
        "cross": cross,
        "windows": {one: own},
        "self_steps": self_steps,
        "self_pixels": 64,
        "weights": weights,
        "weight_steps": faders,
        "blend": ([2], [one], 0.55, start, [], 0.3),
    }
    return edit, groups, asked


@pytest.mark.parametrize("seed", range(8))
def test_random_edits_are_what_the_paper_computes(p2p: PromptToPrompt, seed: int) -> None:
    source = p2p.generate(HOUSE, seed=3, steps=5, guidance_scale=SCALE)
    edit, groups, asked = random_edit(np.random.default_rng(seed), 5)
    _, theirs, mask = literal(p2p, source, edit.prompt, groups, **asked)
    result = p2p.edit(source, edit)
    assert_close(result.latents[None], theirs)
    assert result.mask is not None and np.array_equal(result.mask.astype(bool), mask.numpy())


def test_the_references_two_forms_agree(eps: PromptToPrompt, source: Source) -> None:
    """Column by column, as the tests use it, and in one product, as the benchmark does."""
    pipe, steps = eps.pipe, 4
    x_T = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    target = "a big red teddy bear on a snowy hill at night"
    groups = [([0], [0]), ([1], [2]), ([2], [3, 4]), *(([i], [i + 2]) for i in range(3, 9))]
    asked = {"cross": (0, 3), "self_steps": (0, 2), "weights": {7: -1.5}}
    c = controls(pipe.tokenizer, HOUSE, target, groups, steps, **asked)
    texts = (embed(pipe, ""), embed(pipe, HOUSE), embed(pipe, target))
    one, other = (
        side_by_side.sample(pipe, texts, x_T, c, steps=steps, guidance_scale=SCALE, columnwise=columnwise)
        for columnwise in (True, False)
    )
    assert_close(other[1], one[1])


def test_a_tokenizer_of_another_length() -> None:
    p2p = PromptToPrompt(tiny.pipeline(length=40, seed=5))
    source = p2p.generate(HOUSE, seed=1, steps=4, guidance_scale=SCALE)
    plan = p2p.plan(HOUSE, Edit("a red car"), steps=4)
    assert plan.steps[0].take.shape == (40, 40)
    result = p2p.edit(source, Edit("a red castle on a snowy hill at night", cross_steps=1.0, self_steps=0.0))
    _, theirs, _ = literal(p2p, source, result.edit.prompt, SAME, cross=(0, 4))
    assert_close(result.latents[None], theirs)


UNETS: dict[str, dict[str, Any]] = {
    "as Stable Diffusion 1": {
        "block_out_channels": (16, 16, 32, 32),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    },
    "as Stable Diffusion 2": {
        "attention_head_dim": (2, 4, 8),
        "use_linear_projection": True,
        "upcast_attention": True,
        "layers_per_block": 2,
        "prediction": "v_prediction",
    },
    "as the bundled model": {
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "prediction": "v_prediction",
    },
}


@pytest.mark.parametrize("name", UNETS)
def test_unets_of_other_builds(name: str) -> None:
    p2p = PromptToPrompt(tiny.pipeline(**UNETS[name]))
    call = AttentionContext(conditional=1, latent=(16, 16))
    with torch.no_grad():
        p2p.model.predict(torch.randn(1, 4, 16, 16), torch.tensor(5), torch.randn(1, 24, 32), call)
    assert call.fired == [site.name for site in p2p.model.sites], "in order of execution"
    assert len(call.fired) == len(p2p.pipe.unet.attn_processors)
    source = p2p.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE)
    edit, groups, asked = CASES["blend, subtract, add, windows and faders"]
    theirs_source, theirs, mask = literal(p2p, source, edit.prompt, groups, **asked)
    result = p2p.edit(source, edit)
    assert_close(source.latents[-1:], theirs_source)
    assert_close(result.latents[None], theirs)
    assert result.mask is not None and np.array_equal(result.mask.astype(bool), mask.numpy())


# --- what must hold --------------------------------------------------------------------------------


def theirs_of(p2p: PromptToPrompt, prompt: str, x_T: torch.Tensor, steps: int, scale: float = SCALE) -> Any:
    """The final latents of diffusers' own pipeline."""
    return p2p.pipe(
        prompt,
        latents=x_T.clone(),
        num_inference_steps=steps,
        guidance_scale=scale,
        height=p2p.default_size[0],
        width=p2p.default_size[1],
        output_type="latent",
    ).images


def test_generate_is_diffusers_pipeline(p2p: PromptToPrompt, source: Source) -> None:
    assert_close(source.latents[-1:], theirs_of(p2p, HOUSE, source.latents[:1], N))
    image = p2p.pipe.image_processor.postprocess(
        p2p.pipe.vae.decode(source.latents[-1:] / p2p.pipe.vae.config.scaling_factor).sample.detach()
    )[0]
    assert np.array_equal(np.asarray(image), np.asarray(source.image))


@pytest.mark.parametrize(
    "prompt",
    ["", "  a   red\thouse, (at night)!  ", "“a cat” #1 漢字 naïve 🙂", "hippopotamus " * 12],
    ids=["empty", "spaces", "unicode", "too long"],
)
def test_any_prompt_is_read_as_diffusers_reads_it(eps: PromptToPrompt, source: Source, prompt: str) -> None:
    made = eps.generate(prompt, seed=3, steps=4, guidance_scale=SCALE)
    assert_close(made.latents[-1:], theirs_of(eps, prompt, made.latents[:1], 4))
    base = eps.generate(HOUSE, seed=3, steps=4, guidance_scale=SCALE)
    plain = eps.edit(base, Edit(prompt, cross_steps=0.0, self_steps=0.0))
    assert torch.equal(plain.latents, made.latents[-1]), (
        "an edit without injection is the target's own picture"
    )
    for one, two in ((base, prompt), (made, HOUSE)):
        assert bool(eps.edit(one, Edit(two)).latents.isfinite().all())


@pytest.mark.parametrize("steps", [1, 3, 7, 30])
def test_generate_for_any_number_of_steps(p2p: PromptToPrompt, steps: int) -> None:
    source = p2p.generate(HOUSE, seed=2, steps=steps, guidance_scale=SCALE)
    assert source.latents.shape[0] == steps + 1
    assert_close(source.latents[-1:], theirs_of(p2p, HOUSE, source.latents[:1], steps))


def test_a_model_with_another_scheduler_is_sampled_by_ddim() -> None:
    """Stable Diffusion 1.5's folder holds a PNDM scheduler. What doesn't clip must not begin to."""
    from diffusers import DDIMScheduler

    p2p = PromptToPrompt(tiny.pipeline(kind="pndm"))
    source = p2p.generate(HOUSE, seed=2, steps=5, guidance_scale=SCALE)
    p2p.pipe.scheduler = DDIMScheduler.from_config(p2p.pipe.scheduler.config, clip_sample=False)
    assert_close(source.latents[-1:], theirs_of(p2p, HOUSE, source.latents[:1], 5))


def test_no_injection_is_diffusers_pipeline_for_the_target(p2p: PromptToPrompt, source: Source) -> None:
    target = "a blue car in the hat"
    result = p2p.edit(source, Edit(target, cross_steps=0.0, self_steps=0.0))
    assert_close(result.latents[None], theirs_of(p2p, target, source.latents[:1], N))


def test_equal_prompts_are_the_source_and_cost_nothing(p2p: PromptToPrompt, source: Source) -> None:
    result = p2p.edit(source, Edit(HOUSE))
    assert torch.equal(result.latents, source.latents[-1])
    assert np.array_equal(np.asarray(result.image), np.asarray(source.image))
    assert result.steps_computed == 0 and result.plan.changes_nothing
    assert any("changes nothing" in note for note in result.plan.notes)


@pytest.mark.parametrize("self_steps", [0.0, 1.0])
def test_equal_prompts_through_the_machinery_are_the_source_bit_for_bit(
    p2p: PromptToPrompt, source: Source, self_steps: float
) -> None:
    """Every step really run, with the source's queries and keys injected into the target's row."""
    plan = make_plan(source.prompt, source.prompt, Edit(HOUSE, cross_steps=1.0, self_steps=self_steps), N)
    assert plan.steps[0].take.any() and not plan.steps[0].keep.any()
    state = source.state(0)
    for i in range(N):
        state = p2p.edit_step(source, [plan], [state])[0]
        assert torch.equal(state.latents, source.latents[i + 1, None])


def test_edited_maps_are_a_loop_over_pixels_and_tokens() -> None:
    """attend(Q_src, K_src, take V) + attend(Q*, K*, keep V) against the maps themselves."""
    unet = tiny.pipeline().unet
    site = next(s for s in find_attention_layers(unet) if s.kind == "cross")
    attn = unet.get_submodule(site.name)
    rng = np.random.default_rng(0)
    pixels, S, T, C = 12, 7, 7, attn.to_q.in_features
    for _ in range(5):
        A = rng.random((S, T)).astype(np.float32) * (rng.random((S, T)) < 0.5)
        n = rng.random(T) < 0.3
        A[:, n] = 0
        a = rng.choice([0.0, 0.3, 1.0], T).astype(np.float32)
        w = rng.uniform(-2, 2, T).astype(np.float32)
        take = A * a * w
        keep = (n * a + (1 - a)) * w
        g = torch.Generator().manual_seed(int(rng.integers(100)))
        x, x_src = torch.randn(2, 1, pixels, C, generator=g)
        text, text_src = torch.randn(2, 1, S, attn.to_k.in_features, generator=g)
        with torch.no_grad():
            q, k, v = attn.to_q(x), attn.to_k(text), attn.to_v(text)
            q_src, k_src = attn.to_q(x_src), attn.to_k(text_src)
            record = AttentionRecord(cross={site.name: (Term(q_src, k_src),)})
            row = RowEdit(
                take=torch.tensor(take), keep=torch.tensor(keep, dtype=torch.float32), self_pixels=0
            )
            call = AttentionContext(conditional=1, latent=(4, 3))
            call.injection = Injection(record, RowEdits([row], torch.device("cpu"), torch.float32))
            with installed({site: attn}):
                got = attn.processor(attn, x, text, p2p=call)
        heads, d = site.heads, C // site.heads
        maps = []
        for q_, k_ in ((q_src, k_src), (q, k)):
            q_heads = q_.view(pixels, heads, d).transpose(0, 1)
            k_heads = k_.view(S, heads, d).permute(1, 2, 0)
            maps.append(torch.softmax(q_heads @ k_heads / math.sqrt(d), -1).numpy())  # (heads, N, S)
        M, M_star = maps
        per_head = v.view(T, heads, d).transpose(0, 1).numpy()
        out = np.concatenate(
            [loop_over_pixels(M[h], M_star[h], A, n, a, w) @ per_head[h] for h in range(heads)], 1
        )
        with torch.no_grad():
            expected = attn.to_out[0](torch.from_numpy(out.astype(np.float32)))[None]
        assert_close(got, expected)


def test_attend_is_explicit_attention() -> None:
    site = next(s for s in find_attention_layers(tiny.pipeline().unet) if s.kind == "cross")
    q, k, v = torch.randn(2, 9, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    parts = []
    for h in range(site.heads):
        at = slice(h * 4, h * 4 + 4)
        parts.append(torch.softmax(q[..., at] @ k[..., at].transpose(1, 2) * site.scale, -1) @ v[..., at])
    assert_close(attend(q, k, v, site), torch.cat(parts, -1))


def test_with_nothing_asked_the_processor_is_diffusers_own(eps: PromptToPrompt) -> None:
    unet = eps.pipe.unet
    x, t, text = torch.randn(2, 4, 16, 16), torch.tensor(500), torch.randn(2, 24, 32)
    with torch.no_grad():
        expected = unet(x, t, encoder_hidden_states=text).sample
        with installed(eps.model.layers()):
            got = unet(x, t, encoder_hidden_states=text).sample
    assert_close(got, expected)


def test_every_site_fires_once_a_call(eps: PromptToPrompt) -> None:
    call = AttentionContext(conditional=1, latent=(16, 16), record_self_pixels=math.inf)
    with torch.no_grad():
        eps.model.predict(torch.randn(2, 4, 16, 16), torch.tensor(5), torch.randn(2, 24, 32), call)
    assert sorted(call.fired) == sorted(site.name for site in eps.model.sites)
    assert len(call.fired) == len(set(call.fired)) == len(eps.pipe.unet.attn_processors)
    assert call.fired == [site.name for site in eps.model.sites], "in order of execution"
    for site in eps.model.sites:
        h, w = site.grid((16, 16))
        recorded = call.recorded.cross[site.name][0].q if site.kind == "cross" else None
        recorded = call.recorded.self_[site.name][0] if recorded is None else recorded
        assert recorded.shape[:2] == (1, h * w)


@pytest.mark.parametrize("name", CASES)
def test_algorithm_1_from_the_start_is_what_the_engine_gives(p2p: PromptToPrompt, name: str) -> None:
    """`prompt_to_prompt.edit`, with nothing cached but the source's records."""
    edit, _, _ = CASES[name]
    source = p2p.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE)
    plan, dm = p2p.plan(HOUSE, edit, steps=N), p2p.dm(source)
    records = (p2p.store.of(source, i, needed(plan.steps[i], source.latent_size)) for i in range(N))
    states = list(prompt_to_prompt.edit(dm, source, plan, records))
    assert [state.index for state in states] == list(range(1, N + 1))
    expected = p2p.edit(source, edit)
    assert torch.equal(states[-1].latents[0], expected.latents)
    assert (states[-1].mask is None) == (expected.mask is None)
