"""The errors a user can cause.

Each message is one sentence that says what was expected and what came, fit to be shown in the app as it
stands. They all derive from `P2PError`, which is a `ValueError`, so one `except` serves a whole call.
"""

from __future__ import annotations


class P2PError(ValueError):
    """Base of every error that a wrong call can cause."""


class BadInput(P2PError):
    """An argument, an edit, a recipe or a folder of the wrong type, range or content."""


class BadPicture(P2PError):
    """A real picture that can't be read, is too large, or of an unknown format."""


class UnknownWord(P2PError):
    """A word, phrase or word number that the prompt doesn't hold."""


class NotEnoughMemory(P2PError):
    """A run that needs more memory than is free."""


class UnsupportedModel(P2PError):
    """A model that can't be found, or whose parts this engine can't drive."""


# Names of earlier versions, for code that imports them.
BadBlend = BadInput
BadEdit = BadInput
BadFolder = BadInput
BadGuidance = BadInput
BadLatents = BadInput
BadMethod = BadInput
BadPrompt = BadInput
BadRecipe = BadInput
BadSampler = BadInput
BadSeed = BadInput
BadSize = BadInput
BadSource = BadInput
BadSteps = BadInput
BadWeight = BadInput
BadWindow = BadInput
UnknownModel = UnsupportedModel


def shown(value: object, limit: int = 60) -> str:
    """`value` as it stands in a message: its repr, cut to `limit` characters."""
    try:
        text = repr(value[: 2 * limit] if isinstance(value, (str, bytes)) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists nested without end
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= limit else text[: limit - 1] + "…"
