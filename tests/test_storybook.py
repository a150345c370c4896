"""The bundled world: captions, layouts, masks, tokenizer; the shipped model and judge."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from storybook import captions, common, judge, tokenizer
from storybook.scenes import ATTRIBUTES, COLORS, DEGREES, SUBJECTS, Scene, layout, sample

pytest.importorskip("skia", reason="drawing needs requirements-train.txt")

from storybook import draw, evaluate, vae

ASSETS = Path(__file__).resolve().parent.parent / "assets"
MODEL = ASSETS / "storybook"
HOUSE = Scene(subject="house", color="red", place="hill", time="night")
trained = pytest.mark.skipif(not (MODEL / "model_index.json").exists(), reason="no bundled model here")


# --- captions ------------------------------------------------------------------------------------------


def test_the_plain_caption():
    assert captions.caption(HOUSE) == "a red house on a snowy hill at night"
    orange = Scene(subject="dog", color="orange", place="street", style="sketch", snowy=0.5)
    assert captions.caption(orange) == "a pencil sketch of an orange dog on a street, snowy"


@pytest.mark.parametrize("style", ATTRIBUTES["style"])
@pytest.mark.parametrize("color", COLORS)
def test_articles_agree_with_the_word_that_follows(color, style):
    for subject in SUBJECTS:
        scene = Scene(subject=subject, color=color, place="beach", style=style)
        for with_color in (True, False):
            text = captions.caption(scene, color=with_color)
            for article, word in re.findall(r"\b(an?) (\w+)", text):
                assert article == ("an" if word[0] in "aeiou" else "a"), text


def test_captions_vary_in_order_only():
    rng = np.random.default_rng(0)
    scene = HOUSE.but(foggy=0.5, starry=0.7)
    texts = {captions.caption(scene, rng) for _ in range(60)}
    assert len(texts) > 2
    assert {tuple(sorted(re.findall(r"\w+", t))) for t in texts} == {
        tuple(sorted(re.findall(r"\w+", captions.caption(scene))))
    }


def test_training_captions_sometimes_leave_words_out():
    rng = np.random.default_rng(0)
    texts = [captions.training_caption(HOUSE, rng) for _ in range(800)]
    assert 0.05 < sum(t == "" for t in texts) / 800 < 0.15
    named = [t for t in texts if t]
    assert 0.05 < sum("red" not in t for t in named) / len(named) < 0.16
    assert 0.02 < sum("hill" not in t for t in named) / len(named) < 0.12
    assert all("house" in t for t in named)


# --- scenes --------------------------------------------------------------------------------------------


def test_a_scene_says_what_it_expected():
    with pytest.raises(ValueError, match=r"color is one of red, .*'mauve'"):
        HOUSE.but(color="mauve")
    with pytest.raises(ValueError, match=r"foggy is an amount from 0 to 1; got 2"):
        HOUSE.but(foggy=2)


def test_held_out_combinations_are_never_sampled_for_training():
    rng = np.random.default_rng(1)
    assert not any(sample(rng).held_out for _ in range(400))
    assert all(sample(rng, held_out=True).held_out for _ in range(100))
    every = [
        Scene(subject=s, color=c, place=p).held_out
        for s in SUBJECTS
        for c in COLORS
        for p in ATTRIBUTES["place"]
    ]
    assert 0.05 < np.mean(every) < 0.2


def test_sampling_is_seeded():
    def draw_some(seed):
        rng = np.random.default_rng(seed)
        return [sample(rng) for _ in range(20)]

    assert draw_some(3) == draw_some(3) != draw_some(4)


def test_layout_comes_from_the_seed_alone():
    a, b = layout(5), layout(5)
    assert a.x == b.x and np.array_equal(a.hills, b.hills) and a.grain == b.grain
    assert layout(6).x != a.x


# --- drawing -------------------------------------------------------------------------------------------


def test_rendering_is_deterministic():
    assert np.array_equal(draw.render(HOUSE, 3), draw.render(HOUSE, 3))


def test_another_word_leaves_the_rest_of_the_picture_as_it_was():
    """Swapping the subject or its colour changes no pixel outside the subjects and the ground shadow."""
    before = draw.render(HOUSE, 3).astype(int)
    for change in ({"color": "blue"}, {"subject": "castle"}):
        other = HOUSE.but(**change)
        after = draw.render(other, 3).astype(int)
        touched = np.maximum(draw.subject_mask(HOUSE, 3), draw.subject_mask(other, 3)) > 0
        assert np.array_equal(before[~touched], after[~touched])
        assert np.abs(before - after)[touched].mean() > 5


@pytest.mark.parametrize("subject", SUBJECTS)
def test_masks_match_the_pixels(subject):
    """The mask is where two colours of one subject differ, or drawn in colours that never change."""
    scene = Scene(subject=subject, color="red", place="field")
    mask = draw.subject_mask(scene, 8)
    differs = np.abs(draw.render(scene, 8).astype(int) - draw.render(scene.but(color="blue"), 8)).max(-1) > 24
    assert mask.shape == (128, 128) and mask.min() == 0 and mask.max() == 1
    assert 0.06 < mask.mean() < 0.45, "large and near the centre"
    assert not differs[mask == 0].any()
    assert (differs & (mask > 0)).sum() > 0.25 * (mask > 0).sum()


@pytest.mark.parametrize("word", DEGREES)
def test_degrees_grow_steadily(word):
    base = draw.render(HOUSE, 4).astype(float)
    change = [
        np.abs(draw.render(HOUSE.but(**{word: amount}), 4) - base).mean() for amount in (0.25, 0.5, 0.75, 1.0)
    ]
    assert all(b > a for a, b in pairwise(change)), change


def test_any_size():
    small, large = draw.render(HOUSE, 2, 64), draw.render(HOUSE, 2, 256)
    assert small.shape == (64, 64, 3) and large.shape == (256, 256, 3)
    shrunk = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX)).astype(float)
    assert np.abs(shrunk - small).mean() < 6


# --- tokenizer -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    from transformers import CLIPTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.build(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_of_the_world_is_one_token(words):
    rng = np.random.default_rng(2)
    known = {w for _ in range(500) for w in re.findall(r"[a-z]+", captions.caption(sample(rng)))}
    assert known | set(captions.EXTRA_WORDS.split()) >= {"house", "pencil", "foggy", "teddy"}
    for word in known:
        assert len(words(word, add_special_tokens=False).input_ids) == 1, word


@pytest.mark.parametrize("text", ["a red house", "xylophone 7%", "ça ira", "日本 🎈", "Zebra-crossing, 1999"])
def test_tokens_round_trip_and_unknown_words_fall_to_pieces(words, text):
    ids = words(text, add_special_tokens=False).input_ids
    assert words.eos_token_id not in ids
    assert re.sub(r"\s", "", words.decode(ids)) == re.sub(r"\s", "", text.lower())


def test_the_tokenizer_is_clips(words):
    ids = words("a red house", padding="max_length", truncation=True).input_ids
    assert words.model_max_length == tokenizer.LENGTH == len(ids)
    assert ids[0] == words.bos_token_id and ids[4] == words.eos_token_id


# --- training parts ------------------------------------------------------------------------------------


def test_whitening_moves_the_latents_and_not_the_pictures():
    """After it every channel has mean 0 and spread 1, and pictures come back as before."""
    torch.manual_seed(0)
    model = vae.make((8, 8, 8, 8)).eval()
    x = torch.randn(12, 3, 64, 64)
    with torch.no_grad():
        before = model.decode(model.encode(x).latent_dist.mean).sample
        vae.whiten(model, x)
        z = model.encode(x).latent_dist.mean
        assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
        assert torch.allclose(z.std((0, 2, 3)), torch.ones(4), atol=1e-3)
        assert torch.allclose(model.decode(z).sample, before, atol=1e-3)
    assert model.config.scaling_factor == 1.0


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


def test_the_learning_rate_warms_up_holds_and_falls():
    assert common.rate(0.0, 0, 1e-3) < 1e-5
    assert common.rate(0.4, 5000, 1e-3) == 1e-3
    assert common.rate(1.0, 9000, 1e-3) == pytest.approx(2e-5)


def test_the_thread_count_is_one_that_was_tried():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        threads = common.Threads(every=0, steps=1)
        for _ in range(6):
            threads()
            assert torch.get_num_threads() in (1, 2)
    finally:
        torch.set_num_threads(before)


# --- evaluation ----------------------------------------------------------------------------------------


def test_an_evaluation_edits_one_thing_each():
    rng = np.random.default_rng(3)
    scene = evaluate.plain_scene(rng)
    assert scene.held_out and (scene.time, scene.style) == ("day", "illustration")
    for task in evaluate.tasks_of(scene, rng):
        edit = task.edit("injection")
        assert edit.prompt != captions.caption(scene)
        assert task.edit("same seed only").cross_steps.end == task.edit("same seed only").self_steps.end == 0
        blend = task.edit("injection + blend")
        assert (blend is not None) == (task.kind in evaluate.LOCAL)


def test_an_evaluation_counts_what_is_shown_and_what_is_kept():
    scene = Scene(subject="cat", color="red", place="beach")
    task = evaluate.Task(kind="color", source=scene, target=scene.but(color="blue"), word="blue")
    before = {"subject": "cat", "color": "red", "place": "beach", "time": "day", "style": "illustration"}
    assert task.shown({**before, "color": "blue"}, before) and task.kept({**before, "color": "blue"}, before)
    assert not task.shown(before, before)
    assert not task.kept({**before, "color": "blue", "place": "desert"}, before)


def test_the_psnr_counts_only_what_is_outside():
    a = np.full((32, 32, 3), 100, np.uint8)
    b = a.copy()
    b[:8, :8] = 0
    inside = np.zeros((32, 32), bool)
    inside[:8, :8] = True
    assert evaluate.psnr_outside(a, b, inside) == pytest.approx(60, abs=0.1)
    assert evaluate.psnr_outside(a, b, ~inside) == pytest.approx(20 * np.log10(2.55), abs=1e-6)


def test_a_region_is_the_union_and_a_little_wider():
    one, two = np.zeros((32, 32)), np.zeros((32, 32))
    one[4, 4], two[20, 9] = 1, 1
    region = evaluate.subject_region([{"mask": one}, {"mask": two}], 128)
    assert region.shape == (128, 128) and region.sum() == 2 * 9 * 16
    assert region[12:24, 12:24].all() and region[76:88, 32:44].all()


def test_only_the_evaluation_knows_the_engine():
    folder = Path(evaluate.__file__).parent
    knows = [
        f.name for f in folder.glob("*.py") if re.search(r"^\s*(from|import) p2p_core", f.read_text(), re.M)
    ]
    assert knows == ["evaluate.py"]


# --- what is shipped -----------------------------------------------------------------------------------


@trained
def test_the_bundled_folder_is_small_and_plain():
    files = [f for f in MODEL.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 40 << 20
    assert not [f for f in files if f.suffix in (".py", ".bin", ".pt", ".pkl", ".ckpt")]
    index = json.loads((MODEL / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == [None, None]
    for file in MODEL.rglob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}
        assert "F32" not in kinds and "F16" in kinds, file
    scheduler = json.loads((MODEL / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction" and scheduler["rescale_betas_zero_snr"]
    assert scheduler["timestep_spacing"] == "trailing"


@trained
def test_diffusers_alone_draws_with_the_bundled_folder():
    """`StableDiffusionPipeline.from_pretrained` with none of our code, and it sees what was asked for."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    prompts = [
        "a blue car on a beach",
        "a purple castle in a desert at sunset",
        "a red house on a snowy hill at night",
    ]
    images = pipe(
        prompts,
        num_inference_steps=15,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(s) for s in range(3)],
        output_type="np",
    ).images
    assert images.shape == (3, 128, 128, 3) and np.isfinite(images).all() and images.std() > 0.1
    if not judge.WEIGHTS.exists():
        pytest.skip("no judge here")
    readings = judge.Judge.load().read(list((images * 255).astype(np.uint8)))
    assert [r["place"] for r in readings] == ["beach", "desert", "hill"]
    assert [r["time"] for r in readings] == ["day", "sunset", "night"]


@pytest.mark.skipif(not judge.WEIGHTS.exists(), reason="no judge here")
def test_the_judge_reads_renders():
    assert judge.WEIGHTS.stat().st_size < 3 << 20
    rng = np.random.default_rng(9)
    scenes = [sample(rng, held_out=True) for _ in range(80)]
    seeds = [int(s) for s in rng.integers(1 << 40, size=len(scenes))]
    readings = judge.Judge.load().read([draw.render(s, k) for s, k in zip(scenes, seeds, strict=True)])
    for name in ATTRIBUTES:
        right = np.mean([r[name] == getattr(s, name) for r, s in zip(readings, scenes, strict=True)])
        assert right >= 0.93, name
    for name in DEGREES:
        error = np.mean([abs(r[name] - getattr(s, name)) for r, s in zip(readings, scenes, strict=True)])
        assert error < 0.1, name
