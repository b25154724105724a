"""An optimizer's `step` gets the argument that its class asks for: none, a closure, or the loss."""

import inspect
from typing import Literal

import torch

from jobs.errors import InputError

Wants = Literal["nothing", "loss", "closure", "closure after backward"]
"""The arguments of an optimizer's `step`."""


def wants(optimizer: torch.optim.Optimizer) -> Wants:
    """The arguments that the optimizer's `step` asks for.

    Raises:
        InputError: it asks for more than a closure or the loss, or updates in the backward pass.
    """
    if callable(getattr(optimizer, "fused_backward", None)):
        raise InputError(
            f"{type(optimizer).__name__} updates the weights in the backward pass (fused_backward);"
            " a training makes that pass itself"
        )
    is_sam = all(callable(getattr(optimizer, name, None)) for name in ("first_step", "second_step"))
    if is_sam or getattr(optimizer, "needs_closure", False):
        return "closure after backward"
    parameters = inspect.signature(optimizer.step).parameters.values()
    flexible = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    asked = [p.name for p in parameters if p.default is p.empty and p.kind not in flexible]
    if len(asked) > 1:
        raise InputError(
            f"{type(optimizer).__name__}.step() asks for {' and '.join(asked)}; a training gives it"
            " a closure, or the loss"
        )
    if asked:
        return "loss" if asked == ["loss"] else "closure"
    return "nothing"
