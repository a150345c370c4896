"""Real pictures as sources: the four ways against literal ones, edits of them, and pictures of all kinds."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from PIL import Image

from p2p_core import Blend, Edit, PromptToPrompt, Source, load_recipe, recipe_of
from p2p_core import source as source_module
from p2p_core.errors import BadBlend, BadInput, BadMethod, BadPicture, BadRecipe, NotEnoughMemory
from p2p_core.inversion import methods
from p2p_core.inversion.methods import ddim_path
from p2p_core.schedulers import make_sampler
from p2p_core.steps import Steps

from .. import tiny

PROMPT, TARGET = "a red house on a hill", "a red castle on a hill"
# float32 noise grows over the steps of a random network: 1e-7 in z_T is 1e-4 after five of them. It grows
# with the guidance scale too, so that what is compared to 1e-4 has the gentler one.
STEPS, SCALE, GENTLE = 3, 4.0, 2.0
METHODS = ("direct", "aligned", "null_text", "negative_prompt", "ddim")


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def p2p(request: Any) -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline(request.param), device="cpu")


@pytest.fixture(scope="module")
def picture(p2p: PromptToPrompt) -> Image.Image:
    h, w = p2p.default_size
    y, x = np.mgrid[:h, :w]
    return Image.fromarray(np.stack([x * 255 // w, y * 255 // h, (x + y) * 127 // h], -1).astype(np.uint8))


# --- literal: diffusers' parts, loops as in the papers ----------------------------------------------------


class Literal:
    """The methods written down with explicit schedules and diffusers' own UNet call."""

    def __init__(self, p2p: PromptToPrompt, picture: Image.Image) -> None:
        self.pipe = p2p.pipe
        self.unet, self.vae = self.pipe.unet, self.pipe.vae
        scheduler = DDIMScheduler.from_config({"clip_sample": False, **self.pipe.scheduler.config})
        scheduler.set_timesteps(STEPS)
        self.times = [int(t) for t in scheduler.timesteps]
        gap = scheduler.config.num_train_timesteps // STEPS
        bars = scheduler.alphas_cumprod
        self.a = [float(bars[t]) for t in self.times]
        self.b = [
            float(bars[t - gap]) if t >= gap else float(scheduler.final_alpha_cumprod) for t in self.times
        ]
        self.v = scheduler.config.prediction_type == "v_prediction"
        x = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            z = self.vae.encode(x).latent_dist.mean  # laid out as the autoencoder's weights are
            self.z = z.contiguous() * self.vae.config.scaling_factor
        self.text, self.empty = self.embed(PROMPT), self.embed("")

    @torch.no_grad()
    def embed(self, prompt: str) -> torch.Tensor:
        ids = self.pipe.tokenizer(
            prompt, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return self.pipe.text_encoder(ids)[0]

    def out(self, x: torch.Tensor, i: int, text: torch.Tensor) -> torch.Tensor:
        return self.unet(x, self.times[i], encoder_hidden_states=text).sample

    def read(self, x: torch.Tensor, out: torch.Tensor, a: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(eps, x_0), from an epsilon or a velocity."""
        if self.v:
            return a**0.5 * out + (1 - a) ** 0.5 * x, a**0.5 * x - (1 - a) ** 0.5 * out
        return out, (x - (1 - a) ** 0.5 * out) / a**0.5

    @torch.no_grad()
    def path(self) -> list[torch.Tensor]:
        found = [self.z]
        for i in reversed(range(STEPS)):
            # the network is asked at the time it goes to, and the noise it means is read there
            x, a, b = found[-1], self.a[i], self.b[i]
            eps, _ = self.read(x, self.out(x, i, self.text), a)
            x_0 = (x - (1 - b) ** 0.5 * eps) / b**0.5
            found.append(a**0.5 * x_0 + (1 - a) ** 0.5 * eps)
        return found[::-1]

    def guided(self, x: torch.Tensor, i: int, text: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        low = self.out(x, i, own)
        eps, x_0 = self.read(x, low + GENTLE * (self.out(x, i, text) - low), self.a[i])
        return self.b[i] ** 0.5 * x_0 + (1 - self.b[i]) ** 0.5 * eps

    @torch.no_grad()
    def aligned(self, path: list[torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        """The target's last latents where every step asks as far ahead as the inversion did."""
        x = path[0]
        for i, (a, b) in enumerate(zip(self.a, self.b, strict=True)):
            at = x + path[i + 1] - path[i]
            low = self.out(at, i, self.empty)
            eps, x_0 = self.read(at, low + GENTLE * (self.out(at, i, text) - low), a)
            x_0 = (x - (1 - a) ** 0.5 * eps) / a**0.5 if a else x_0
            x = b**0.5 * x_0 + (1 - b) ** 0.5 * eps
        return x

    def null_text(self, path: list[torch.Tensor]) -> list[torch.Tensor]:
        x, own, found = path[0], self.empty, []
        for i in range(STEPS):
            own = own.clone().detach().requires_grad_(True)
            adam = torch.optim.Adam([own], lr=1e-2 * (1 - i / 100))
            for _ in range(10):
                loss = F.mse_loss(self.guided(x, i, self.text, own), path[i + 1])
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + i * 2e-5:
                    break
            found.append(own.detach())
            with torch.no_grad():
                x = self.guided(x, i, self.text, own)
        return found

    @torch.no_grad()
    def run(self, x: torch.Tensor, text: torch.Tensor, own: list[torch.Tensor]) -> list[torch.Tensor]:
        found = [x]
        for i in range(STEPS):
            found.append(self.guided(found[-1], i, text, own[i]))
        return found


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_the_literal_one(p2p: PromptToPrompt, picture: Image.Image, method: str) -> None:
    """Source latents, embeddings and an uninjected target, to 1e-4 relative."""
    source = p2p.invert(picture, PROMPT, method=method, steps=STEPS, guidance_scale=GENTLE)
    literal = Literal(p2p, picture)
    path = literal.path()
    own = [literal.empty] * STEPS
    if method == "null_text":
        own = literal.null_text(path)
        assert relative(source.unconditional, torch.cat(own)) < 1e-4
    elif method == "negative_prompt":
        own = [literal.text] * STEPS
        assert relative(source.unconditional, torch.cat(own)) < 1e-6
    latents = path if method in ("direct", "aligned") else literal.run(path[0], literal.text, own)
    assert relative(source.latents, torch.cat(latents)) < 1e-4
    plain = p2p.edit(source, Edit(TARGET, cross_steps=0, self_steps=0))
    target = literal.run(path[0], literal.embed(TARGET), own)[-1]
    if method == "aligned":
        target = literal.aligned(list(source.latents.split(1)), literal.embed(TARGET))
    assert relative(plain.latents, target[0]) < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_an_inverted_picture_is_a_source_like_any_other(
    p2p: PromptToPrompt, picture: Image.Image, method: str
) -> None:
    source = p2p.invert(picture, PROMPT, method=method, steps=STEPS, guidance_scale=SCALE)
    assert source.seed is None and source.inversion.method == method and source.steps == STEPS
    assert p2p.edit(source, Edit(PROMPT)).steps_computed == 0
    edit = Edit(TARGET, cross_steps=0.6, self_steps=0.4, weights={"hill": 1.5})
    result = p2p.edit(source, edit)
    assert np.isfinite(np.asarray(source.attention("house"))).all() and result.steps_computed == STEPS
    assert p2p.edit(source, edit.replace(cross_steps=0.8)).steps_computed < STEPS
    many = p2p.edit_many(source, [edit, edit.replace(weights={})])
    assert relative(many[0].latents, result.latents) < 1e-4
    next_one = result.as_source()
    assert next_one.inversion is source.inversion
    assert p2p.edit(next_one, Edit("a big castle on a hill")).steps_computed == STEPS
    before = source.attention("hill")
    p2p.forget(source)
    np.testing.assert_allclose(source.attention("hill"), before, atol=1e-5)
    assert relative(p2p.edit(source, edit).latents, result.latents) < 1e-4


def test_direct_comes_back_as_the_autoencoder_has_it(p2p: PromptToPrompt, picture: Image.Image) -> None:
    source = p2p.invert(picture, PROMPT, steps=STEPS)
    report = source.inversion
    assert report.method == "direct" and report.psnr_vae == 99 and report.psnr == report.psnr_ceiling
    assert np.array_equal(np.asarray(report.picture), np.asarray(picture))
    worse = p2p.invert(picture, PROMPT, method="ddim", steps=STEPS).inversion
    assert worse.psnr_vae < 99 and worse.psnr_ceiling == report.psnr_ceiling


def test_aligned_asks_once_a_step_and_meets_the_picture_unpinned(
    p2p: PromptToPrompt, picture: Image.Image, tmp_path: Path
) -> None:
    """Its source is recorded on the way to noise; without guidance the prompt's own run ends where it began,
    but for what the step from pure noise forgets."""
    asked: list[int] = []
    count = p2p.pipe.unet.register_forward_pre_hook(lambda _, values: asked.append(len(values[0])))
    try:
        source = p2p.invert(picture, PROMPT, method="aligned", steps=2, guidance_scale=1)
    finally:
        count.remove()
    assert sum(asked) == 2 and source.inversion.psnr_vae == 99
    start = source.state(1) if p2p.pipe.scheduler.config.rescale_betas_zero_snr else source.state(0)
    same, state = p2p.plan(PROMPT, Edit(PROMPT, weights={"hill": 1.0}), steps=2), start
    for _ in range(start.index, 2):
        (state,) = p2p.edit_step(source, [same], [state])
    assert relative(state.latents, source.latents[-1:]) < 1e-4
    edit = Edit(TARGET, cross_steps=0.5)
    result = p2p.edit(source, edit)
    loaded = p2p.load_source(source.save(tmp_path / "picture.safetensors"))
    p2p.forget_edits()
    assert relative(p2p.edit(loaded, edit).latents, result.latents) < 1e-4


def test_an_aligned_inversion_that_is_stopped_leaves_nothing(p2p: PromptToPrompt) -> None:
    held = p2p.cache.nbytes
    run = p2p.iter_invert(Image.effect_noise((64, 64), 60).convert("RGB"), PROMPT, method="aligned", steps=4)
    next(run)
    assert p2p.cache.nbytes > held
    run.close()
    assert p2p.cache.nbytes == held


def test_null_text_follows_the_path_better_than_none(p2p: PromptToPrompt, picture: Image.Image) -> None:
    far, near = (
        p2p.invert(picture, PROMPT, method=method, steps=STEPS, guidance_scale=SCALE).latents
        for method in ("ddim", "null_text")
    )
    path = torch.cat(Literal(p2p, picture).path())
    assert relative(near, path) < 0.9 * relative(far, path)


def test_original_pixels_outside_the_region(p2p: PromptToPrompt, picture: Image.Image) -> None:
    source = p2p.invert(picture, PROMPT, steps=STEPS)
    drawn = np.zeros((32, 32))
    drawn[8:20, 8:20] = 1
    blend = Blend(mask=drawn, start=0)
    edit = Edit(TARGET, blend=blend)
    there = p2p.edit(source, edit)
    mine = p2p.edit(source, edit.replace(blend=replace(blend, keep_pixels=True)))
    assert mine.steps_computed == 0 and torch.equal(mine.latents, there.latents)
    inside = np.asarray(Image.fromarray(mine.mask).resize(picture.size, Image.Resampling.NEAREST))
    far = np.asarray(Image.fromarray(mine.mask).resize(picture.size, Image.Resampling.BILINEAR)) == 0
    mixed, plain, given = (np.asarray(image) for image in (mine.image, there.image, picture))
    assert 0 < inside.mean() < 1 and (mixed[far] == given[far]).all() and (plain[far] != given[far]).any()
    core = np.asarray(Image.fromarray(mine.mask).resize(picture.size, Image.Resampling.BILINEAR)) == 1
    assert core.any() and (mixed[core] == plain[core]).all()
    again = mine.as_source()
    assert np.array_equal(np.asarray(again.pixels), mixed), "an edit of it begins with what was shown"
    assert Edit.from_json(mine.edit.to_json()) == mine.edit


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_holds_the_picture(
    p2p: PromptToPrompt, picture: Image.Image, method: str, tmp_path: Path
) -> None:
    source = p2p.invert(picture, PROMPT, method=method, steps=3, guidance_scale=SCALE)
    once = p2p.edit(source, Edit(TARGET, weights={"hill": 1.5}))
    twice = p2p.edit(once.as_source(), Edit("a red castle on a green hill"))
    recipe = load_recipe(twice.save(tmp_path / "edit.png"))
    assert recipe.source["method"] == method and len(recipe.edits) == 2
    again = p2p.source_of(recipe)
    assert np.array_equal(np.asarray(again.inversion.picture), np.asarray(picture))
    assert again.key == source.key and torch.equal(again.latents, source.latents)
    result = p2p.edit(p2p.edit(again, recipe.edits[0]).as_source(), recipe.edits[1])
    assert np.array_equal(np.asarray(result.image), np.asarray(twice.image))


def test_a_recipe_of_a_generated_picture_is_generated(p2p: PromptToPrompt) -> None:
    source = p2p.generate(PROMPT, seed=3, steps=2)
    again = p2p.source_of(recipe_of(p2p.edit(source, Edit(TARGET))))
    assert again.key == source.key and again.inversion is None


@pytest.mark.parametrize("picture_text", ["%%%", "", "\u00e9", "aGVsbG8=", 7])
def test_a_recipe_with_a_broken_picture_says_so(p2p: PromptToPrompt, picture_text: Any) -> None:
    data = {
        "p2p": 1,
        "model": "tiny",
        "source": {"prompt": PROMPT, "steps": 2, "method": "direct", "picture": picture_text},
        "edits": [{"prompt": TARGET}],
    }
    with pytest.raises((BadPicture, BadRecipe), match="picture"):
        p2p.source_of(load_recipe(data))


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_keep_pixels_is_true_or_false(value: Any) -> None:
    with pytest.raises(BadBlend, match="keep_pixels"):
        Blend(target_words=["castle"], keep_pixels=value)


def test_progress_and_stopping(p2p: PromptToPrompt, picture: Image.Image) -> None:
    sources = []  # kept, because what is recorded of a source goes with it
    for method, parts in (("direct", 2), ("null_text", 3)):
        run = p2p.inverting(picture, PROMPT, method=method, steps=STEPS, guidance_scale=SCALE)
        seen = []
        while True:
            try:
                seen.append(next(run))
            except StopIteration as stop:
                assert isinstance(stop.value, Source)
                sources.append(stop.value)
                break
        indices = [s.index for s in seen]
        assert list(dict.fromkeys(indices)) == list(range(1, parts * STEPS + 1)) == sorted(set(indices))
        assert indices == sorted(indices) and (method == "null_text" or len(indices) == len(set(indices)))
        assert {s.total for s in seen} == {parts * STEPS}
    before = {name: p.requires_grad for name, p in p2p.pipe.unet.named_parameters()}
    held = p2p.cache.nbytes
    run = p2p.inverting(picture, "a cat in a hat", method="null_text", steps=STEPS)
    for _ in range(STEPS + 2):
        next(run)
    run.close()
    assert p2p.cache.nbytes == held
    assert {name: p.requires_grad for name, p in p2p.pipe.unet.named_parameters()} == before
    assert not p2p.lock._is_owned()  # type: ignore[attr-defined]
    free = threading.Thread(target=lambda: p2p.generate(PROMPT, steps=2))
    free.start()
    free.join(60)
    assert not free.is_alive()


def test_without_an_unconditional_row_three_methods_are_one(
    p2p: PromptToPrompt, picture: Image.Image
) -> None:
    """At guidance 1 only the pinned ones differ; the benchmark measures the others once."""
    edit = Edit(TARGET, cross_steps=0.6, self_steps=0.4)
    found = {}
    for method in METHODS:
        source = p2p.invert(picture, PROMPT, method=method, steps=3, guidance_scale=1)
        found[method] = (source.latents, p2p.edit(source, edit).latents)
    for method in ("negative_prompt", "null_text"):
        assert all(torch.equal(a, b) for a, b in zip(found[method], found["ddim"], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(found["direct"], found["ddim"], strict=True))


def test_checkpointing_gives_the_same_and_is_switched_off_again(
    p2p: PromptToPrompt, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"method": "null_text", "steps": 3, "guidance_scale": SCALE}
    plain = p2p.invert(picture, PROMPT, **asked)
    monkeypatch.setattr(methods, "MIN_CHECKPOINTED_PIXELS", 1)
    again = p2p.invert(picture, PROMPT, **asked)
    torch.testing.assert_close(again.unconditional, plain.unconditional, atol=1e-5, rtol=1e-4)
    assert not p2p.pipe.unet.is_gradient_checkpointing


def test_too_little_memory_is_told_before(
    p2p: PromptToPrompt, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "free_bytes", lambda _: 1000)
    seen: list[Any] = []
    with pytest.raises(NotEnoughMemory, match="direct needs none"):
        p2p.invert(picture, PROMPT, method="null_text", steps=3, on_step=seen.append)
    assert not seen, "nothing was computed for nothing"
    p2p.invert(picture, PROMPT, steps=3)
    p2p.invert(picture, PROMPT, method="null_text", guidance_scale=1, steps=3)  # nothing to be learned


class Held:
    """What a backward pass keeps, counted by torch's hooks: the most bytes at once, weights apart."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.weights = {p.untyped_storage().data_ptr() for p in unet.parameters()}
        self.counts: dict[int, int] = {}
        self.now = self.most = 0

    class Kept:
        def __init__(self, held: Held, x: torch.Tensor) -> None:
            self.held, self.x, self.at = held, x, x.untyped_storage().data_ptr()
            if not held.counts.get(self.at):
                held.now += x.untyped_storage().nbytes()
            held.counts[self.at] = held.counts.get(self.at, 0) + 1
            held.most = max(held.most, held.now)

        def __del__(self) -> None:
            self.held.counts[self.at] -= 1
            if not self.held.counts[self.at]:
                self.held.now -= self.x.untyped_storage().nbytes()

    def pack(self, x: torch.Tensor) -> Any:
        return x if x.untyped_storage().data_ptr() in self.weights else Held.Kept(self, x)

    def unpack(self, kept: Any) -> torch.Tensor:
        return kept.x if isinstance(kept, Held.Kept) else kept


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"block_out_channels": (32, 64, 64), "layers_per_block": 2},
        {"block_out_channels": (16, 48, 96), "layers_per_block": (1, 2, 2)},
    ],
)
def test_the_memory_that_is_asked_for_is_what_a_backward_pass_takes(
    config: dict[str, Any], checkpointed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a factor of two, for whatever UNet and size."""
    monkeypatch.setattr(methods, "MIN_CHECKPOINTED_PIXELS", 1 if checkpointed else 1 << 30)
    model = PromptToPrompt(tiny.pipeline(**config)).model
    prompt, sampler = model.texts.parse(PROMPT), make_sampler(model.pipe.scheduler.config, 2)
    for size in ((16, 16), (32, 24)):
        held = Held(model.unet)
        path = torch.randn(3, 4, *size, generator=torch.Generator().manual_seed(0))
        learning = methods.null_text(model, sampler, path, prompt, model.texts.parse(""), SCALE)
        with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
            next(learning)
        learning.close()
        asked = methods.memory_needed(model, size)
        assert 0.5 < asked / held.most < 2, (asked, held.most)


def test_half_precision_learns_the_same_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradients would be 0 without a scaled loss, and infinite with too large a scale."""
    monkeypatch.setattr(methods, "MAX_INNER_STEPS", 10)
    found = {}
    for dtype in ("fp32", "fp16"):
        p2p = PromptToPrompt(tiny.pipeline("v_prediction"), device="cpu", dtype=dtype)
        model, sampler = p2p.model, p2p.store.sampler(4)
        path = ddim_path(model, sampler, torch.full((1, 4, 16, 16), 0.3).to(p2p.dtype), p2p.prompt(PROMPT))
        empty = p2p.prompt("")
        learning = methods.null_text(model, sampler, path, p2p.prompt(PROMPT), empty, 7.5)
        found[dtype] = Steps(learning).result.float() - model.embed(empty).float()
    one, other = (found[dtype].flatten() for dtype in ("fp32", "fp16"))
    assert other.norm() > 0.5 * one.norm() > 0
    assert float(F.cosine_similarity(one, other, dim=0)) > 0.9, float(F.cosine_similarity(one, other, dim=0))


def test_gradients_that_overflow_are_tried_again() -> None:
    p2p = PromptToPrompt(tiny.pipeline("v_prediction"), device="cpu", dtype="fp16")
    model, sampler = p2p.model, p2p.store.sampler(2)
    path = 200 * torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))  # far away
    learning = methods.null_text(model, sampler, path.half(), p2p.prompt(PROMPT), p2p.prompt(""), 7.5)
    for _ in range(3):
        z = next(learning).latents
    assert z.isfinite().all()


def test_what_learns_nothing_takes_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """From step 100 on the learning rate is 0."""
    p2p = PromptToPrompt(tiny.pipeline(), device="cpu")
    sampler, prompt = p2p.store.sampler(102), p2p.prompt(PROMPT)
    path = torch.randn(103, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(methods, "MAX_INNER_STEPS", 2)
    counts = dict.fromkeys(range(103), 0)
    for state in methods.null_text(p2p.model, sampler, path, prompt, p2p.prompt(""), SCALE):
        counts[state.index] += 1
    assert counts[50] == 3 and counts[101] == counts[102] == 1


def test_null_text_stops_between_two_passes(p2p: PromptToPrompt, picture: Image.Image) -> None:
    """Of a step, not after its ten passes; the model is then as it was."""
    before = {name: p.requires_grad for name, p in p2p.pipe.unet.named_parameters()}
    processors = dict(p2p.pipe.unet.attn_processors)
    run = p2p.inverting(picture, PROMPT, method="null_text", steps=STEPS, guidance_scale=SCALE)
    seen = [next(run).index for _ in range(STEPS + 3)]
    assert seen == [*range(1, STEPS + 1), STEPS, STEPS, STEPS]
    assert {name: p.requires_grad for name, p in p2p.pipe.unet.named_parameters()} == before
    assert dict(p2p.pipe.unet.attn_processors) == processors and torch.is_grad_enabled()
    assert not p2p.lock._is_owned()  # type: ignore[attr-defined]
    run.close()


def test_a_model_that_reads_its_guidance_has_nothing_to_learn() -> None:
    p2p = PromptToPrompt(tiny.pipeline(time_cond_proj_dim=8), device="cpu")
    small = Image.effect_noise((64, 64), 50).convert("RGB")
    for method in ("null_text", "negative_prompt"):
        with pytest.raises(BadInput, match=rf"unconditional row.*got {method}"):
            p2p.invert(small, PROMPT, method=method, steps=2)
    with pytest.raises(BadInput, match=r"unconditional row.*got .blurry"):
        p2p.invert(small, PROMPT, negative_prompt="blurry", steps=2)
    with pytest.raises(BadInput, match=r"unconditional row.*got .blurry"):
        p2p.generate(PROMPT, negative_prompt="blurry", steps=2)
    source = p2p.invert(small, PROMPT, method="direct", steps=2, guidance_scale=7.5)
    assert p2p.edit(source, Edit(PROMPT)).image.tobytes() == source.image.tobytes()


def test_the_version_is_asked_for_under_the_lock(
    p2p: PromptToPrompt, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, owned = p2p.model.version, []

    def version() -> str:
        owned.append(p2p.lock._is_owned())  # type: ignore[attr-defined]
        return plain()

    monkeypatch.setattr(p2p.model, "version", version)
    p2p.invert(picture, PROMPT, steps=2)
    assert owned and all(owned)


def test_how_a_picture_was_fitted_is_kept(p2p: PromptToPrompt) -> None:
    wide = Image.effect_noise((200, 64), 50).convert("RGB")
    source = p2p.invert(wide, PROMPT, steps=2, fit="pad", center=(0.25, np.float64(1)))
    assert (source.inversion.fit, source.inversion.center) == ("pad", (0.25, 1.0))
    recipe = load_recipe(json.loads(recipe_of(p2p.edit(source, Edit(TARGET))).to_json()))
    assert recipe.source["fit"] == "pad" and recipe.source["center"] == [0.25, 1.0]
    again = p2p.source_of(recipe)
    assert again.key == source.key and again.inversion.fit == "pad"
    assert again.inversion.center == source.inversion.center
    old = replace(recipe, source={k: v for k, v in recipe.source.items() if k not in ("fit", "center")})
    assert p2p.source_of(load_recipe(old.to_dict())).key == source.key, "recipes of before"


def test_a_picture_is_encoded_once_for_its_recipes(
    p2p: PromptToPrompt, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = source_module.picture_text
    monkeypatch.setattr(source_module, "picture_text", lambda image: calls.append(1) or plain(image))
    source = p2p.invert(picture, PROMPT, steps=2)
    for weight in (0.5, 1.5):
        recipe_of(p2p.edit(source, Edit(TARGET, weights={"castle": weight}))).to_json()
    assert len(calls) == 1


@pytest.mark.parametrize("method", ["pnp", "", None, 3])
def test_methods_there_are_none_of(p2p: PromptToPrompt, picture: Image.Image, method: object) -> None:
    with pytest.raises(BadMethod, match="direct"):
        p2p.invert(picture, PROMPT, method=method)
