"""A selection is the setting that stands for an optimizer on a problem, and how it was found.

Settings are compared by validation only, on the seeds that all of them have. If the selected setting
was run on more seeds, those alone are reported: a number that helped to select is too good.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from jobs.results.cells import Cell, metric_of, name_some, reported, spell_seeds
from jobs.results.reading import Result, is_better_high
from jobs.text import spelled

Mode = Literal["final", "best", "most"]
"""DeepOBS' modes: after the last epoch, the best of all epochs, the setting with the most runs."""

_MIN_GRID = 3  # numbers of an axis that have an edge


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The setting that stands for an optimizer on a problem."""

    problem: str  # label
    optimizer: str  # label
    cell: Cell | None  # with the runs that are reported; None: nothing can be selected
    settings: int  # that were tried
    runs: int  # with a record that were spent on them, those that are reported not included
    by: str  # `final valid accuracy`; empty: there was one setting
    seeds: tuple[int, ...]  # on which the settings were compared
    is_reported_on_others: bool = True  # else the seeds that selected are those that are reported
    edges: tuple[str, ...] = ()  # axes of which the selected value is the lowest or highest tried
    why: str | None = None  # nothing can be selected

    @property
    def name(self) -> str:
        """The selection's optimizer and problem, for a person."""
        return f"{self.problem} {self.optimizer}"

    def __str__(self) -> str:
        """The selection in a line, for a person."""
        if self.cell is None:
            return f"{self.name}: nothing selected: {self.why}"
        if not self.by:
            return f"{self.name}: its only setting"
        return (
            f"{self.name}: {self.cell.setting} of {self.settings} settings ({self.runs} runs)"
            f" by {self.by} on {spell_seeds(self.seeds)}; reported on {self._reported}"
        )

    def to_json(self) -> dict[str, Any]:
        """An entry of `ledger.json`."""
        return {
            "problem": self.problem,
            "optimizer": self.optimizer,
            "cell": self.cell.id if self.cell else None,
            "setting": dict(self.cell.varied) if self.cell else None,
            "settings": self.settings,
            "runs": self.runs,
            "by": self.by or None,
            "seeds": list(self.seeds),
            "reported_seeds": [one.run.seed for one in self.cell.planned] if self.cell else [],
            "edges": list(self.edges),
            "why": self.why,
        }

    @property
    def _reported(self) -> str:
        if not self.is_reported_on_others or self.cell is None:
            return "the same seeds"
        return spell_seeds(one.run.seed for one in self.cell.planned)


def select(cells: Sequence[Cell], mode: Mode = "final") -> tuple[Selection, ...]:
    """Select a setting for each problem and optimizer of the cells, in their order."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.problem, cell.optimizer), []).append(cell)
    return tuple(_selection(own, mode) for own in groups.values())


def baseline_of(selections: Sequence[Selection]) -> str:
    """Name the optimizer that is labelled SGD, or else the first one."""
    labels = [one.optimizer for one in selections]
    return next((label for label in labels if label.lower() == "sgd"), labels[0])


def _selection(own: Sequence[Cell], mode: Mode) -> Selection:
    candidates = reported(own)
    evaluated = [one for one in candidates if one.role == "evaluation"]
    if any(one.results for one in evaluated):  # other tunings may be undecided yet
        candidates = evaluated
    if len(candidates) > 1:
        return _compared(own, candidates, mode)
    (cell,) = candidates
    tuned = [one for one in own if one.tuning is not None and one.tuning == cell.tuning]
    tried = [one for one in tuned if one.role == "tuning" and one is not cell]
    tuning = cell.tuning if tried else None
    return Selection(
        problem=cell.problem,
        optimizer=cell.optimizer,
        cell=cell,
        settings=len(tried) or 1,
        runs=sum(len(one.results) for one in tried),
        by=_words(tuning.criterion.metric, tuning.criterion.at) if tuning else "",
        seeds=tuning.seeds if tuning else (),
        edges=tuple(_edges(cell, tried)),
    )


def _compared(own: Sequence[Cell], cells: Sequence[Cell], mode: Mode) -> Selection:
    """Select one of `cells` by the records of the seeds that all of them have; `own` were tried."""
    first = cells[0]
    planned = set.intersection(*({one.run.seed for one in cell.planned} for cell in cells))
    recorded = planned.intersection(*({_seed(one) for one in cell.results} for cell in cells))
    metric = metric_of(cells, "valid")
    found = Selection(
        problem=first.problem,
        optimizer=first.optimizer,
        cell=None,
        settings=len({cell.id for cell in own}),
        runs=sum(len(cell.results) for cell in own),
        by=_words(metric, mode),
        seeds=tuple(sorted(recorded)),
        why=_why_none(cells, planned, recorded, metric),
    )
    if found.why is not None:
        return found
    winner = min(cells, key=lambda cell: _rank(cell, recorded, metric, mode))
    others = _restricted(winner, planned)
    is_apart = bool(others.results)
    return replace(
        found,
        cell=others if is_apart else winner,
        runs=found.runs - (len(others.results) if is_apart else 0),
        is_reported_on_others=is_apart,
        edges=tuple(_edges(winner, own)),
    )


def _why_none(
    cells: Sequence[Cell], planned: set[int], recorded: set[int], metric: str
) -> str | None:
    """Say why the settings cannot be compared; None: they can."""
    if not planned:
        return f"no seed is planned for all {len(cells)} settings"
    if not recorded:
        lacking = [
            f"{cell.label or 'the default'} ({spell_seeds(seeds)})"
            for cell in cells
            if (seeds := planned - {_seed(one) for one in cell.results})
        ]
        return f"no seed has a record of all {len(cells)} settings; missing: {name_some(lacking)}"
    if not any(cell.measures(metric) for cell in cells):
        return "no run has a validation metric, and test data select nothing"
    return None


def _rank(cell: Cell, seeds: set[int], metric: str, mode: Mode) -> tuple[float, float, float]:
    """Order settings, the best first; of equal ones the smaller step size comes first.

    A setting of which more runs diverged on these seeds comes after one of which fewer did.
    """
    own = [result for result in cell.results if _seed(result) in seeds]
    if mode == "most":
        return -float(len(cell.results)), *_rank(cell, seeds, metric, "final")[:2]
    value = Result.final if mode == "final" else Result.best
    values = np.array([value(one, metric) for one in own if not one.diverged])
    mean = float(values.mean()) if len(values) else math.nan
    cost = -mean if is_better_high(metric) else mean
    return (
        sum(one.diverged for one in own),
        cost if math.isfinite(cost) else math.inf,
        _step_size(cell),
    )


def _step_size(cell: Cell) -> float:
    lr = cell.planned[0].run.hyperparameters.get("lr")
    return float(lr) if isinstance(lr, int | float) and not isinstance(lr, bool) else math.inf


def _restricted(cell: Cell, but: set[int]) -> Cell:
    """The cell without the runs of those seeds."""
    return replace(
        cell,
        planned=tuple(one for one in cell.planned if one.run.seed not in but),
        results=tuple(one for one in cell.results if _seed(one) not in but),
        unsettled=tuple(one for one in cell.unsettled if one.planned.run.seed not in but),
    )


def _edges(cell: Cell, tried: Sequence[Cell]) -> Iterator[str]:
    """Name the axes of which the cell has the lowest or the highest number that was tried."""
    for axis in cell.varied:
        numbers = sorted({number for one in tried if (number := one.number(axis)) is not None})
        own = cell.number(axis)
        if len(numbers) >= _MIN_GRID and own in (numbers[0], numbers[-1]):
            which = "smallest" if own == numbers[0] else "largest"
            yield f"{axis}={spelled(cell.varied[axis])} is the {which} tried"


def _seed(result: Result) -> int:
    return result.planned.run.seed


def _words(metric: str, mode: Mode) -> str:
    if mode == "most":
        return "the number of runs"
    return f"{mode} {metric.replace('_', ' ')}"
