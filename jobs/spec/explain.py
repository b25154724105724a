"""The origin of each value of a run: a position in the spec, or words."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.resources import written
from jobs.spec.expand import Cell
from jobs.spec.hyperparameters import of_setting
from jobs.spec.plan import Plan
from jobs.spec.problems import BASIC
from jobs.spec.signature import Parameter
from jobs.sweep import PlannedRun
from jobs.yaml.mistakes import Mistake, Place, SpecError, listed


@dataclass(frozen=True, slots=True)
class Origin:
    """One value of a run and its origin: `file:line:column`, or words ("pinned by Momentum")."""

    name: str
    value: Any
    source: str


def find_run(plan: Plan, prefix: str) -> int:
    """The index, in `plan.everything()`, of the run whose id begins with `prefix`.

    Raises:
        SpecError: no run's id, or more than one, begins with it.
    """
    ids = [planned.run.id for planned, _ in plan.everything()]
    matching = [index for index, found in enumerate(ids) if prefix and found.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        message = f"{prefix!r} begins {len(matching)} ids: {listed([ids[i] for i in matching], 5)}"
    else:
        near = difflib.get_close_matches(prefix, ids, n=3, cutoff=0.3) or ids[:3]
        message = f"no run {prefix!r} of the {len(ids)} in this sweep; nearest: {listed(near)}"
    raise SpecError([Mistake.at(Place(next(iter(plan.sweep.sources))), "run", message)])


def explain_run(plan: Plan, index: int) -> list[Origin]:
    """Every value that defines the run, the defaults of its optimizer, then its resources."""
    planned, cell = plan.everything()[index]
    _, said = cell.resources(plan.resources)
    resources = [
        Origin(f"resources.{name}", written(name, one.value), str(one.place))
        for name, one in said.items()
    ]
    return [*_basics(plan, planned, cell), *_hyperparameters(cell), *resources]


def default_of(parameter: Parameter) -> Any:
    """The default of a class's parameter: a value, or its source text if that is no literal."""
    is_literal = parameter.default is not None or parameter.written == "None"
    return parameter.default if is_literal else parameter.written


def defaults(cell: Cell) -> Iterator[Parameter]:
    """The hyperparameters of the optimizer's class that the cell does not set."""
    signature = cell.optimizer.signature
    given = {setting.name for setting in cell.optimizer.settings}
    given = {of_setting(name) for name in cell.choices if name in given}
    for parameter in signature.parameters.values() if signature else ():
        if parameter.name not in given:
            yield parameter


def _basics(plan: Plan, planned: PlannedRun, cell: Cell) -> Iterator[Origin]:
    run = planned.run
    yield Origin("problem", run.problem, cell.problem.source)
    yield Origin("optimizer", run.optimizer, cell.optimizer.source)
    tune = cell.optimizer.tune if planned.role == "tuning" else None
    yield Origin("seed", run.seed, str((tune.seeds if tune else plan.seeds)[run.seed]))
    for name in ("epochs", "batch_size", "init"):
        yield Origin(name, getattr(run, name), cell.choices[name].source)
    yield Origin("protocol", run.protocol, plan.protocol)


def _hyperparameters(cell: Cell) -> Iterator[Origin]:
    for name, choice in cell.choices.items():
        if name not in BASIC:
            yield Origin(name, choice.value, choice.source)
    for parameter in defaults(cell):
        yield Origin(parameter.name, default_of(parameter), f"default of {cell.optimizer.path}")
