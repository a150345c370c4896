"""The bundled world: captions, layouts, masks, tokenizer; the shipped model and judge."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from storybook import captions, judge, tokenizer
from storybook.scenes import ATTRIBUTES, COLORS, DEGREES, EVEN_SHARES, LEAST, SUBJECTS, Scene, layout, sample

pytest.importorskip("skia", reason="drawing needs requirements-train.txt")

from storybook import draw, evaluate, fidelity, hand, report

ASSETS = Path(__file__).resolve().parents[2] / "assets"
MODEL = ASSETS / "storybook"
HOUSE = Scene(subject="house", color="red", place="hill", time="night")
trained = pytest.mark.skipif(not (MODEL / "model_index.json").exists(), reason="no bundled model here")


# --- captions ------------------------------------------------------------------------------------------


def test_the_plain_caption():
    assert captions.caption(HOUSE) == "a red house on a hill at night"
    assert captions.caption(HOUSE.but(snowy=0.5)) == "a red house on a snowy hill at night"
    orange = Scene(subject="dog", color="orange", place="street", style="sketch", snowy=0.5, fluffy=1.0)
    assert captions.caption(orange) == "a pencil sketch of a fluffy orange dog on a snowy street"
    full = HOUSE.but(season="winter", sky="rainbow", foggy=0.5, crowded=0.5, starry=1.0)
    assert captions.caption(full) == (
        "a red house on a foggy hill at night in winter, crowded, starry, with a rainbow"
    )


@pytest.mark.parametrize("style", ATTRIBUTES["style"])
@pytest.mark.parametrize("color", COLORS)
def test_articles_agree_with_the_word_that_follows(color, style):
    rng = np.random.default_rng(0)
    for subject in SUBJECTS:
        scene = Scene(subject=subject, color=color, place="beach", style=style, snowy=0.9, crowded=0.3)
        for text in (captions.caption(scene), *(captions.caption(scene, rng, color=False) for _ in range(4))):
            for article, word in re.findall(r"\b(an?) (\w+)", text):
                assert article == ("an" if word[0] in "aeiou" else "a"), text


def test_captions_vary_and_say_the_same():
    """Other orders and other places for a word, but every word of the scene and none besides."""
    rng = np.random.default_rng(0)
    scene = HOUSE.but(foggy=0.6, starry=0.7, season="autumn", style="watercolor")
    texts = {captions.caption(scene, rng) for _ in range(200)}
    assert len(texts) > 15
    assert any(t.startswith("at night, a watercolor of") for t in texts)
    assert any("hill with a red house" in t for t in texts)
    assert any("on a starry night" in t for t in texts)
    content = {"red", "house", "hill", "night", "autumn", "watercolor", "foggy", "starry"}
    for text in texts:
        said = set(re.findall(r"\w+", text)) - set("a an of on at in with slightly very".split())
        assert said == content, text


def test_how_much_is_said_is_how_much_there_is():
    rng = np.random.default_rng(0)

    def wordings(amount):
        return " | ".join(captions.caption(HOUSE.but(snowy=amount), rng) for _ in range(60))

    assert "slightly snowy" in wordings(0.3) and "very" not in wordings(0.3)
    assert "very snowy" in wordings(0.9) and "slightly" not in wordings(0.9)
    assert "very" not in wordings(0.6) and "slightly" not in wordings(0.6)


def test_training_captions_sometimes_leave_words_out():
    rng = np.random.default_rng(0)
    texts = [captions.training_caption(HOUSE, rng) for _ in range(800)]
    assert 0.05 < sum(t == "" for t in texts) / 800 < 0.15
    named = [t for t in texts if t]
    assert 0.04 < sum("red" not in t for t in named) / len(named) < 0.14
    assert 0.02 < sum("hill" not in t for t in named) / len(named) < 0.12
    assert all("house" in t for t in named)


# --- scenes --------------------------------------------------------------------------------------------


def test_a_scene_says_what_it_expected():
    with pytest.raises(ValueError, match=r"color is one of red, .*'mauve'"):
        HOUSE.but(color="mauve")
    with pytest.raises(ValueError, match=r"foggy is an amount from 0 to 1; got 2"):
        HOUSE.but(foggy=2)
    with pytest.raises(ValueError, match="One weather at a time"):
        Scene(subject="cat", color="red", place="hill", foggy=0.5, rainy=0.5)
    with pytest.raises(ValueError, match="starry at night; got time 'day'"):
        Scene(subject="cat", color="red", place="hill", starry=0.5)
    with pytest.raises(ValueError, match=r"Fluffy is said of cat.*got 'house'"):
        Scene(subject="house", color="red", place="hill", fluffy=0.5)


def test_other_words_leave_nothing_impossible_behind():
    cat = Scene(subject="cat", color="red", place="hill", time="night", fluffy=0.7, starry=0.5, rainy=0.4)
    assert cat.weather == "rainy"
    assert cat.but(subject="car").fluffy == 0 and cat.but(subject="dog").fluffy == 0.7
    assert cat.but(time="day").starry == 0 and cat.but(color="blue").starry == 0.5
    assert cat.but(snowy=0.5).weather == "snowy" and cat.but(weather="foggy").foggy > 0
    assert cat.but(weather="clear").weather == "clear"


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


def test_words_of_degree_can_be_asked_for_more_often():
    def words(often):
        rng = np.random.default_rng(4)
        scenes = [sample(rng, often=often, shares=EVEN_SHARES) for _ in range(400)]
        return np.mean([sum(getattr(s, name) > 0 for name in DEGREES) for s in scenes]), scenes

    usual, _ = words(1.0)
    more, scenes = words(1.5)
    assert 1.25 < more / usual < 1.75
    assert all(0.15 < np.mean([s.style == style for s in scenes]) < 0.35 for style in ATTRIBUTES["style"])


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
    assert mask.shape == (draw.SIDE, draw.SIDE) and mask.min() == 0 and mask.max() == 1
    assert 0.06 < mask.mean() < 0.45, "large and near the centre"
    assert not differs[mask == 0].any()
    assert (differs & (mask > 0)).sum() > 0.25 * (mask > 0).sum()


@pytest.mark.parametrize("word", DEGREES)
def test_degrees_grow_steadily(word):
    scene = Scene(subject="cat", color="red", place="hill", time="night")
    base = draw.render(scene, 4).astype(float)
    change = [
        np.abs(draw.render(scene.but(**{word: amount}), 4) - base).mean()
        for amount in (LEAST, 0.5, 0.75, 1.0)
    ]
    assert change[0] > 0.2 and all(b > a for a, b in pairwise(change)), change


@pytest.mark.parametrize(
    "changes", [{"season": s} for s in ("autumn", "winter", "spring")] + [{"sky": "rainbow"}]
)
@pytest.mark.parametrize("place", ATTRIBUTES["place"])
def test_seasons_and_skies_are_seen_everywhere_and_leave_the_subject(place, changes):
    scene = Scene(subject="castle", color="red", place=place)
    before, after = (draw.render(s, 4).astype(int) for s in (scene, scene.but(**changes)))
    differs = np.abs(before - after).max(-1) > 12
    assert differs.mean() > 0.02
    assert not differs[draw.subject_mask(scene, 4) == 1].any()


def test_a_crowd_stands_behind_the_subject():
    scene = Scene(subject="dog", color="red", place="beach")
    alone, many = (draw.subject_mask(s, 4) > 0.5 for s in (scene, scene.but(crowded=1.0)))
    assert (many & ~alone).mean() > 0.02 and not (alone & ~many).any()


def test_every_word_has_its_region():
    scene = Scene(
        subject="cat", color="red", place="beach", time="night", season="winter", sky="rainbow",
        style="pixel", snowy=0.6, starry=0.8, blossoming=0.7, crowded=0.7, fluffy=0.7,
    )  # fmt: skip
    found = draw.regions(scene, 6)
    words = {"cat", "red", "beach", "night", "winter", "rainbow"}
    assert set(found) == words | {"snowy", "starry", "blossoming", "crowded", "fluffy"}
    for word, region in found.items():
        assert region.dtype == bool and 0.003 < region.mean() < 0.95, word
    assert np.array_equal(found["red"], found["cat"]) and not (found["cat"] & found["beach"]).any()
    assert found["rainbow"][: draw.SIDE // 2].sum() > 0.9 * found["rainbow"].sum(), "in the sky"
    assert not (found["night"] & found["beach"]).any()
    assert found["crowded"].sum() < found["cat"].sum()
    assert set(draw.regions(HOUSE.but(time="day"), 6)) == {"house", "red", "hill"}


def test_any_size():
    small, large = draw.render(HOUSE, 2, 64), draw.render(HOUSE, 2, 256)
    assert small.shape == (64, 64, 3) and large.shape == (256, 256, 3)
    shrunk = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX)).astype(float)
    assert np.abs(shrunk - small).mean() < 6


def test_another_hand_draws_the_same_things_in_its_own_way():
    """Another seed is another hand: flatter, rougher, but the castle stays where it stands."""
    scene = Scene(subject="castle", color="red", place="field", style="pixel")
    usual = draw.render(scene.but(style="illustration"), 3, 64).astype(int)
    hands = [hand.render_roughly(scene, 3, 64, np.random.default_rng(k)).astype(int) for k in range(6)]
    assert np.array_equal(hands[0], hand.render_roughly(scene, 3, 64, np.random.default_rng(0)))
    assert all(np.abs(a - b).mean() > 2 for a, b in pairwise([usual, *hands]))
    mask = draw.subject_mask(scene, 3, 64) == 1
    red = np.mean([np.median((a[..., 0] - a[..., 2])[mask]) > 30 for a in hands])
    assert red >= 5 / 6
    assert all(np.ptp(a[2], axis=0).max() < 40 for a in hands[:1]), "no gradient in the sky"


# --- tokenizer -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    from transformers import CLIPTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.build(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_words_are_one_token_but_those_that_should_be_several(words):
    rng = np.random.default_rng(2)
    known = {w for _ in range(1500) for w in re.findall(r"[a-z]+", captions.caption(sample(rng), rng))}
    known |= set(captions.EXTRA_WORDS.split())
    assert known >= {"house", "pencil", "foggy", "teddy", "very", *captions.IN_PIECES}
    for word in known:
        tokens = words.tokenize(word)
        if word in captions.IN_PIECES:
            assert tuple(tokens) == (*captions.IN_PIECES[word][:-1], captions.IN_PIECES[word][-1] + "</w>")
        else:
            assert len(tokens) == 1, (word, tokens)


def test_no_caption_is_cut(words):
    rng = np.random.default_rng(4)
    longest = max(len(words(captions.caption(sample(rng), rng)).input_ids) for _ in range(3000))
    assert longest <= tokenizer.LENGTH


@pytest.mark.parametrize("word", ["sleeping", "dreaming", "swimming", "bedroom", "dragonfly", "hypothalamus"])
def test_no_other_word_has_the_last_piece_of_one_that_means_something(words, word):
    """The "ing" of "blossoming" in "sleeping" would bring blossoms."""
    ends = {parts[-1] + "</w>" for parts in captions.IN_PIECES.values()} - {"house</w>"}  # a word itself
    tokens = words.tokenize(word)
    assert len(tokens) > 1 and not ends & {*tokens}
    assert words.tokenize("farmhouse")[-1] == "house</w>"


def test_a_text_encoder_goes_on_under_a_newer_tokenizer(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(tokenizer, "kept_apart", lambda *_: [])
        tokenizer.build(tmp_path / "tokenizer")
    before = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    before.save_pretrained(tmp_path / "tokenizer")  # with tokenizer.json, as it is shipped
    config = CLIPTextConfig(
        vocab_size=len(before), hidden_size=8, intermediate_size=8, num_hidden_layers=0,
        num_attention_heads=1, max_position_embeddings=32, projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = CLIPTextModel(config).eval()
    encoder.save_pretrained(tmp_path / "text_encoder")
    for _ in range(2):  # the second time there is nothing left to do
        size = tokenizer.carry_over(tmp_path)
    after = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    carried = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()
    assert len(after) == size > len(before)
    assert "ing</w>" in before.tokenize("sleeping") and "ing</w>" not in after.tokenize("sleeping")

    def encoded(model, words, prompt):
        return model(words(prompt, padding="max_length", max_length=32, return_tensors="pt").input_ids)[0]

    for prompt in ("a blossoming hill at night", "a hippopotamus, with a lighthouse", ""):
        assert torch.equal(encoded(encoder, before, prompt), encoded(carried, after, prompt))
    monkeypatch.setattr(tokenizer, "word_counts", lambda seed: Counter({"red": 1, "unheard": 1}))
    with pytest.raises(ValueError, match="unheard"):
        tokenizer.carry_over(tmp_path)


@pytest.mark.parametrize("text", ["a red house", "xylophone 7%", "ça ira", "日本 🎈", "Zebra-crossing, 1999"])
def test_tokens_round_trip_and_unknown_words_fall_to_pieces(words, text):
    ids = words(text, add_special_tokens=False).input_ids
    assert words.eos_token_id not in ids
    assert re.sub(r"\s", "", words.decode(ids)) == re.sub(r"\s", "", text.lower())


def test_the_tokenizer_is_clips(words):
    ids = words("a red house", padding="max_length", truncation=True).input_ids
    assert words.model_max_length == tokenizer.LENGTH == len(ids)
    assert ids[0] == words.bos_token_id and ids[4] == words.eos_token_id


# --- evaluation ----------------------------------------------------------------------------------------


def test_evaluation_prompts_were_never_trained_on():
    scenes = evaluate.held_out(60, seed=5)
    assert all(s.held_out for s in scenes) and scenes == evaluate.held_out(60, seed=5)
    assert len({s.style for s in scenes}) == 4 and len({s.season for s in scenes}) == 4


def test_an_evaluation_counts_what_is_shown():
    """Drawings of the scenes are right nearly always; of other scenes only by chance."""
    scenes = evaluate.held_out(40, seed=6)
    images = [Image.fromarray(draw.render(s, i)) for i, s in enumerate(scenes)]
    right = evaluate.judged(scenes, images, judge.Judge.load())
    wrong = evaluate.judged(scenes[1:] + scenes[:1], images, judge.Judge.load())
    assert set(right) == {*ATTRIBUTES, "all"}
    assert min(right[name] for name in ATTRIBUTES) >= 0.9
    assert wrong["subject"] < 0.4 and wrong["color"] < 0.5 and wrong["all"] < 0.2
    degrees = evaluate.judged_degrees(scenes, images, judge.Judge.load())
    assert all(row["said"] is None or row["said"] > row["not said"] + 0.2 for row in degrees.values()), (
        degrees
    )


def test_styles_are_counted_by_themselves():
    """One style that fails is not hidden by three that do not."""
    scenes = [HOUSE.but(style=style) for style in ATTRIBUTES["style"] for _ in range(2)]
    images = [Image.fromarray(draw.render(s, i)) for i, s in enumerate(scenes)]
    images[-1] = Image.fromarray(draw.render(HOUSE, 7))  # no pixel art
    found = evaluate.judged_styles(scenes, images, judge.Judge.load())
    assert {style: row["style"] for style, row in found.items()} == {
        "illustration": 1.0, "sketch": 1.0, "watercolor": 1.0, "pixel": 0.5,
    }  # fmt: skip
    assert found["pixel"]["prompts"] == 2 and found["pixel"]["all"] == 0.5
    result = {"settings": {"prompts": 8, "steps": 3, "guidance_scale": 5.0}, "degrees": {}, "styles": found}
    page = report.page(result | {"shown": {"subject": 1.0, "style": 0.9, "all": 0.9}})
    assert "| pixel | 2 | 100 % | 50 % | 50 % |" in page


def test_the_pages_and_figures_of_an_evaluation(tmp_path):
    scenes = evaluate.held_out(5, seed=6)
    images = [Image.fromarray(draw.render(s, i)) for i, s in enumerate(scenes)]
    sheet = report.contact_sheet(scenes, images, columns=2)
    side = report.SIDE
    assert sheet.width == 2 * (side + 6) + 6 and sheet.height == 3 * (side + 36) + 6
    first = images[0].resize((side, side), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(sheet.crop((6, 6, 6 + side, 6 + side))), np.asarray(first))
    settings = {"prompts": 5, "steps": 3, "guidance_scale": 5.0}
    degrees = {"snowy": {"prompts": 0, "said": None, "not said": 0.014}}
    result = {"settings": settings, "shown": {"subject": 0.8, "all": 0.6}, "degrees": degrees}
    page = report.page(result)
    assert "--count 5 --steps 3 --guidance 5" in page
    assert "| 80 % | 60 % |" in page and "| snowy | 0 |  | 0.01 |" in page
    assert "Frechet" not in page and "Sharpness" not in page
    frechet = {"pictures": 9, "generated": 4.567, "drawn": 1.234}
    fuller = {
        "settings": settings | {"frechet": 9},
        "sharpness": {"sketch": {"mean": 0.912, "edges": 0.8}},
        "frechet": frechet,
    }
    page = report.page(result | fuller)
    assert "--frechet 9" in page and "| mean | 0.91 |" in page and "**4.57**" in page and "1.23" in page
    log = tmp_path / "unet.jsonl"
    log.write_text(
        '{"samples": 1000, "loss": 0.4}\n{"samples": 2000, "loss": 0.3, "minutes": 1}\n'
        '{"samples": 2000, "shown": {"subject": 0.5, "color": 0.6, "place": 0.7, "time": 1.0, "all": 0.2}}\n'
    )
    left, right = report.curve(log).axes
    assert list(left.lines[0].get_ydata()) == [0.4, 0.3] and len(right.lines) == 5
    left, right = report.curve(log, log).axes
    assert list(left.lines[-1].get_xdata()) == [1, 2, 3, 4], "one training after the other"


def test_sharpness_is_that_of_drawings_of_the_same_scenes():
    """1 for drawings, less for the same pictures stretched, each style by itself."""
    scenes = [HOUSE.but(style=style) for style in ("illustration", "sketch") for _ in range(2)]
    drawn = fidelity.drawings(scenes, seed=3)
    small = [image.resize((128, 128)) for image in drawn]
    same = {"mean": 1.0, "edges": 1.0}
    assert fidelity.sharpness(scenes, drawn, drawn) == {"illustration": same, "sketch": same}
    soft = fidelity.sharpness(scenes, small, drawn)
    assert all(0.4 < row["edges"] < 0.85 for row in soft.values())
    assert soft["illustration"]["mean"] > 0.9, "which is why there are two"


def test_the_frechet_distance_of_two_gaussians():
    """With means m apart and standard deviations s and t it is m^2 + (s - t)^2 per dimension."""
    z = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).double()
    z = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T)).T)  # exactly white
    assert fidelity.frechet_distance(z, z) == pytest.approx(0, abs=1e-6)
    assert fidelity.frechet_distance(z, 3 * z + 2) == pytest.approx(3 * (4 + 4), rel=1e-6)


@pytest.mark.skipif(not judge.WEIGHTS.exists(), reason="no judge here")
def test_other_things_are_farther_than_other_drawings():
    scenes = evaluate.held_out(60, seed=8)
    drawn, others = fidelity.drawings(scenes, 0), fidelity.drawings(scenes, 1000)
    wrong = fidelity.drawings([HOUSE] * 60, 2000)
    found = fidelity.frechet(wrong, drawn, others, judge.Judge.load())
    assert found["pictures"] == 60 and found["generated"] > 2 * found["drawn"] > 0


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
    assert images.shape == (3, 256, 256, 3) and np.isfinite(images).all() and images.std() > 0.1
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


@pytest.mark.skipif(not judge.WEIGHTS.exists(), reason="no judge here")
def test_a_judge_without_some_weights_is_no_judge(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(judge.WEIGHTS)
    del weights["heads.color.weight"]
    save_file(weights, tmp_path / "judge.safetensors")
    with pytest.raises(RuntimeError, match=r"heads\.color\.weight"):
        judge.Judge.load(tmp_path / "judge.safetensors")


@pytest.mark.skipif(not judge.WEIGHTS.exists(), reason="no judge here")
def test_the_judge_is_right_in_98_of_100_held_out_renders():
    """Per attribute, and in every style; what is measured by `judge.validate` is committed beside it."""
    figures = json.loads((judge.FOLDER / "judge.json").read_text())
    assert figures["held-out renders"] >= 1000
    for name in ATTRIBUTES:
        assert set(figures[name]) == {"all", *ATTRIBUTES["style"]}
        assert min(figures[name].values()) >= 0.98, (name, figures[name])
    for name in DEGREES:
        for style in ATTRIBUTES["style"]:
            assert set(figures[name][style]) == {"mean error", "there or not", "correlation where there"}


@pytest.mark.skipif(not judge.WEIGHTS.exists(), reason="no judge here")
def test_the_judges_figures_are_of_the_judge_that_is_shipped():
    found = judge.validate(judge.Judge.load(), 150, seed=11)
    kept = json.loads((judge.FOLDER / "judge.json").read_text())
    assert set(found) == set(kept)
    for name in ATTRIBUTES:
        assert found[name]["all"] >= 0.95, name
    for name in DEGREES:
        assert found[name]["mean error"] < kept[name]["mean error"] + 0.05, name
