"""p2p_core: edit a picture by editing its prompt (Hertz et al., ICLR 2023).

Names are imported when they are first used (PEP 562): an `Edit`, a `Plan`, a recipe or an error needs neither
torch nor diffusers, which take seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors as errors
from .errors import P2PError as P2PError

if TYPE_CHECKING:
    from . import figures as figures
    from .alignment import align as align
    from .edit import Blend as Blend
    from .edit import Edit as Edit
    from .images.mask import mask_text as mask_text
    from .pipeline import PromptToPrompt as PromptToPrompt
    from .plan import Plan as Plan
    from .prompt import Prompt as Prompt
    from .recipe import Recipe as Recipe
    from .recipe import load_recipe as load_recipe
    from .schedulers import SAMPLERS as SAMPLERS
    from .source import Result as Result
    from .source import Source as Source
    from .source import recipe_of as recipe_of
    from .steps import StepState as StepState
    from .weights import has_weights as has_weights
    from .window import Window as Window

_MODULE_OF = {
    "SAMPLERS": "schedulers",
    "Blend": "edit",
    "Edit": "edit",
    "P2PError": "errors",
    "Plan": "plan",
    "Prompt": "prompt",
    "PromptToPrompt": "pipeline",
    "Recipe": "recipe",
    "Result": "source",
    "Source": "source",
    "StepState": "steps",
    "Window": "window",
    "align": "alignment",
    "has_weights": "weights",
    "load_recipe": "recipe",
    "mask_text": "images.mask",
    "recipe_of": "source",
}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module(".figures", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "figures"})
