"""Runs that lie in a sweep's folder although its spec does not ask for them, by label and setting."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jobs import files
from jobs.canonical import Value
from jobs.results.cells import name_some, spell_seeds
from jobs.results.finding import Finding
from jobs.store.attempts import RunFolder
from jobs.sweep import PlannedRun, Run, Sweep
from jobs.text import described

_MANY_LABELS = 3  # of one class: then the class tells more


@dataclass(frozen=True)
class ExtraRun:
    """A run that no planned run is."""

    run: Run
    place: str  # its folder, as a person finds it
    has_record: bool


def findings(sweep: Sweep, extra: Sequence[ExtraRun]) -> list[Finding]:
    """A line per cell of such runs."""
    cells: dict[str, list[ExtraRun]] = {}
    for one in extra:
        cells.setdefault(one.run.cell, []).append(one)
    return [_finding(sweep, members) for members in cells.values()]


def _finding(sweep: Sweep, members: Sequence[ExtraRun]) -> Finding:
    run = members[0].run
    seeds = spell_seeds(one.run.seed for one in members)
    records = sum(one.has_record for one in members)
    text = (
        f"the spec does not ask for {_name(sweep, run)} ({seeds}; {records} of {len(members)} with a "
        f"record): {name_some([one.place for one in members])}; not counted"
    )
    return Finding("extra_runs", text, tuple(one.run.id for one in members))


def _name(sweep: Sweep, run: Run) -> str:
    """Labels are taken from the planned runs of the same classes: the run itself knows none."""
    alike = [one for one in sweep.runs if one.run.problem == run.problem]
    problem = _labels(run.problem, [one.problem for one in alike])
    same = [one for one in alike if one.run.optimizer == run.optimizer] or [
        one for one in sweep.runs if one.run.optimizer == run.optimizer
    ]
    optimizer = _labels(run.optimizer, [one.optimizer for one in same])
    return f"{problem} {optimizer} {described(_setting(run, alike))}".strip()


def _labels(path: str, labels: Sequence[str]) -> str:
    """What a class is called; if the spec calls it by several names nobody knows which it was."""
    found = list(dict.fromkeys(labels))
    return " or ".join(found) if 0 < len(found) <= _MANY_LABELS else path


def _setting(run: Run, alike: Sequence[PlannedRun]) -> dict[str, Value]:
    """Its hyperparameters, its regime, and of the rest what no planned run of its problem has."""
    rest = {name: getattr(run, name) for name in ("epochs", "batch_size", "init", "protocol")}
    planned = {name: [getattr(one.run, name) for one in alike] for name in rest}
    unplanned = {name: value for name, value in rest.items() if value not in planned[name]}
    return {**run.hyperparameters, **run.regime, **unplanned}


def run_of(folder: RunFolder) -> Run | None:
    """The run of the folder's run.json, if the folder is named by it."""
    try:
        content = json.loads(files.read(folder.run_file))
        run = Run.from_json(content)
        is_own = run.id == folder.id and isinstance(content["seed"], int)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return run if is_own else None
