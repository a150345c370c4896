"""The one table of tolerances: relative to the largest value of the reference."""

import torch

RELATIVE = {torch.float32: 1e-4, torch.bfloat16: 8e-2, torch.float16: 2e-2}


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest deviation relative to the reference's largest value."""
    got, expected = got.double().cpu(), expected.double().cpu()
    return float((got - expected).abs().max() / expected.abs().max())


def assert_close(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert got.shape == expected.shape
    assert relative(got, expected) <= RELATIVE[dtype], relative(got, expected)
