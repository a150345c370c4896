"""p2p_core: edit a picture by editing its prompt (Hertz et al., ICLR 2023)."""

from .alignment import align
from .edit import Blend, Edit, Window
from .errors import P2PError
from .images.mask import mask_text
from .pipeline import PromptToPrompt
from .plan import Plan
from .prompt import Prompt
from .recipe import Recipe, load_recipe, recipe_of
from .schedulers import SAMPLERS
from .source import Result, Source, StepState

__all__ = [
    "SAMPLERS",
    "Blend",
    "Edit",
    "P2PError",
    "Plan",
    "Prompt",
    "PromptToPrompt",
    "Recipe",
    "Result",
    "Source",
    "StepState",
    "Window",
    "align",
    "load_recipe",
    "mask_text",
    "recipe_of",
]
