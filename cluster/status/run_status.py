"""The status of each run of a sweep: its files joined with Slurm's queue, with evidence.

A record decides. Else the files tell the past of a run, and the queue tells whether it goes on. If
neither knows, the state is unknown; a run that Slurm has forgotten is not completed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from cluster.slurm import reasons, states
from cluster.slurm.reasons import Reason
from cluster.status import accounting
from cluster.status.queue import Placement, Queue
from jobs.store import workers
from jobs.store.attempts import RunFolder
from jobs.store.state import RECORDED, State
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from jobs.store.workers import Crew
from jobs.sweep import PlannedRun, Sweep

_ATTEMPT_GRACE_S = 120.0
"""An attempt younger than this when squeue was asked may not be listed yet: that is no evidence."""

_ARRAY_GRACE_S = 10.0
"""An array younger than this when squeue was asked may not be listed yet: that is no evidence."""

_ENDED = {"failed", "stopped"}
"""The states of a run whose last attempt wrote its end."""

_NOT_STARTED = State(state="pending", evidence="no attempt yet")
_WAITS_FOR_FEEDER = Reason("not sent yet", "will be sent by a job that waits for room in the queue")


@dataclass(frozen=True)
class RunStatus:
    """A run and its state."""

    planned: PlannedRun
    state: State
    sent: Placement | None = None
    reason: Reason | None = None  # why the run waits in the queue
    is_live: bool = False  # waits or runs, here or in Slurm

    @property
    def element(self) -> str | None:
        """The array element that the run waits or runs in, or was last sent in."""
        return (self.sent.name if self.sent else None) or self.state.element


def of_runs(store: Store, sweep: Sweep, queue: Queue) -> list[RunStatus]:
    """The status of each run, in the sweep's order, by the files and a queue already asked for."""
    memory = StateCache(store)
    found = Evidence(store, sweep, queue, memory).runs()
    memory.save()
    return found


class Evidence:
    """The evidence about a sweep's runs at one moment: files, queue and local workers."""

    def __init__(self, store: Store, sweep: Sweep, queue: Queue, memory: StateCache) -> None:
        self.store, self.sweep, self.queue, self.memory = store, sweep, queue, memory
        self.folders = {folder.id: folder for folder in store.folders()}
        self.arrays = {one.job_id for one in queue.jobs.values() if not one.is_over}
        self.feeders = _feeders(store, queue)
        self.here = {run_id: crew for crew in workers.crews(store) for run_id in crew.runs}
        self.fresh = _fresh(store, queue.asked_at - _ARRAY_GRACE_S)

    def runs(self) -> list[RunStatus]:
        """The status of every run, in the sweep's order."""
        return [self.of(planned) for planned in self.sweep.runs]

    def of(self, planned: PlannedRun) -> RunStatus:
        """The status of one run."""
        run_id = planned.run.id
        folder = self.folders.get(run_id)
        known = self.memory.of(folder) if folder is not None else _NOT_STARTED
        sent = self.queue.runs.get(run_id)
        if known.state in RECORDED:
            return RunStatus(planned, known, sent)
        if known.state == "running":
            orphan = self._orphan(known)
            if orphan is None:
                return RunStatus(planned, known, sent, is_live=True)
            known = orphan
        if run_id in self.here:
            return _waiting_here(planned, known, self.here[run_id])
        if sent is not None and self.queue.is_live(run_id):
            return self._in_queue(planned, known, sent)
        if sent is not None and self._may_be_missed(sent) and not _is_of(sent, known):
            state = replace(known, state="pending", evidence=f"sent as {sent.name} just now")
            return RunStatus(planned, state, sent, is_live=True)
        return RunStatus(planned, self._over(folder or self.store.run(run_id), known, sent), sent)

    def _may_be_missed(self, sent: Placement) -> bool:
        """Whether the array is so new that the queue may have been asked before."""
        return sent.element is None and sent.job_id in self.fresh

    def _orphan(self, known: State) -> State | None:
        """The state of a run whose lock is held although its job is over; None: the run is alive."""
        if known.element is None or self.queue.unknown is not None:
            return None
        element, asked_at = self.queue.jobs.get(known.element), self.queue.asked_at
        if element is None and (known.claimed or asked_at) > asked_at - _ATTEMPT_GRACE_S:
            return None
        if element is not None and not element.is_over:
            return None
        said = "no longer knows it" if element is None else f"says {element.state}"
        return replace(
            known,
            state="lost",
            failure="lost",
            message="a process outlived its job; it holds the run's lock, but can change nothing",
            evidence=f"attempt {known.attempts} is locked; of {known.element} Slurm {said}",
        )

    def _over(self, folder: RunFolder, known: State, sent: Placement | None) -> State:
        """The state of a run that neither waits nor runs."""
        if sent is not None and not _is_of(sent, known):
            if self.queue.unknown is not None:
                return self._unknown(known, sent.name or "a job that may send it")
            if sent.job_id is not None:
                last = self._slurm_state(sent.name) or self._gone(sent)
                is_late = self._is_late(sent)
                return accounting.state_without_attempt(known, sent, last, is_late=is_late)
        if known.attempts == 0:
            where = "not sent" if sent else "not sent, or its worker ended before it came to it"
            return replace(known, evidence=where)
        if known.state in _ENDED or known.element is None or folder.is_locked():
            return known  # a locked run is an orphan, which may still write its end
        if self.queue.unknown is not None:
            return self._unknown(known, known.element)
        return accounting.state_after_attempt(folder, known, self._slurm_state(known.element))

    def _is_late(self, sent: Placement) -> bool:
        """Whether the batch script's logs are so old that the files it wrote would be seen by now."""
        logs = [path for path in accounting.logs_of(self.store, sent) if path.exists()]
        since = self.queue.asked_at - _ATTEMPT_GRACE_S
        return bool(logs) and not any(_is_newer(path, since) for path in logs)

    def _gone(self, sent: Placement) -> str | None:
        """Cache as cancelled an element that is missing in the queue while its array is listed."""
        if sent.name is None or sent.element is not None or sent.job_id not in self.arrays:
            return None
        if any(path.exists() for path in accounting.logs_of(self.store, sent)):
            return None  # the element began
        self.memory.remember_slurm_state(sent.name, states.CANCELLED_WHILE_PENDING)
        return states.CANCELLED_WHILE_PENDING

    def _unknown(self, known: State, name: str) -> State:
        return replace(
            known,
            state="unknown",
            failure=None,
            message=None,
            evidence=f"{name}: Slurm cannot be asked, and no attempt is alive",
        )

    def _slurm_state(self, name: str | None) -> str | None:
        """The state, now or cached, of an element that is over."""
        element = self.queue.jobs.get(name or "")
        if element is not None and element.is_over:
            self.memory.remember_slurm_state(element.name, element.state)
        return self.memory.slurm_state(name)

    def _in_queue(self, planned: PlannedRun, known: State, sent: Placement) -> RunStatus:
        """The status of a run whose job waits, runs or will be sent, without a live attempt."""
        element = sent.element
        if element is None:
            evidence = f"will be sent by job {self.feeders.get(sent.submission)}"
            state = replace(known, state="pending", evidence=evidence)
            return RunStatus(planned, state, sent, _WAITS_FOR_FEEDER, is_live=True)
        said = f"{element.name} is {element.state}"
        if element.state in states.WAITING:
            name = element.reason if element.state == "PENDING" else element.state
            reason = reasons.explain(name)
            evidence = f"{said} ({name}): {reason.words}"
            state = replace(known, state="pending", evidence=evidence)
            return RunStatus(planned, state, sent, reason, is_live=True)
        if element.state not in states.RUNNING:
            state = replace(
                known, state="unknown", evidence=f"{said}: what that means is not known"
            )
            return RunStatus(planned, state, sent, is_live=True)
        if known.state in _ENDED and known.element == element.name:
            return RunStatus(planned, known, sent)  # other runs of its array task may go on
        state = replace(
            known,
            state="running",
            evidence=f"{said} on {element.node}; the run has not begun there yet",
            node=element.node or known.node,
            element=element.name,
        )
        return RunStatus(planned, state, sent, is_live=True)


def _waiting_here(planned: PlannedRun, known: State, crew: Crew) -> RunStatus:
    """The status of a run that local workers have yet to begin."""
    names = ", ".join(worker.name for worker in crew.workers)
    evidence = f"waits for a local worker: {names}"
    state = replace(known, state="pending", failure=None, message=None, evidence=evidence)
    reason = Reason(names, "waiting for a local worker")
    return RunStatus(planned, state, None, reason, is_live=True)


def _is_of(sent: Placement, known: State) -> bool:
    """Whether the last attempt belongs to the newest submission, or to a later, local one."""
    if known.attempts == 0:
        return known.state == "failed"  # unreadable files, whichever submission it was sent in
    return known.submission is None or known.submission >= sent.submission


def _feeders(store: Store, queue: Queue) -> dict[int, int]:
    """The live feeder of each submission, by the submission's number."""
    found = {}
    for number in queue.fed:
        for part in store.submission(number).parts("feeder"):
            job = part.job_id()
            element = queue.jobs.get(str(job))
            if job is not None and element is not None and not element.is_over:
                found[number] = job
    return found


def _fresh(store: Store, since: float) -> set[int | None]:
    """The arrays that were sent after `since`, so that the queue may not list them."""
    return {
        part.job_id()
        for submission in store.submissions()
        for part in submission.parts("chunk")
        if _is_newer(part.receipt_file, since)
    }


def _is_newer(file: Path, time_: float) -> bool:
    try:
        return file.stat().st_mtime > time_
    except FileNotFoundError:
        return False
