"""Where the benchmarks' sources come from, and how they are edited."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from p2p_core import Edit, PromptToPrompt, Source
from p2p_core.inversion.methods import ddim_path
from storybook.captions import caption
from storybook.draw import render
from storybook.judge import Judge
from storybook.scenes import Scene


class Studio:
    """Makes sources and edits them."""

    def __init__(self, p2p: PromptToPrompt, judge: Judge, *, steps: int, guidance: float) -> None:
        self.p2p, self.judge, self.steps, self.guidance = p2p, judge, steps, guidance

    def generated(self, scene: Scene, seed: int) -> Source:
        return self.p2p.generate(caption(scene), seed=seed, steps=self.steps, guidance_scale=self.guidance)

    def drawn(self, scene: Scene, layout: int) -> Source:
        """A drawing as a source, by direct inversion (Ju et al. 2024)."""
        prompt = caption(scene)
        with torch.no_grad():
            z = self.encoded(render(scene, layout))
            sampler = self.p2p.store.sampler(self.steps)
            path = ddim_path(self.p2p.model, sampler, z, self.p2p.prompt(prompt))
        return self.p2p.iter_record_path(prompt, path, guidance_scale=self.guidance).result

    def source(self, scene: Scene, layout: int, *, seed: int, drawn: bool) -> Source:
        """A scene as a source: its drawing, or a picture that is generated from its words."""
        return self.drawn(scene, layout) if drawn else self.generated(scene, seed)

    def encoded(self, picture: np.ndarray) -> torch.Tensor:
        vae = self.p2p.pipe.vae
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(vae.device, vae.dtype) / 127.5 - 1
        return vae.encode(x).latent_dist.mean * vae.config.scaling_factor  # type: ignore[no-any-return]

    def edited(self, source: Source, edits: Iterable[Edit]) -> list[np.ndarray]:
        return [np.asarray(result.image) for result in self.p2p.edit_many(source, list(edits))]
