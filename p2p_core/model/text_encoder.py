"""Text as a UNet takes it: one text encoder (Stable Diffusion 1.x, 2.x) or two (SDXL).

SDXL (Podell et al. 2023, section 2): both encoders' last but one layers side by side, the second one's pooled
output, and six numbers of micro-conditioning: original size, crop and target size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput, UnsupportedModel, shown
from ..injection import Projections
from ..prompt import Prompt
from ..settings import floats_of
from .lora import LoraScale

MAX_PROMPTS = 64  # that are remembered


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """What a batch is conditioned on, for as long as a run lasts.

    rows: (B, S, d), the text encoder's output. added_cond: SDXL's pooled text (B, e) and time ids (B, 6), by
    the UNet's names for them. guidance: (B, e), the embedded guidance scale of models that take it as an
    input, or None. projections: its keys and values in every layer, made in the first UNet call.
    """

    rows: Tensor
    added_cond: dict[str, Tensor] | None = None
    guidance: Tensor | None = None
    projections: Projections = field(default_factory=Projections)


class TextEncoders:
    """A pipeline's tokenizers and text encoders. two: whether there are two of each, as in SDXL."""

    def __init__(self, pipe: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipe, self.device, self.dtype = pipe, device, dtype
        self.two = getattr(pipe, "text_encoder_2", None) is not None
        reads = getattr(pipe.unet.config, "addition_embed_type", None)
        if self.two and (getattr(pipe, "tokenizer_2", None) is None or reads != "text_time"):
            raise UnsupportedModel(
                f"{type(pipe).__name__} has two text encoders, but no second tokenizer or no UNet of SDXL's."
            )
        self.reads_guidance = getattr(pipe.unet.config, "time_cond_proj_dim", None) is not None
        self._encodings: dict[tuple[object, ...], tuple[Tensor, Tensor | None]] = {}
        self.lora = LoraScale()

    @property
    def encoders(self) -> tuple[Any, ...]:
        return (self.pipe.text_encoder, self.pipe.text_encoder_2) if self.two else (self.pipe.text_encoder,)

    @property
    def known(self) -> bytes:
        """Changes with the tokenizers and the tokens that they know."""
        tokenizers = (self.pipe.tokenizer, self.pipe.tokenizer_2) if self.two else (self.pipe.tokenizer,)
        return repr([(id(tokenizer), tokenizer.get_added_vocab()) for tokenizer in tokenizers]).encode()

    def parse(self, text: object) -> Prompt:
        """A prompt's words and tokens. Raises `BadPrompt`, `UnsupportedModel` if two tokenizers disagree."""
        prompt = Prompt.parse(text, self.pipe.tokenizer)
        if self.two:
            second = Prompt.parse(text, self.pipe.tokenizer_2)
            if [p.tokens for p in second.pieces] != [p.tokens for p in prompt.pieces]:
                raise UnsupportedModel(
                    f"The model's two tokenizers cut {shown(prompt.text)} differently, so a word has no one "
                    "place in its attention maps."
                )
        return prompt

    def check_unconditional(self, negative_prompt: object, method: str = "direct") -> None:
        """Raises `BadInput` for what needs a row that the model does not run, and so would do nothing."""
        learns = method in ("null_text", "negative_prompt")
        if self.two and learns:
            raise BadInput(f"A model with two text encoders is inverted by direct or ddim; got {method}.")
        if self.reads_guidance and (learns or negative_prompt):
            raise BadInput(
                "The model is told its guidance scale and runs no unconditional row; expected no negative "
                "prompt, and direct or ddim as the method of an inversion; got "
                f"{shown(negative_prompt) if negative_prompt else method}. storybook-base runs that row."
            )

    def encode(self, prompt: Prompt) -> tuple[Tensor, Tensor | None]:
        """(rows (1, S, d), pooled (1, e) or None) of a prompt."""
        key = (prompt.key, self.lora.scale)
        if key not in self._encodings:
            if len(self._encodings) >= MAX_PROMPTS:
                self._encodings.pop(next(iter(self._encodings)))
            self._encodings[key] = self._encode_two(prompt) if self.two else (self._encode(prompt), None)
        return self._encodings[key]

    def check_reading(self, clip_skip: int, embeds: str) -> None:
        """Raises `BadInput` for a prompt that can't be read so."""
        layers = min(int(encoder.config.num_hidden_layers) for encoder in self.encoders)
        if clip_skip >= layers:
            raise BadInput(
                f"clip_skip leaves a layer of the encoder; expected at most {layers - 1}, got {clip_skip}."
            )
        if embeds and self.two:
            raise BadInput(
                "prompt_embeds are taken by models with one text encoder; this has two, of which the second "
                "one's pooled text is read too."
            )
        if embeds:
            S = int(self.pipe.tokenizer.model_max_length)
            d, numbers = int(self.pipe.unet.config.cross_attention_dim), floats_of(embeds)
            if numbers.size != S * d or not np.isfinite(numbers).all():
                raise BadInput(
                    f"prompt_embeds are finite floats of the shape (1, {S}, {d}); got {numbers.size} numbers."
                )

    def _encode(self, prompt: Prompt) -> Tensor:
        if prompt.embeds:
            given = torch.from_numpy(floats_of(prompt.embeds)).view(1, prompt.length, -1)
            return given.to(self.device, self.dtype)
        encoder = self.pipe.text_encoder
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = (torch.arange(prompt.length, device=self.device) <= prompt.end)[None].long()
        if not prompt.clip_skip:
            return encoder(self._ids(prompt.ids), attention_mask=mask)[0].to(self.dtype)  # type: ignore
        layers = encoder(self._ids(prompt.ids), attention_mask=mask, output_hidden_states=True).hidden_states
        text_model = getattr(encoder, "text_model", encoder)
        return text_model.final_layer_norm(layers[-1 - prompt.clip_skip]).to(self.dtype)  # type: ignore

    def _encode_two(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        second = Prompt.parse(prompt.text, self.pipe.tokenizer_2).ids  # the same words, another padding
        one = self.pipe.text_encoder(self._ids(prompt.ids), output_hidden_states=True)
        two = self.pipe.text_encoder_2(self._ids(second), output_hidden_states=True)
        rows = torch.cat([encoded.hidden_states[-2 - prompt.clip_skip] for encoded in (one, two)], -1)
        return rows.to(self.dtype), two[0].to(self.dtype)

    def _ids(self, ids: tuple[int, ...]) -> Tensor:
        return torch.tensor([ids], device=self.device)

    @torch.no_grad()
    def text(
        self,
        rows: Sequence[Prompt | Tensor],
        guidance_scale: float,
        pixels: tuple[int, int],
        unconditional: int = 0,
    ) -> Conditioning:
        """A batch of prompts, or of embeddings (1, S, d) in their place, for pictures of (height, width).

        unconditional: the number of rows, from the first, that are so; where the model's pipeline says it,
        an empty prompt is all zeros there, as diffusers has it when no negative prompt is given.
        """
        zeros = self.two and bool(getattr(self.pipe.config, "force_zeros_for_empty_prompt", False))
        embedded, pooled = [], []
        for n, row in enumerate(rows):
            one, pool = (row, None) if isinstance(row, Tensor) else self.encode(row)
            if zeros and n < unconditional and isinstance(row, Prompt) and not row.text:
                one, pool = torch.zeros_like(one), None if pool is None else torch.zeros_like(pool)
            embedded.append(one)
            if pool is not None:
                pooled.append(pool)
        return Conditioning(
            rows=torch.cat(embedded),
            added_cond=self._added_cond(pooled, pixels) if self.two else None,
            guidance=self._guidance(guidance_scale, len(rows)) if self.reads_guidance else None,
        )

    def _added_cond(self, pooled: list[Tensor], pixels: tuple[int, int]) -> dict[str, Tensor]:
        ids = torch.tensor([[*pixels, 0, 0, *pixels]], dtype=self.dtype, device=self.device)
        return {"text_embeds": torch.cat(pooled), "time_ids": ids.expand(len(pooled), -1)}

    def _guidance(self, guidance_scale: float, n: int) -> Tensor:
        """Luo et al. 2023, section 4.2; diffusers counts the scale from 0 here."""
        size = self.pipe.unet.config.time_cond_proj_dim
        embedded = self.pipe.get_guidance_scale_embedding(
            torch.full((n,), guidance_scale - 1), embedding_dim=size
        )
        return embedded.to(self.device, self.dtype)  # type: ignore[no-any-return]
