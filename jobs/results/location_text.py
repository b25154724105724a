"""Where the final values of a cell's runs lie, in words."""

import numpy as np

from jobs.results.cells import Cell
from jobs.results.reading import is_better_high
from jobs.results.sentence import interval_text
from jobs.statistics.divergence import Diverged, Outcome, quartiles
from jobs.statistics.interval import Interval
from jobs.statistics.location import locate


def location_text(cell: Cell, metric: str) -> str:
    """Tell of the completed runs the mean and interquartile mean, of all runs the quartiles.

    Empty: no run completed with a value.
    """
    values = cell.finals(metric)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    found = locate(values)
    words = [
        f"mean {found.mean:.4g}{_within(found.mean_interval)}",
        f"median {_quartiles(cell, values.tolist(), metric)}",
        f"interquartile mean {found.iqm:.4g}{_within(found.iqm_interval)}",
    ]
    return "; ".join(words)


def _quartiles(cell: Cell, values: list[float], metric: str) -> str:
    """`0.86 (quartiles 0.85, 0.87)`: a diverged run is worse than any."""
    lost = [Diverged(epoch=int(one.stop.get("epoch") or 0)) for one in cell.diverged]
    found = quartiles([*values, *lost], is_better_high=is_better_high(metric))
    first, median, third = map(_spell, (found.first, found.median, found.third))
    return f"{median} (quartiles {first}, {third})"


def _spell(one: Outcome) -> str:
    return "diverged" if isinstance(one, Diverged) else f"{one:.4g}"


def _within(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval_text(interval)})"
