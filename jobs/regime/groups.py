"""Parameter groups have hyperparameters, or an optimizer, of their own."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from jobs.errors import InputError
from jobs.regime.modes import has_modes
from jobs.regime.settings import Group, Kind
from jobs.regime.step_arguments import wants

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
Make = Callable[[Any, Mapping[str, Any]], torch.optim.Optimizer]
"""A function from parameters or parameter groups, and hyperparameters, to an optimizer."""


class CombinedOptimizer(torch.optim.Optimizer):
    """Several optimizers as one, each with parameters of its own."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        """Raises InputError for an optimizer that needs more than gradients."""
        self.parts = list(parts)
        for part in parts:
            if callable(getattr(part, "backward", None)) or wants(part) != "nothing":
                raise InputError(
                    f"{type(part).__name__} decides on the passes over a minibatch: it cannot stand"
                    " beside another optimizer; leave `class` out of the groups"
                )
        super().__init__([p for part in parts for g in part.param_groups for p in g["params"]], {})
        self._collect()
        if any(map(has_modes, parts)):  # else all parts evaluate the weights that they train
            self.train, self.eval = partial(self._switch, "train"), partial(self._switch, "eval")

    def step(self) -> None:  # type: ignore[override]  # takes no closure
        """Step all parts."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of all parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_parts(
        self,
        load: Callable[[torch.optim.Optimizer, Mapping[str, Any]], None],
        saved: Mapping[str, Any],
    ) -> None:
        """Load a state of `state_dict`, each part by `load`."""
        for part, state in zip(self.parts, saved["parts"], strict=True):
            load(part, state)
        self._collect()

    def _collect(self) -> None:
        """Share the parts' groups: torch replaces them when a state is loaded."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def _switch(self, mode: str) -> None:
        """Switch the parts that evaluate other weights than they train (`Modes`)."""
        for part in filter(has_modes, self.parts):
            getattr(part, mode)()


def build(
    make: Make,
    make_of: Callable[[str], Make],
    hyperparameters: Mapping[str, Any],
    groups: Sequence[Group],
    model: nn.Module,
) -> torch.optim.Optimizer:
    """The optimizer with these groups; of several classes if groups have their own.

    Args:
        make: Makes an optimizer of the entry's own class.
        make_of: Returns such a function for the class with a dotted path.
        hyperparameters: The entry's own; a group without a class adds its own to them.
        groups: The first group that matches a parameter gets it.
        model: Has the parameters.

    Raises:
        InputError: an expression matches no parameter, no parameter is left for the entry's class,
            or a group has a hyperparameter of which that class has one for all groups.
    """
    shares = shared_out(model, groups)
    rest: list[dict[str, Any]] = [{"params": shares[-1]}] if shares[-1] else []
    own = rest + [
        {"params": found, **group.hyperparameters}
        for group, found in zip(groups, shares, strict=False)
        if group.path is None and found
    ]
    others = [
        make_of(group.path)(found, group.hyperparameters)
        for group, found in zip(groups, shares, strict=False)
        if group.path is not None and found
    ]
    if not own:
        raise InputError(
            "groups: no parameter is left for the optimizer itself: all are in groups with a class"
        )
    optimizer = make(own, hyperparameters)
    _require_read(optimizer, [group for group in groups if group.path is None])
    return CombinedOptimizer([optimizer, *others]) if others else optimizer


def _require_read(optimizer: torch.optim.Optimizer, groups: Sequence[Group]) -> None:
    """Raise InputError for a group's hyperparameter that the optimizer reads in no group."""
    kind, defaults = type(optimizer), getattr(optimizer, "defaults", {})
    whole = inspect.signature(kind).parameters.keys() - set(defaults)
    for name in (name for group in groups for name in group.hyperparameters if name in whole):
        having = [name in group for group in optimizer.param_groups]
        if any(having) and not all(having):
            raise InputError(
                f"groups: {kind.__name__} has one {name!r} for all parameters, it is none of a"
                f" group's hyperparameters ({', '.join(defaults)}); give it beside `groups`"
            )


def shared_out(model: nn.Module, groups: Sequence[Group]) -> list[list[nn.Parameter]]:
    """The parameters of each group, and at the end those without a group, in the model's order."""
    kinds = _kinds(model)
    shares: list[list[nn.Parameter]] = [[] for _ in range(len(groups) + 1)]
    named = dict(model.named_parameters())
    for group in groups:
        if group.match is not None and not any(re.search(group.match, name) for name in named):
            raise InputError(
                f"groups: {group.match!r} is found in no name of a parameter: {_some(list(named))}"
            )
    for name, parameter in named.items():
        fits = (i for i, group in enumerate(groups) if _fits(group, name, parameter, kinds[name]))
        shares[next(fits, len(groups))].append(parameter)
    return shares


def _fits(group: Group, name: str, parameter: nn.Parameter, kinds: set[Kind]) -> bool:
    return (
        (group.match is None or re.search(group.match, name) is not None)
        and (not group.dims or parameter.ndim in group.dims)
        and (not group.kinds or bool(kinds & set(group.kinds)))
    )


def _kinds(model: nn.Module) -> dict[str, set[Kind]]:
    """The kinds (bias, norm, embedding) of each parameter, by its name."""
    found: dict[str, set[Kind]] = {}
    for name, _ in model.named_parameters():
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        kinds: set[Kind] = {"bias"} if last.endswith("bias") else set()
        if isinstance(module, _NORMS):
            kinds.add("norm")
        if isinstance(module, _EMBEDDINGS):
            kinds.add("embedding")
        found[name] = kinds
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
