"""Loading a training's state so that what has come back is, bit for bit, what was saved."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from jobs.problems.problem import Problem
from jobs.regime.groups import CombinedOptimizer
from jobs.training.checkpoint import CheckpointError

_NAMED = 3  # of the values that differ


def load_model(model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Load the weights; raises CheckpointError if they are not what was saved."""
    model.load_state_dict(saved)  # as it is: it may bear the versions of the modules
    _require_equal("the model", saved, model.state_dict())


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load the state, in the types that it was saved in.

    `torch.optim.Optimizer.load_state_dict` casts what an optimizer keeps per parameter to the
    parameter's type: float64 and bool come back as float32. What differs is put back as it was.

    Raises:
        CheckpointError: it is still not what was saved.
    """
    if isinstance(optimizer, CombinedOptimizer):
        optimizer.load_parts(load_optimizer, saved)
        return
    optimizer.load_state_dict(_copy(saved))
    if differing(saved, optimizer.state_dict()):
        _put_back(optimizer, saved.get("state"))
    _require_equal("the optimizer", saved, optimizer.state_dict())


def load_problem(problem: Problem, saved: Mapping[str, Any]) -> None:
    """Load the problem's own state; raises CheckpointError if it is not what was saved."""
    problem.load_state_dict(_copy(saved))
    found = json.loads(json.dumps(problem.state_dict()))  # as a checkpoint keeps it
    _require_equal("the problem", saved, found)


def differing(one: Any, other: Any) -> list[str]:
    """Names of the values that are not equal in type and bits, or that only one of the two has."""
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
    """The same values in dicts and lists of their own: `load_state_dict` may change what it gets."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def _put_back(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Set what is kept per parameter to what was saved, where it differs."""
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
    """A copy of `value`, its tensors where those of `loaded` are, else on `device`."""
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
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise CheckpointError(
            f"{whose} does not come back as it was saved: {', '.join(names[:_NAMED])}{more};"
            " does load_state_dict() bring back all that state_dict() gives?"
        )
