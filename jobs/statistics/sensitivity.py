"""Sensitivity to the learning rate: how wide the range is that does nearly as well as the best.

Only rates that were tried count. Between two of them nothing is known, so nothing is interpolated:
the width has two bounds, of the rates that did well, and up to the next ones that did not.
"""

from dataclasses import dataclass

import numpy as np

from jobs.statistics.interval import FloatArray

ACCURACY_POINTS = 0.01
"""How much less than the best accuracy, in [0, 1], is still as good: one percentage point."""

LOSS_SHARE = 0.05
"""How much more than the best loss, as a share of it, is still as good."""

_ROUNDING = 1e-9
"""By how much a number may miss a limit that it would just meet without rounding."""


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """The rates around the best one with no worse one between, in the unit of the rates."""

    best_rate: float  # of equally good ones the smallest
    best_value: float
    low: float  # smallest rate of the plateau that was tried
    high: float  # largest
    decades: float  # log10(high / low): the width at least
    decades_at_most: (
        float | None
    )  # between the next rates on both sides; None: the grid ends before
    is_best_smallest: bool  # of all rates tried: the best may be below
    is_best_largest: bool  # the best may be above


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How an optimizer answers to its learning rate."""

    settings: int  # tried
    diverged: int  # of them
    plateau: Plateau | None  # None: all diverged

    @property
    def diverged_share(self) -> float:
        """The share of the settings that diverged."""
        return self.diverged / self.settings


def sensitivity(
    rates: FloatArray, values: FloatArray, diverged: FloatArray, *, is_accuracy: bool
) -> Sensitivity:
    """The width of the range of rates whose value is near the best, and what diverges.

    Near is within one point of the best accuracy, or 5 % of the best loss. A rate that diverged
    ends the range, as one that did worse does.

    Args:
        rates: (F,), the learning rates that finished, above 0, in any order.
        values: (F,), an accuracy in [0, 1] or a loss of each, one per rate.
        diverged: (D,), the rates of which any run diverged; none is in `rates`.
        is_accuracy: whether the values are accuracies; more is better then.
    """
    tried = np.concatenate([rates, diverged])
    if not len(tried) or rates.shape != values.shape or not np.isfinite(values).all():
        raise ValueError("there must be a rate, and a value of each that finished")
    if not (tried > 0).all() or len(np.unique(tried)) < len(tried):
        raise ValueError("rates must be above 0, each given once")
    plateau = _plateau(tried, values, is_accuracy=is_accuracy) if len(rates) else None
    return Sensitivity(settings=len(tried), diverged=len(diverged), plateau=plateau)


def _plateau(tried: FloatArray, values: FloatArray, *, is_accuracy: bool) -> Plateau:
    """The plateau of the rates tried (F + D,), of which the first have values (F,)."""
    worse = -values if is_accuracy else values  # less is better
    margin = ACCURACY_POINTS if is_accuracy else LOSS_SHARE * abs(worse.min())
    order = np.argsort(tried)
    grid = tried[order]
    scores = np.append(worse, np.full(len(tried) - len(values), np.inf))[order]
    best = int(np.argmin(scores))
    outside = np.flatnonzero(scores - worse.min() > margin * (1 + _ROUNDING))
    below, above = outside[outside < best], outside[outside > best]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(grid) - 1
    is_closed = len(below) and len(above)
    return Plateau(
        best_rate=float(grid[best]),
        best_value=float(values.max() if is_accuracy else values.min()),
        low=float(grid[first]),
        high=float(grid[last]),
        decades=_decades(grid[first], grid[last]),
        decades_at_most=_decades(grid[first - 1], grid[last + 1]) if is_closed else None,
        is_best_smallest=best == 0,
        is_best_largest=best == len(grid) - 1,
    )


def _decades(low: float, high: float) -> float:
    return float(np.log10(high / low))
