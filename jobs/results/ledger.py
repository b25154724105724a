"""Expected, completed, diverged, failed, missing, duplicate, extra: what became of every run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs import files
from jobs.results import extra, findings, records, tunings
from jobs.results.cells import Cell, group, name_of, reported
from jobs.results.extra import ExtraRun
from jobs.results.finding import Finding
from jobs.results.reading import Result, Unsettled
from jobs.results.records import Track
from jobs.results.selection import Selection, select
from jobs.results.tunings import TuningResult
from jobs.store import attempts, record
from jobs.store.attempts import RunFolder
from jobs.store.store import Store
from jobs.sweep import Sweep, Target

_BAD = {"bad_record": "has a record that is not counted", "bad_files": "cannot be read"}

MISSING = ("pending", "running", "stopped", "lost")
"""The states that are neither an outcome nor a failure."""


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
    on_files: tuple[Finding, ...]  # what lies in the folder, and what is tuned
    on_results: tuple[Finding, ...]  # what a reader of the numbers must know
    tunings: tuple[TuningResult, ...] = ()
    selections: tuple[Selection, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of the sweep."""
        return (*self.on_files, *self.on_results)

    @property
    def missing(self) -> int:
        """Expected runs that have neither an outcome nor a failure."""
        return sum(self.states.get(name, 0) for name in MISSING)

    @property
    def is_whole(self) -> bool:
        """Whether every expected run has one outcome, no two copies disagree, and all is chosen."""
        has_all = not self.missing and not self.states.get("failed") and not self.undecided
        return has_all and not self.conflicts

    @property
    def undecided(self) -> int:
        """Tunings that nothing is chosen of yet: runs will follow that are not expected so far."""
        return sum(one.why is not None for one in self.tunings)

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
            "findings": [one.to_json() for one in self.findings],
            "tunings": [one.to_json() for one in self.tunings],
            "selections": [one.to_json() for one in self.selections],
            "unsettled": [entry.to_json() for entry in self.unsettled],
        }


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A sweep, its ledger, and what became of each planned run."""

    sweep: Sweep
    store: Store
    ledger: Ledger
    outcomes: tuple[Result | Unsettled, ...]

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.sweep.name

    @property
    def problems(self) -> tuple[str, ...]:
        """Their labels, in the spec's order."""
        return self.sweep.problems

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Their labels, in the spec's order."""
        return self.sweep.optimizers

    @property
    def targets(self) -> Mapping[str, Target]:
        """What counts as solved, by problem label."""
        return self.sweep.targets

    @property
    def sweeps(self) -> list[str]:
        """Of each outcome the name of its sweep."""
        return [self.name] * len(self.outcomes)

    @property
    def stores(self) -> Mapping[str, Store]:
        """The folder of the sweep, by its name."""
        return {self.name: self.store}

    @property
    def tunings(self) -> tuple[TuningResult, ...]:
        """What came of each tuning."""
        return self.ledger.tunings

    @property
    def found(self) -> list[Result]:
        """The results that are there."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Result)]

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells in the order of the spec."""
        return group(self.outcomes, self.problems, self.optimizers, self.sweep.tunings)

    @property
    def selections(self) -> tuple[Selection, ...]:
        """The setting that stands for each optimizer on each problem."""
        return self.ledger.selections

    @property
    def on_files(self) -> tuple[Finding, ...]:
        """What was found in the sweep's folder, and of what is tuned."""
        return self.ledger.on_files

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of the sweep."""
        return self.ledger.findings

    @cached_property
    def reported(self) -> list[Cell]:
        """Those of them whose numbers are results: the evaluation, where there is one."""
        return reported(self.cells)


def collect(store: Store, track: Track = iter, *, keep: bool = True) -> Collection:
    """Read every record of the sweep, and say what else lies in its folder.

    Nothing that lies there is fatal, and nothing but a run's own record in its own place counts.

    Args:
        store: the sweep's folder.
        track: shows how far this is.
        keep: whether what is read of records is kept there, which makes the next time quick.

    Raises:
        StoreError: the folder is no sweep.
    """
    sweep = store.sweep()
    outcomes = records.read(store, sweep.runs, track, keep=keep)
    unsettled = tuple(outcome for outcome in outcomes if isinstance(outcome, Unsettled))
    found = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    around = _Surroundings(store, {result.planned.run.id for result in found}, sweep)
    around.look()
    states = Counter(entry.state.state for entry in unsettled) + Counter(
        "diverged" if result.diverged else "completed" for result in found
    )
    cells = group(outcomes, sweep.problems, sweep.optimizers, sweep.tunings)
    tuned = tunings.of(store, sweep, cells)
    told = filter(None, (one.finding for one in tuned))
    selected = select(cells)
    ledger = Ledger(
        sweep=sweep.name,
        expected=len(sweep.runs),
        states=states,
        duplicate=around.duplicate,
        conflicts=around.conflicts,
        extra=len(around.extra),
        unsettled=unsettled,
        on_files=(*_bad(unsettled), *around.findings, *told),
        on_results=tuple(findings.of(cells, selected)),
        tunings=tuned,
        selections=selected,
    )
    return Collection(sweep=sweep, store=store, ledger=ledger, outcomes=outcomes)


def _bad(unsettled: Iterable[Unsettled]) -> Iterator[Finding]:
    """The runs of which something lies there that is not counted."""
    for one in unsettled:
        if why := _BAD.get(one.state.failure or ""):
            run = one.planned.run.id
            text = f"run {run} {why} ({name_of(one.planned)}): {one.state.message}"
            yield Finding("unreadable", text, (run,))


@dataclass
class _Surroundings:
    """What lies in a sweep's folder besides the records that count."""

    store: Store
    recorded: set[str]  # the expected runs that have a record
    sweep: Sweep
    findings: list[Finding] = field(default_factory=list)
    duplicate: int = 0
    conflicts: int = 0
    extra: list[ExtraRun] = field(default_factory=list)

    def look(self) -> None:
        """Walk through the folder."""
        expected = {planned.run.id for planned in self.sweep.runs}
        names = self.store.names()
        of_runs = self.store.strangers_of(name for name in names if name in expected)
        for path in (*self.store.strangers(), *of_runs):
            self._judge(path)
        for folder in (self.store.run(name) for name in names if name not in expected):
            if (found := self._read(folder)) is not None:
                self.extra.append(found)
            elif folder.record_file.exists():
                self._judge(folder.record_file)
            else:
                self._judge(folder.path)
        self.findings += extra.findings(self.sweep, self.extra)

    def _read(self, folder: RunFolder) -> ExtraRun | None:
        """The run whose folder it is: its record or its run.json has the id it is named by."""
        name = self._name(folder.path)
        try:
            found = record.read(folder.record_file, run_id=folder.id)
        except (FileNotFoundError, record.RecordError):
            run = extra.run_of(folder)
            return ExtraRun(run, name, has_record=False) if run is not None else None
        return ExtraRun(found.run, name, has_record=True)

    def _judge(self, path: Path) -> None:
        name = self._name(path)
        if files.is_leftover(path):
            self._find("leftover", f"{name} is the leftover of an interrupted write; not counted")
            return
        if attempts.is_set_aside(path):
            self._find(
                "set_aside", f"{name} was set aside when its run was sent again; not counted"
            )
            return
        if ".json" not in path.name or not path.is_file():
            self._find("stranger", f"{name} does not belong here; not counted")
            return
        try:
            copy = record.read(path)
        except (OSError, record.RecordError) as error:
            self._find("stranger", f"{name} is no record: {error}; not counted")
            return
        if copy.id not in self.recorded:
            text = (
                f"{name} is the record of run {copy.id}, but lies in the wrong place; not counted"
            )
            self._find("misplaced", text, copy.id)
            return
        self.duplicate += 1
        if _same_outcome(copy, record.read(self.store.run(copy.id).record_file)):
            text = f"{name} is a copy of the record of run {copy.id}; counted once"
            self._find("duplicate", text, copy.id)
        else:
            self.conflicts += 1
            text = (
                f"nondeterminism: {name} and the record of run {copy.id} "
                f"(cell {copy.run.cell}, seed {copy.run.seed}) differ"
            )
            self._find("conflict", text, copy.id)

    def _find(self, code: str, text: str, *runs: str) -> None:
        self.findings.append(Finding(code, text, runs))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.store.root))


def _same_outcome(one: record.Record, other: record.Record) -> bool:
    return (one.outcome, one.stop, one.curves) == (other.outcome, other.stop, other.curves)
