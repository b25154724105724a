"""What a reader of the table must know besides the numbers."""

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.results import provenance
from jobs.results.cells import Cell
from jobs.results.finding import Finding
from jobs.results.reading import Result
from jobs.store.record import EPOCH_METRICS


def of(cells: Sequence[Cell]) -> list[Finding]:
    """The findings on a sweep's results, each one line."""
    found = [result for cell in cells for result in cell.results]
    return [*provenance.findings(cells), *_unequal_seeds(cells), *_holes(found)]


def _unequal_seeds(cells: Sequence[Cell]) -> Iterator[Finding]:
    """What was chosen, was chosen on seeds that all settings have: only what evaluates is compared."""
    for problem in dict.fromkeys(cell.problem for cell in cells):
        members = [one for one in cells if one.problem == problem and one.role == "evaluation"]
        by_seeds: dict[tuple[int, ...], list[Cell]] = {}
        for cell in members:
            seeds = tuple(sorted(result.planned.run.seed for result in cell.results))
            by_seeds.setdefault(seeds, []).append(cell)
        if len(by_seeds) > 1:
            which = "; ".join(
                f"{', '.join(map(str, seeds)) or 'none'} in {_name(same)}"
                for seeds, same in by_seeds.items()
            )
            runs = tuple(one.planned.run.id for cell in members for one in cell.results)
            text = f"unequal seeds between the cells of {problem}: {which}"
            yield Finding("unequal_seeds", text, runs)


def _name(cells: Sequence[Cell]) -> str:
    first = f"{cells[0].optimizer} {cells[0].setting}".strip()
    return first if len(cells) == 1 else f"{first} and {len(cells) - 1} more"


def _holes(results: Sequence[Result]) -> Iterator[Finding]:
    for result in results:
        holes = [
            metric
            for metric in EPOCH_METRICS
            if metric in result.curves and np.isnan(result.curves[metric]).any()
        ]
        if holes:
            run = result.planned.run.id
            yield Finding("holes", f"run {run} lacks values of {', '.join(holes)}", (run,))
