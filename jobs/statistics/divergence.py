"""Divergence is an outcome of its own: counted with an interval, and worse than any value by rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from jobs.statistics.interval import LEVEL, FloatArray, Interval


@dataclass(frozen=True, slots=True)
class Diverged:
    """A run whose loss ceased to be finite has no value, only the epoch in which that happened."""

    epoch: int


Outcome = float | Diverged


@dataclass(frozen=True, slots=True)
class Arm:
    """The runs of one optimizer on one problem: a seed and an outcome each, in the metric's units.

    Raises:
        ValueError: There is no run, a seed comes twice, or a value is not finite.
    """

    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]

    def __post_init__(self) -> None:
        """Refuse what is no set of runs."""
        if not self.seeds or len(self.seeds) != len(self.outcomes):
            raise ValueError("an arm needs runs, each with a seed and an outcome")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("an arm has one run per seed")
        if not np.isfinite(self.values).all():
            raise ValueError("a value that is not finite is a divergence, and needs its epoch")

    @property
    def values(self) -> FloatArray:
        """The values of those that finished, in the order of the runs."""
        return np.array([one for one in self.outcomes if not isinstance(one, Diverged)], float)

    @property
    def diverged(self) -> int:
        """How many diverged."""
        return sum(isinstance(one, Diverged) for one in self.outcomes)


@dataclass(frozen=True, slots=True)
class Proportion:
    """The share of runs to which something happened."""

    count: int
    n: int
    interval: Interval

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.count / self.n


def proportion(count: int, n: int, level: float = LEVEL) -> Proportion:
    """A count out of n has the score interval of Wilson (1927), which is sound for 0 of n, too."""
    found = scipy.stats.binomtest(count, n).proportion_ci(level, method="wilson")
    return Proportion(count, n, Interval(float(found.low), float(found.high), level, "Wilson"))


def worst_ranks(outcomes: Sequence[Outcome], *, is_better_high: bool) -> FloatArray:
    """The outcomes have ranks from 1, the worst, to n; equals share the mean of theirs.

    A diverged run is worse than any finished one, and the later one is better than the earlier
    (worst-rank score, Lachin 1999).

    Args:
        outcomes: Of all runs that are compared with each other, n of them.
        is_better_high: The direction of the metric.

    Returns:
        Shape (n,), without a unit.
    """
    keys = [
        (0, float(one.epoch)) if isinstance(one, Diverged) else (1, one if is_better_high else -one)
        for one in outcomes
    ]
    place = {key: index for index, key in enumerate(sorted(set(keys)))}
    ranks: FloatArray = scipy.stats.rankdata([place[key] for key in keys])
    return ranks


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The quartiles of all runs, along the metric's axis; those that fall on divergence have no value."""

    first: Outcome
    median: Outcome
    third: Outcome


def quartiles(outcomes: Sequence[Outcome], *, is_better_high: bool) -> Quartiles:
    """The outcomes of all runs have these quartiles.

    Between two finished runs they are interpolated (Hyndman & Fan 1996, definition 7, numpy's); where a
    diverged run has a part in one, so that no value can be given, it is that run, or the worse of two.

    Args:
        outcomes: One per run.
        is_better_high: The direction of the metric: with accuracy, divergence lies below the
            lowest value, with a loss above the highest.
    """
    ranks = worst_ranks(outcomes, is_better_high=is_better_high)
    order = np.argsort(ranks if is_better_high else -ranks, kind="stable")
    along = [outcomes[int(index)] for index in order]
    return Quartiles(_quantile(along, 0.25), _quantile(along, 0.5), _quantile(along, 0.75))


def _quantile(along: Sequence[Outcome], share: float) -> Outcome:
    place = (len(along) - 1) * share
    below = int(place)
    weight = place - below
    pair = along[below : below + 2] if weight else along[below : below + 1]
    lost = [one for one in pair if isinstance(one, Diverged)]
    if lost:
        return min(lost, key=lambda one: one.epoch)
    low, high = float(pair[0]), float(pair[-1])  # type: ignore[arg-type]  # none diverged
    return low + weight * (high - low)
