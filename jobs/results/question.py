"""A question says what is compared, all of it before the results are looked at."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from jobs.errors import InputError
from jobs.statistics.claims import Claim
from jobs.store.record import EPOCH_METRICS

Value = Literal["final", "at_best_valid"]
"""After the last epoch, or when the validation metric was best."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, all of it before the results are looked at."""

    baseline: str | None = None  # label; None: the one called SGD, or else the first
    optimizers: tuple[str, ...] = ()  # labels; empty: all
    problems: tuple[str, ...] = ()  # labels; empty: all
    metric: str | None = None  # None: a problem's test accuracy, or else its test loss
    value: Value = "final"
    claim: Claim = Claim.SUPERIOR
    margin: float | None = None  # in the units of the metric

    def __post_init__(self) -> None:
        """Refuse a question that cannot be answered.

        Raises:
            InputError: the claim needs a margin, or has none; there is no such metric.
        """
        if self.metric is not None and self.metric not in EPOCH_METRICS:
            raise InputError(f"no metric {self.metric}; there are: {', '.join(EPOCH_METRICS)}")
        if self.claim is Claim.SUPERIOR:
            if self.margin is not None:
                raise InputError("--margin belongs to --claim equivalent or noninferior")
        elif self.margin is None or not (math.isfinite(self.margin) and self.margin > 0):
            raise InputError(
                f"--claim {self.claim} needs --margin X, above 0 and in the units of the metric:"
                " the difference that would not matter"
            )

    def to_json(self) -> dict[str, Any]:
        """What `compare --json` says was asked."""
        return {
            "baseline": self.baseline,
            "optimizers": list(self.optimizers),
            "problems": list(self.problems),
            "metric": self.metric,
            "value": self.value,
            "claim": self.claim.value,
            "margin": self.margin,
        }
