"""The price of runs in hours of a cluster: at most, by their time limits, and about, by earlier records."""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.errors import ExpectedError
from jobs.resources import Resources, slurm_time
from jobs.store.record import PHASES, Record, read
from jobs.sweep import PlannedRun, Run

if TYPE_CHECKING:
    from jobs.store.store import Store

_RECORDS_PER_KIND_MAX = 5
"""So many records of one kind of run are read; more would say the same."""
_MAX_SHARES_SHOWN = 3
_HOUR_S, _MINUTE_S = 3600, 60
_GRES_GPU = re.compile(r"gpu(?::[A-Za-z][\w.-]*)?(?::([0-9]+))?", re.ASCII)


@dataclass(frozen=True)
class _Kind:
    """A kind of runs, which take about the same time for an epoch."""

    problem: str
    optimizer: str
    batch_size: int
    on_gpu: bool

    @classmethod
    def of(cls, run: Run, *, on_gpu: bool) -> "_Kind":
        return cls(run.problem, run.optimizer, run.batch_size, on_gpu)


@dataclass(frozen=True)
class _Share:
    """The runs that ask for the same resources."""

    resources: Resources
    runs: tuple[Run, ...]

    @property
    def per_task(self) -> int:
        return self.resources.runs_per_task or 1

    @property
    def tasks(self) -> int:
        return -(-len(self.runs) // self.per_task)

    @property
    def unit(self) -> str:
        """The unit of a task's price; `task` if the CPUs are not asked for, and left to the cluster."""
        if self.gpus:
            return "GPU"
        return "CPU" if self.resources.cpus else "task"

    @property
    def units(self) -> int:
        """The number of units that a task uses."""
        return self.gpus or self.resources.cpus or 1

    @property
    def gpus(self) -> int:
        if isinstance(self.resources.gpus, int):
            return self.resources.gpus
        if self.resources.gpus:
            return sum(int(part.rpartition(":")[2]) for part in self.resources.gpus.split(","))
        found = map(_GRES_GPU.fullmatch, (self.resources.gres or "").split(","))
        return sum(int(one[1] or 1) for one in found if one)

    def kind(self, run: Run) -> _Kind:
        return _Kind.of(run, on_gpu=self.gpus > 0)


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price: hours of GPUs, of CPUs, or of whole tasks whose CPUs are not asked for."""

    at_most: dict[str, float] | None  # hours by unit; None: some task has no time limit
    of: str  # the factors of `at_most`, or the tasks without a limit
    about: dict[str, float]  # hours by unit; empty: no record tells
    basis: str  # the records behind `about`

    def __str__(self) -> str:
        """The price for the screen."""
        bound = f"no bound: {self.of}"
        if self.at_most is not None:
            # a task that reaches its time limit is requeued, and gets that time once more
            bound = f"at most {_listed(self.at_most, _rounded_up)}, requeues aside ({self.of})"
        about = f"; about {_listed(self.about, _rounded)} {self.basis}" if self.about else ""
        return bound + about

    def to_json(self) -> dict[str, Any]:
        """The price for `--json`."""
        return {"hours_at_most": self.at_most, "hours_about": self.about or None}


def asked(runs: Iterable[PlannedRun], base: Resources | None = None) -> Price | None:
    """The price by the time limits of runs, and of the profile; None: a spec alone does not set all of them."""
    shares = _shares(runs, base or Resources())
    if base is None and any(share.resources.time is None for share in shares):
        return None
    return _price(shares, {})


def expected(runs: Sequence[PlannedRun], base: Resources, stores: "Iterable[Store]") -> Price:
    """The price of runs with `base` and their own resources, by the records of these sweeps, too."""
    shares = _shares(runs, base)
    wanted = {share.kind(run) for share in shares for run in share.runs}
    return _price(shares, _measured(wanted, stores))


def _shares(runs: Iterable[PlannedRun], base: Resources) -> list[_Share]:
    together: dict[Resources, list[Run]] = {}
    for planned in runs:
        together.setdefault(base.merged(planned.resources), []).append(planned.run)
    return [_Share(resources, tuple(found)) for resources, found in together.items()]


def _price(shares: Sequence[_Share], known: dict[_Kind, list[Record]]) -> Price:
    at_most: defaultdict[str, float] = defaultdict(float)
    about: defaultdict[str, float] = defaultdict(float)
    covered = 0
    for share in shares:
        at_most[share.unit] += share.tasks * share.units * (share.resources.time or 0) / _HOUR_S
        for run in share.runs:
            if records := known.get(share.kind(run)):
                covered += 1
                seconds = statistics.median(_seconds(run, record) for record in records)
                about[share.unit] += seconds * share.units / share.per_task / _HOUR_S
    total, number = sum(len(share.runs) for share in shares), sum(map(len, known.values()))
    part = "" if covered == total else f"for {covered} of {total} runs, "
    untimed = sum(share.tasks for share in shares if share.resources.time is None)
    return Price(
        at_most=None if untimed else dict(at_most),
        of=_untimed(untimed, sum(share.tasks for share in shares)) if untimed else _product(shares),
        about=dict(about),
        basis=f"{part}by {number} earlier record{'' if number == 1 else 's'}",
    )


def _measured(wanted: set[_Kind], stores: "Iterable[Store]") -> dict[_Kind, list[Record]]:
    """Some records of runs of each kind, of the first sweeps that have any."""
    found: dict[_Kind, list[Record]] = {}
    looked_for = set(wanted)
    for store in stores:
        for run in _planned(store):
            if looked_for.isdisjoint(_Kind.of(run, on_gpu=on_gpu) for on_gpu in (True, False)):
                continue
            with suppress(OSError, ExpectedError):  # no record yet, or a torn one
                record = read(store.run(run.id).record_file, run_id=run.id)
                kind = _Kind.of(run, on_gpu=record.provenance.get("device") == "cuda")
                if record.outcome == "completed" and kind in looked_for:
                    found.setdefault(kind, []).append(record)
                    if len(found[kind]) == _RECORDS_PER_KIND_MAX:
                        looked_for.remove(kind)
        if not looked_for:
            break
    return found


def _planned(store: "Store") -> Iterator[Run]:
    with suppress(OSError, ExpectedError):  # no sweep yet, or another user's
        for planned in store.sweep().runs:
            yield planned.run


def _seconds(run: Run, record: Record) -> float:
    """The seconds of a run, by a record of its kind: the setup's, and the others' scaled by epochs."""
    known = [name for name in PHASES if name in record.cost]
    wall = {name: float(record.cost[name]["wall_s"]) for name in known}
    setup = wall.pop("setup", 0.0)
    return setup + sum(wall.values()) * run.epochs / record.run.epochs


def _untimed(untimed: int, tasks: int) -> str:
    return "no time limit" if untimed == tasks else f"{untimed} of {tasks} tasks have no time limit"


def _product(shares: Sequence[_Share]) -> str:
    texts = [
        f"{_counted(share.tasks, 'task')} x {_duration(share.resources.time or 0)}"
        + (f" x {_counted(share.units, share.unit)}" if share.unit != "task" else "")
        for share in shares
    ]
    return ", ".join(texts[:_MAX_SHARES_SHOWN]) + (
        ", ..." if len(texts) > _MAX_SHARES_SHOWN else ""
    )


def _duration(seconds: int) -> str:
    if seconds % _HOUR_S == 0:
        return f"{seconds // _HOUR_S} h"
    if seconds % _MINUTE_S == 0 and seconds < 2 * _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    return slurm_time(seconds)


def _listed(hours: dict[str, float], rounded: Callable[[float], str]) -> str:
    return " and ".join(f"{rounded(number)} {unit}-hours" for unit, number in hours.items())


def _rounded_up(hours: float) -> str:
    return f"{math.ceil(round(hours * 10, 6)) / 10:,.1f}".removesuffix(".0")


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
