"""A run may complete and yet have learned nothing, or have left every reasonable number."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jobs.results.cells import Cell, name_some, spell_seeds
from jobs.results.finding import Finding
from jobs.results.reading import Result

_MIN_LEARNED = 0.05
"""Share of the wrong answers before training that must be right at the end; less is chance."""

_EXPLODED = 1000.0
"""A final train loss of more than this many times the first one has exploded."""


def collapsed(cells: Iterable[Cell]) -> frozenset[str]:
    """Name the completed runs (by id) that end no better at their training data than untrained ones.

    The accuracy before training is the highest of the problem's runs: by chance one starts lower.
    """
    by_problem: dict[str, list[Result]] = {}
    for cell in cells:
        by_problem.setdefault(cell.problem, []).extend(cell.results)
    found = set()
    for results in by_problem.values():
        firsts = [curve[0] for one in results if len(curve := _accuracy(one))]
        start = np.nanmax(firsts) if np.isfinite(firsts).any() else np.nan
        for one in results:
            curve = _accuracy(one)
            least = start + _MIN_LEARNED * (1 - start)
            if not one.diverged and len(curve) > 1 and curve[-1] < least:
                found.add(one.planned.run.id)
    return frozenset(found)


def exploded(cells: Iterable[Cell]) -> frozenset[str]:
    """Name the completed runs (by id) whose train loss ended far above where it began."""
    return frozenset(
        one.planned.run.id
        for cell in cells
        for one in cell.completed
        if len(losses := one.curves.get("train_loss", np.empty(0)))
        and losses[-1] > _EXPLODED * abs(losses[0])
    )


def findings(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find the runs that completed without a result that means anything."""
    kinds = (
        ("collapsed", collapsed(cells), "ended no better than untrained"),
        ("exploded", exploded(cells), f"ended at over {_EXPLODED:g} times their first loss"),
    )
    for code, runs, what in kinds:
        where = [
            f"{cell.name} ({spell_seeds(seeds)})"
            for cell in cells
            if (seeds := [one.run.seed for one in cell.planned if one.run.id in runs])
        ]
        if where:
            count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
            yield Finding(
                code, f"{count} completed and {what}: {name_some(where)}", tuple(sorted(runs))
            )


def _accuracy(result: Result) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(E,) Its accuracy on training data, where it has one."""
    return result.curves.get("train_accuracy", np.empty(0))
