"""The numbers of a sensitivity figure: of each setting mean and spread, the best so far, divergences."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.results.cells import Cell
from jobs.results.reading import Floats, is_better_high
from jobs.results.sensitivity_axis import Axis


def moments(cells: Sequence[Cell], metric: str) -> tuple[Floats, Floats]:
    """(S,) twice: of each setting's completed runs the mean (NaN: there is none), and the sd."""
    finals = [values[np.isfinite(values)] for values in (cell.finals(metric) for cell in cells)]
    means = np.array([values.mean() if len(values) else np.nan for values in finals])
    sds = np.array([values.std(ddof=1) if len(values) > 1 else 0.0 for values in finals])
    return means, sds


def best(means: Floats, metric: str) -> float:
    """The best of the means; NaN if there is none."""
    found = means[np.isfinite(means)]
    if not len(found):
        return float("nan")
    return float(found.max() if is_better_high(metric) else found.min())


def running_best(means: Floats, metric: str) -> Floats:
    """(S,) The best of the means up to each."""
    running = np.fmax if is_better_high(metric) else np.fmin
    found: Floats = running.accumulate(means) if len(means) else means
    return found


def diverged_at(cells: Sequence[Cell], axis: Axis) -> Mapping[float, bool]:
    """Where on the axis runs diverged, and whether others completed there."""
    at = {axis.at(cell): False for cell in cells if cell.diverged}
    return at | {x: True for cell in cells if cell.completed and (x := axis.at(cell)) in at}
