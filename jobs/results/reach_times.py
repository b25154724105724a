"""When the runs of a cell reach their target, and whether those of one do so sooner than another's."""

from collections.abc import Sequence

import numpy as np

from jobs.results.cells import Cell
from jobs.results.reading import Floats, Result, Unit, is_better_high
from jobs.statistics.time_to_target import Ending, LogRank, Reach, Solved, logrank, reach, solved
from jobs.sweep import Target


def reaches(cell: Cell, target: Target, unit: Unit = "epochs") -> Sequence[Reach]:
    """When each planned run of a cell reached the target; without a record it is unknown.

    Raises:
        ValueError: a record does not tell that time.
    """
    found = []
    for result in cell.results:
        values = result.curves.get(target.metric, np.empty(0))
        ending: Ending = "diverged" if result.diverged else "finished"
        found.append(
            reach(
                values,
                _along(result, unit)[: len(values)],
                target=target.value,
                is_better_high=is_better_high(target.metric),
                ending=ending,
            )
        )
    return [*found, *(Reach(state="under_way", at=0.0) for _ in cell.unsettled)]


def solved_by(cell: Cell, target: Target, unit: Unit = "epochs") -> Solved:
    """The share of a cell's planned runs that have reached the target by each time."""
    return solved(reaches(cell, target, unit), budget(cell, unit))


def cells_logrank(a: Cell, b: Cell, target: Target, unit: Unit = "epochs") -> LogRank | None:
    """The log-rank test of two cells, up to what both were given; None: their times tell nothing."""
    shared = min(budget(a, unit), budget(b, unit))
    return logrank(reaches(a, target, unit), reaches(b, target, unit), shared)


def budget(cell: Cell, unit: Unit) -> float:
    """The time that each run of a cell was given; in seconds what the quickest of them took.

    Each takes its own seconds: after those of the quickest nobody knows when that would have got there.
    Where no run came to its end it is what the longest took, and where that is nothing, 1.
    """
    if unit == "epochs":
        return float(max(one.run.epochs for one in cell.planned)) or 1.0
    spent = [float(_along(one, unit)[-1]) for one in cell.completed]
    if not spent:
        begun = [_along(one, unit) for one in cell.diverged]
        return max((float(times[-1]) for times in begun if len(times)), default=0.0) or 1.0
    return (min(spent) if unit == "seconds" else max(spent)) or 1.0


def _along(result: Result, unit: Unit) -> Floats:
    found = result.along(unit)
    if found is None:
        raise ValueError(f"the record of run {result.planned.run.id} keeps no {unit} of training")
    return found
