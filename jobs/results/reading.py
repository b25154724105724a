"""What is read of a planned run: its record as numbers, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from jobs.store.state import State
from jobs.sweep import PlannedRun, Target

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Unit = Literal["epochs", "steps", "seconds"]
"""What time is counted in; seconds are those of training by the wall clock."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A planned run with its outcome; a missing number is NaN and never becomes another one."""

    planned: PlannedRun
    diverged: bool
    stop: Mapping[str, Any]
    curves: Mapping[str, Floats]  # (E,) per metric of EPOCH_METRICS that the problem has
    cost: Mapping[str, Any]
    provenance: Mapping[str, Any]
    sha256: str = ""  # of its record, where it is from one
    seconds: Floats | None = None  # (E,) of training up to each evaluation; None: an older record
    cpu_seconds: Floats | None = None  # (E,) as these, of all threads
    steps: Integers | None = None  # (E,) up to each evaluation

    def along(self, unit: Unit) -> Floats | None:
        """(E,) the time up to each evaluation; None: an older record, which does not tell it."""
        if unit == "epochs":
            longest = max(map(len, self.curves.values()), default=0)
            return np.arange(longest, dtype=np.float64)
        if unit == "seconds":
            return self.seconds
        return None if self.steps is None else self.steps.astype(np.float64)

    def final(self, metric: str) -> float:
        """The metric after the last epoch; a diverged run has no last epoch."""
        if self.diverged or metric not in self.curves:
            return float("nan")
        return float(self.curves[metric][-1])

    def at_best_valid(self, metric: str) -> float:
        """The metric at the first epoch of the best validation accuracy, or else validation loss.

        That epoch can be known without test data; a diverged run is not stopped there.
        """
        chosen_by = "valid_accuracy" if "valid_accuracy" in self.curves else "valid_loss"
        valid = self.curves.get(chosen_by, np.empty(0))
        if self.diverged or metric not in self.curves or not np.isfinite(valid).any():
            return float("nan")
        epoch = np.nanargmax(valid) if is_better_high(chosen_by) else np.nanargmin(valid)
        return float(self.curves[metric][epoch])

    def best(self, metric: str) -> float:
        """The best of all evaluations that took place."""
        values = self.curves.get(metric, np.empty(0))
        values = values[np.isfinite(values)]
        if not len(values):
            return float("nan")
        return float(values.max() if is_better_high(metric) else values.min())

    def epochs_to(self, target: Target) -> float:
        """The first epoch that reaches the target."""
        values = self.curves.get(target.metric, np.empty(0))
        high = is_better_high(target.metric)
        reached = values >= target.value if high else values <= target.value
        return float(np.argmax(reached)) if reached.any() else float("nan")

    def seconds_per_epoch(self, phases: tuple[str, ...], clock: str) -> float:
        """Seconds of those phases by that clock (`wall_s`, `cpu_s`), per epoch."""
        try:
            total = sum(float(self.cost[phase][clock]) for phase in phases)
        except (KeyError, TypeError, ValueError):
            return float("nan")
        return total / self.planned.run.epochs if self.planned.run.epochs else float("nan")


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """A planned run that has no record, and why."""

    planned: PlannedRun
    state: State

    @property
    def is_failed(self) -> bool:
        """Whether it failed; else it is missing."""
        return self.state.state == "failed"

    def to_json(self) -> dict[str, Any]:
        """An entry of the ledger."""
        return {
            "id": self.planned.run.id,
            "cell": self.planned.run.cell,
            "problem": self.planned.problem,
            "optimizer": self.planned.optimizer,
            "seed": self.planned.run.seed,
            "state": self.state.state,
            "class": self.state.failure,
            "message": self.state.message,
            "log": self.state.log,
        }


def is_better_high(metric: str) -> bool:
    """Whether more is better."""
    return metric.endswith("accuracy")
