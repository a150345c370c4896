"""Inversion: the path of latents from a picture back to noise (Song et al. 2021, section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Call
from .models import Model
from .sampler import Sampler
from .words import Prompt


@torch.no_grad()
def ddim_path(model: Model, sampler: Sampler, z_0: Tensor, prompt: Prompt) -> Tensor:
    """The path (N + 1, C, h, w), z_T first, that DDIM inversion takes from the latents z_0 (1, C, h, w).

    With the conditional prediction alone (guidance 1); on the way up to a time the network is asked at that
    time, so that sampling back asks the same times.
    """
    path, text = [z_0], model.embed(prompt)
    size = (z_0.shape[-2], z_0.shape[-1])
    for i in range(len(sampler) - 1, -1, -1):
        out = model.predict(path[-1], sampler.timesteps[i], text, Call(conditional=1, latent=size))
        path.append(sampler.step_back(path[-1], out, i))
    return torch.cat(path[::-1])
