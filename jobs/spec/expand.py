"""Problems x optimizers x settings: the product of the axes, less what conditions remove."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.resources import Resources
from jobs.spec.axes import Choice, Setting
from jobs.spec.condition_names import dependencies
from jobs.spec.conditions import holds, spelling
from jobs.spec.context import Context
from jobs.spec.optimizers import TUNED, OptimizerEntry, tuned
from jobs.spec.problems import ProblemEntry
from jobs.spec.resources import StatedResource, combined

MAX_RUNS = 200_000
Row = tuple[Choice, ...]


@dataclass(frozen=True, eq=False)
class Cell:
    """One setting of everything but the seed."""

    problem: ProblemEntry
    optimizer: OptimizerEntry
    choices: Mapping[str, Choice]  # of the basic settings and the hyperparameters

    def resources(
        self, of_all: tuple[StatedResource, ...]
    ) -> tuple[Resources, Mapping[str, StatedResource]]:
        """The cell's resources, and the origin of each; `of_all` are the spec's for all cells."""
        return combined((of_all, self.problem.resources, self.optimizer.resources))

    def spellings(self) -> dict[str, str]:
        """The spellings of the cell's labels and values, which conditions compare."""
        labels = {
            "problem": spelling(self.problem.label),
            "optimizer": spelling(self.optimizer.label),
        }
        return labels | {name: choice.spelling for name, choice in self.choices.items()}


def cells(
    context: Context, problems: Sequence[ProblemEntry], optimizers: Sequence[OptimizerEntry]
) -> Iterator[Cell]:
    """All cells, problems outermost, then optimizers, then the axes in the order written."""
    untuned: set[str] = set()
    for problem in problems:
        for optimizer in optimizers:
            for found in _combinations(problem, optimizer):
                choices = dict(found)
                lr = choices.get("lr")
                if lr is not None and lr.value == TUNED:
                    baseline = tuned(optimizer, problem)
                    if isinstance(baseline, str):
                        if baseline not in untuned:
                            untuned.add(baseline)
                            place = lr.place or optimizer.place
                            context.add(place, f"optimizers.{optimizer.label}.lr", baseline)
                        continue
                    choices["lr"] = baseline
                yield Cell(problem, optimizer, choices)


def count(problems: Sequence[ProblemEntry], optimizers: Sequence[OptimizerEntry]) -> int:
    """The number of cells before conditions and exclusions: an upper bound, cheap to compute."""
    total = 0
    for problem, optimizer in itertools.product(problems, optimizers):
        product = 1
        for _, rows in _groups(problem, optimizer):
            product *= len(rows)
        total += product
    return total


def _combinations(
    problem: ProblemEntry, optimizer: OptimizerEntry
) -> Iterator[Mapping[str, Choice]]:
    """Every combination of choices once, without the settings whose condition does not hold."""
    labels = {"problem": spelling(problem.label), "optimizer": spelling(optimizer.label)}
    groups = _groups(problem, optimizer)
    names = [name for group, _ in groups for name in group]
    conditional = _by_dependency((*problem.settings, *optimizer.settings))
    seen: set[tuple[tuple[str, int], ...]] = set()
    for rows in itertools.product(*(rows for _, rows in groups)):
        choices = dict(zip(names, itertools.chain.from_iterable(rows), strict=True))
        if not conditional and not optimizer.when:
            yield choices
            continue
        values = labels | {name: choice.spelling for name, choice in choices.items()}
        for setting in conditional:
            if not holds(setting.when, values):
                _leave_out(setting, choices, values)
        key = tuple((name, id(choice)) for name, choice in choices.items())
        if holds(optimizer.when, values) and key not in seen:
            seen.add(key)
            yield choices


def _leave_out(setting: Setting, choices: dict[str, Choice], values: dict[str, str]) -> None:
    if setting.fallback is None:
        del choices[setting.name], values[setting.name]
    else:
        choices[setting.name] = setting.fallback
        values[setting.name] = setting.fallback.spelling


def _groups(
    problem: ProblemEntry, optimizer: OptimizerEntry
) -> list[tuple[tuple[str, ...], list[Row]]]:
    """The groups of settings that vary together: single ones, zipped ones, all random ones."""
    settings = [*problem.settings, *optimizer.settings]
    drawn = tuple(setting.name for setting in settings if setting.kind == "random")
    together = {name: names for names in (*optimizer.zips, drawn) for name in names}
    by_name = {setting.name: setting for setting in settings}
    groups: dict[tuple[str, ...], list[Row]] = {}
    for setting in settings:
        names = together.get(setting.name, (setting.name,))
        if names not in groups:
            groups[names] = [*zip(*(by_name[name].choices for name in names), strict=True)]
    return list(groups.items())


def _by_dependency(settings: Sequence[Setting]) -> list[Setting]:
    """The conditional settings, each after those on which its condition depends."""
    by_name = {setting.name: setting for setting in settings}
    ordered: dict[str, Setting] = {}

    def visit(name: str) -> None:
        for other in dependencies(name, by_name):
            visit(other)
        ordered.setdefault(name, by_name[name])

    for setting in settings:
        visit(setting.name)
    return [setting for setting in ordered.values() if setting.when]
