"""The probability that a run of A is better than a run of B."""

from dataclasses import dataclass

import numpy as np
import scipy

from jobs.statistics.interval import LEVEL, FloatArray, Interval

_EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Improvement:
    """P(A > B) + P(A = B) / 2, between 0 and 1; of one run each it has no interval."""

    probability: float
    interval: Interval | None


def improvement(a: FloatArray, b: FloatArray, level: float = LEVEL) -> Improvement:
    """Two arms' scores, higher is better, are compared run by run, each with each (Mann & Whitney 1947).

    The interval is Newcombe's (2006, method 5): a score interval with the variance of Hanley & McNeil (1982)
    solved for P, so that it is sound where all runs of A are better. Its normal quantile is replaced by
    Student's with n + m - 2 degrees of freedom. In 4,000 data sets each of 3, 5 and 10 runs per arm (normal,
    unequal variances 9:1, gamma, 40 % against 10 % diverged; P from .35 to .97) it holds P in 93.8 % or more
    if seeds do not matter or correlate by +.5, and in 91.4 % or more at -.5. The t interval
    of Brunner & Munzel (2000) holds P = .92 in 38 % at 3 and 78 % at 10 runs.

    Args:
        a: Shape (n,), such as worst ranks among the runs of both.
        b: Shape (m,).
        level: Of the interval.
    """
    n, m = len(a), len(b)
    probability = float((np.sign(a[:, None] - b) + 1).mean() / 2)
    if n + m == 2:
        return Improvement(probability, None)
    quantile = float(scipy.special.stdtrit(n + m - 2, (1 + level) / 2))

    def outside(p: float) -> float:
        return (p - probability) ** 2 - quantile**2 * _variance(p, n, m)

    inside = min(max(probability, _EDGE), 1 - _EDGE)  # at 0 and at 1 the variance is 0, too
    low = float(scipy.optimize.brentq(outside, 0.0, inside)) if probability > 0 else 0.0
    high = float(scipy.optimize.brentq(outside, inside, 1.0)) if probability < 1 else 1.0
    return Improvement(probability, Interval(low, high, level, "Newcombe 5, t"))


def _variance(p: float, n: int, m: int) -> float:
    """Of the estimate if P is p: Hanley & McNeil's, with both sizes less one replaced by their mean."""
    others = (n + m) / 2 - 1
    return p * (1 - p) * (1 + others * ((1 - p) / (2 - p) + p / (1 + p))) / (n * m)
