"""The model's forward pass runs in bfloat16, or compiled."""

import copy
import os
import shutil
from collections.abc import Callable, MutableMapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from jobs.errors import InputError
from jobs.problems.problem import Problem
from jobs.regime.settings import Settings


class Forward:
    """The changed `forward` of a model; weights, names and hooks stay as they are.

    With bf16 `forward` runs under `torch.autocast`, and its outputs are converted to float32, in
    which losses, accuracies and all statistics are computed. Weights and gradients are float32,
    too. `torch.compile` needs a C++ compiler on the node.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self._problem = problem
        self._is_changed = settings.compile or settings.precision == "bf16"
        self._is_used = False
        if not self._is_changed:
            return
        forward: Callable[..., Any] = problem.model.forward
        if settings.compile:
            _require_compiler()
            forward = torch.compile(forward)
        device = next(problem.model.parameters()).device
        is_bf16 = settings.precision == "bf16"

        def changed(*inputs: Any, **more: Any) -> Any:
            self._is_used = True
            if not is_bf16:
                return forward(*inputs, **more)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                return _in_fp32(forward(*inputs, **more))

        problem.model.forward = changed

    def require_used(self) -> None:
        """Raise InputError if the problem has computed its losses without the model's `forward`."""
        if self._is_changed and not self._is_used:
            raise InputError(
                f"{type(self._problem).__name__} does not call its `model`: neither precision nor compile"
                " would change anything; leave them out"
            )


def _require_compiler() -> None:
    """Raise InputError if there is no C++ compiler: `torch.compile` would fail only much later."""
    wanted = os.environ.get("CXX", "g++")  # as torch looks for it
    if shutil.which(wanted) is None:
        raise InputError(
            f"compile: there is no {wanted} here; torch.compile needs a C++ compiler: add g++ to the"
            " image (apt: [g++]), or leave compile out"
        )


def _in_fp32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, MutableMapping):
        found = copy.copy(value)  # keeps its class and attributes
        for key, one in value.items():
            found[key] = _in_fp32(one)
        return found
    if isinstance(value, list | tuple):
        make = getattr(
            value, "_make", type(value)
        )  # a namedtuple's constructor takes fields one by one
        return make(map(_in_fp32, value))
    if is_dataclass(value) and not isinstance(value, type):
        given = [one.name for one in fields(value) if one.init]
        return replace(value, **{name: _in_fp32(getattr(value, name)) for name in given})
    return value
