"""The regime of a run acts around each step and evaluation of its training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from jobs.problems.problem import Problem
from jobs.regime.averaging import Averaging
from jobs.regime.forward import Forward
from jobs.regime.modes import Modes
from jobs.regime.placeholders import Numbers
from jobs.regime.schedule import Scheduler
from jobs.regime.settings import Settings
from jobs.sweep import Run


class Regime:
    """Schedule, averaging, precision, and the modes of an optimizer that has some."""

    def __init__(self, run: Run, problem: Problem, optimizer: torch.optim.Optimizer) -> None:
        """Raises InputError if the optimizer or the problem does not fit the regime."""
        self.settings = Settings.from_json(run.regime)
        self._modes = Modes(optimizer)
        self._modes.require_no_other(self.settings.average is not None)
        self._scheduler = Scheduler(
            self.settings.schedule, optimizer, Numbers.of(run, problem.steps_per_epoch)
        )
        self._averaging = Averaging(self.settings.average, problem.model, run.epochs)
        self._forward = Forward(problem, self.settings)

    @contextmanager
    def stepping(self, step: int, epoch: int) -> Iterator[None]:
        """Apply the regime around step `step`, from 0 over all epochs, in epoch `epoch`, from 1."""
        with self._scheduler.applied(step, epoch):
            yield
        self._scheduler.after_step()
        self._averaging.after_step()

    @contextmanager
    def evaluating(self, epoch: int, *, has_stepped: bool) -> Iterator[None]:
        """Apply the regime around the evaluation after epoch `epoch`; 0: before training."""
        self._averaging.before_evaluation(epoch)
        with self._modes.evaluating(has_stepped=has_stepped), self._averaging.evaluating():
            yield
        self._forward.require_used()

    def after_epoch(self, epoch: int, valid_loss: float) -> None:
        """Advance the schedule after the evaluation of epoch `epoch`."""
        if epoch > 0:
            self._scheduler.after_epoch(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        """The regime's state for a checkpoint."""
        return {"schedule": self._scheduler.state_dict(), "average": self._averaging.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._scheduler.load_state_dict(state["schedule"])
        self._averaging.load_state_dict(state["average"])
