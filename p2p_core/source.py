"""What a run leaves behind: `Source` and `Result`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from .edit import Edit
from .errors import BadInput
from .images.load import picture_text
from .lifetime import Lifetime
from .plan import Plan
from .prompt import Prompt
from .recipe import Recipe, public_name, write_picture
from .sampler import Sampler
from .settings import floats_text
from .steps import StepState

Layers = tuple[int, int] | Iterable[str] | None


class Recordings(Protocol):
    """Where recorded queries and keys lie, by a source's key."""

    def size(self, source: str) -> int: ...
    def counts(self, source: str) -> dict[str, int]: ...
    def where(self, source: str, N: int) -> str: ...


class Engine(Protocol):
    """What a source asks of the engine that made it."""

    @property
    def model_name(self) -> str: ...
    @property
    def cache(self) -> Recordings: ...
    @property
    def fingerprint(self) -> str: ...
    def hold(self, source: Source) -> None: ...
    def forget(self, source: Source) -> None: ...
    def save_source(self, source: Source, path: str | Path, *, records: bool = False) -> Path: ...
    def attention(
        self, source: Source, word: str | int, *, step: int | None = None, sites: Layers = None
    ) -> np.ndarray: ...
    def region(self, source: Source, words: str, *, refine: bool = True) -> np.ndarray: ...
    def sharpen(self, source: Source, word_map: np.ndarray) -> np.ndarray: ...
    def edited_source(self, result: Result) -> Source: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Inversion:
    """How a real picture became a source, and how well it comes back.

    picture: as it was fitted to the model; fit, center: how. psnr, psnr_vae: of the source's picture against
    it, and against what the autoencoder alone makes of it; psnr_ceiling: of the latter against the picture;
    in dB.
    """

    method: str
    picture: Image.Image
    psnr: float
    psnr_vae: float
    psnr_ceiling: float
    fit: str = "crop"
    center: tuple[float, float] = (0.5, 0.5)

    @cached_property
    def text(self) -> str:
        """The picture as PNG in base64, for recipes."""
        return picture_text(self.picture)

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `invert` that `generate` has none of; fitting a fitted picture changes nothing."""
        return {"method": self.method, "picture": self.text, "fit": self.fit, "center": list(self.center)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source(Lifetime):
    """A picture that can be edited: its prompt, its path of latents, and where its maps are recorded.

    latents: (N + 1, C, h, w), z_T first. unconditional: (N, S, d), an embedding for each step in place of the
    negative prompt's, or None. noise: (N - 1, C, h, w), what a stochastic sampler adds in each step, to edits
    too; denoised: (N - 1, C, h, w), each step's clean latents where the sampler looks back; ahead:
    (N, C, h, w), how far ahead of its latents each step asks (aligned inversion); else None.
    Made by `generate`, `invert`, or by `Result.as_source`. What is recorded of it is freed with it, or at the
    end of a `with` statement.
    """

    prompt: Prompt
    seed: int | None  # None: the start latents, or the whole path, were given
    steps: int
    guidance_scale: float
    negative_prompt: str
    height: int
    width: int
    image: Image.Image
    latents: Tensor = field(repr=False)
    seconds: float
    key: str
    engine: Engine = field(repr=False)
    origin: tuple[Source, Plan] | None = field(default=None, repr=False)  # an edit taken as a source
    unconditional: Tensor | None = field(default=None, repr=False)
    sampler: str = "ddim"
    noise: Tensor | None = field(default=None, repr=False)
    denoised: Tensor | None = field(default=None, repr=False)
    ahead: Tensor | None = field(default=None, repr=False)
    lora_scale: float = 1.0
    inversion: Inversion | None = field(default=None, repr=False)
    solver: Sampler | None = field(default=None, repr=False)  # what it was sampled with
    notes: tuple[str, ...] = ()  # what is not as was asked, for people
    noise_seed: int | None = None  # of what a stochastic sampler adds; None: the path was given
    scheduler: dict[str, Any] = field(default_factory=dict, repr=False)  # its settings

    @property
    def latent_size(self) -> tuple[int, int]:
        """(h, w) of the latents."""
        return self.latents.shape[-2], self.latents.shape[-1]

    @property
    def nbytes(self) -> int:
        """Bytes held for this source: its latents and its recorded queries and keys."""
        paths = (self.latents, self.noise, self.denoised, self.ahead)
        return sum(x.nbytes for x in paths if x is not None) + self.engine.cache.size(self.key)

    def asked(self, i: int) -> Tensor:
        """(1, C, h, w), the latents at which step i asks the UNet."""
        z = self.latents[i, None]
        return z if self.ahead is None else z + self.ahead[i]

    def state(self, k: int) -> StepState:
        """The source's own state after k steps, `state(0)` the noise that it starts from."""
        denoised = self.denoised[k - 1, None] if self.denoised is not None and 0 < k < self.steps else None
        return StepState(index=k, total=self.steps, latents=self.latents[k, None], denoised=denoised)

    @property
    def where(self) -> str:
        """Where the recorded queries and keys lie, for people."""
        return self.engine.cache.where(self.key, self.steps)

    @property
    def tiers(self) -> dict[str, int]:
        """Number of steps whose queries and keys lie in each tier, "device", "host" or "disk".

        A step that is in none is recorded again when an edit needs it.
        """
        return self.engine.cache.counts(self.key)

    @property
    def pixels(self) -> Image.Image:
        """The picture itself: a real one as it was given, else what was generated or edited."""
        real = self.inversion is not None and self.origin is None
        return self.inversion.picture if real and self.inversion else self.image

    def attention(self, word: str | int, step: int | None = None, sites: Layers = None) -> np.ndarray:
        """Where a word of the prompt looks: (h, w) float32, attention probabilities in 0..1.

        Mean over the word's tokens, heads, sites and steps (Prompt-to-Prompt, Figure 4). step: one step,
        0 the noisiest; None: all. sites: names of cross-attention layers, or a grid (h, w); None: the grid
        nearest to 16 x 16. Raises `UnknownWord`, `BadSteps`, `BadSource`.
        """
        return self.engine.attention(self, word, step=step, sites=sites)

    def region(self, words: str, *, refine: bool = True) -> np.ndarray:
        """Where something is in the picture, whether the prompt names it or not: (h, w) float32 in 0..1.

        By the source's queries and the keys of "a <words>", mean over steps, its range scaled to 0..1, so
        that `Blend(mask=source.region("roof") > 0.5)` edits the roof alone. refine: sharpened by the
        source's self-attention, see `refine`. Runs no UNet. Raises `BadInput`.
        """
        return self.engine.region(self, words, refine=refine)

    def sharpen(self, word_map: np.ndarray) -> np.ndarray:
        """A word's map (h, w), as `attention` gives it, times the source's self-attention: (h', w') float32.

        Pixels that look at each other get equal shares of it, so that it ends where the thing ends; see
        `refine`. Raises `BadInput`.
        """
        return self.engine.sharpen(self, word_map)

    def save(self, path: str | Path, *, records: bool = False) -> Path:
        """Write a .safetensors file that `PromptToPrompt.load_source` reads. Returns the path.

        records: with the queries and keys that are held, which take much more room and are otherwise recorded
        again when an edit needs them. Raises `BadInput`.
        """
        return self.engine.save_source(self, path, records=records)

    def _repr_png_(self) -> bytes | None:
        """The picture, as notebooks show it."""
        return self.image._repr_png_()

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `generate`, or of `invert`, that make this source again, as plain data.

        A real picture is in it as it was fitted, as PNG in base64; start latents that were given, as text.
        """
        settings: dict[str, Any] = {
            "prompt": self.prompt.text,
            "seed": self.noise_seed if self.seed is None else self.seed,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "negative_prompt": self.negative_prompt,
            "height": self.height,
            "width": self.width,
            "sampler": self.sampler,
        }
        usual = {"clip_skip": 0, "prompt_embeds": "", "lora_scale": 1.0}
        read = (self.prompt.clip_skip, self.prompt.embeds, self.lora_scale)
        settings |= {n: v for (n, none), v in zip(usual.items(), read, strict=True) if v != none}
        if self.inversion is not None:
            settings |= self.inversion.to_dict()
        elif self.seed is None and self.noise_seed is not None:
            start = 1.0 if self.solver is None else self.solver.start
            settings["latents"] = floats_text(self.latents[0].float() / start)
        return settings


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """An edited picture.

    latents: (C, h, w), the final ones. mask: (h, w) float32 in 0..1 at the latent's size where a local
    blend kept the edit, else None. seconds: of this call, decoding included.
    """

    image: Image.Image
    latents: Tensor = field(repr=False)
    plan: Plan
    mask: np.ndarray | None = field(repr=False)
    steps_total: int
    steps_computed: int
    seconds: float
    source: Source = field(repr=False)

    @property
    def edit(self) -> Edit:
        return self.plan.edit

    @property
    def steps_reused(self) -> int:
        return self.steps_total - self.steps_computed

    def as_source(self) -> Source:
        """This edit as the source of the next one.

        Its maps are the edited ones, exactly: an edit's map is a sum of terms (source map) take + (own map)
        keep, and so is the map of an edit of that edit.
        """
        self.plan.check_maps()
        return self.source.engine.edited_source(self)

    def attention(self, word: str | int, step: int | None = None, sites: Layers = None) -> np.ndarray:
        """As `Source.attention`, of the edited maps and the target prompt's words."""
        return self.as_source().attention(word, step=step, sites=sites)

    def recipe(self) -> Recipe:
        """How this picture was made, through all the edits that led to it.

        Raises `BadInput` for a source along a path that was given, which no recipe holds.
        """
        edits, source = [self.edit], self.source
        while source.origin is not None:
            source, plan = source.origin
            edits.insert(0, plan.edit)
        if source.seed is None and source.noise_seed is None and source.inversion is None:
            raise BadInput(
                "A recipe holds what `generate` or `invert` made; this source follows a path of latents that "
                "was given. Source.save keeps it."
            )
        return Recipe(
            model=public_name(source.engine.model_name),
            source=source.to_dict(),
            edits=tuple(edits),
            weights=source.engine.fingerprint,
            scheduler=source.scheduler,
        )

    def _repr_png_(self) -> bytes | None:
        """The picture, as notebooks show it."""
        return self.image._repr_png_()

    def save(self, path: str | Path) -> Path:
        """Write a picture that holds the whole recipe; `load_recipe` reads it back. Returns the path.

        The name ends in .png, .jpg, .jpeg or .webp; only a PNG holds the very pixels. Raises `BadInput`.
        """
        return write_picture(path, self.image, self.recipe())


def recipe_of(result: Result) -> Recipe:
    """`Result.recipe`."""
    return result.recipe()
