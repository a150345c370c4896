"""From a real picture to a source: DDIM inversion and three ways to mend it.

- `ddim` (Song et al. 2021, section 4.3; Prompt-to-Prompt, real image editing): the path from the picture back
  to noise, and from there the model runs with guidance. It does not come back to the picture.
- `null_text` (Mokady et al. 2023, section 3.2): per step an unconditional embedding is fitted so that the
  guided run follows the path.
- `negative_prompt` (Miyake et al. 2023): the source prompt's embedding in the unconditional one's place,
  which is what null-text comes to for a perfect model.
- `direct` (Ju et al. 2024, section 4): the source is pinned to the path at every step; a target runs from
  z_T with the empty embedding.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import AttentionContext
from ..errors import NotEnoughMemory
from ..memory import free_bytes
from ..model.model import Model
from ..model.unet_attention import installed
from ..prompt import Prompt
from ..sampler import Sampler, guide

CHECKPOINTED = 48 * 48  # latents from which on activations are computed again instead of kept
INNER = 10  # Adam steps for each step's embedding (Mokady et al. 2023, section 4)
LEAST = 2.0**-8  # that a loss is scaled by, below which half precision has no gradient at all


@torch.no_grad()
def ddim_path(model: Model, sampler: Sampler, z_0: Tensor, prompt: Prompt) -> Tensor:
    """The path (N + 1, C, h, w), z_T first, that DDIM inversion takes from the latents z_0 (1, C, h, w).

    With the conditional prediction alone (guidance 1); on the way up to a time the network is asked at that
    time, so that sampling back asks the same times.
    """
    way = ddim_steps(model, sampler, z_0, prompt)
    while True:
        try:
            next(way)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def ddim_steps(
    model: Model, sampler: Sampler, z_0: Tensor, prompt: Prompt
) -> Generator[tuple[int, Tensor], None, Tensor]:
    """`ddim_path` as a generator: yields (steps done, latents), returns the path."""
    path, size = [z_0], (z_0.shape[-2], z_0.shape[-1])
    text = model.text([prompt], size)
    for i in range(len(sampler) - 1, -1, -1):
        with torch.no_grad():
            out = model.predict(
                path[-1], sampler.timesteps[i], text, AttentionContext(conditional=1, latent=size)
            )
            path.append(sampler.step_back(path[-1], out, i))
        yield len(path) - 1, path[-1]
    return torch.cat(path[::-1])


def null_text(
    model: Model, sampler: Sampler, path: Tensor, prompt: Prompt, negative: Prompt, scale: float
) -> Generator[tuple[int, Tensor], None, Tensor]:
    """Unconditional embeddings (N, S, d) under which the guided run follows `path` (N + 1, C, h, w).

    Per step at most `INNER` steps of Adam on the squared distance to the path, begun from the step before,
    with a learning rate of 0.01 (1 - i / 100), until it is below 1e-5 + 2e-5 i. Only the embedding is
    learned: the conditional prediction is made once a step, and memory is that of one row's backward pass.
    Yields (steps done, latents), after each step of Adam too, with the model as it was.
    """
    size = (path.shape[-2], path.shape[-1])
    text = model.embed(prompt)
    start = model.embed(negative).float()
    x, found = path[:1], []
    weights = [p for p in model.unet.parameters() if p.requires_grad]
    # gradients of half precision would be 0: the loss is scaled up, and they are scaled down again
    up = 2.0**16 if model.dtype == torch.float16 else 1.0
    for i in range(len(sampler)):
        t, goal = sampler.timesteps[i], path[i + 1, None].float()
        with torch.no_grad():
            conditional = model.predict(x, t, text, AttentionContext(conditional=1, latent=size)).float()
        own = start.clone().requires_grad_(True)
        rate = 0.01 * max(0.0, 1 - i / 100)
        optimizer = torch.optim.Adam([own], lr=rate)
        for _ in range(INNER if rate > 0 else 0):
            while True:
                with _learning(model, weights, size):
                    out = model.predict(
                        x, t, own.to(model.dtype), AttentionContext(conditional=1, latent=size)
                    ).float()
                    after, _ = sampler.step(x.float(), out + scale * (conditional - out), i)
                    loss = F.mse_loss(after, goal)
                    (grad,) = torch.autograd.grad(loss * up, own)
                if bool(grad.isfinite().all()) or up <= LEAST:
                    break
                up /= 2
            if bool(grad.isfinite().all()):
                own.grad = grad / up
                optimizer.step()
            if loss.item() < 1e-5 + 2e-5 * i:
                break
            yield i, x
        start = own.detach()
        with torch.no_grad():
            both = torch.cat([start.to(model.dtype), text])
            out = model.predict(x, t, both, AttentionContext(conditional=1, latent=size))
            x, _ = sampler.step(x, guide(out, 1, scale), i)
        found.append(start.to(model.dtype))
        yield i + 1, x
    return torch.cat(found)


@contextmanager
def _learning(model: Model, weights: Sequence[Tensor], size: tuple[int, int]) -> Iterator[None]:
    """The model as a backward pass to its text wants it; as it was afterwards, whatever happens.

    Our processors stay in place for the backward pass, which may run layers again.
    """
    checkpointing = size[0] * size[1] >= CHECKPOINTED and not model.unet.is_gradient_checkpointing
    for weight in weights:
        weight.requires_grad_(False)
    if checkpointing:
        model.unet.enable_gradient_checkpointing()
    try:
        with torch.enable_grad(), installed(model.layers()):
            yield
    finally:
        if checkpointing:
            model.unet.disable_gradient_checkpointing()
        for weight in weights:
            weight.requires_grad_(True)


def memory_needed(model: Model, size: tuple[int, int]) -> int:
    """About how many bytes null-text's backward pass holds: the activations of one row of the UNet.

    Each of a level's layers, on the way down and up, keeps about so many tensors of its width and grid;
    checkpointed, the inputs of its parts.
    """
    config = model.unet.config
    layers = config.layers_per_block
    widths, most = config.block_out_channels, layers if isinstance(layers, int) else max(layers)
    cells = sum(width * size[0] * size[1] / 4**level for level, width in enumerate(widths))
    kept = 7 if size[0] * size[1] >= CHECKPOINTED else 33
    return int(kept * (2 * most + 1) * cells * torch.finfo(model.dtype).bits // 8)


def check_memory(model: Model, size: tuple[int, int]) -> None:
    """Raises `NotEnoughMemory` before null-text would run out of it."""
    needed, free = memory_needed(model, size), free_bytes(model.device)
    if free is not None and needed > free:
        raise NotEnoughMemory(
            f"null_text needs about {needed / 1e9:.1f} GB for a backward pass at this size; "
            f"{free / 1e9:.1f} GB are free. direct needs none of it."
        )
