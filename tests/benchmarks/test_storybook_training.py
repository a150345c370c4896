"""Training the bundled model: its parts, its stages, and what carries over from an earlier edition."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from storybook import common, tokenizer
from storybook.scenes import Scene

pytest.importorskip("skia", reason="drawing needs requirements-train.txt")

from storybook import critic, distill, drawings, latents, soft, train_decoder, train_vae, unet, vae, widen

HOUSE = Scene(subject="house", color="red", place="hill", time="night")
CPU = torch.device("cpu")
THIN = (16, 8, 8, 8, 8)


def first_edition():
    """An autoencoder as the first edition's is, but thin."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 8, 8, 8),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def test_the_larger_autoencoder_begins_as_the_first_editions():
    """It sees the picture halved, and enlarges what the first one draws."""
    torch.manual_seed(0)
    first = first_edition().eval()
    model = widen.widen_vae(vae.make((16, 16, 8, 8, 8)), first).eval()
    x = torch.nn.functional.interpolate(torch.randn(2, 3, 8, 8), size=(128, 128), mode="bilinear")
    with torch.no_grad():
        halved = torch.nn.functional.avg_pool2d(x, 2)
        theirs, mine = (net.encode(some).latent_dist.mean for net, some in ((first, halved), (model, x)))
        inner = (theirs - mine)[..., 1:-1, 1:-1]  # at the borders pictures are padded otherwise
        assert inner.square().mean() < 0.05 * theirs.var()
        z = torch.randn(1, vae.CHANNELS, 4, 4)
        small, large = first.decode(z).sample, model.decode(z).sample
        reduced = torch.nn.functional.avg_pool2d(large, 2)
        assert reduced.shape == small.shape
        assert torch.corrcoef(torch.stack([small.flatten(), reduced.flatten()]))[0, 1] > 0.8


def test_pictures_are_the_same_for_any_number_of_workers(monkeypatch):
    monkeypatch.setattr(drawings, "BLOCK", 3)
    with drawings.drawing(2) as pool, drawings.drawing(1) as nobody:
        one, two = (drawings.renders(7, seed=5, pool=p) for p in (nobody, pool))
        again = drawings.renders(7, seed=6, rough=True, pool=pool)  # one pool for many calls
    assert nobody is None and not np.array_equal(again[0], two[0])
    assert one[0].shape == (7, 3, 256, 256) and np.array_equal(one[0], two[0])
    assert one[1] == two[1] and len(set(one[1])) > 4
    assert not any(scene.held_out for scene in one[1])
    assert {scene.style for scene in again[1]} == {"illustration"}


def test_lanes_give_the_gradient_of_the_whole_batch():
    torch.manual_seed(0)
    net, unused, x = torch.nn.Linear(4, 2), torch.nn.Parameter(torch.ones(1)), torch.randn(8, 4)
    parameters = [*net.parameters(), unused]
    lanes = common.Lanes(CPU)
    reports = lanes.gradients(
        parameters,
        lambda part: ((loss := net(part).square().mean()), loss.detach()),
        [(p,) for p in x.split(2)],
    )
    whole = torch.autograd.grad(net(x).square().mean(), net.parameters())
    assert len(reports) == 4 and unused.grad is None
    assert all(torch.allclose(p.grad, g) for p, g in zip(net.parameters(), whole, strict=True))


def test_a_stage_goes_on_where_it_was_stopped(tmp_path):
    run = common.Run(tmp_path, "stage", minutes=10)
    assert run.resume() is None
    run.step, run.samples, run.before = 7, 112, 4.0
    run.save({"weights": torch.ones(3)})
    again = common.Run(tmp_path, "stage", minutes=10)
    assert torch.equal(again.resume()["weights"], torch.ones(3))
    assert (again.step, again.samples) == (7, 112) and 0.4 <= again.progress < 0.5
    assert json.loads(again.log_file.read_text())["resumed"]
    assert not again.done
    again.before = 10.5
    again.log(done=True)
    assert common.Run(tmp_path, "stage", minutes=10).done
    assert not common.Run(tmp_path, "stage", minutes=20).done


def test_no_time_is_out_of_range():
    """(B - 1) + u rounds up to B in float32 where u is just below 1."""
    u = torch.full((512,), 1 - 2**-24)
    assert float(511 + u[-1]) == 512, "so it would be time 1000 of 0..999"
    for B in (1, 32, 512):
        t = unet.times(u[:1].expand(B), 1000)
        assert t.dtype == torch.int64 and 0 <= t.min() and t.max() <= 999
        assert len(set(t.tolist())) == B, "one from each stretch"
    assert unet.times(torch.zeros(4), 1000).tolist() == [0, 250, 500, 750]


@pytest.fixture
def small_run(tmp_path, monkeypatch):
    """A folder with an autoencoder too small to be of use, and shards of three pictures."""
    monkeypatch.setattr(latents, "SHARD", 3)
    monkeypatch.setattr(latents, "ROUGH_EVERY", 3)
    torch.manual_seed(0)
    vae.make(THIN).save_pretrained(tmp_path / "vae")
    return tmp_path


def test_latents_of_another_encoder_are_refused(small_run):
    latents.make_latents(small_run, 9, seed=1, device=CPU, bf16=False)
    data, rough = latents.Latents(small_run), latents.Latents(small_run, "rough")
    assert data.values.shape == (6, vae.CHANNELS, 16, 16) and len(data) == 6 and len(rough) == 3
    assert data.batch([1, 4])[0].dtype == torch.float32 and data.batch([1, 4])[1][1] == data.scenes[4]
    latents.make_latents(small_run, 9, seed=1, device=CPU, bf16=False)  # nothing to do
    model = AutoencoderKL.from_pretrained(small_run / "vae")
    mark = vae.digest(model)
    with torch.no_grad():
        model.decoder.conv_out.weight += 1
        assert vae.digest(model) == mark, "latents do not depend on the decoder"
        model.encoder.conv_in.weight += 1
    assert vae.digest(model) != mark
    model.save_pretrained(small_run / "vae")
    for use in (
        lambda: latents.Latents(small_run),
        lambda: latents.make_latents(small_run, 6, 1, CPU, bf16=False),
    ):
        with pytest.raises(
            ValueError, match=r"latents-000.pt holds latents of another autoencoder; expected"
        ):
            use()
    shard = torch.load(small_run / "latents-000.pt", weights_only=True)
    del shard["encoder"]  # as shards were before
    torch.save(shard, small_run / "latents-000.pt")
    with pytest.raises(ValueError, match="got None"):
        latents.Latents(small_run)


def test_a_stage_says_that_it_is_done_when_all_is_written(tmp_path, monkeypatch):
    """A stop before the last line of the log is made good by the next start."""
    thin = vae.make((16, 16, 8, 8, 8))
    monkeypatch.setattr(train_vae, "make", lambda: thin)
    monkeypatch.setattr(drawings, "SHARD", 4)
    monkeypatch.setattr(train_vae, "HELD", 4)
    monkeypatch.setattr(train_decoder, "HELD", 4)
    seen = []

    class Watched(common.Run):
        def log(self, **values):
            seen.append((values.get("done", False), (tmp_path / "vae" / "config.json").exists()))
            super().log(**values)

    first_edition().save_pretrained(tmp_path / "first" / "vae")
    drawings.write(tmp_path, 8, seed=1)
    assert drawings.Pictures(tmp_path).crops(3, 64, np.random.default_rng(0)).shape == (3, 3, 64, 64)
    train_vae.train(
        Watched(tmp_path, "vae", minutes=0.001), CPU, first=tmp_path / "first", batch=4, part=2, seed=1
    )
    assert seen[-1] == (True, True) and common.Run(tmp_path, "vae", minutes=0.001).done
    before = AutoencoderKL.from_pretrained(tmp_path / "vae")
    monkeypatch.setattr(train_decoder, "CRITIC_FROM", -1.0)  # heard from the beginning
    train_decoder.train(
        Watched(tmp_path, "decoder", minutes=0.02), CPU, pictures=8, batch=2, part=1, seed=1, bf16=False
    )
    after = AutoencoderKL.from_pretrained(tmp_path / "vae")
    assert vae.digest(before) == vae.digest(after), "latents stay valid"
    assert not torch.equal(before.decoder.conv_out.weight, after.decoder.conv_out.weight)
    last = json.loads((tmp_path / "decoder.jsonl").read_text().splitlines()[-1])
    assert last["done"] and last["exact"]["psnr"] > 0


def test_a_critic_learns_to_tell_soft_from_drawn():
    torch.manual_seed(0)
    drawn = torch.from_numpy(drawings.renders(4, seed=3)[0])[:, :, :64, :64].float() / 127.5 - 1
    halved = torch.nn.functional.avg_pool2d(drawn, 4)
    stretched = torch.nn.functional.interpolate(halved, scale_factor=4, mode="bilinear")
    model = critic.Critic((8, 16))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        loss = critic.critic_loss(model(drawn)[-1], model(stretched)[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model(drawn)[-1].mean() > model(stretched)[-1].mean() + 0.05
    of_drawn, of_stretched = model(drawn), model(stretched)
    assert critic.decoder_loss(of_drawn, of_drawn) < critic.decoder_loss(of_drawn, of_stretched)


def test_a_unet_that_knows_the_picture_brings_it_back(tmp_path, monkeypatch):
    """Noised and denoised by a UNet that is never wrong, latents are what they were."""
    tokenizer.build(tmp_path / "tokenizer")
    scenes = [HOUSE, HOUSE.but(subject="castle")]
    z, bars = torch.randn(2, vae.CHANNELS, 16, 16), unet.scheduler().alphas_cumprod

    class Exact(torch.nn.Module):
        def forward(self, x, t, text):
            assert len(x) == len(text) == 4 and 0 < t <= 500
            a = bars[t]
            return SimpleNamespace(sample=(a.sqrt() * x - torch.cat([z, z])) / (1 - a).sqrt())

    class Blank(torch.nn.Module):
        def forward(self, ids):
            return (torch.zeros(*ids.shape, 8),)

    monkeypatch.setattr(soft.UNet2DConditionModel, "from_pretrained", lambda *_, **__: Exact())
    monkeypatch.setattr(soft.CLIPTextModel, "from_pretrained", lambda *_, **__: Blank())
    made = soft.softened(tmp_path, z, scenes, CPU, steps=3)
    assert torch.allclose(made, z, atol=1e-4)


def test_the_learning_rate_warms_up_holds_and_falls():
    assert common.rate(0.0, 0, 1e-3) < 1e-5
    assert common.rate(0.4, 5000, 1e-3) == 1e-3
    assert common.rate(1.0, 9000, 1e-3) == pytest.approx(2e-5)


def test_a_student_begins_as_its_teacher():
    torch.manual_seed(0)
    teacher = unet.unet((16, 32)).eval()
    student = distill.student_of(teacher).eval()
    x, text, w = torch.randn(2, vae.CHANNELS, 16, 16), torch.randn(2, 5, unet.WIDTH), torch.tensor([1.0, 7.5])
    with torch.no_grad():
        mine = student(x, 500, text, timestep_cond=distill.scale_embedding(w)).sample
        assert torch.allclose(mine, teacher(x, 500, text).sample, atol=1e-5)


def test_the_guidance_scale_is_embedded_as_diffusers_does_it():
    w = torch.tensor([1.0, 5.0, 7.5])
    theirs = StableDiffusionPipeline.get_guidance_scale_embedding(None, w - 1, embedding_dim=64)
    assert torch.allclose(distill.scale_embedding(w, 64), theirs, atol=1e-4)


def test_one_step_can_do_what_several_do():
    """The target's velocity takes x to where the teacher's steps lead, and steps are diffusers'."""
    bars, x = unet.scheduler().alphas_cumprod, torch.randn(2, 4, 2, 2)
    t, t_next = torch.tensor([999, 124]), torch.tensor([874, -1])

    def predict(x, time):
        return 0.3 * x + time.view(-1, 1, 1, 1) / 1000

    led = distill.several_steps(predict, x, t, t_next, bars, 5)
    a, a_next = (distill._level(bars, time) for time in (t, t_next))
    v = distill.velocity_between(x, led, a, a_next)
    assert torch.allclose(distill.step(x, v, a, a_next), led, atol=1e-4)
    ddim = unet.scheduler()
    ddim.set_timesteps(8)
    assert ddim.timesteps[0] == 999 and ddim.timesteps[-1] == 124
    for i, time in enumerate((999, 124)):
        theirs = ddim.step(v[i : i + 1], time, x[i : i + 1]).prev_sample
        assert torch.allclose(theirs, led[i : i + 1], atol=1e-3)
