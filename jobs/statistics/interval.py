"""An interval, with its level and the method that made it; Student's t, which most here stand on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Method = Literal["t", "Welch t", "Wilson", "Newcombe 5, t", "BCa", "range"]

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval is in the units of what it is about; `range` is that of the values and has no level."""

    low: float
    high: float
    level: float | None
    method: Method


def t_interval(
    estimate: float, error: float, freedom: float, level: float, method: Method
) -> Interval:
    """An estimate with its standard error gets Student's t interval (Student 1908).

    Args:
        estimate: In the units of the metric.
        error: The standard error of the estimate, in the same units.
        freedom: The degrees of freedom of the error.
        level: The share of such intervals that hold the truth if runs are normal.
        method: What the error and its degrees of freedom stand on.
    """
    half = float(scipy.special.stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(estimate - half, estimate + half, level, method)
