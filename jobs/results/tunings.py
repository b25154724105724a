"""What came of each tuning: what was chosen from what, or why nothing is chosen yet."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jobs import files
from jobs.results.cells import Cell, name_of, name_some, spell_seeds
from jobs.results.finding import Finding
from jobs.results.reading import Result
from jobs.store import choosing
from jobs.store.choosing import Undecided
from jobs.store.store import Store
from jobs.sweep import Sweep
from jobs.text import described, spelled
from jobs.tuning import Candidate, Choice, Criterion, Tuning, best


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """A tuning, and what came of it."""

    tuning: Tuning
    candidates: tuple[Candidate, ...]  # of the choice, or else by the records that there are
    why: str | None  # nothing is chosen yet; None: one is
    evaluated: tuple[str, ...] = ()  # runs of the chosen setting, on the evaluation seeds
    vanished: tuple[str, ...] = ()  # runs whose records are not those that it was chosen from

    @property
    def chosen(self) -> Candidate | None:
        """The setting that was chosen."""
        return next((one for one in self.candidates if one.cell == self.tuning.chosen), None)

    @property
    def next_best(self) -> Candidate | None:
        """The one that would have been chosen without it."""
        others = [one for one in self.candidates if one.cell != self.tuning.chosen]
        return best(others, self.tuning.criterion)

    def __str__(self) -> str:
        """The choice in a line; what is undecided is told by `finding`."""
        tuning, chosen = self.tuning, self.chosen
        if chosen is None:
            return str(self.finding)
        setting, value = self._name(chosen) or "its only setting", _spell(chosen.value)
        line = (
            f"{self.name}: {setting} chosen of {_count(len(self.candidates))} by {tuning.criterion} "
            f"on {spell_seeds(tuning.seeds)}: {value}"
        )
        if (second := self.next_best) is not None:
            line += f" (next: {self._name(second)}, {_spell(second.value)})"
        diverged = sum(one.diverged > 0 for one in self.candidates)
        return f"{line}; {diverged} diverged" if diverged else line

    @property
    def finding(self) -> Finding | None:
        """What a reader must know: nothing is chosen, or from records that are gone; None: nothing."""
        if self.why is not None:
            number = len(self.tuning.evaluation)
            plural = "evaluation run is" if number == 1 else "evaluation runs are"
            why = f"nothing chosen yet: {self.why}; {number} {plural} not planned yet"
            return Finding("undecided", f"{self.name}: {why}")
        if not self.vanished or self.chosen is None:
            return None
        many = len(self.vanished)
        records = "a record that is" if many == 1 else f"{many} records that are"
        setting = self._name(self.chosen) or "its only setting"
        which = name_some(self.vanished)
        text = f"{self.name}: {setting} was chosen from {records} not there any more: {which}"
        return Finding("vanished_records", text, self.evaluated)

    @property
    def name(self) -> str:
        """The tuning for a person: problem, optimizer, and what all its settings have in common."""
        common = described(self._common)
        return f"{self.tuning.problem} {self.tuning.optimizer} {common}".strip()

    @cached_property
    def _common(self) -> Mapping[str, Any]:
        settings = [one.setting for one in self.candidates]
        if len(settings) < 2:
            return {}
        return {
            key: value
            for key, value in settings[0].items()
            if all(key in other and other[key] == value for other in settings)
        }

    @cached_property
    def _apart(self) -> Sequence[Mapping[str, Any]]:
        """Of each setting what others have otherwise."""
        return [
            {key: value for key, value in one.setting.items() if key not in self._common}
            for one in self.candidates
        ]

    def _name(self, candidate: Candidate) -> str:
        """What sets a setting apart from the others, with all digits where it needs them."""
        own = self._apart[self.candidates.index(candidate)]
        is_alone = [described(one) for one in self._apart].count(described(own)) == 1
        return described(own, exact=not is_alone)

    def to_json(self) -> dict[str, Any]:
        """An entry of `ledger.json`."""
        return {
            "problem": self.tuning.problem,
            "optimizer": self.tuning.optimizer,
            "criterion": str(self.tuning.criterion),
            "seeds": list(self.tuning.seeds),
            "chosen": dict(self.chosen.setting) if self.chosen else None,
            "why": self.why,
            "candidates": [
                {
                    "cell": one.cell,
                    "setting": dict(one.setting),
                    "value": one.value,
                    "diverged": one.diverged,
                }
                for one in self.candidates
            ],
        }


def of(store: Store, sweep: Sweep, cells: Sequence[Cell]) -> tuple[TuningResult, ...]:
    """What came of each tuning of the sweep, in the spec's order.

    Args:
        store: the sweep's folder.
        sweep: what it asks for, with what was chosen.
        cells: the sweep's cells, with their results.
    """
    return tuple(_result(store, sweep, tuning, cells) for tuning in sweep.tunings)


def _result(store: Store, sweep: Sweep, tuning: Tuning, cells: Sequence[Cell]) -> TuningResult:
    choice = store.choice(tuning.key) if tuning.chosen is not None else None
    if choice is not None:
        names = {one.run.id: name_of(one) for one in sweep.competing[tuning.key]}
        return TuningResult(
            tuning=tuning,
            candidates=choice.candidates,
            why=None,
            evaluated=tuple(
                planned.run.id
                for cell in cells
                if cell.tuning == tuning and cell.role == "evaluation"
                for planned in cell.planned
            ),
            vanished=tuple(_vanished(store, choice, names)),
        )
    own = [one for one in cells if one.tuning == tuning and one.role == "tuning"]
    candidates = tuple(_so_far(cell, tuning.criterion) for cell in own)
    return TuningResult(tuning=tuning, candidates=candidates, why=_why(store, sweep, tuning))


def _why(store: Store, sweep: Sweep, tuning: Tuning) -> str:
    try:
        found = choosing.judged(store, sweep, tuning)
    except (OSError, LookupError, TypeError, ValueError) as error:  # files that hold garbage
        return str(error)
    if isinstance(found, Undecided):
        return found.why
    return "all tuning runs are done, and the next submission chooses"


def _vanished(store: Store, choice: Choice, names: Mapping[str, str]) -> Iterator[str]:
    """The runs of the choice whose records are gone, or are others now."""
    for candidate in choice.candidates:
        for run, sha256 in candidate.records.items():
            if _sha256(store, run) != sha256:
                yield f"run {run} ({names[run]})" if run in names else f"run {run}"


def _sha256(store: Store, run: str) -> str | None:
    try:
        return hashlib.sha256(files.read(store.run(run).record_file)).hexdigest()
    except OSError:
        return None


def _so_far(cell: Cell, criterion: Criterion) -> Candidate:
    """How a setting does by the records there are; it has no value before it has all of them."""
    of = Result.final if criterion.at == "final" else Result.best
    values = [of(result, criterion.metric) for result in cell.completed]
    is_whole = len(values) == len(cell.planned) and all(map(math.isfinite, values))
    return Candidate(
        cell=cell.id,
        setting=cell.varied,
        lr=None,
        records={},
        value=math.fsum(values) / len(values) if is_whole else None,
        diverged=len(cell.diverged),
    )


def _spell(value: float | None) -> str:
    return "unknown" if value is None else spelled(value)


def _count(settings: int) -> str:
    return "1 setting" if settings == 1 else f"{settings} settings"
