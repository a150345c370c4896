"""`PromptToPrompt`: generate or invert a picture once, then edit it by its prompt as often as you like."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from .cache.tiers import TieredCache, tier_budgets
from .contexts import plain
from .edit import Edit, check_edits
from .inversion.store import InversionStore, check_budget
from .model.loading import Progress, asked_dtype, choose_device, choose_dtype, load
from .model.model import Model
from .names import says_our_names
from .options import Options
from .plan import Plan
from .source import Result, Source
from .sources import Sources
from .steps import OnStep, Steps, StepState
from .suggest import Suggesters


class PromptToPrompt(Sources, Suggesters):
    """Generate a picture once, then edit it by its prompt as often as you like.

    pipe: a diffusers Stable Diffusion 1.x, 2.x or XL pipeline. device: "cpu", "cuda" or None (auto). dtype:
    torch dtype, "fp32" / "fp16" / "bf16", "auto" (float16 on CUDA, else float32), or None: the pipe's own,
    "auto" for `from_pretrained`. inversions: a folder to keep inversions of real pictures in, or None;
    inversion_bytes: of all of them, None: 1 GiB. preview_vae: diffusers' AutoencoderTiny for the model's
    latents (TAESD), a folder that holds one, "auto" (on a GPU, if it is in the Hub's cache), or None.
    offload: on a GPU, the pipeline's own `enable_model_cpu_offload()`. A pipeline that is offloaded already
    (so, sequentially, or in groups) keeps its hooks, their device and dtype. compiled: `torch.compile` for
    what lies between the UNet's attention layers: the first run takes minutes longer.

    Recorded sources (see `cache.tiers`): cache_bytes is a budget on the device, or one for each tier by its
    name, "device", "host" and "disk", or None, chosen by what is free. cache_folder: where the disk's tier
    may write, None: there is none. cache_dtype: "fp16" or "bf16" halves float32 records. What fits nowhere is
    recorded again when it is needed.

    All calls may be made from several threads; the model runs one step at a time under `lock`. Whatever is
    wrong with an argument raises a `P2PError` that says what was expected and what came.
    """

    @plain()
    def __init__(self, pipe: Any, *, model_name: str = "", **options: Unpack[Options]) -> None:
        device, preview_vae = choose_device(options.get("device")), options.get("preview_vae")
        dtype = asked_dtype(options.get("dtype"), device)
        cache_dtype = asked_dtype(options.get("cache_dtype"), device)
        name = model_name or str(getattr(pipe, "name_or_path", "") or type(pipe).__name__)
        offload, compiled = options.get("offload", False), options.get("compiled", False)
        model = Model(pipe, device, dtype, name, preview_vae, offload, compiled)
        folder, inversions = options.get("cache_folder"), options.get("inversions")
        budgets = tier_budgets(options.get("cache_bytes"), model.device, folder)
        super().__init__(model, TieredCache(model.device, model.dtype, budgets, folder, cache_dtype))
        budget = check_budget(options.get("inversion_bytes"))
        self.inversions = None if inversions is None else InversionStore(inversions, budget)

    @classmethod
    @says_our_names
    @plain()
    def from_pretrained(
        cls,
        name: str | Path = "storybook",
        *,
        config: str | Path | None = None,
        on_progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> PromptToPrompt:
        """Load "storybook" (bundled), a local diffusers folder, a Hub id, or one `.safetensors` file.

        config: for a single file, a diffusers folder or Hub id of its family, with the configurations and the
        tokenizer that it lacks. `on_progress(sentence, fraction)` hears of a download. options: as
        `PromptToPrompt` has them. Raises `UnknownModel`, `UnsupportedModel`.
        """
        dtype = choose_dtype(options.get("dtype"), choose_device(options.get("device")))
        pipe = load(name, dtype=dtype, on_progress=on_progress, config=config)
        options.setdefault("preview_vae", "auto")
        options["dtype"] = dtype
        return cls(pipe, model_name=str(name), **options)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        return self.model.default_size

    def map_layers(self, source: Source) -> dict[str, tuple[str, ...]]:
        """The cross-attention layers in groups, such as "down 16 x 16", in order of execution: what
        `Source.attention` takes as `sites`."""
        return self.store.map_layers(self.check_source(source).latent_size)

    def set_progress_bar_config(self, **options: Any) -> None:
        """As the pipeline's own: options for `tqdm`, such as disable=True, for whatever is no generator."""
        self.pipe.set_progress_bar_config(**options)

    # --- edits --------------------------------------------------------------------------------------

    def edit(self, source: Source, edit: Edit, *, on_step: OnStep = None) -> Result:
        """Apply one edit. Steps that an earlier edit of this source shares are not computed again."""
        return self.iter_edit(source, edit).run(on_step, self.pipe.progress_bar)

    def iter_edit(self, source: Source, edit: Edit) -> Steps[Result]:
        """`edit` step by step: iterate over the states, the reused one first; then `result`.

        It can be closed after any step; what was computed is reused by the next edit.
        """
        return Steps(self._edit(source, self._plan(source, edit)))

    def _edit(self, source: Source, plan: Plan) -> Generator[StepState, None, Result]:
        if (known := self._states.longest_prefix(source, plan)).index > 0:
            yield replace(known, reused=True)
        (result,) = yield from self.run_edits(source, [plan])
        return result

    def edit_many(self, source: Source, edits: Iterable[Edit], *, on_step: OnStep = None) -> list[Result]:
        """Several edits of one source in one pass: shared steps once, the rest of a level as one batch.

        `steps_computed` of a result counts its own path's steps that were computed in this call, each shared
        one for the first result that needs it.
        """
        return self.iter_edit_many(source, edits).run(on_step, self.pipe.progress_bar)

    def iter_edit_many(self, source: Source, edits: Iterable[Edit]) -> Steps[list[Result]]:
        """`edit_many` step by step: the state of every step it computes, by their index; then `result`."""
        return Steps(self.run_edits(source, [self._plan(source, edit) for edit in check_edits(edits)]))

    def _plan(self, source: object, edit: Edit) -> Plan:
        source = self.check_source(source)
        before = source.origin and source.origin[1]
        return self.plan(source.prompt, edit, steps=source.steps, origin=before)

    stream, stream_many = iter_edit, iter_edit_many  # names that were
