"""How far a sweep is, and how long it will still take, by the epochs that were measured."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.standing import Standing


@dataclass(frozen=True)
class Eta:
    """How long it will take."""

    seconds: float | None  # None: not known
    basis: str  # what it rests on, or why it is not known

    def __str__(self) -> str:
        """For the screen."""
        if self.seconds is None:
            return f"time to go: not known ({self.basis})"
        return f"about {duration(self.seconds)} to go ({self.basis})"


def done(standing: Standing) -> int:
    """Epochs that need no more work."""
    if standing.state.state in {"completed", "diverged"}:
        return standing.planned.run.epochs
    return standing.state.epoch or 0


def wanted(standings: Sequence[Standing]) -> int:
    """Epochs of all the runs together."""
    return sum(standing.planned.run.epochs for standing in standings)


def eta(standings: Sequence[Standing]) -> Eta:
    """Remaining epochs of what waits or runs x their measured seconds / runs running now.

    Never less than the longest of the runs that run now still needs. Runs that failed or were
    never sent are not counted: nobody works on them.
    """
    live = [standing for standing in standings if standing.is_live]
    running = [standing for standing in live if standing.state.state == "running"]
    if not live:
        return Eta(None, "nothing waits or runs")
    if not running:
        return Eta(None, "nothing runs yet")
    rates = _rates(standings)
    if not rates:
        return Eta(None, "no epoch has been measured yet")
    work = {id(standing): _left(standing, rates) for standing in live}
    measured = sum(1 for standing in standings if standing.state.epoch_s)
    longest = max(work[id(standing)] for standing in running)
    seconds = max(sum(work.values()) / len(running), longest)
    return Eta(seconds, f"{len(running)} run now; epochs timed in {measured} runs")


def seconds_per_epoch(standings: Sequence[Standing]) -> float | None:
    """The median over the runs that were measured."""
    measured = [standing.state.epoch_s for standing in standings if standing.state.epoch_s]
    return statistics.median(measured) if measured else None


_Key = tuple[str | None, str | None]


def _rates(standings: Sequence[Standing]) -> Mapping[_Key, float]:
    """Median seconds per epoch of each problem and optimizer, of each problem, and of all."""
    found: defaultdict[_Key, list[float]] = defaultdict(list)
    for standing in standings:
        if standing.state.epoch_s:
            planned = standing.planned
            keys = ((planned.problem, planned.optimizer), (planned.problem, None), (None, None))
            for key in keys:
                found[key].append(standing.state.epoch_s)
    return {key: statistics.median(values) for key, values in found.items()}


def _left(standing: Standing, rates: Mapping[_Key, float]) -> float:
    """Seconds that one run still needs."""
    planned = standing.planned
    keys: list[_Key] = [(planned.problem, planned.optimizer), (planned.problem, None), (None, None)]
    rate = next(rates[key] for key in keys if key in rates)
    return (planned.run.epochs - done(standing)) * rate


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
