"""The ratio of times to a baseline: how many times as long something takes, over pairs of runs."""

from dataclasses import dataclass

import numpy as np
import scipy

from jobs.statistics.interval import LEVEL, FloatArray, Interval, t_interval


@dataclass(frozen=True, kw_only=True)
class TimeRatio:
    """How many times as long the runs take as those of the baseline."""

    pairs: int
    ratio: float  # geometric mean over the pairs; 1: equally long
    interval: Interval | None  # None: one pair says nothing of how sure it is


def time_ratio(times: FloatArray, baseline: FloatArray) -> TimeRatio:
    """The geometric mean of ratios, with Student's t interval of their logs.

    Swapping the two gives 1 / ratio, as no arithmetic mean of ratios does (Fleming & Wallace 1986).

    Args:
        times: (n,), the time of each run, above 0, in any unit.
        baseline: (n,), of its partner, in the same unit: equal problem, seed, batch size, hardware
            and threads, and nobody else on the machine.
    """
    if times.shape != baseline.shape or not len(times):
        raise ValueError("there must be a pair, and as many times as of the baseline")
    if not all(np.isfinite(one).all() and (one > 0).all() for one in (times, baseline)):
        raise ValueError("times must be finite numbers above 0")
    logs = np.log(times) - np.log(baseline)
    ratio = float(np.exp(logs.mean()))
    if len(logs) == 1:
        return TimeRatio(pairs=1, ratio=ratio, interval=None)
    error = float(scipy.stats.sem(logs))
    of_log = t_interval(float(logs.mean()), error, len(logs) - 1, LEVEL, "t")
    low, high = (float(np.exp(end)) for end in (of_log.low, of_log.high))
    return TimeRatio(
        pairs=len(logs),
        ratio=ratio,
        interval=Interval(low=low, high=high, level=of_log.level, method=of_log.method),
    )
