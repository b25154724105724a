"""Evaluation weights that are a mean of the training's weights (EMA, SWA)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from jobs.regime.settings import Average


class Averaging:
    """The mean of a model's weights; without a setting nothing is averaged.

    Buffers of floating point, like BatchNorm's statistics, are averaged as the weights are, and not
    recomputed. Until the first update the model's own weights are evaluated.
    """

    def __init__(self, average: Average | None, model: nn.Module, epochs: int) -> None:
        self._average = average
        self._model = model
        self._epochs = epochs
        self._count = 0  # of updates
        self._mean: dict[str, Tensor] = {}

    def after_step(self) -> None:
        """Update the mean (EMA) after a step."""
        if self._average is not None and self._average.kind == "ema":
            self._update(1 - self._average.value)

    def before_evaluation(self, epoch: int) -> None:
        """Update the mean (SWA) after training epoch `epoch` (from 1), if that epoch counts."""
        if self._average is None or self._average.kind != "swa":
            return
        before = round(self._average.value * self._epochs, 6)  # 0.58 * 50 is a little below 29
        if epoch > before and epoch > 0:
            self._update(1 / (self._count + 1))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Give the model the mean as its weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """The mean so far; {} without a setting."""
        return {"count": self._count, "mean": self._mean} if self._average is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if self._average is None:
            return
        self._count = state["count"]
        now = self._now()
        self._mean = {name: one.to(now[name].device) for name, one in state["mean"].items()}

    def _now(self) -> dict[str, Tensor]:
        """The model's tensors; looked up each time, for an optimizer may have replaced `p.data`."""
        named = (*self._model.named_parameters(), *self._model.named_buffers())
        return {name: one.detach() for name, one in named if one.is_floating_point()}

    @torch.no_grad()
    def _update(self, share: float) -> None:
        now = self._now()
        if not self._mean:
            self._mean = {name: one.clone() for name, one in now.items()}
        else:
            for name, mean in self._mean.items():
                still = mean == now[name]  # so that a mask's -inf stays: inf - inf is nan
                mean.copy_(torch.where(still, mean, mean.lerp(now[name], share)))
        self._count += 1

    @torch.no_grad()
    def _swap(self) -> None:
        now = self._now() if self._mean else {}
        for name, mean in self._mean.items():
            kept = now[name].clone()
            now[name].copy_(mean)
            mean.copy_(kept)
