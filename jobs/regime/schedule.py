"""Step sizes that go with the steps: around each step they are multiplied, behind it they are back.

So a schedule composes with an optimizer that sets its own step size (the `Preconditioner`'s alpha):
what that sets is what the next step multiplies.
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
"""What schedulers change beside the step size."""


class Scheduler:
    """Applies a schedule to an optimizer; with a constant one it does nothing."""

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
        """Within it the step sizes are those of step `step`, from 0 on, in epoch `epoch`, from 1 on."""
        if self._is_constant:
            yield
            return
        groups = self._optimizer.param_groups
        own = [recording.rate(group) for group in groups]
        at = step if self._schedule.per == "step" else epoch - 1
        scaled = [self._scaled(index, rate, at) for index, rate in enumerate(own)]
        for group, rate in zip(groups, scaled, strict=True):
            _set(group, rate)
        applied = [recording.rate(group) for group in groups]  # a tensor has rounded it
        yield
        for group, rate, before in zip(groups, applied, own, strict=False):
            if recording.rate(group) == rate:  # else the optimizer has set another in this step
                _set(group, before)

    def after_step(self) -> None:
        """A step has been taken."""
        if self._of_class is not None and self._schedule.per == "step":
            self._of_class.advance(None)

    def after_epoch(self, valid_loss: float) -> None:
        """An epoch has been trained and evaluated."""
        if self._of_class is not None and self._schedule.per == "epoch":
            self._of_class.advance(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        """What goes with the training; {} where the step alone decides."""
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
    """What a named schedule multiplies by at `at` = 0, ..., `total` - 1, see `Schedule`."""
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
    return min(risen, schedule.end + (1 - schedule.end) * left)  # where both go on: the smaller


def _left(schedule: Schedule, x: float) -> float:
    """How much is left of the way from 1 to the end's factor, at the share x of it."""
    if schedule.name == "linear":
        return 1 - x
    if schedule.name == "cosine":
        return (1 + math.cos(math.pi * x)) / 2
    if schedule.name == "polynomial":
        return float((1 - x) ** schedule.power)
    return 1.0


def _units(length: float, total: int) -> int:
    """A length in steps (or epochs): it is one, or a share of all of them."""
    return int(length) if length >= 1 else round(length * total)


class _OfClass:
    """A class of `torch.optim.lr_scheduler` over an optimizer that trains nothing.

    It has groups with the same hyperparameters. What becomes of its step sizes is applied to those
    of the real one; momentum and betas, which some classes cycle, are handed on as they are.
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
        """Step it; with the loss if it asks for one."""
        self._shadow.step()  # torch warns of a scheduler that is stepped first
        self._scheduler.step(*([valid_loss] if self._wants_metric else []))
        self._hand_on()

    def scaled(self, index: int, rate: float) -> float:
        """The real group's step size `rate` as the shadow's has gone."""
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
    """An optimizer with the groups of another, and nothing to do."""

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

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it has no loss
        """Do nothing."""


def _set(group: dict[str, Any], rate: float | None) -> None:
    """Set a step size; one that is a tensor stays that tensor."""
    if rate is None:
        return
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
