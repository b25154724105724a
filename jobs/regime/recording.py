"""The step sizes that a training reads from its optimizer for the record."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch

Rate = float | None
"""A parameter group's step size; None: the group has none, or not a single number."""


def rates(groups: Sequence[Mapping[str, Any]]) -> Rate | list[Rate]:
    """The step size of a single parameter group, or the list of all groups' step sizes."""
    found = [rate(group) for group in groups]
    return found[0] if len(found) == 1 else found


def is_quick(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the step sizes can be read without waiting for the GPU."""
    return not any(isinstance(group.get("lr"), torch.Tensor) for group in groups)


def rate(group: Mapping[str, Any]) -> Rate:
    """The step size of a parameter group."""
    value = group.get("lr")
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_complex() else None
    return float(value) if isinstance(value, Real) else None  # also a numpy scalar
