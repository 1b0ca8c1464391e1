"""Equality of nested containers that hold tensors, bit for bit."""

import torch
from torch import Tensor


def assert_same(first: object, second: object) -> None:
    if isinstance(first, dict) and isinstance(second, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, Tensor) and isinstance(second, Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second
