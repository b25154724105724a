"""The tunings of a sweep: competing settings, their seeds, and the number of their runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from jobs.problems.catalog import PROBLEMS
from jobs.spec.context import Context
from jobs.spec.expand import Cell, count
from jobs.spec.optimizers import OptimizerEntry
from jobs.spec.problems import BASIC, ProblemEntry
from jobs.spec.roles import Tune
from jobs.sweep import PlannedRun, Role
from jobs.tuning import Tuning
from jobs.yaml.mistakes import Place

Runs = Sequence[tuple[PlannedRun, Cell]]


def most_runs(
    problems: Sequence[ProblemEntry], optimizer: OptimizerEntry, seeds: Mapping[int, Place]
) -> int:
    """The largest number of an optimizer's runs, counting those of every setting it may choose."""
    tuning = len(optimizer.tune.seeds) if optimizer.tune else 0
    return count(problems, [optimizer]) * (tuning + len(seeds))


def seeds_of(cell: Cell, evaluation: Iterable[int]) -> Iterator[tuple[int, Role]]:
    """The seeds of a cell's runs, with their roles."""
    for seed in cell.optimizer.tune.seeds if cell.optimizer.tune else ():
        yield seed, "tuning"
    for seed in evaluation:
        yield seed, "evaluation"


def follows_from_choice(planned: PlannedRun, cell: Cell) -> bool:
    """Whether the run belongs to the sweep only once its setting is chosen."""
    return cell.optimizer.tune is not None and planned.role == "evaluation"


def tunings(context: Context, runs: Runs) -> Iterator[Tuning]:
    """A tuning per problem, value of its axes, and tuned optimizer; mistakes are noted."""
    groups: dict[tuple[object, ...], list[tuple[PlannedRun, Cell]]] = {}
    for planned, cell in runs:
        if cell.optimizer.tune is not None:
            axes = (cell.choices[name].spelling for name in BASIC)
            key = (planned.problem, planned.optimizer, *axes)
            groups.setdefault(key, []).append((planned, cell))
    for members in groups.values():
        tune = members[0][1].optimizer.tune
        if tune is not None:
            yield from _tuning(context, tune, members)


def _tuning(context: Context, tune: Tune, members: Runs) -> Iterator[Tuning]:
    """The tuning of one group; none if its settings cannot be compared, or no run would follow."""
    seeds: dict[str, dict[Role, list[int]]] = {}
    for planned, _ in members:
        of_cell = seeds.setdefault(planned.run.cell, {"tuning": [], "evaluation": []})
        of_cell[planned.role].append(planned.run.seed)
    first, (planned, _) = next(iter(seeds.values())), members[0]
    names = f"{planned.optimizer!r} on {planned.problem!r}"
    info = PROBLEMS.get(planned.run.problem)
    if info is not None and not info.has_accuracy and tune.criterion.metric.endswith("accuracy"):
        message = f"{info.name} has no accuracy; choose by a loss, as in valid_loss final"
        context.add_once(tune.choose, f"{tune.path}.choose", message)
    wrong = None
    if any(of_cell != first for of_cell in seeds.values()):
        wrong = f"leaves the settings of {names} different seeds: they could not be compared"
    elif not first["tuning"] or not first["evaluation"]:
        role = "evaluation" if first["tuning"] else "tuning"
        wrong = f"leaves {names} no seed for {role}"
    if wrong is not None:
        context.add_once(tune.place, tune.path, f"`exclude` {wrong}")
        return
    yield Tuning(
        problem=planned.problem,
        optimizer=planned.optimizer,
        cells=tuple(seeds),
        seeds=tuple(first["tuning"]),
        evaluation=tuple(first["evaluation"]),
        criterion=tune.criterion,
    )
