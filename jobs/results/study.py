"""A study puts several sweeps side by side, in one table or figure; each run is counted once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from jobs.results import findings, ledger
from jobs.results.cells import Cell, group, name_some, reported
from jobs.results.finding import Finding
from jobs.results.ledger import Collection
from jobs.results.reading import Result, Unsettled
from jobs.results.records import Track
from jobs.results.same_labels import Labels, told_apart
from jobs.results.selection import Mode, Selection, select
from jobs.results.tunings import TuningResult
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Target

Outcome = Result | Unsettled


class Results(Protocol):
    """What tables and figures show: a `Collection` of one sweep, or a `Study` of several."""

    @property
    def name(self) -> str:
        """What they are of."""

    @property
    def problems(self) -> Sequence[str]:
        """Labels, in the order in which they are shown."""

    @property
    def optimizers(self) -> Sequence[str]:
        """Labels, in the order in which they are shown."""

    @property
    def targets(self) -> Mapping[str, Target]:
        """What counts as solved, by problem label."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What became of each planned run."""

    @property
    def sweeps(self) -> Sequence[str]:
        """Of each outcome the name of its sweep."""

    @property
    def stores(self) -> Mapping[str, Store]:
        """The folder of each sweep, by its name."""

    @property
    def found(self) -> Sequence[Result]:
        """The results that are there."""

    @property
    def cells(self) -> Sequence[Cell]:
        """All cells."""

    @property
    def reported(self) -> Sequence[Cell]:
        """Those whose numbers are results."""

    @property
    def selections(self) -> Sequence[Selection]:
        """The setting that stands for each optimizer on each problem."""

    @property
    def tunings(self) -> Sequence[TuningResult]:
        """What came of each tuning."""

    @property
    def on_files(self) -> Sequence[Finding]:
        """What was found in the sweeps' folders."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What was found there, and what a reader of the numbers must know."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Several sweeps, and what became of each run of any of them."""

    members: Mapping[str, Collection]  # by name
    problems: tuple[str, ...]
    optimizers: tuple[str, ...]
    targets: Mapping[str, Target]
    outcomes: tuple[Outcome, ...]
    sweeps: tuple[str, ...]  # of each outcome the sweep that its record is from
    tunings: tuple[TuningResult, ...]
    conflicts: int  # runs with other numbers in another sweep
    across: tuple[Finding, ...]  # what there is to say of the sweeps together, but for the results
    mode: Mode = "final"  # by which settings are selected

    @property
    def name(self) -> str:
        """The sweeps' names."""
        return " + ".join(self.members)

    @property
    def stores(self) -> Mapping[str, Store]:
        """The folder of each sweep, by its name."""
        return {name: one.store for name, one in self.members.items()}

    @property
    def found(self) -> list[Result]:
        """The results that are there."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Result)]

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells in the order of the sweeps and their specs; one setting of two sweeps is one."""
        chosen = [one.tuning for one in self.tunings]
        return group(self.outcomes, self.problems, self.optimizers, chosen)

    @cached_property
    def reported(self) -> list[Cell]:
        """Those of them whose numbers are results: the evaluation, where there is one."""
        return reported(self.cells)

    @cached_property
    def selections(self) -> tuple[Selection, ...]:
        """The setting that stands for each optimizer on each problem."""
        return select(self.cells, self.mode)

    @cached_property
    def on_files(self) -> tuple[Finding, ...]:
        """What was found in each sweep's folder, and how the sweeps go together."""
        own = (
            replace(finding, text=f"{name}: {finding}")
            for name, member in self.members.items()
            for finding in member.ledger.on_files
        )
        return (*own, *self.across)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found on files, and on all results compared."""
        return (*self.on_files, *findings.of(self.cells, self.selections))

    @property
    def is_whole(self) -> bool:
        """Whether each sweep is, and no two of them contradict each other."""
        return all(one.ledger.is_whole for one in self.members.values()) and not self.conflicts


def collect(stores: Sequence[Store], track: Track = iter, *, keep: bool = True) -> Study:
    """Read every record of the sweeps, which are no two the same; see `ledger.collect`.

    Raises:
        StoreError: a folder is no sweep.
    """
    collections = [ledger.collect(store, track, keep=keep) for store in stores]
    names = Counter(one.sweep.name for one in collections)
    return of(
        {
            one.sweep.name if names[one.sweep.name] == 1 else str(store.root): one
            for store, one in zip(stores, collections, strict=True)
        }
    )


def of(members: Mapping[str, Collection]) -> Study:
    """The sweeps side by side, by name."""
    labels = told_apart({name: one.sweep for name, one in members.items()})
    merged = _Merged()
    for name, one in members.items():
        merged.add(name, [_relabelled(outcome, labels, name) for outcome in one.outcomes])
    tunings: dict[tuple[str, str, str], TuningResult] = {}
    for name, one in members.items():
        for tuned in one.ledger.tunings:
            found = replace(tuned, tuning=labels.of_tuning(name, tuned.tuning))
            key = (found.tuning.problem, found.tuning.optimizer, found.tuning.key)
            tunings.setdefault(key, found)
    sweeps = [(name, one.sweep) for name, one in members.items()]
    problems = [labels.problem(name, label) for name, one in sweeps for label in one.problems]
    optimizers = [labels.optimizer(name, label) for name, one in sweeps for label in one.optimizers]
    return Study(
        members=members,
        problems=tuple(dict.fromkeys(problems)),
        optimizers=tuple(dict.fromkeys(optimizers)),
        targets={
            labels.problem(name, label): target
            for name, one in sweeps
            for label, target in one.targets.items()
        },
        outcomes=tuple(merged.outcomes),
        sweeps=tuple(merged.sweeps),
        tunings=tuple(tunings.values()),
        conflicts=len(merged.conflicts),
        across=(*labels.findings, *merged.findings()),
    )


def selected_by(results: Collection | Study, mode: Mode) -> Collection | Study:
    """The same results with settings that are selected by another mode, and what is found of these."""
    if isinstance(results, Study):
        return replace(results, mode=mode)
    chosen = select(results.cells, mode)
    found = tuple(findings.of(results.cells, chosen))
    return replace(results, ledger=replace(results.ledger, selections=chosen, on_results=found))


def _relabelled(outcome: Outcome, labels: Labels, sweep: str) -> Outcome:
    planned = labels.of_run(sweep, outcome.planned)
    return outcome if planned is outcome.planned else _as(outcome, planned)


def _as(outcome: Outcome, planned: PlannedRun) -> Outcome:
    return replace(outcome, planned=planned)


class _Merged:
    """The outcomes of several sweeps, one after the other; of a run that two have, the first."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.sweeps: list[str] = []
        self.conflicts: list[Finding] = []
        self._owner: dict[str, str] = {}  # the sweep in which a run was first
        self._shared: dict[tuple[str, str], list[str]] = {}  # runs of two sweeps

    def add(self, sweep: str, outcomes: Sequence[Outcome]) -> None:
        """Add those of a sweep."""
        before = {one.planned.run.id: at for at, one in enumerate(self.outcomes)}
        for outcome in outcomes:
            run = outcome.planned.run.id
            if run in before:
                self._join(sweep, outcome, before[run])
            else:
                self._owner[run] = sweep
                self.outcomes.append(outcome)
                self.sweeps.append(sweep)

    def _join(self, sweep: str, outcome: Outcome, at: int) -> None:
        """The same run again: it stands for the first one only where that has no record."""
        first, run = self.outcomes[at], outcome.planned.run.id
        self._shared.setdefault((self._owner[run], sweep), []).append(run)
        if not isinstance(outcome, Result):
            return
        if isinstance(first, Result):
            if not _is_same(first, outcome):
                seed = outcome.planned.run.seed
                text = (
                    f"nondeterminism: run {run} (seed {seed}) has other numbers in {sweep} than in "
                    f"{self.sweeps[at]}, which is counted"
                )
                self.conflicts.append(Finding("conflict", text, (run,)))
        else:
            self.outcomes[at], self.sweeps[at] = _as(outcome, first.planned), sweep

    def findings(self) -> Iterator[Finding]:
        """What is in several sweeps, and what is not the same there."""
        for (first, second), runs in self._shared.items():
            apart = tuple(dict.fromkeys(runs))
            names = name_some([f"run {run}" for run in apart])
            text = f"in {first} and in {second}, counted once, as {first} calls it: {names}"
            yield Finding("shared_runs", text, apart)
        yield from self.conflicts


def _is_same(one: Result, other: Result) -> bool:
    if (one.diverged, one.stop) != (other.diverged, other.stop):
        return False
    return one.curves.keys() == other.curves.keys() and all(
        np.array_equal(curve, other.curves[name], equal_nan=True)
        for name, curve in one.curves.items()
    )
