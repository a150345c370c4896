"""What a source is recorded from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .cache.keys import key_of
from .model.conditioning import StepInputs
from .model.model import Model
from .prompt import Prompt
from .prompt_to_prompt import DM
from .sampler import Sampler


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a source is recorded from.

    path: z_T (1, C, h, w), or the whole path (N + 1, C, h, w) that the source is pinned to. seed: of z_T;
    None: the caller gave the latents. noise_seed: of step_noise; None: the path is given. unconditional:
    (N, S, d), an embedding for each step in the negative prompt's place. step_noise: (N - 1, C, h, w), of a
    stochastic sampler. aligned: the path's steps ask the
    UNet where the next one arrives, as the inversion that made the path did.
    """

    prompt: Prompt
    negative: Prompt
    sampler: Sampler
    guidance_scale: float
    path: Tensor
    seed: int | None = None
    noise_seed: int | None = None
    unconditional: Tensor | None = None
    step_noise: Tensor | None = None
    aligned: bool = False
    lora_scale: float = 1.0

    @property
    def ahead(self) -> Tensor | None:
        """(N, C, h, w), how far ahead of its latents each step asks, or None."""
        return self.path[1:] - self.path[:-1] if self.aligned else None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the latents."""
        return self.path.shape[-2], self.path.shape[-1]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as it was asked for, for people."""
        cut = self.negative.truncation_note("negative")
        return tuple(note for note in (self.sampler.note, cut) if note)

    def dm(self, model: Model) -> DM:
        """The model as this source asks it."""
        return DM(
            inputs=StepInputs(model, self.size, self.guidance_scale, self.lora_scale),
            sampler=self.sampler,
            unconditional=self.negative if self.unconditional is None else self.unconditional,
            step_noise=self.step_noise,
            ahead=self.ahead,
        )

    def key(self, *model: object) -> str:
        """Names all that the source depends on. model: what tells its model and weights apart.

        An aligned path follows from its end, so that its source has a name before the path is known.
        """
        texts = (self.prompt.key, self.negative.key, self.guidance_scale, self.lora_scale, self.aligned)
        path = self.path[-1:] if self.aligned else self.path
        return key_of(
            *model, *texts, self.size, self.sampler.numbers, path, self.step_noise, self.unconditional
        )
