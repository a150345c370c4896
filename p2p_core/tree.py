"""Several edits of one source as a tree: what they share runs once, the rest of a level as one batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import torch

from .errors import NotEnoughMemory
from .memory import empty_cache
from .plan import Plan
from .source import Source
from .steps import StepState

Step = Callable[[list[Plan], list[StepState]], list[StepState]]


def run_tree(
    source: Source, plans: Sequence[Plan], states: list[StepState], step: Step, *, batch: int
) -> Generator[StepState, None, tuple[list[StepState], list[int]]]:
    """Run edits to their end from the states that are known of each, at most `batch` distinct ones at once.

    The tree's nodes are `plan.digest(k)`; it is run level by level. Yields the state of each step that is
    computed; returns each plan's last state, and how many steps of its path were computed here, a shared step
    counted for the first plan that needs it.
    """
    computed = [0] * len(plans)
    for i in range(source.steps):
        nodes: dict[bytes, list[int]] = {}  # plans that share the state after this step
        for p, plan in enumerate(plans):
            if states[p].index == i:
                nodes.setdefault(plan.digest(i + 1), []).append(p)
        level = list(nodes.values())
        while level:
            firsts = [members[0] for members in level[:batch]]
            after = _step_or_halve(source, [plans[p] for p in firsts], [states[p] for p in firsts], step)
            if after is None:  # memory ran out: fewer at once from here on
                batch = len(firsts) // 2
                continue
            for members, state in zip(level, after, strict=False):
                computed[members[0]] += 1
                for p in members:
                    states[p] = state
            level = level[batch:]
            yield from after
    return states, computed


def _step_or_halve(
    source: Source, plans: list[Plan], states: list[StepState], step: Step
) -> list[StepState] | None:
    """The states after a step, or None if the memory ran out. Raises `NotEnoughMemory` for a single edit."""
    try:
        return step(plans, states)
    except torch.OutOfMemoryError as error:
        device = states[0].latents.device
        if len(states) == 1:
            raise NotEnoughMemory(
                f"One edit of {source.width} x {source.height} pixels does not fit into what is free on "
                f"{device}; a smaller cache_bytes, offload=True or half precision leaves more of it."
            ) from error
    empty_cache(device)  # here, where the error's frames hold no tensors any more
    return None
