"""An optimizer around an inner one of any class, which shares its parameter groups and its state."""

import importlib
import inspect
import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

FALLBACK_LR = 1e-3
"""The step size where the user gave none."""


class WrappingOptimizer(Optimizer):
    """Parameter groups, state and pickling for two optimizers at once; `step` is the subclass's.

    The inner optimizer works on these very group dicts and this very state, so that learning rate
    schedulers, `state_dict` and `zero_grad` see one optimizer. Weight decay is the L2 penalty of the
    objective: it is kept under `l2` in each group, and the inner optimizer sees a weight decay of zero.
    """

    def __init__(
        self,
        params: ParamsT,
        optim_class: type[Optimizer] | str,
        lr: float | None,
        weight_decay: float,
        hyperparams: dict[str, Any],
    ) -> None:
        inner_class = find_class(optim_class)
        if lr is not None:
            check_number("lr", lr)
        check_number("weight_decay", weight_decay)
        check_minimizing(hyperparams)
        if "weight_decay" in inspect.signature(inner_class).parameters:
            hyperparams = {**hyperparams, "weight_decay": 0}
        hyperparams = {**hyperparams, "lr": FALLBACK_LR if lr is None else lr}
        super().__init__(params, {"l2": weight_decay})
        self._inner = inner_class(self.param_groups, **hyperparams)
        self.defaults.update(self._inner.defaults)
        self.__setstate__({"state": self._inner.state, "param_groups": self.param_groups})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over `state`, and let the inner optimizer share it."""
        super().__setstate__(state)
        self._inner.__setstate__({"state": self.state, "param_groups": self.param_groups})

    def __getstate__(self) -> dict[str, Any]:
        """All but hooks, for pickles and deep copies."""
        return {name: value for name, value in self.__dict__.items() if not name.endswith("_hooks")}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose hyperparameters may differ from the defaults."""
        group = {name: value for name, value in param_group.items() if name != "weight_decay"}
        group["l2"] = param_group.get("weight_decay", self.defaults["l2"])
        check_number("weight_decay", group["l2"])
        check_minimizing(group)
        if "lr" in group:
            check_number("lr", group["lr"])
        super().add_param_group(group)
        for p in group["params"]:
            if not p.is_floating_point():
                raise ValueError(f"Invalid parameter of dtype {p.dtype} (must be real)")

    def _decay(self, group: dict[str, Any]) -> None:
        """Add the gradient of the L2 penalty."""
        if group["l2"]:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.add_(p, alpha=group["l2"])


def find_class(optim_class: type[Optimizer] | str) -> type[Optimizer]:
    """The optimizer class itself, or the one that a dotted path names."""
    found: object = optim_class
    if isinstance(optim_class, str):
        module, _, name = optim_class.rpartition(".")
        try:
            found = getattr(importlib.import_module(module or "torch.optim"), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"Invalid optim_class: {optim_class!r} ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise TypeError(f"Invalid optim_class: {optim_class!r} (must be a torch.optim.Optimizer)")
    closure = inspect.signature(found.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"Invalid optim_class: {optim_class!r} (its step() needs a closure)")
    return found


def check_count(name: str, value: object, least: int) -> None:
    """Reject a `value` that is not an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"Invalid {name}: {value!r} (must be an integer >= {least})")


def check_number(name: str, value: Any) -> None:
    """Reject a `value` that is not a finite number >= 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value < math.inf):
        raise ValueError(f"Invalid {name}: {value!r} (must be a finite number >= 0)")


def check_minimizing(hyperparams: dict[str, Any]) -> None:
    """Reject `maximize`: a step along the inverse of negative curvature would not ascend."""
    if hyperparams.get("maximize"):
        raise ValueError("Invalid maximize: True (estimates are for objectives to minimize)")
