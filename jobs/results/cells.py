"""All seeds of one setting, taken together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.results.reading import Floats, Result, is_better_high
from jobs.sweep import PlannedRun, Sweep, Value


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The planned runs of one setting, and the results among them."""

    id: str
    problem: str  # label
    optimizer: str  # label
    varied: Mapping[str, Value]
    planned: tuple[PlannedRun, ...]
    results: tuple[Result, ...]

    @property
    def completed(self) -> list[Result]:
        """The runs that came to their end: only these are averaged."""
        return [result for result in self.results if not result.diverged]

    @property
    def diverged(self) -> list[Result]:
        """The runs that left the finite numbers."""
        return [result for result in self.results if result.diverged]

    @property
    def setting(self) -> str:
        """What its axes gave it, for a person: `lr=0.1, batch_size=32`."""
        return describe(self.varied)

    def measures(self, metric: str) -> bool:
        """Whether any of its runs has a value of the metric."""
        return any(len(result.curves.get(metric, ())) for result in self.results)

    def finals(self, metric: str) -> Floats:
        """(n,) the completed runs' last values; NaN where one is missing."""
        return np.array([result.final(metric) for result in self.completed])

    def curves(self, metric: str) -> Floats:
        """(n, E) the completed runs' curves."""
        return np.array(
            [result.curves[metric] for result in self.completed if metric in result.curves]
        )


def group(sweep: Sweep, results: Sequence[Result | None]) -> list[Cell]:
    """The cells in the order of the spec: problems, then optimizers, then settings.

    `results` has an entry per planned run; None where there is no record.
    """
    members: dict[tuple[str, str, str], list[tuple[PlannedRun, Result | None]]] = {}
    for planned, result in zip(sweep.runs, results, strict=True):
        key = (planned.problem, planned.optimizer, planned.run.cell)
        members.setdefault(key, []).append((planned, result))
    cells = [
        Cell(
            id=cell,
            problem=problem,
            optimizer=optimizer,
            varied=pairs[0][0].varied,
            planned=tuple(planned for planned, _ in pairs),
            results=tuple(result for _, result in pairs if result is not None),
        )
        for (problem, optimizer, cell), pairs in members.items()
    ]
    return sorted(
        cells,
        key=lambda cell: (
            sweep.problems.index(cell.problem),
            sweep.optimizers.index(cell.optimizer),
        ),
    )


def best(cells: Iterable[Cell]) -> Cell | None:
    """The cell with the best mean final validation metric, as DeepOBS' mode "final" chooses.

    Accuracy decides where there is one, else loss. A cell in which a run diverged comes after
    every cell in which none did; None if no cell has a result.
    """
    candidates = [cell for cell in cells if cell.results]
    return min(candidates, key=_rank, default=None)


def describe(setting: Mapping[str, Value]) -> str:
    """A setting for a person: `lr=0.1, batch_size=32`."""
    return ", ".join(f"{key}={spell(value)}" for key, value in setting.items())


def spell(value: Value) -> str:
    """A value for a person: four digits are enough."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rank(cell: Cell) -> tuple[float, float]:
    metric = "valid_accuracy" if cell.measures("valid_accuracy") else "valid_loss"
    finals = cell.finals(metric)
    mean = float(finals.mean()) if len(finals) else float("nan")
    cost = -mean if is_better_high(metric) else mean
    return len(cell.diverged) / len(cell.results), cost if np.isfinite(cost) else float("inf")
