"""The limits of an axis fit the values of a metric, and nothing that the metric cannot be."""

from dataclasses import dataclass

import numpy as np

from jobs.results.reading import Floats

_DECADES = 100.0  # ratio from which on losses are on a log scale


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of an axis, in the units of the metric."""

    low: float
    high: float
    is_log: bool


def limits(metric: str, inner: Floats, outer: Floats) -> Limits | None:
    """Fit an axis; a loss over two decades is on a log scale. None: there is no value.

    Args:
        metric: Of all values.
        inner: Measured values or means, any shape.
        outer: These, and the ends of their intervals.
    """
    inner, outer = inner[np.isfinite(inner)], outer[np.isfinite(outer)]
    if not len(inner):
        return None
    low, high = float(outer.min()), float(outer.max())
    least, most = float(inner.min()), float(inner.max())
    if metric.endswith("loss") and least > 0 and most > _DECADES * least:
        return Limits(low=max(low, least / 2) / 1.2, high=high * 1.2, is_log=True)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    if least >= 0:
        low = max(low, 0.0)
    if metric.endswith("accuracy"):
        high = min(high, 1.0)
    return Limits(low=low, high=high, is_log=False)
