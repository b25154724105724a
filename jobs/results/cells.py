"""All seeds of one setting and one role, taken together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jobs.canonical import Value
from jobs.results.reading import Floats, Result, Unsettled
from jobs.sweep import PlannedRun, Role
from jobs.text import described
from jobs.tuning import Tuning


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The planned runs of one setting and role, and what became of each.

    A setting that was tuned and chosen has two: what chose it is not averaged with what judges it.
    """

    id: str
    problem: str  # label
    optimizer: str  # label
    varied: Mapping[str, Value]
    planned: tuple[PlannedRun, ...]
    results: tuple[Result, ...]
    unsettled: tuple[Unsettled, ...]
    role: Role = "evaluation"
    tuning: Tuning | None = None  # of which the setting is a candidate

    @property
    def chosen(self) -> bool | None:
        """Whether the setting was chosen of those that were tuned; None: there was no choice."""
        if self.tuning is None or self.tuning.chosen is None:
            return None
        return self.tuning.chosen == self.id

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
        return described(self.varied)

    @property
    def label(self) -> str:
        """Its setting, and that it was tuned on: `lr=0.1`, `lr=0.1 (tuning)`."""
        return f"{self.setting} (tuning)".strip() if self.role == "tuning" else self.setting

    @property
    def name(self) -> str:
        """The cell for a person: `fmnist_2c2d SGD lr=0.1`."""
        return f"{self.problem} {self.optimizer} {self.label}".strip()

    def number(self, axis: str) -> float | None:
        """The number that an axis gave the setting; None: it gave none."""
        value = self.varied.get(axis)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value)

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


def group(
    outcomes: Sequence[Result | Unsettled],
    problems: Sequence[str],
    optimizers: Sequence[str],
    tunings: Iterable[Tuning],
) -> list[Cell]:
    """The cells in the order of these labels: problems, then optimizers, then settings.

    A chosen setting's evaluation follows the settings that it was chosen of. `outcomes` has an entry
    per planned run, in the spec's order.
    """
    members: dict[tuple[str, str, str, Role], list[Result | Unsettled]] = {}
    for outcome in outcomes:
        planned = outcome.planned
        key = (planned.problem, planned.optimizer, planned.run.cell, planned.role)
        members.setdefault(key, []).append(outcome)
    tuned = {
        (tuning.problem, tuning.optimizer, cell): tuning
        for tuning in tunings
        for cell in tuning.cells
    }
    cells = [
        Cell(
            id=cell,
            problem=problem,
            optimizer=optimizer,
            varied=own[0].planned.varied,
            planned=tuple(outcome.planned for outcome in own),
            results=tuple(outcome for outcome in own if isinstance(outcome, Result)),
            unsettled=tuple(outcome for outcome in own if isinstance(outcome, Unsettled)),
            role=role,
            tuning=tuned.get((problem, optimizer, cell)),
        )
        for (problem, optimizer, cell, role), own in members.items()
    ]
    return sorted(
        cells,
        key=lambda cell: (problems.index(cell.problem), optimizers.index(cell.optimizer)),
    )


def reported(cells: Sequence[Cell]) -> list[Cell]:
    """The cells whose numbers are results: of what was tuned and chosen only the evaluation."""
    evaluated = {cell.tuning for cell in cells if cell.tuning and cell.role == "evaluation"}
    return [cell for cell in cells if cell.role == "evaluation" or cell.tuning not in evaluated]


def compared(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that show what a setting does: of what is tuned only the tuning."""
    return [cell for cell in cells if cell.role == "tuning" or cell.tuning is None]


def metric_of(cells: Iterable[Cell], split: Literal["valid", "test"]) -> str:
    """Name the metric that results are told by: a problem's accuracy, or else its loss."""
    accuracy = f"{split}_accuracy"
    return accuracy if any(cell.measures(accuracy) for cell in cells) else f"{split}_loss"


def name_of(planned: PlannedRun) -> str:
    """A run for a person: `fmnist_2c2d SGD lr=0.1 seed 42`."""
    words = (planned.problem, planned.optimizer, described(planned.varied))
    return " ".join([*filter(None, words), f"seed {planned.run.seed}"])


def name_some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more."""
    first = ", ".join(names[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"


def spell_seeds(seeds: Iterable[int]) -> str:
    """Seeds as a spec spells them: `seed 42`, `seeds 42..44, 50`."""
    numbers = sorted(set(seeds))
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    text = ", ".join(
        f"{span[0]}..{span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans
    )
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {text}"
