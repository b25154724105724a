"""The mean of a cell's curves, its band, and what of all curves an axis has to show."""

from collections.abc import Sequence

import numpy as np

from jobs.results.cells import Cell
from jobs.results.reading import Floats
from jobs.statistics.interval import LEVEL, t_interval

BAND_RUNS_MIN = 5
"""Of fewer runs each has a thin line."""


def has_band(cell: Cell, curves: Floats) -> bool:
    """Whether the mean of the cell's completed curves (n, E) has a band; not if others diverged."""
    return len(curves) >= BAND_RUNS_MIN and not cell.diverged


def band(curves: Floats) -> tuple[Floats, Floats]:
    """(E,) twice: the ends of the t interval of the mean of curves (n, E)."""
    n = len(curves)
    mean, error = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(n)
    half = t_interval(0.0, 1.0, n - 1, LEVEL, "t").high * error
    return mean - half, mean + half


def extents(metric: str, cells: Sequence[Cell], first: int = 0) -> tuple[Floats, Floats]:
    """The means, and these with all around them: of completed runs from epoch 1, or the first tenth, on.

    What was before, and what explodes, may leave the panel. `first`: the first epoch that is drawn.
    """
    spread: list[Floats] = []
    means: list[Floats] = []
    for cell in cells:
        curves = cell.curves(metric)
        if len(curves):
            means.append(curves.mean(axis=0))
            if has_band(cell, curves):
                spread += band(curves)
            elif not cell.diverged:
                spread += [*curves]
    if not means:
        every = [one.curves.get(metric, np.empty(0)) for cell in cells for one in cell.results]
        means = [curve for curve in every if len(curve)]
    inner, outer = (
        np.concatenate([_late(one, first) for one in part]) for part in (means, means + spread)
    )
    return inner, outer


def _late(curve: Floats, first: int) -> Floats:
    """The curve without its beginning, next to which all optimizers look alike."""
    start = max(1, len(curve) // 10, first)
    return curve[start:] if len(curve) > start else curve
