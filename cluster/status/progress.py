"""The progress of a sweep, and its time to go, by measurements of its own runs."""

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
    """The estimated time to go."""

    seconds: float | None  # None: unknown
    basis: str  # the measurements used, or why the time is unknown

    def __str__(self) -> str:
        """The estimate for the screen, with its basis."""
        return f"{self.short} ({self.basis})"

    @property
    def short(self) -> str:
        """The estimate for the screen, without its basis."""
        if self.seconds is None:
            return "time to go: unknown"
        return f"about {duration(max(1.0, self.seconds))} to go"


def done(one: RunStatus) -> int:
    """The epochs of a run that need no more work."""
    if one.state.state in RECORDED:
        return one.planned.run.epochs
    return one.state.epoch or 0


def wanted(runs: Sequence[RunStatus]) -> int:
    """The epochs of all the runs together."""
    return sum(one.planned.run.epochs for one in runs)


def eta(runs: Sequence[RunStatus], waiting: Collection[str] = (), lanes: int | None = None) -> Eta:
    """The time to go: measured start-up and epochs of each live run, divided by the runs at a time.

    It is never less than the longest of these runs needs. Runs that failed or were never sent are
    not counted: they do not go on by themselves.

    Args:
        runs: all runs of the sweep; measurements of done ones count, too.
        waiting: ids of the runs that workers of this machine have yet to begin.
        lanes: the number of runs at a time; default: as many as run now, which reflects a throttle
            and the room in the queue.
    """
    todo = [one for one in runs if one.is_live or one.planned.run.id in waiting]
    running = sum(one.state.state == "running" for one in todo)
    lanes = running if lanes is None else lanes
    if not todo:
        return Eta(None, "nothing waits or runs")
    if not lanes:
        return Eta(None, "nothing runs yet")
    epochs = _Medians((one.planned, one.state.epoch_s) for one in runs)
    starts = _Medians((one.planned, one.state.start_s) for one in runs)
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
    """The median of the runs' measured seconds per epoch."""
    measured = [one.state.epoch_s for one in runs if one.state.epoch_s]
    return statistics.median(measured) if measured else None


def _left(one: RunStatus) -> int:
    """The epochs that a run still needs."""
    return one.planned.run.epochs - done(one)


def _has_begun(one: RunStatus) -> bool:
    """Whether a run's start-up is over."""
    return one.state.state == "running" and one.state.epoch is not None


class _Medians:
    """Medians of measured values, for each problem and optimizer, and for each problem.

    Values of another problem say nothing: it may take a thousand times as long.
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
        """The expected value of a run; None: no run of its problem was measured."""
        pair = self._medians.get((planned.problem, planned.optimizer))
        return self._medians.get((planned.problem, None)) if pair is None else pair
