"""Optimizers with two modes train other weights than are to be evaluated (Schedule-Free, ...)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from jobs.errors import InputError


class Modes:
    """The modes of an optimizer that has `train()` and `eval()`; other optimizers are left alone.

    Such an optimizer has other weights in the model while it trains than those to be evaluated
    (Defazio et al. 2024, "The Road Less Scheduled": y for gradients, x for evaluation). It is in
    training mode from the beginning, also before a state is loaded. Checkpoints are taken in that
    mode: a switch rounds the weights, and when a checkpoint is due depends on the clock.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        """Switch the optimizer to training."""
        self._name = type(optimizer).__name__
        self._train: Callable[[], object] | None = None
        self._eval: Callable[[], object] | None = None
        if has_modes(optimizer):
            self._train, self._eval = optimizer.train, optimizer.eval  # type: ignore[attr-defined]  # it has
        if self._train is not None:
            self._train()

    def require_no_other(self, is_averaged: bool) -> None:
        """Raise InputError if `average` asks to evaluate other weights than the optimizer's own."""
        if is_averaged and self._eval is not None:
            raise InputError(
                f"average: {self._name} has weights of its own for evaluation; leave `average` out"
            )

    @contextmanager
    def evaluating(self, *, has_stepped: bool) -> Iterator[None]:
        """Give the model the weights to be evaluated; before the first step, the initial ones."""
        if self._train is None or self._eval is None or not has_stepped:
            yield
            return
        self._eval()
        try:
            yield
        finally:
            self._train()


def has_modes(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has `train()` and `eval()`, and so other weights to be evaluated."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
