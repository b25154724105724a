"""Optimizers whose weights for training are not those to be evaluated (Schedule-Free and its kin)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from jobs.errors import InputError


class Modes:
    """Switches an optimizer that has `train()` and `eval()`; does nothing to one that has not.

    Such an optimizer keeps other weights in the model while it trains than those that count
    (Defazio et al. 2024, "The Road Less Scheduled": y for gradients, x for evaluation). It trains
    from its beginning, also before a state is loaded into it: checkpoints are taken while it trains,
    because a switch rounds the weights, and when one is taken depends on the clock.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        """Switch it to training."""
        self._name = type(optimizer).__name__
        self._train: Callable[[], object] | None = None
        self._eval: Callable[[], object] | None = None
        if has_modes(optimizer):
            self._train, self._eval = optimizer.train, optimizer.eval  # type: ignore[attr-defined]  # it has
        if self._train is not None:
            self._train()

    def require_no_other(self, is_averaged: bool) -> None:
        """Raise InputError if other weights than the optimizer's own are to be evaluated, too."""
        if is_averaged and self._eval is not None:
            raise InputError(
                f"average: {self._name} has weights of its own for evaluation; leave `average` out"
            )

    @contextmanager
    def evaluating(self, *, has_stepped: bool) -> Iterator[None]:
        """Within it the model has the weights that count: before the first step, the initial ones."""
        if self._train is None or self._eval is None or not has_stepped:
            yield
            return
        self._eval()
        try:
            yield
        finally:
            self._train()


def has_modes(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it has other weights for training than those to be evaluated."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
