"""How far a sweep is, and how long it will still take, by what was measured of its own runs."""

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cluster.status.run_status import RunStatus
from jobs.store.state import RECORDED
from jobs.sweep import PlannedRun
from jobs.units import duration


@dataclass(frozen=True)
class Eta:
    """How long it will take."""

    seconds: float | None  # None: not known
    basis: str  # what it rests on, or why it is not known

    def __str__(self) -> str:
        """For the screen."""
        return f"{self.short} ({self.basis})"

    @property
    def short(self) -> str:
        """Without what it rests on."""
        if self.seconds is None:
            return "time to go: unknown"
        return f"about {duration(max(1.0, self.seconds))} to go"


def done(one: RunStatus) -> int:
    """Epochs that need no more work."""
    if one.state.state in RECORDED:
        return one.planned.run.epochs
    return one.state.epoch or 0


def wanted(runs: Sequence[RunStatus]) -> int:
    """Epochs of all the runs together."""
    return sum(one.planned.run.epochs for one in runs)


def eta(runs: Sequence[RunStatus], waiting: Collection[str] = (), lanes: int | None = None) -> Eta:
    """What waits or runs: measured start-up and epochs of each, shared by as many as run at a time.

    Never less than the longest of these runs needs. Runs that failed or were never sent are not
    counted: nobody works on them.

    Args:
        runs: all of them; what was measured of those that are done counts, too.
        waiting: ids of the runs that workers of this machine will come to.
        lanes: runs at a time; default: as many as run now. A throttle, and room in the queue, show
            in that.
    """
    todo = [one for one in runs if one.is_live or one.planned.run.id in waiting]
    running = sum(one.state.state == "running" for one in todo)
    lanes = running if lanes is None else lanes
    if not todo:
        return Eta(None, "nothing waits or runs")
    if not lanes:
        return Eta(None, "nothing runs yet")
    epochs = _Measured((one.planned, one.state.epoch_s) for one in runs)
    starts = _Measured((one.planned, one.state.start_s) for one in runs)
    if not epochs.number:
        return Eta(None, "no epoch has been measured yet")
    work = []
    for one in todo:
        rate = epochs.of(one.planned)
        if rate is None:
            return Eta(None, f"no epoch of {one.planned.problem} has been measured yet")
        work.append(_left(one) * rate + (0.0 if _has_begun(one) else starts.of(one.planned) or 0.0))
    basis = f"{running} run now; epochs timed in {epochs.number} runs"
    if not starts.number and not all(map(_has_begun, todo)):
        basis += ", start-up in none"
    return Eta(max(sum(work) / lanes, *work), basis)


def seconds_per_epoch(runs: Sequence[RunStatus]) -> float | None:
    """The median over the runs that were measured."""
    measured = [one.state.epoch_s for one in runs if one.state.epoch_s]
    return statistics.median(measured) if measured else None


def _left(one: RunStatus) -> int:
    """Epochs that a run still needs."""
    return one.planned.run.epochs - done(one)


def _has_begun(one: RunStatus) -> bool:
    """Whether the start of a run is behind it."""
    return one.state.state == "running" and one.state.epoch is not None


class _Measured:
    """What was measured of runs: medians of each problem and optimizer, and of each problem.

    Another problem may take a thousand times as long: it says nothing.
    """

    def __init__(self, values: Iterable[tuple[PlannedRun, float | None]]) -> None:
        found: defaultdict[tuple[str, str | None], list[float]] = defaultdict(list)
        self.number = 0  # of runs
        for planned, value in values:
            if value is not None:
                self.number += 1
                found[planned.problem, planned.optimizer].append(value)
                found[planned.problem, None].append(value)
        self._medians = {key: statistics.median(known) for key, known in found.items()}

    def of(self, planned: PlannedRun) -> float | None:
        """What may be expected of a run; None: nothing like it was measured."""
        pair = self._medians.get((planned.problem, planned.optimizer))
        return self._medians.get((planned.problem, None)) if pair is None else pair
