"""A schedule multiplies the optimizer's step sizes around each step, and restores them after it.

So a schedule composes with an optimizer that sets its own step size (the `Preconditioner`'s alpha):
the next step multiplies the step size that the optimizer has set.
"""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from jobs.errors import InputError
from jobs.importing import load_class
from jobs.regime import recording
from jobs.regime.placeholders import Numbers, all_resolved
from jobs.regime.schedule_settings import Schedule

_CYCLED = ("momentum", "betas")
"""Hyperparameters beside the step size that some schedulers change."""


class Scheduler:
    """A schedule applied to an optimizer; a constant schedule does nothing."""

    def __init__(
        self, schedule: Schedule, optimizer: torch.optim.Optimizer, numbers: Numbers
    ) -> None:
        """Raises InputError if there is no step size to multiply, or the class refuses."""
        self._schedule = schedule
        self._numbers = numbers
        self._optimizer = optimizer
        self._is_constant = not schedule.to_json()
        self._of_class = _OfClass(schedule, optimizer, numbers) if schedule.path else None
        if not self._is_constant and all(
            recording.rate(group) is None for group in optimizer.param_groups
        ):
            raise InputError(
                f"{type(optimizer).__name__} has no `lr` that is a number: a schedule has nothing to"
                " multiply; leave `schedule` out, or give it an lr"
            )

    @contextmanager
    def applied(self, step: int, epoch: int) -> Iterator[None]:
        """Give the groups the step sizes of step `step`, from 0, in epoch `epoch`, from 1."""
        if self._is_constant:
            yield
            return
        groups = self._optimizer.param_groups
        own = [recording.rate(group) for group in groups]
        at = step if self._schedule.per == "step" else epoch - 1
        scaled = [self._scaled(index, rate, at) for index, rate in enumerate(own)]
        for group, rate in zip(groups, scaled, strict=True):
            _set(group, rate)
        applied = [recording.rate(group) for group in groups]  # rounded, if lr is a tensor
        yield
        for group, rate, before in zip(groups, applied, own, strict=False):
            if recording.rate(group) == rate:  # else the optimizer has set a new one in this step
                _set(group, before)

    def after_step(self) -> None:
        """Advance a schedule class that counts steps."""
        if self._of_class is not None and self._schedule.per == "step":
            self._of_class.advance(None)

    def after_epoch(self, valid_loss: float) -> None:
        """Advance a schedule class that counts epochs, after the evaluation."""
        if self._of_class is not None and self._schedule.per == "epoch":
            self._of_class.advance(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        """The schedule's state; {} if its factors depend on the step alone."""
        return self._of_class.state_dict() if self._of_class is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if self._of_class is not None:
            self._of_class.load_state_dict(state)

    def _scaled(self, index: int, rate: float | None, at: int) -> float | None:
        if rate is None:
            return None
        if self._of_class is not None:
            return self._of_class.scaled(index, rate)
        per_step = self._schedule.per == "step"
        total = self._numbers.steps if per_step else self._numbers.epochs
        return rate * factor(self._schedule, at, total)


def factor(schedule: Schedule, at: int, total: int) -> float:
    """The factor of a named schedule at `at` = 0, ..., `total` - 1, see `Schedule`."""
    warmup = _units(schedule.warmup, total)
    risen = (at + 1) / warmup if at < warmup else 1.0
    if at < warmup and schedule.name != "wsd":
        return risen
    if schedule.name == "step":
        reached = [_units(one, total) <= at for one in schedule.at]
        return schedule.factors[sum(reached) - 1] if any(reached) else 1.0
    if schedule.name == "wsd":
        decay = _units(schedule.decay, total)
        left = min(1.0, (total - at) / decay) if decay else 1.0
    else:
        left = _left(schedule, (at - warmup) / max(total - warmup, 1))
    return min(
        risen, schedule.end + (1 - schedule.end) * left
    )  # warm-up and decay of wsd may overlap


def _left(schedule: Schedule, x: float) -> float:
    """The share of the way from 1 to the end's factor that is left at x (from 0 to 1)."""
    if schedule.name == "linear":
        return 1 - x
    if schedule.name == "cosine":
        return (1 + math.cos(math.pi * x)) / 2
    if schedule.name == "polynomial":
        return float((1 - x) ** schedule.power)
    return 1.0


def _units(length: float, total: int) -> int:
    """A length in steps (or epochs), given as such or as a share of `total`."""
    return int(length) if length >= 1 else round(length * total)


class _OfClass:
    """A class of `torch.optim.lr_scheduler` over a shadow optimizer, which trains nothing.

    The shadow has groups with the same hyperparameters. The relative change of its step sizes is
    applied to the real optimizer's; momentum and betas, which some classes cycle, are copied.
    """

    def __init__(
        self, schedule: Schedule, optimizer: torch.optim.Optimizer, numbers: Numbers
    ) -> None:
        self._optimizer = optimizer
        rates = map(recording.rate, optimizer.param_groups)
        self._base = [1.0 if rate is None else rate for rate in rates]
        self._shadow = _Shadow(optimizer, self._base)
        settings = all_resolved(schedule.settings, numbers)
        name = str(schedule.path)
        try:
            self._scheduler: Any = load_class(name)(self._shadow, **settings)
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"schedule: {name} refuses its settings: {error}") from error
        asked = inspect.signature(self._scheduler.step).parameters.values()
        self._wants_metric = any(parameter.default is parameter.empty for parameter in asked)
        if self._wants_metric and schedule.per == "step":
            message = f"schedule: {name} is stepped with the validation loss; add per: epoch"
            raise InputError(message)
        self._hand_on()

    def advance(self, valid_loss: float | None) -> None:
        """Step the scheduler, with the loss if it asks for a metric."""
        self._shadow.step()  # torch warns if a scheduler is stepped before its optimizer
        self._scheduler.step(*([valid_loss] if self._wants_metric else []))
        self._hand_on()

    def scaled(self, index: int, rate: float) -> float:
        """The real group's step size `rate`, changed as the shadow group's."""
        if index >= len(self._base):
            return rate
        base, now = self._base[index], recording.rate(self._shadow.param_groups[index])
        if now is None or rate == base:
            return rate if now is None else now
        return rate * now / base if base else rate

    def state_dict(self) -> dict[str, Any]:
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self._shadow.param_groups
        ]
        return {"scheduler": self._scheduler.state_dict(), "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scheduler.load_state_dict(state["scheduler"])
        for group, saved in zip(self._shadow.param_groups, state["groups"], strict=True):
            group.update(saved)

    def _hand_on(self) -> None:
        for group, shadow in zip(
            self._optimizer.param_groups, self._shadow.param_groups, strict=False
        ):
            group.update({key: shadow[key] for key in _CYCLED if key in shadow})


class _Shadow(torch.optim.Optimizer):
    """An optimizer with the groups of another, whose steps do nothing."""

    def __init__(self, optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
        groups = [
            {
                **{key: value for key, value in group.items() if key in _CYCLED},
                "params": [torch.zeros(1)],
                "lr": rate,
            }
            for group, rate in zip(optimizer.param_groups, rates, strict=True)
        ]
        known = {key: optimizer.defaults[key] for key in _CYCLED if key in optimizer.defaults}
        super().__init__(groups, {"lr": 1.0, **known})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss to return
        """Do nothing."""


def _set(group: dict[str, Any], rate: float | None) -> None:
    """Set a step size, in place if it is a tensor."""
    if rate is None:
        return
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
