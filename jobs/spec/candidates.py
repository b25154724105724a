"""Which settings of a sweep compete, each with which seeds: its tunings."""

from collections.abc import Iterator, Sequence

from jobs.spec.context import Context
from jobs.spec.expand import Cell
from jobs.spec.problems import BASIC
from jobs.sweep import PlannedRun
from jobs.tuning import Tuning

Runs = Sequence[tuple[PlannedRun, Cell]]


def tunings(context: Context, runs: Runs) -> Iterator[Tuning]:
    """A tuning per problem, value of its axes, and optimizer that is tuned; odd ones are noted."""
    groups: dict[tuple[object, ...], list[tuple[PlannedRun, Cell]]] = {}
    for planned, cell in runs:
        if cell.optimizer.tune is not None:
            key = (
                planned.problem,
                planned.optimizer,
                *(cell.choices[name].spelling for name in BASIC),
            )
            groups.setdefault(key, []).append((planned, cell))
    for members in groups.values():
        yield from _tuning(context, members)


def _tuning(context: Context, members: Runs) -> Iterator[Tuning]:
    """The tuning of one group; none if its settings do not all have the same seeds."""
    seeds: dict[str, dict[str, list[int]]] = {}
    for planned, _ in members:
        found = seeds.setdefault(planned.run.cell, {"tuning": [], "evaluation": []})
        found[planned.role].append(planned.run.seed)
    first, (planned, cell) = next(iter(seeds.values())), members[0]
    tune = cell.optimizer.tune
    if tune is None:
        return
    if any(found != first for found in seeds.values()) or not first["tuning"]:
        message = (
            f"`exclude` leaves the settings of {planned.optimizer!r} on {planned.problem!r}"
            " different seeds: they could not be compared"
        )
        context.add_once(tune.place, tune.path, message)
        return
    yield Tuning(
        problem=planned.problem,
        optimizer=planned.optimizer,
        cells=tuple(seeds),
        seeds=tuple(first["tuning"]),
        evaluation=tuple(first["evaluation"]),
        criterion=tune.criterion,
    )
