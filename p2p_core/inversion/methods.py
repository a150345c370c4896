"""From a real picture to a source: DDIM inversion and three ways to mend it.

- `ddim` (Song et al. 2021, section 4.3; Prompt-to-Prompt, real image editing): the path from the picture back
  to noise, and from there the model runs with guidance. It does not come back to the picture.
- `null_text` (Mokady et al. 2023, section 3.2): per step an unconditional embedding is fitted so that the
  guided run follows the path.
- `negative_prompt` (Miyake et al. 2023): the source prompt's embedding in the unconditional one's place,
  which is what null-text comes to for a perfect model.
- `direct` (Ju et al. 2024, section 4): the source is pinned to the path at every step; a target runs from
  z_T with the empty embedding.
- `aligned`: as `direct`, and every step asks the UNet where the inversion asked it, at z_i + (z_{i+1} - z_i)
  of the source: its answers there are the inversion's own, so they are recorded on the way to noise, and a
  target that is asked so too meets the source's path (DirectEdit's direct alignment, for DDIM).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import AttentionRecord
from ..errors import BadInput, NotEnoughMemory, shown
from ..injection import AttentionContext
from ..memory import free_bytes
from ..model.conditioning import StepInputs
from ..model.model import Model
from ..model.unet_attention import installed
from ..prompt import Prompt
from ..sampler import Sampler, guide
from ..steps import Steps, StepState

METHODS = ("direct", "aligned", "null_text", "negative_prompt", "ddim")
Keep = Callable[[int, AttentionRecord], object]
MIN_CHECKPOINTED_PIXELS = 48 * 48  # of the latents: larger ones compute activations again to save memory
MAX_INNER_STEPS = 10  # of Adam, for each step's embedding (Mokady et al. 2023, section 4)
MIN_LOSS_SCALE = 2.0**-8  # below this, float16 gradients underflow to zero


def check_method(value: object) -> str:
    """A method of inversion. Raises `BadInput`."""
    if isinstance(value, str) and value in METHODS:
        return value
    raise BadInput(f"A method of inversion is one of {', '.join(METHODS)}; got {shown(value)}.")


def check_inverse_sampler(value: object) -> str:
    """The sampler of an inversion. Raises `BadInput`."""
    if value in ("auto", "ddim"):
        return "ddim"
    raise BadInput(f"A real picture is inverted with sampler ddim, the only one here; got {shown(value)}.")


def ddim_path(model: Model, sampler: Sampler, z_0: Tensor, prompt: Prompt) -> Tensor:
    """The path (N + 1, C, h, w), z_T first, that DDIM inversion takes from the latents z_0 (1, C, h, w).

    With the conditional prediction alone (guidance 1); on the way up to a time the network is asked at that
    time, so that sampling back asks the same times.
    """
    return Steps(ddim_steps(model, sampler, z_0, prompt)).result


def ddim_steps(
    model: Model, sampler: Sampler, z_0: Tensor, prompt: Prompt, keep: Keep | None = None
) -> Generator[StepState, None, Tensor]:
    """`ddim_path` as a generator: yields a state for each step up, returns the path.

    keep: called with each step and what it recorded, where that is wanted.
    """
    path, N = [z_0], len(sampler)
    inputs = StepInputs(model, (z_0.shape[-2], z_0.shape[-1]), guidance_scale=1.0)
    for i in reversed(range(N)):
        context = inputs.recording() if keep else AttentionContext(conditional=1, latent=inputs.size)
        with torch.no_grad():
            out = model.predict(path[-1], sampler.timesteps[i], inputs.text([prompt]), context)
            path.append(sampler.step_back(path[-1], out, i))
        if keep:
            keep(i, context.recorded)
        yield StepState(index=N - i, total=N, latents=path[-1])
    return torch.cat(path[::-1])


def null_text(
    model: Model, sampler: Sampler, path: Tensor, prompt: Prompt, negative: Prompt, guidance_scale: float
) -> Generator[StepState, None, Tensor]:
    """Unconditional embeddings (N, S, d) under which the guided run follows `path` (N + 1, C, h, w).

    Per step at most `MAX_INNER_STEPS` steps of Adam on the squared distance to the path, begun from the step
    before, with a learning rate of 0.01 (1 - i / 100), until it is below 1e-5 + 2e-5 i. Only the embedding is
    learned: the conditional prediction is made once a step, and memory is that of one row's backward pass.
    Yields a state after each step of Adam too, with the model as it was.
    """
    N, size = len(sampler), (path.shape[-2], path.shape[-1])
    context = partial(AttentionContext, conditional=1, latent=size)
    text, embedding = model.embed(prompt), model.embed(negative).float()
    z, embeddings = path[:1], []
    weights = [p for p in model.unet.parameters() if p.requires_grad]
    # Half precision's gradients would underflow to zero: the loss is scaled up, they are scaled down again.
    loss_scale = 2.0**16 if model.dtype == torch.float16 else 1.0
    for i in range(N):
        t, goal = sampler.timesteps[i], path[i + 1, None].float()
        with torch.no_grad():
            conditional = model.predict(z, t, text, context()).float()
        learned = embedding.clone().requires_grad_(True)
        rate = 0.01 * max(0.0, 1 - i / 100)
        optimizer = torch.optim.Adam([learned], lr=rate)
        for _ in range(MAX_INNER_STEPS if rate > 0 else 0):
            while True:
                with _learning(model, weights, size):
                    out = model.predict(z, t, learned.to(model.dtype), context()).float()
                    guided = out + guidance_scale * (conditional - out)
                    loss = F.mse_loss(sampler.step(z.float(), guided, i)[0], goal)
                    (gradient,) = torch.autograd.grad(loss * loss_scale, learned)
                finite = bool(gradient.isfinite().all())
                if finite or loss_scale <= MIN_LOSS_SCALE:
                    break
                loss_scale /= 2
            if finite:
                learned.grad = gradient / loss_scale
                optimizer.step()
            if loss.item() < 1e-5 + 2e-5 * i:
                break
            yield StepState(index=i, total=N, latents=z)
        embedding = learned.detach()
        with torch.no_grad():
            rows = torch.cat([embedding.to(model.dtype), text])
            out = model.predict(z, t, rows, context())
            z, _ = sampler.step(z, guide(out, 1, guidance_scale), i)
        embeddings.append(embedding.to(model.dtype))
        yield StepState(index=i + 1, total=N, latents=z)
    return torch.cat(embeddings)


@contextmanager
def _learning(model: Model, weights: Sequence[Tensor], size: tuple[int, int]) -> Iterator[None]:
    """The model as a backward pass to its text wants it; as it was afterwards, whatever happens.

    Our processors stay in place for the backward pass, which may run layers again.
    """
    checkpointing = size[0] * size[1] >= MIN_CHECKPOINTED_PIXELS and not model.unet.is_gradient_checkpointing
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
    kept = 7 if size[0] * size[1] >= MIN_CHECKPOINTED_PIXELS else 33
    return int(kept * (2 * most + 1) * cells * torch.finfo(model.dtype).bits // 8)


def check_memory(model: Model, size: tuple[int, int]) -> None:
    """Raises `NotEnoughMemory` before null-text would run out of it."""
    needed, free = memory_needed(model, size), free_bytes(model.device)
    if free is not None and needed > free:
        raise NotEnoughMemory(
            f"null_text needs about {needed / 1e9:.1f} GB for a backward pass at this size; "
            f"{free / 1e9:.1f} GB are free. direct needs none of it."
        )
