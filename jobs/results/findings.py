"""What a reader of the table must know besides the numbers."""

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.results import collapse, provenance, splits
from jobs.results.cells import Cell, name_some
from jobs.results.finding import Finding
from jobs.results.reading import Result
from jobs.results.selection import Selection
from jobs.store.record import EPOCH_METRICS


def of(cells: Sequence[Cell], selections: Sequence[Selection]) -> list[Finding]:
    """Find what a reader of a sweep's results must know."""
    found = [result for cell in cells for result in cell.results]
    own = [one for one in selections if one.cell is None or one.cell.role == "evaluation"]
    return [
        *provenance.findings(cells),
        *splits.findings(cells),
        *_unequal_seeds(cells),
        *_holes(found),
        *collapse.findings(cells),
        *_selected(own),
        *_budgets(own),
    ]


def _selected(selections: Sequence[Selection]) -> Iterator[Finding]:
    """Find what makes a selected setting less than it seems; what is tuned comes after it is chosen."""
    nothing = [one for one in selections if one.cell is None]
    for why in dict.fromkeys(one.why for one in nothing):
        which = name_some([one.name for one in nothing if one.why == why])
        yield Finding("nothing_selected", f"no setting stands for {which}: {why}")
    at_edge = [one for one in selections if one.edges]
    if at_edge:
        which = name_some([f"{one.name} {', '.join(one.edges)}" for one in at_edge])
        text = f"the best setting is at the edge of what was tried, a better one may lie beyond: {which}"
        yield Finding("grid_edge", text, _runs(at_edge))
    same = [one for one in selections if one.by and not one.is_reported_on_others]
    if same:
        which = name_some([f"{one.name} (best of {one.settings})" for one in same])
        text = f"selected and reported on the same seeds, which makes the best look better: {which}"
        yield Finding("same_seeds", text, _runs(same))


def _budgets(selections: Sequence[Selection]) -> Iterator[Finding]:
    """Find problems on which some optimizers were tuned more than others."""
    for problem in dict.fromkeys(one.problem for one in selections):
        own = [one for one in selections if one.problem == problem]
        if len({(one.settings, one.runs) for one in own}) > 1:
            which = ", ".join(f"{one.optimizer} {_spent(one)}" for one in own)
            text = f"unequal budgets of tuning on {problem}: {which}"
            yield Finding("unequal_budgets", text, _runs(own))


def _spent(one: Selection) -> str:
    if one.settings == 1:
        return "1 setting"
    return f"{one.settings} settings ({one.runs} runs)"


def _runs(selections: Sequence[Selection]) -> tuple[str, ...]:
    cells = [one.cell for one in selections if one.cell is not None]
    return tuple(one.planned.run.id for cell in cells for one in cell.results)


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
    if not any(_has_holes(results, metric) for metric in EPOCH_METRICS):
        return
    for result in results:
        holes = [
            metric
            for metric in EPOCH_METRICS
            if metric in result.curves and np.isnan(result.curves[metric]).any()
        ]
        if holes:
            run = result.planned.run.id
            yield Finding("holes", f"run {run} lacks values of {', '.join(holes)}", (run,))


def _has_holes(results: Sequence[Result], metric: str) -> bool:
    """Whether any curve lacks a value: all are looked at together, as mostly none does."""
    curves = [one.curves[metric] for one in results if metric in one.curves]
    return bool(curves) and bool(np.isnan(np.concatenate(curves)).any())
