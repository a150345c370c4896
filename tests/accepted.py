"""What is accepted, tried: `python -m tests.accepted` writes docs/accepted.md, and a test compares it.

Each case makes something and hands it over; what comes is "works", the note that is left, or the sentence
that refuses it.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pillow_heif
import torch
from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor
from PIL import Image

from p2p_core import Edit, P2PError, PromptToPrompt, load_recipe
from p2p_core.images.load import open_picture

from . import profiles, tiny

PAGE = Path(__file__).resolve().parent.parent / "docs" / "accepted.md"
HEAD = """# What is accepted

Made by `python -m tests.accepted`, which tries each of these on small random models; a test compares this
page with what comes. What works gives a picture and an edit of it; a note stands in `source.notes`. What is
refused raises one of our errors when it is handed over, with the sentence that stands here.
"""
Case = tuple[str, Callable[[], Any]]


def run(pipe: Any, **options: Any) -> str:
    """The note that a picture and an edit of it leave, or "works"."""
    p2p = PromptToPrompt(pipe, **{"device": "cpu", **options})
    p2p.set_progress_bar_config(disable=True)
    source = p2p.generate("a red cat", seed=1, steps=2)
    p2p.edit(source, Edit("a red dog"))
    return f"works; note: {source.notes[0]}" if source.notes else "works"


def changed(change: Callable[[Any], Any], make: Callable[..., Any] = tiny.pipeline) -> Callable[[], str]:
    def case() -> str:
        pipe = make()
        change(pipe)
        return run(pipe)

    return case


def parts(kind: Any, **more: Any) -> Callable[[], str]:
    """A pipeline of another class from the same parts."""

    def case() -> str:
        pipe = tiny.pipeline()
        names = (
            "vae",
            "text_encoder",
            "tokenizer",
            "unet",
            "scheduler",
            "safety_checker",
            "feature_extractor",
        )
        given = {name: getattr(pipe, name, None) for name in names} | more
        return run(kind(**given, requires_safety_checker=False))

    return case


class Foreign(AttnProcessor):
    """Attention that somebody has written."""


class Longer(diffusers.StableDiffusionPipeline):
    """A pipeline that draws in its own way."""

    def __call__(self, *args: Any, **more: Any) -> Any:
        return super().__call__(*args, **more)


class Same(diffusers.StableDiffusionPipeline):
    """A pipeline with more methods, which draws as ever."""


def tiny_vae() -> Any:
    torch.manual_seed(0)
    blocks = (8,) * len(tiny.pipeline().vae.config.block_out_channels)
    return diffusers.AutoencoderTiny(
        latent_channels=4, encoder_block_out_channels=blocks, decoder_block_out_channels=blocks,
        num_encoder_blocks=(1,) * len(blocks), num_decoder_blocks=(1,) * len(blocks),
    )  # fmt: skip


def inverted_by_a_tiny_vae() -> str:
    pipe = tiny.pipeline()
    pipe.vae = tiny_vae()
    PromptToPrompt(pipe, device="cpu").invert(Image.new("RGB", (64, 64)), "a cat", steps=2)
    return "works"


def control_net() -> str:
    unet = tiny.pipeline().unet
    return parts(
        diffusers.StableDiffusionControlNetPipeline, controlnet=diffusers.ControlNetModel.from_unet(unet)
    )()


def scheduler(name: str, **more: Any) -> Callable[[], str]:
    def change(pipe: Any) -> None:
        pipe.scheduler = getattr(diffusers, name).from_config({**pipe.scheduler.config, **more})

    return changed(change)


def configured(**values: Any) -> Callable[[], str]:
    return changed(lambda pipe: pipe.unet.register_to_config(**values))


def picture(kind: str, mode: str = "RGB", **more: Any) -> Callable[[], str]:
    def case() -> str:
        buffer = io.BytesIO()
        Image.effect_noise((32, 24), 50).convert(mode).save(buffer, kind, **more)
        return opened(buffer.getvalue())

    return case


def opened(data: Any) -> str:
    image = open_picture(data)
    return f"works, {image.width} x {image.height}"


def heic() -> str:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (32, 24))).save(buffer)
    return opened(buffer.getvalue())


def large(kind: str, width: int, height: int) -> Callable[[], str]:
    def case() -> str:
        buffer = io.BytesIO()
        Image.new("L", (width, height)).save(buffer, kind)
        return opened(buffer.getvalue())

    return case


def recipe(data: Any) -> Callable[[], str]:
    def case() -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.json"
            file.write_text(data if isinstance(data, str) else json.dumps(data))
            load_recipe(file)
        return "works"

    return case


def saved_recipe(name: str = "dog.png", given: bool = False) -> str:
    p2p = PromptToPrompt(tiny.pipeline(), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        latents = torch.ones(1, 4, 16, 16) if given else None
        source = p2p.generate("a red cat", seed=1, steps=2, latents=latents)
        made = p2p.source_of(load_recipe(p2p.edit(source, Edit("a red dog")).save(Path(folder) / name)))
    assert torch.equal(made.latents, source.latents) and not made.notes
    return "works"


GOOD = {"p2p": 1, "model": "m", "source": {"prompt": "a cat"}, "edits": [{"prompt": "a dog"}]}
TABLE: dict[str, list[Case]] = {
    "Pipelines": [
        ("StableDiffusionPipeline", changed(lambda _: None)),
        ("StableDiffusionXLPipeline", changed(lambda _: None, tiny.xl_pipeline)),
        ("a subclass that draws as ever", parts(Same)),
        ("a subclass with a `__call__` of its own", parts(Longer)),
        ("StableDiffusionImg2ImgPipeline", parts(diffusers.StableDiffusionImg2ImgPipeline)),
        ("StableDiffusionPAGPipeline", parts(diffusers.StableDiffusionPAGPipeline)),
        ("StableDiffusionControlNetPipeline", control_net),
        ("a pipeline without a VAE", changed(lambda pipe: setattr(pipe, "vae", None))),
        ("anything else", lambda: run(object())),
    ],
    "UNets": [
        ("told its guidance scale (LCM)", lambda: run(tiny.pipeline(time_cond_proj_dim=8))),
        ("nine channels in (inpainting)", lambda: run(tiny.pipeline(in_channels=9))),
        ("of another class", changed(lambda pipe: setattr(pipe, "unet", diffusers.UNet2DModel(
            block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))))),
        ("class-conditional", configured(class_embed_type="timestep")),
        ("with an IP-Adapter's projection", configured(encoder_hid_dim_type="ip_image_proj")),
        ("with boxes (GLIGEN)", configured(attention_type="gated")),
        ("a learned variance", configured(out_channels=8)),
        ("attention in slices", changed(lambda pipe: pipe.unet.set_attn_processor(SlicedAttnProcessor(1)))),
        ("attention of the owner's", changed(lambda pipe: pipe.unet.set_attn_processor(Foreign()))),
        ("FreeU", changed(lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6))),
    ],
    "Schedulers, by sampler=\"auto\"": [
        *((name, scheduler(name)) for name in (
            "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler",
            "EulerAncestralDiscreteScheduler", "LCMScheduler", "PNDMScheduler", "UniPCMultistepScheduler",
            "HeunDiscreteScheduler", "TCDScheduler",
        )),
        ("DPMSolverMultistepScheduler, sde-dpmsolver++",
         scheduler("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")),
        ("DPMSolverMultistepScheduler, order 3", scheduler("DPMSolverMultistepScheduler", solver_order=3)),
        ("EDMEulerScheduler", changed(lambda p: setattr(p, "scheduler", diffusers.EDMEulerScheduler()))),
        ("flow matching", scheduler("DPMSolverMultistepScheduler", use_flow_sigmas=True)),
    ],
    "Autoencoders": [
        ("AutoencoderKL", changed(lambda _: None)),
        ("AutoencoderTiny, to generate", changed(lambda pipe: setattr(pipe, "vae", tiny_vae()))),
        ("AutoencoderTiny, to invert", inverted_by_a_tiny_vae),
        ("VQModel", changed(lambda pipe: setattr(pipe, "vae", diffusers.VQModel(latent_channels=4)))),
        ("tiles and slices", changed(lambda pipe: (pipe.vae.enable_tiling(), pipe.vae.enable_slicing()))),
    ],
    "Devices": [
        ("cpu", lambda: run(tiny.pipeline())),
        ("cuda where there is none", lambda: run(tiny.pipeline(), device="cuda:99")),
        ("mps where there is none", lambda: run(tiny.pipeline(), device="mps")),
        ("tpu", lambda: run(tiny.pipeline(), device="tpu")),
        ("float64", lambda: run(tiny.pipeline(), dtype="float64")),
    ],
    "Picture files": [
        *((kind, picture(kind)) for kind in ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")),
        ("HEIC", heic),
        ("PNG with a colour profile", picture("PNG", icc_profile=profiles.profile())),
        ("JPEG in CMYK", picture("JPEG", "CMYK")),
        ("PNG with transparency", picture("PNG", "RGBA")),
        ("JPEG of 48 million pixels", large("JPEG", 8000, 6000)),
        ("PNG of 48 million pixels", large("PNG", 8000, 6000)),
        ("ICO", picture("ICO")),
        ("no picture", lambda: opened(b"no picture")),
        ("an array of floats in 0..1", lambda: opened(np.zeros((8, 8, 3)))),
        ("an array of other floats", lambda: opened(np.full((8, 8, 3), 2.0))),
    ],
    "Recipes": [
        ("a PNG that `save` wrote", saved_recipe),
        ("a JPEG that `save` wrote", partial(saved_recipe, "dog.jpg")),
        ("a WebP that `save` wrote", partial(saved_recipe, "dog.webp")),
        ("a GIF", partial(saved_recipe, "dog.gif")),
        ("of start latents that were given", partial(saved_recipe, given=True)),
        ("JSON", recipe(GOOD)),
        ("of another version", recipe({**GOOD, "p2p": 7})),
        ("without an edit", recipe({**GOOD, "edits": []})),
        ("an edit with an unknown field", recipe({**GOOD, "edits": [{"prompt": "a dog", "strength": 1}]})),
        ("no JSON", recipe("no JSON")),
    ],
}  # fmt: skip


def outcome(case: Callable[[], Any]) -> str:
    """What comes of a case. What is no error of ours is one of the engine's."""
    try:
        return str(case())
    except P2PError as error:
        return f"refused: {error}".replace("\n", " ")


def page() -> str:
    """docs/accepted.md as it is now."""

    def lines() -> Iterator[str]:
        yield HEAD
        for title, cases in TABLE.items():
            yield f"\n## {title}\n\n| what | comes |\n|---|---|\n"
            for name, case in cases:
                yield f"| {name} | {outcome(case).replace('|', '/')} |\n"

    return "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
