"""The status of a sweep at one moment: each of its runs, Slurm's queue, and notes on what is unknown."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.slurm.client import AccountingRow
from cluster.slurm.process import CallCount
from cluster.status import accounting, queue
from cluster.status.queue import Queue
from cluster.status.run_status import Evidence, RunStatus
from jobs.store.state import RECORDED
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Sweep

_PATIENCE_S = 15.0
"""Slurm has this long to answer a command that only shows a sweep."""


@dataclass
class SweepStatus:
    """A sweep at one moment."""

    sweep: Sweep
    runs: list[RunStatus]
    queue: Queue
    notes: list[str]  # what is unknown, and why
    accounting: list[AccountingRow]  # sacct's rows about lost runs
    slurm_calls: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no run waits or runs any more, as far as can be known."""
        return not self.queue.fed and not any(
            one.is_live or one.state.state == "unknown" for one in self.runs
        )

    @property
    def is_complete(self) -> bool:
        """Whether every run has a record, those that follow from choices included."""
        return not self.sweep.undecided and all(one.state.state in RECORDED for one in self.runs)


def sweep_status(
    store: Store,
    sweep: Sweep | None = None,
    *,
    memory: StateCache | None = None,
    earlier: SweepStatus | None = None,
    about: PlannedRun | None = None,
) -> SweepStatus:
    """The status of the sweep, by at most two calls of Slurm's commands.

    Args:
        store: the sweep's folder.
        sweep: the sweep, if it has been read already.
        memory: the cache of states, if there is one already; it is saved.
        earlier: a status whose queue is used instead of asking again.
        about: ask accounting only for this run.
    """
    calls = CallCount()
    sweep, memory = sweep or store.sweep(), memory or StateCache(store)
    if earlier is not None:
        found = earlier.queue
    else:
        found = queue.look(store, ask=not _is_settled(store, sweep, memory), patience=_PATIENCE_S)
    evidence = Evidence(store, sweep, found, memory)
    result = SweepStatus(sweep, evidence.runs(), found, notes=[], accounting=[])
    memory.save()
    if found.unknown is not None:
        result.notes = [f"Slurm cannot be asked now: {found.unknown}"]
    elif earlier is not None:
        result.notes = earlier.notes
    else:
        wanted = _lost_elements(result.runs, about)
        result.accounting, result.notes = accounting.ask_accounting(store, memory, wanted)
        result.runs = [
            evidence.of(one.planned) if one.state.state == "lost" else one for one in result.runs
        ]
        memory.save()
    result.slurm_calls = calls.total
    return result


def _lost_elements(runs: Iterable[RunStatus], about: PlannedRun | None) -> dict[str, int]:
    """The last element of each lost run, with its submission's number; `about`: of this run alone."""
    return {
        one.element: one.sent.submission if one.sent else 1
        for one in runs
        if one.state.state == "lost" and one.element and (about is None or one.planned is about)
    }


def _is_settled(store: Store, sweep: Sweep, memory: StateCache) -> bool:
    """Whether every run has a record, so that Slurm need not be asked."""
    folders = (store.run(planned.run.id) for planned in sweep.runs)
    return all(
        folder.record_file.exists() and memory.of(folder).state in RECORDED for folder in folders
    )
