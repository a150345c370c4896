"""p2p_core: edit a picture by editing its prompt (Hertz et al., ICLR 2023)."""

from .edit import Blend, Edit, Window
from .errors import P2PError
from .images.mask import mask_text
from .pipeline import PromptToPrompt
from .plan import Plan
from .prompt import Prompt, align
from .recipe import Recipe, load_recipe
from .sampler import SAMPLERS
from .source import Result, Source, StepState, recipe_of

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
