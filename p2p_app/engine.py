"""The model, loaded in the background so that the page is served first.

torch and diffusers take most of the start-up time: nothing that the page is built of imports them. Names of
`p2p_core` that need neither, an `Edit`, a recipe or an error, are imported where they are used.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from p2p_core.errors import P2PError

from .memory import settle

if TYPE_CHECKING:
    from p2p_core import PromptToPrompt

log = logging.getLogger("p2p.ui")


class NotReady(RuntimeError):
    """The model could not be loaded; the message is fit for the page."""


class Engine:
    """Loads a `PromptToPrompt` in a thread of its own.

    model, device, dtype, steps, cache_mb, inversions, inversions_mb: as on the command line. p2p: one that is
    loaded already. step_seconds: what a step of a picture took last, None before the first one.
    """

    def __init__(
        self,
        model: str = "storybook",
        *,
        device: str | None = None,
        dtype: str | None = None,
        steps: int | None = None,
        cache_mb: int | None = None,
        inversions: str | None = None,
        inversions_mb: int | None = None,
        p2p: PromptToPrompt | None = None,
    ) -> None:
        self.model = model if p2p is None else p2p.model_name
        self._device, self._dtype, self._cache_mb = device, dtype, cache_mb
        self._inversions, self._inversions_mb = inversions or None, inversions_mb
        self.steps = steps
        self.step_seconds: float | None = None
        self._p2p = p2p
        self._problem: str | None = None
        self._stage = "the libraries"
        self._done = threading.Event()
        self._started = threading.Lock()
        self.begun = time.monotonic()
        if p2p is not None:
            self._done.set()

    @property
    def bundled(self) -> bool:
        return self.model in ("storybook", "storybook-base")

    @property
    def rows(self) -> int:
        """Rows of the UNet in a step of a picture: one for the bundled model, which is told its guidance."""
        return 1 if self.model == "storybook" else 2

    @property
    def name(self) -> str:
        """The model's, without the folder that it lies in."""
        return self.model.rstrip("/").rsplit("/", 1)[-1]

    @property
    def guidance(self) -> float:
        """The guidance scale to start with: the small bundled model is clearest at 4, of two rows at 5."""
        return 3.0 + self.rows if self.bundled else 7.5

    def start(self) -> None:
        """Begin to load, once."""
        if not self._done.is_set() and self._started.acquire(blocking=False):
            threading.Thread(target=self._load, name="load-model", daemon=True).start()

    def _load(self) -> None:
        try:
            import p2p_core

            self._stage = "the model"
            self._p2p = p2p_core.PromptToPrompt.from_pretrained(
                self.model,
                device=self._device,
                dtype=self._dtype,
                cache_bytes=None if self._cache_mb is None else self._cache_mb * 1_000_000,
                inversions=self._inversions,
                inversion_bytes=None if self._inversions_mb is None else self._inversions_mb * 1_000_000,
                on_progress=self._progress,
            )
            self._p2p.set_progress_bar_config(disable=True)  # the page has its own
            log.info("%s is ready after %.1f s", self.model, time.monotonic() - self.begun)
        except P2PError as error:  # a sentence, which `wait` raises, without the server's paths
            self._problem = str(error).replace(self.model, self.name)
        except Exception as error:  # whatever it is, the page must say so
            log.exception("The model %s could not be loaded", self.model)
            self._problem = type(error).__name__
        finally:
            settle()
            self._done.set()

    def _progress(self, sentence: str, fraction: float) -> None:
        self._stage = f"{sentence.rstrip('. …')} ({fraction:.0%})"

    def wait(self, timeout: float | None = None) -> bool:
        """True if the model is ready, False if it still loads. Raises `NotReady` if it can't be."""
        self.start()
        done = self._done.wait(timeout)
        if self._problem is not None:
            raise NotReady(self._problem)
        return done

    @property
    def p2p(self) -> PromptToPrompt:
        """The engine itself; waits for it."""
        self.wait()
        if self._p2p is None:
            raise NotReady("The model still loads.")
        return self._p2p

    @property
    def figures(self) -> ModuleType:
        """The module `p2p_core.figures`; waits for the engine."""
        self.wait()
        return importlib.import_module("p2p_core.figures")

    @property
    def ready(self) -> bool:
        return self._done.is_set() and self._problem is None

    def status(self) -> dict[str, Any]:
        """For the header's pill."""
        name = self.name
        if self._problem is not None:
            return {"state": "failed", "text": f"{name} did not load", "detail": self._problem}
        p2p = self._p2p
        if not self.ready or p2p is None:
            return {"state": "loading", "text": f"loading {self._stage} …", "detail": name}
        dtype = str(p2p.dtype).removeprefix("torch.")
        detail = f"{name}, {p2p.device}, {dtype}"
        return {"state": "ready", "text": f"{name} · {p2p.device.type}", "detail": detail}
