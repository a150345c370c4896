"""The errors a user can cause.

Each message is one sentence that says what was expected and what came, fit to be shown in the app as it
stands. They all derive from `P2PError`, which is a `ValueError`, so one `except` serves a whole call.
"""

from __future__ import annotations


class P2PError(ValueError):
    """Base of every error that a wrong call can cause."""


class BadPrompt(P2PError):
    """A prompt that is not text."""


class BadSteps(P2PError):
    """A number of steps that the sampler can't make."""


class BadSeed(P2PError):
    """A seed that is not a whole number in the generator's range."""


class BadSampler(P2PError):
    """A sampler that there is none of, or that can't do what is asked."""


class BadGuidance(P2PError):
    """A guidance scale that is not a finite number of at least 0."""


class BadSize(P2PError):
    """A picture size that the autoencoder can't take."""


class BadLatents(P2PError):
    """Latents of the wrong shape, type or content."""


class UnknownWord(P2PError):
    """A word, phrase or word number that the prompt doesn't hold."""


class BadWindow(P2PError):
    """A window that is not a fraction or a (start, end) pair within 0..1."""


class BadWeight(P2PError):
    """A fader that is not a finite number."""


class BadBlend(P2PError):
    """A local blend without words, or with a threshold or start out of range."""


class BadEdit(P2PError):
    """Something that isn't an edit: wrong type, unknown kind, broken JSON, unknown fields."""


class BadRecipe(P2PError):
    """A picture or JSON file that holds no recipe."""


class BadPicture(P2PError):
    """A real picture that can't be read, is too large, or of no kind that is known."""


class BadMethod(P2PError):
    """A way of inversion that there is none of."""


class NotEnoughMemory(P2PError):
    """A run that would not fit into the memory that is free."""


class BadFolder(P2PError):
    """A folder that can't be written to."""


class BadSource(P2PError):
    """Something that isn't a source of this model, or one that was forgotten."""


class UnknownModel(P2PError):
    """A model name that is neither bundled, nor a folder, nor to be had from the Hub."""


class UnsupportedModel(P2PError):
    """A pipeline whose parts this engine can't drive."""


def shown(value: object, limit: int = 60) -> str:
    """`value` as it stands in a message: its repr, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
