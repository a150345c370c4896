"""Prompt-to-Prompt as the paper writes it: explicit maps, both prompts side by side in one batch.

[uncond source, uncond target, cond source, cond target] run through the UNet together. Every attention layer
computes its maps as softmax(Q K^T / sqrt(d)) in full and, for the last row, edits them by column. There
is no cache and no fused kernel: this is what the engine is compared with, and what the benchmark times as the
public way. It takes A, n, a and w as plain arrays and shares no code with the engine.

The columns are edited one by one, as the formula reads. `columnwise=False` edits them all in one matrix
product, as the public code does: that is what the benchmark times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor


@dataclass
class Blended:
    """Local blend: token columns, thresholds, first step."""

    source_tokens: list[int]
    target_tokens: list[int]
    threshold: float
    first_step: int
    subtract_tokens: list[int] = field(default_factory=list)
    subtract_threshold: float = 0.3


@dataclass
class Controls:
    """The edit: A (S, T), n (T), and per step a (N, T), w (N, T) and whether self-attention is injected.

    share: every row of the edited map is divided by the sum of its absolute values. amount: how much of each
    cross-attention layer's output is the edit's; the rest is what the source's row gives there.
    """

    A: Tensor
    n: Tensor
    a: Tensor
    w: Tensor
    self_steps: set[int]
    self_pixels: float
    blend: Blended | None = None
    share: bool = False
    amount: float = 1.0

    def beside(self, x: Tensor) -> Controls:
        """The same where x lies, in its dtype."""
        A, a, w = (y.to(x) for y in (self.A, self.a, self.w))
        return replace(self, A=A, n=self.n.to(x.device), a=a, w=w)


class ExplicitMaps:
    """An attention processor that makes the maps, edits those of the target row, and multiplies by V."""

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        cross = encoder_hidden_states is not None
        context = encoder_hidden_states if cross else hidden_states
        B, N, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.view(B, x.shape[1], attn.heads, -1).permute(0, 2, 1, 3)

        Q, K, V = heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context))
        M = torch.softmax(Q / math.sqrt(Q.shape[-1]) @ K.transpose(-1, -2), dim=-1)  # (4, heads, N, S)
        source, target = self.run.source_row, self.run.target_row
        if cross:
            self.run.see(self.name, M[source], M[target])
            M[target] = self.run.edit_cross(M[source], M[target])
        elif self.run.injects_self(N):
            M[target] = M[source]
        out = M @ V
        if cross:
            c = self.run.controls
            out[target] = c.amount * out[target] + (1 - c.amount) * out[source]
            if c.share:
                out[target] /= c.amount * M[target].abs().sum(-1, keepdim=True) + (1 - c.amount)
        out = out.permute(0, 2, 1, 3).reshape(B, N, -1)
        return attn.to_out[1](attn.to_out[0](out))


class Run:
    """One side-by-side run. `target_row` is the last; without guidance the batch has two rows."""

    def __init__(self, controls: Controls, guidance_scale: float, columnwise: bool) -> None:
        self.controls, self.columnwise = controls, columnwise
        self.guided = guidance_scale > 1
        self.source_row, self.target_row = (2, 3) if self.guided else (0, 1)
        self.step = 0
        self.maps: dict[str, tuple[Tensor, Tensor]] = {}

    def see(self, name: str, M: Tensor, M_star: Tensor) -> None:
        """Keep this step's maps of the blend's layers: (N, S), mean over heads. M* before injection."""
        if self.controls.blend is not None and "mid_block" not in name:
            self.maps[name] = (M.mean(0), M_star.mean(0))

    def edit_cross(self, M: Tensor, M_star: Tensor) -> Tensor:
        """Column j: (sum_i M_i A_ij if the word is known else M*_j) while injected, else M*_j; times w_j."""
        c, t = self.controls, self.step
        if not self.columnwise:
            injected = torch.where(c.n, M_star, M @ c.A)
            return c.w[t] * (c.a[t] * injected + (1 - c.a[t]) * M_star)
        columns = []
        for j in range(M_star.shape[-1]):
            injected = M_star[..., j] if bool(c.n[j]) else (M * c.A[:, j]).sum(-1)
            column = float(c.a[t, j]) * injected + (1 - float(c.a[t, j])) * M_star[..., j]
            columns.append(float(c.w[t, j]) * column)
        return torch.stack(columns, dim=-1)

    def injects_self(self, pixels: int) -> bool:
        """Whether the source's self-attention map stands in: inside the window, on grids small enough."""
        return self.step in self.controls.self_steps and pixels <= self.controls.self_pixels


def sample(
    pipe: Any,
    embeddings: tuple[Tensor, Tensor, Tensor],
    x_T: Tensor,
    controls: Controls,
    *,
    steps: int,
    guidance_scale: float,
    columnwise: bool = True,
    added: dict[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(source latents, target latents, last mask) after `steps` steps from x_T (1, C, h, w).

    embeddings: of the negative prompt, the source and the target prompt, (1, S, d) each. added: what SDXL's
    UNet is told beside them, for every row.
    """
    run = Run(controls.beside(x_T), guidance_scale, columnwise)
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    negative, source, target = embeddings
    text = torch.cat([negative, negative, source, target] if run.guided else [source, target])
    x = torch.cat([x_T, x_T])
    sums: dict[str, Tensor] = {}
    mask = None
    before = dict(pipe.unet.attn_processors)
    pipe.unet.set_attn_processor({name: ExplicitMaps(run, name) for name in before})
    try:
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                run.step = i
                rows = torch.cat([x, x]) if run.guided else x
                out = pipe.unet(rows, t, encoder_hidden_states=text, added_cond_kwargs=added).sample
                if run.guided:
                    unconditional, conditional = out.chunk(2)
                    out = unconditional + guidance_scale * (conditional - unconditional)
                x = scheduler.step(out, t, x).prev_sample
                if controls.blend is not None:
                    x, mask = _blend(run, controls.blend, sums, x, i)
    finally:
        pipe.unet.set_attn_processor(before)
    return x[:1], x[1:], mask


def _blend(
    run: Run, blend: Blended, sums: dict[str, Tensor], x: Tensor, i: int
) -> tuple[Tensor, Tensor | None]:
    h, w = x.shape[-2:]
    sides: dict[int, list[str]] = {}
    for name, (M, _) in run.maps.items():
        sides.setdefault(M.shape[0], []).append(name)
    pixels = min(sides, key=lambda n: abs(math.log2(math.sqrt(n) / 16)))  # the grid nearest to 16 x 16
    grid = next((r, math.ceil(w / k)) for k in (1, 2, 4, 8) for r in [math.ceil(h / k)]
                if r * math.ceil(w / k) == pixels)  # fmt: skip
    for key, tokens, side in (
        ("source", blend.source_tokens, 0),
        ("target", blend.target_tokens, 1),
        ("subtract", blend.subtract_tokens, 1),
    ):
        if tokens:
            step = torch.stack([run.maps[name][side][:, tokens].mean(-1) for name in sides[pixels]]).mean(0)
            sums[key] = sums.get(key, torch.zeros(grid)) + step.reshape(grid)
    run.maps.clear()
    if i < blend.first_step:
        return x, None

    def region(summed: Tensor, threshold: float, pool: bool) -> Tensor:
        m = summed[None, None] / (i + 1)
        if pool:
            m = F.max_pool2d(m, 3, stride=1, padding=1)
        m = F.interpolate(m, size=(h, w), mode="nearest")
        return (m / m.max() > threshold)[0, 0]

    mask = torch.zeros(h, w, dtype=torch.bool)
    for key in ("source", "target"):
        if key in sums:
            mask |= region(sums[key], blend.threshold, pool=True)
    if "subtract" in sums:
        mask &= ~region(sums["subtract"], blend.subtract_threshold, pool=False)
    return torch.stack([x[0], torch.where(mask, x[1], x[0])]), mask
