"""The state of a training is loaded, and verified to be, bit for bit, the saved state."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from jobs.problems.problem import Problem
from jobs.regime.groups import CombinedOptimizer
from jobs.training.checkpoint import CheckpointError

_VALUES_NAMED_MAX = 3  # of those that differ


def load_model(model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Load the weights; raises CheckpointError if the model does not have the saved ones then."""
    model.load_state_dict(saved)  # not a copy: `saved` may carry module versions as an attribute
    _require_equal("the model", saved, model.state_dict())


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load the optimizer's state, in the types that it was saved in.

    `torch.optim.Optimizer.load_state_dict` casts the state of a parameter to the parameter's type:
    float64 and bool become float32. Values that differ are set again to the saved ones.

    Raises:
        CheckpointError: the state still differs from the saved one.
    """
    if isinstance(optimizer, CombinedOptimizer):
        optimizer.load_parts(load_optimizer, saved)
        return
    optimizer.load_state_dict(_copy(saved))
    if differing(saved, optimizer.state_dict()):
        _put_back(optimizer, saved.get("state"))
    _require_equal("the optimizer", saved, optimizer.state_dict())


def load_problem(problem: Problem, saved: Mapping[str, Any]) -> None:
    """Load the problem's own state; raises CheckpointError if it is not the saved one then."""
    problem.load_state_dict(_copy(saved))
    found = json.loads(json.dumps(problem.state_dict()))  # as in a checkpoint
    _require_equal("the problem", saved, found)


def differing(one: Any, other: Any) -> list[str]:
    """The names of values that differ in type or bits, or that only one of the two states has."""
    return list(_differing(one, other, ""))


def _differing(one: Any, other: Any, name: str) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            inner = f"{name}.{key}" if name else str(key)
            if key in one and key in other:
                yield from _differing(one[key], other[key], inner)
            else:
                yield inner
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differing(*pair, f"{name}[{index}]")
    elif not _is_equal(one, other):
        yield name


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same_form = (one.dtype, one.shape) == (other.dtype, other.shape)
        return same_form and torch.equal(_bits(one), _bits(other))
    return type(one) is type(other) and repr(one) == repr(other)  # NaN is NaN


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    dense = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
    return dense.contiguous().reshape(-1).view(torch.uint8)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _copy(value: Any) -> Any:
    """A deep copy of a state: `load_state_dict` may change the one it gets."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def _put_back(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Set the state of every parameter to the saved one, where it differs."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not isinstance(saved, Mapping):
        return
    for index, of_parameter in saved.items():
        if not isinstance(index, int) or not 0 <= index < len(parameters):
            continue
        parameter = parameters[index]
        loaded = optimizer.state[parameter]
        if not isinstance(of_parameter, Mapping) or not isinstance(loaded, dict):
            continue
        for key, value in of_parameter.items():
            if key in loaded and differing(value, loaded[key]):
                loaded[key] = _like(value, loaded[key], parameter.device)


def _like(value: Any, loaded: Any, device: torch.device) -> Any:
    """A copy of `value`, its tensors on the devices of those of `loaded`, else on `device`."""
    if isinstance(value, torch.Tensor):
        where = loaded.device if isinstance(loaded, torch.Tensor) else device
        return value.to(where, copy=True)
    if isinstance(value, Mapping):
        known = loaded if isinstance(loaded, Mapping) else {}
        return {key: _like(item, known.get(key), device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        known_list = (
            loaded if _is_list(loaded) and len(loaded) == len(value) else [None] * len(value)
        )
        pairs = zip(value, known_list, strict=True)
        return type(value)(_like(item, place, device) for item, place in pairs)
    return value


def _require_equal(whose: str, saved: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    names = differing(saved, found)
    if names:
        more = (
            f" and {len(names) - _VALUES_NAMED_MAX} more" if len(names) > _VALUES_NAMED_MAX else ""
        )
        raise CheckpointError(
            f"{whose} does not come back as it was saved: {', '.join(names[:_VALUES_NAMED_MAX])}{more};"
            " does load_state_dict() bring back all that state_dict() gives?"
        )
