"""Time to target: when runs reach what counts as solved, and the share of them that has by then.

Every planned run has a place. One that ended without reaching its target, or diverged, never does:
it is counted as unsolved up to the end of the budget, since ending it where it diverged would be
informative censoring. Only a run whose end is not known yet is right-censored, where it was last
seen; one that is missing or failed was last seen at its last evaluation, or at 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from jobs.statistics.interval import LEVEL, FloatArray

Ending = Literal["finished", "diverged", "under_way"]

_HALF = 0.5 + 1e-9
"""A half, and the rounding of a product of shares."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """When a run reached its target, in the unit of the times that it was found in."""

    state: Literal["reached", "never", "under_way"]
    at: float  # reached: when; never: infinity; under way: until when it is known not to have


@dataclass(frozen=True, kw_only=True)
class Solved:
    """The share of runs that have reached their target by t (Kaplan & Meier 1958).

    The share is a step function: 0 before the first of `times`, then constant from each to the
    next, and unknown after `known_to`.
    """

    runs: int
    reached: int
    never: int
    under_way: int
    budget: float  # up to which all is counted, in the unit of the times
    known_to: float  # the budget, unless all runs that are left are under way
    times: FloatArray  # (T,), increasing; the first is 0
    shares: FloatArray  # (T,), from each of the times on
    low: FloatArray  # (T,), of the interval of the share, of level 0.95
    high: FloatArray  # (T,)
    median: float | None  # the first time by which half have; None: after `known_to`
    restricted_mean: float | None  # mean of min(time, budget); None: not known to the budget


@dataclass(frozen=True, kw_only=True)
class LogRank:
    """The log-rank test of whether the runs of A and of B reach their target equally soon."""

    statistic: float  # standard normal if they do; above 0: A's runs reach it sooner
    p_value: float  # two-sided; by the normal approximation, which is rough for few runs


def reach(
    values: FloatArray, times: FloatArray, *, target: float, is_better_high: bool, ending: Ending
) -> Reach:
    """The first time at which a run's metric is at the target or better.

    A run that diverged never reaches its target, also if it was there before: nobody would keep
    what it ended with. A value that is not a number does not reach.

    Args:
        values: (E,), the metric at each evaluation.
        times: (E,), when those took place, in their order; in any unit.
        target: the value that counts as solved.
        is_better_high: whether more is better.
        ending: how the run stands.
    """
    if values.shape != times.shape or np.any(np.diff(times) < 0) or np.any(times < 0):
        raise ValueError(
            "there must be as many values as times, and times from 0 on, in their order"
        )
    if ending == "diverged":
        return Reach(state="never", at=math.inf)
    at = times[values >= target if is_better_high else values <= target]
    if len(at):
        return Reach(state="reached", at=float(at[0]))
    if ending == "under_way":
        return Reach(state="under_way", at=float(times[-1]) if len(times) else 0.0)
    return Reach(state="never", at=math.inf)


def solved(runs: Sequence[Reach], budget: float) -> Solved:
    """The share of runs that have reached their target by t, for all t up to the budget.

    The interval is Wilson's with the number of runs that Greenwood's variance is worth (Rothman
    1978): where no run is under way it is Wilson's own, and it is defined where no run or each has
    reached its target, which Greenwood's is not. The median is the first t at which the estimate
    is 1/2, so of an even number of runs it is the lower of the two in the middle.

    Args:
        runs: all planned runs; what they reach after the budget does not count.
        budget: the time that each of them was given, in the unit of their times; in seconds, where
            each takes its own, one that all could have used.
    """
    times, is_event = _observed(runs, budget)
    fit = scipy.stats.ecdf(_censored(times, is_event)).sf
    at, unsolved = fit.quantiles, fit.probabilities
    low, high = _wilson(unsolved, _effective(times, is_event, at, unsolved))
    if at[0] > 0:
        start = _wilson(np.ones(1), np.array([float(len(times))]))
        at, unsolved = np.append(0.0, at), np.append(1.0, unsolved)
        low, high = np.append(start[0], low), np.append(start[1], high)
    known_to = budget if unsolved[-1] == 0 else float(at[-1])
    half = at[unsolved <= _HALF]
    area = float(unsolved @ np.diff(at, append=budget))
    return Solved(
        runs=len(runs),
        reached=int(is_event.sum()),
        never=sum(run.state != "under_way" for run in runs) - int(is_event.sum()),
        under_way=sum(run.state == "under_way" for run in runs),
        budget=budget,
        known_to=known_to,
        times=at,
        shares=1 - unsolved,
        low=1 - high,
        high=1 - low,
        median=float(half[0]) if len(half) else None,
        restricted_mean=area if known_to == budget else None,
    )


def logrank(a: Sequence[Reach], b: Sequence[Reach], budget: float) -> LogRank | None:
    """The log-rank test of two groups of runs (Mantel 1966); None if their times tell nothing.

    They do not if no run reached its target, or all that could did so at once.

    Args:
        a: the planned runs of one group.
        b: those of the other.
        budget: the time that each of them was given, in the unit of their times.
    """
    (times_a, events_a), (times_b, events_b) = _observed(a, budget), _observed(b, budget)
    with np.errstate(invalid="ignore", divide="ignore"):
        test = scipy.stats.logrank(_censored(times_a, events_a), _censored(times_b, events_b))
    if not math.isfinite(test.statistic):
        return None
    return LogRank(statistic=float(test.statistic), p_value=float(test.pvalue))


def _observed(runs: Sequence[Reach], budget: float) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Until when each run was seen within the budget (R,), and whether it reached its target then."""
    if not runs or not 0 < budget < math.inf:
        raise ValueError("there must be a run, and a budget above 0 that ends")
    is_event = np.array([run.state == "reached" and run.at <= budget for run in runs])
    return np.array([min(run.at, budget) for run in runs]), is_event


def _censored(times: FloatArray, is_event: npt.NDArray[np.bool_]) -> "scipy.stats.CensoredData":
    return scipy.stats.CensoredData(uncensored=times[is_event], right=times[~is_event])


def _effective(
    times: FloatArray, is_event: npt.NDArray[np.bool_], at: FloatArray, unsolved: FloatArray
) -> FloatArray:
    """The number of uncensored runs (T,) that would tell as much about the share at each time.

    S (1 - S) / var S, with Greenwood's var S = S^2 sum d / (n (n - d)). Where S is 1 it is the
    number that is left to reach the target; where S is 0, that before the last did, over S then.
    """
    at_risk = np.array([(times >= t).sum() for t in at], dtype=np.float64)
    events = np.array([(times[is_event] == t).sum() for t in at])
    left = np.append(at_risk[1:], at_risk[-1])
    before = np.append(1.0, unsolved[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.cumsum(events / (at_risk * (at_risk - events)))
        worth = (1 - unsolved) / (unsolved * terms)
        last = at_risk / before
    worth = np.where(unsolved == 1, left, worth)
    return np.where(unsolved == 0, last, worth)


def _wilson(share: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Wilson's interval of a proportion (Wilson 1927), for any number of runs above 0."""
    z = scipy.special.ndtri((1 + LEVEL) / 2)
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)
