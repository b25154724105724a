"""Expected, completed, diverged, failed, missing, duplicate, extra: what became of every run."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import record, state
from jobs.attempts import RunFolder
from jobs.files import is_leftover
from jobs.results import findings
from jobs.results.reading import Result
from jobs.state import State
from jobs.store import Store
from jobs.sweep import PlannedRun, Run, Sweep

MISSING = ("pending", "running", "lost")
"""The states that are neither an outcome nor a failure."""


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """A planned run that has no record, and why."""

    planned: PlannedRun
    state: State

    def to_json(self) -> dict[str, Any]:
        """An entry of the ledger."""
        return {
            "id": self.planned.run.id,
            "cell": self.planned.run.cell,
            "problem": self.planned.problem,
            "optimizer": self.planned.optimizer,
            "seed": self.planned.run.seed,
            "state": self.state.state,
            "class": self.state.failure,
            "message": self.state.message,
            "log": self.state.log,
        }


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The count of a sweep's runs; `expected` = completed + diverged + failed + missing."""

    sweep: str
    expected: int
    states: Mapping[str, int]  # of the expected runs
    duplicate: int  # copies of records; each run is counted once
    conflicts: int  # copies that differ from the record
    extra: int  # runs that the spec does not ask for; not counted
    unsettled: tuple[Unsettled, ...]
    findings: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Expected runs that have neither an outcome nor a failure."""
        return sum(self.states.get(name, 0) for name in MISSING)

    @property
    def is_whole(self) -> bool:
        """Whether every expected run has one outcome, and no two copies disagree."""
        return not self.missing and not self.states.get("failed") and not self.conflicts

    def to_json(self) -> dict[str, Any]:
        """What `ledger.json` holds."""
        return {
            "schema": 1,
            "sweep": self.sweep,
            "expected": self.expected,
            "completed": self.states.get("completed", 0),
            "diverged": self.states.get("diverged", 0),
            "failed": self.states.get("failed", 0),
            "missing": self.missing,
            **{name: self.states.get(name, 0) for name in MISSING},
            "duplicate": self.duplicate,
            "extra": self.extra,
            "findings": list(self.findings),
            "unsettled": [entry.to_json() for entry in self.unsettled],
        }


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A sweep, its ledger, and a result (or None) per planned run."""

    sweep: Sweep
    ledger: Ledger
    results: tuple[Result | None, ...]

    @property
    def found(self) -> list[Result]:
        """The results that are there."""
        return [result for result in self.results if result is not None]


Track = Callable[[Sequence[PlannedRun]], Iterable[PlannedRun]]
"""Passes the planned runs through while it shows how far they are."""


def collect(store: Store, track: Track = iter) -> Collection:
    """Read every record of the sweep, and say what else lies in its folder.

    Nothing that lies there is fatal, and nothing but a run's own record in its own place counts.

    Raises:
        StoreError: the folder is no sweep.
    """
    sweep = store.sweep()
    results: list[Result | None] = []
    unsettled = []
    for planned in track(sweep.runs):
        result = _read(store.run(planned.run.id), planned)
        results.append(result if isinstance(result, Result) else None)
        if isinstance(result, Unsettled):
            unsettled.append(result)
    found = [result for result in results if result is not None]
    around = _Surroundings(store, {result.planned.run.id for result in found}, sweep)
    around.look()
    bad = [
        f"run {entry.planned.run.id} cannot be read: {entry.state.message}"
        for entry in unsettled
        if entry.state.failure in {"bad_record", "bad_files"}
    ]
    states = Counter(entry.state.state for entry in unsettled) + Counter(
        "diverged" if result.diverged else "completed" for result in found
    )
    ledger = Ledger(
        sweep=sweep.name,
        expected=len(sweep.runs),
        states=states,
        duplicate=around.duplicate,
        conflicts=around.conflicts,
        extra=around.extra,
        unsettled=tuple(unsettled),
        findings=(*bad, *around.findings, *findings.of(sweep, results)),
    )
    return Collection(sweep=sweep, ledger=ledger, results=tuple(results))


def _read(folder: RunFolder, planned: PlannedRun) -> Result | Unsettled:
    path = folder.record_file
    try:
        return Result.of(planned, record.read(path, run_id=folder.id))
    except FileNotFoundError:
        return Unsettled(planned=planned, state=_state_of(folder))
    except OSError as error:  # it may well be whole
        return Unsettled(planned=planned, state=_unreadable("bad_files", error, path))
    except record.RecordError as error:
        return Unsettled(planned=planned, state=_unreadable("bad_record", error, path))


def _state_of(folder: RunFolder) -> State:
    """The state by the run's other files, which may be garbage, too."""
    try:
        return state.of(folder)
    except (OSError, LookupError, TypeError, ValueError) as error:
        return _unreadable("bad_files", error, folder.path)


def _unreadable(failure: str, error: Exception, evidence: Path) -> State:
    return State(state="failed", failure=failure, message=str(error), evidence=str(evidence))


@dataclass
class _Surroundings:
    """What lies in a sweep's folder besides the records that count."""

    store: Store
    recorded: set[str]  # the expected runs that have a record
    sweep: Sweep
    findings: list[str] = field(default_factory=list)
    duplicate: int = 0
    conflicts: int = 0
    extra: int = 0

    def look(self) -> None:
        """Walk through the folder."""
        expected = {planned.run.id for planned in self.sweep.runs}
        for path in self.store.strangers():
            self._judge(path)
        for folder in self.store.folders():
            if folder.id in expected:
                for path in folder.strangers():
                    self._judge(path)
            elif _is_run(folder):
                self.extra += 1
                self.findings.append(
                    f"{self._name(folder.path)} is a run that the spec does not ask for; not counted"
                )
            elif folder.record_file.exists():
                self._judge(folder.record_file)
            else:
                self._judge(folder.path)

    def _judge(self, path: Path) -> None:
        name = self._name(path)
        if is_leftover(path):
            self.findings.append(f"{name} is the leftover of an interrupted write; not counted")
            return
        if ".json" not in path.name or not path.is_file():
            self.findings.append(f"{name} does not belong here; not counted")
            return
        try:
            copy = record.read(path)
        except (OSError, record.RecordError) as error:
            self.findings.append(f"{name} is no record: {error}; not counted")
            return
        if copy.id not in self.recorded:
            self.findings.append(
                f"{name} is the record of run {copy.id}, but lies in the wrong place; not counted"
            )
            return
        self.duplicate += 1
        if _same_outcome(copy, record.read(self.store.run(copy.id).record_file)):
            self.findings.append(f"{name} is a copy of the record of run {copy.id}; counted once")
        else:
            self.conflicts += 1
            self.findings.append(
                f"nondeterminism: {name} and the record of run {copy.id} "
                f"(cell {copy.run.cell}, seed {copy.run.seed}) differ"
            )

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.store.root))


def _same_outcome(one: record.Record, other: record.Record) -> bool:
    return (one.outcome, one.stop, one.curves) == (other.outcome, other.stop, other.curves)


def _is_run(folder: RunFolder) -> bool:
    """Whether the folder is that of a run: its record or its run.json has the id it is named by."""
    try:
        record.read(folder.record_file, run_id=folder.id)
    except (OSError, record.RecordError):
        return _id_of(folder.run_file) == folder.id
    return True


def _id_of(run_file: Path) -> str | None:
    try:
        return Run.from_json(json.loads(run_file.read_bytes())).id
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
