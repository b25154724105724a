"""The state of a run is read off its files alone, with the evidence."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jobs import files
from jobs.store import record
from jobs.store.attempts import Attempt, RunFolder
from jobs.store.journal import AttemptSummary
from jobs.store.record import Record

StateName = Literal[
    "completed", "diverged", "running", "pending", "stopped", "failed", "lost", "unknown"
]

STATES: tuple[StateName, ...] = (
    "completed",
    "diverged",
    "running",
    "pending",
    "stopped",
    "failed",
    "lost",
    "unknown",
)
"""All states of a run. `unknown` never comes from files: Slurm has to be asked, but cannot be."""

RECORDED: frozenset[StateName] = frozenset({"completed", "diverged"})
"""The states of a run that has a record."""

UNFINISHED: frozenset[StateName] = frozenset({"stopped", "failed", "lost"})
"""The states of a submitted run without a record that neither waits nor runs."""

_PROGRESS_BYTES = 16_384  # read at the begin or end of a progress file: enough lines


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a run, with the evidence and the last attempt's progress."""

    state: StateName
    evidence: str
    failure: str | None = None  # class of the last attempt's failure
    message: str | None = None  # its first line
    log: str | None = None  # the last attempt's log
    attempts: int = 0
    epoch: int | None = None  # last evaluated epoch
    step: int | None = None
    steps: int | None = None  # of the whole run
    epoch_s: float | None = None  # seconds that an epoch took, measured
    start_s: float | None = None  # seconds from the claim to the first epoch, measured
    node: str | None = None  # of the last attempt
    element: str | None = None  # of the array, in which the last attempt ran: `123_4`
    submission: int | None = None  # of the last attempt
    claimed: float | None = None  # unix time at which the last attempt began
    tried: tuple[tuple[str, str | None], ...] = ()  # node and failure class; None: a success


def of(folder: RunFolder) -> State:
    """The state of the run in `folder`.

    A record decides; else a held lock means running; else the last attempt's end in the journal.
    An attempt that started, holds no lock and wrote no end is `lost`: not completed, not failed.
    """
    try:
        found = record.read_published(folder)
    except FileNotFoundError:
        try:
            return _without_record(folder)
        except OSError as error:  # a folder in a file's place, no permission
            return _unreadable("bad_files", error, folder)
    except OSError as error:  # the record may well be whole
        return _unreadable("bad_files", error, folder)
    except record.RecordError as error:
        return _unreadable("bad_record", error, folder)
    return _recorded(folder, found.record, found.history)


def _recorded(folder: RunFolder, found: Record, pasts: Sequence[AttemptSummary]) -> State:
    slurm = found.provenance.get("slurm") or {}
    node = slurm.get("slurmd_nodename") or found.provenance.get("host")
    array, task = slurm.get("array_job_id"), slurm.get("array_task_id")
    return State(
        state=found.outcome,
        evidence=str(folder.record_file),
        attempts=folder.last_fence(),
        epoch=found.evaluated_epochs - 1,
        step=found.stop.get("step"),
        steps=found.stop.get("step"),
        epoch_s=_seconds_per_epoch(found),
        start_s=_start_of_recorded(found, pasts),
        node=node,
        element=f"{array}_{task}" if array and task else None,
        tried=(*_failures(pasts), *([(node, None)] if node else [])),
    )


def _seconds_per_epoch(found: Record) -> float | None:
    """The seconds per epoch by the whole run's cost; None if the record lacks them."""
    phases = [found.cost.get(name) for name in record.PHASES if name != "setup"]
    walls = [phase.get("wall_s") for phase in phases if isinstance(phase, dict)]
    known = [wall for wall in walls if isinstance(wall, int | float)]
    epochs = found.evaluated_epochs - 1
    return sum(known) / epochs if known and epochs > 0 else None


def _start_of_recorded(found: Record, pasts: Sequence[AttemptSummary]) -> float | None:
    """The seconds beyond its epochs (start-up, data, record) of a run with a single attempt."""
    seconds, epochs = _seconds_per_epoch(found), found.evaluated_epochs - 1
    if found.provenance.get("attempts") != 1 or not pasts or seconds is None:
        return None
    start, end = pasts[-1].start, pasts[-1].end
    return max(0.0, end - start - epochs * seconds) if start and end else None


def _failures(pasts: Sequence[AttemptSummary]) -> list[tuple[str, str | None]]:
    return [(past.node, past.failure) for past in pasts if past.node and past.failure]


def ended(failure: str | None) -> StateName:
    """The state of a run by its last attempt's failure class; a cancelled run has not failed."""
    return "stopped" if failure == "cancelled" else "failed"


def _unreadable(failure: str, error: Exception, folder: RunFolder) -> State:
    try:
        attempts = folder.last_fence()
    except OSError:
        attempts = 0
    return State(
        state="failed",
        failure=failure,
        message=str(error),
        evidence=str(folder.path),
        attempts=attempts,
    )


def _without_record(folder: RunFolder) -> State:
    fence = folder.last_fence()
    attempt = folder.attempt(fence)
    if fence == 0 or attempt.ended_life() is not None:
        return _not_begun(attempt)
    is_alive = attempt.is_alive()  # before the journal: an attempt writes its end, then unlocks
    history = folder.history()
    last = next((past for past in history if past.fence == fence), AttemptSummary(fence=fence))
    known = _lost(attempt, last, history)
    if is_alive:
        waits = f"; {last.data}" if last.data and known.step is None else ""
        evidence = f"attempt {fence} holds its lock in {attempt.path}{waits}"
        return replace(known, state="running", evidence=evidence, failure=None, message=None)
    if last.is_over:
        return _ended(last, folder, known)
    if last.failure is not None:
        return replace(
            known,
            state=ended(last.failure),
            failure=last.failure,
            message=f"{last.message}; it was killed before it could write its end",
            evidence=last.evidence or str(folder.journal_file),
        )
    return known


def _lost(attempt: Attempt, last: AttemptSummary, history: Sequence[AttemptSummary]) -> State:
    """The state `lost` of a run, should its last attempt neither live nor have written its end."""
    return State(
        state="lost",
        evidence=f"attempt {attempt.fence} started, wrote no end and is not alive",
        failure="lost",
        message="its launcher vanished",
        log=str(attempt.log_file),
        attempts=attempt.fence,
        node=last.node,
        element=last.element,
        submission=last.submission,
        claimed=last.start,
        tried=tuple(_failures(history)),
        start_s=_start_of(attempt, last.start),
        **_progress(attempt.folder, attempt.fence),
    )


def _ended(last: AttemptSummary, folder: RunFolder, known: State) -> State:
    """The state of a run without a record whose last attempt wrote its end."""
    if last.outcome is not None:
        message = f"its record is gone: attempt {last.fence} published one"
        known = replace(known, state="failed", failure="bad_record", message=message)
    else:
        state = ended(last.failure)
        known = replace(known, state=state, failure=last.failure, message=last.message)
        if last.is_requeued:
            evidence = f"attempt {last.fence} put {last.element} back into the queue"
            return replace(known, state="pending", evidence=evidence)
    return replace(known, evidence=last.evidence or str(folder.journal_file))


def _not_begun(attempt: Attempt) -> State:
    """The state of a run without an attempt in its present life."""
    ended = attempt.ended_life()
    if ended is None:
        return State(state="pending", evidence="no attempt yet")
    evidence = f"set aside by {ended.by} ({ended.why}): {attempt.path}; no attempt since"
    return State(
        state="pending", evidence=evidence, attempts=attempt.fence, submission=ended.submission
    )


def _start_of(attempt: Attempt, claimed: float | None) -> float | None:
    """The seconds from the claim to the first line of progress: epoch 0, or a resumed step."""
    first: Mapping[str, Any] = next(
        iter(files.read_lines(attempt.progress_file, first=_PROGRESS_BYTES)), {}
    )
    begun = first.get("time")
    if (
        claimed is None
        or begun is None
        or not (first.get("epoch") == 0 or first.keys() & {"resumed", "anew"})
    ):
        return None
    return max(0.0, float(begun) - claimed)


def _progress(folder: RunFolder, fence: int) -> dict[str, Any]:
    """The progress of the run, by its newest attempt that wrote any."""
    for number in range(fence, folder.life(), -1):
        lines = files.read_lines(folder.attempt(number).progress_file, last=_PROGRESS_BYTES)
        if lines:
            seconds = [line["epoch_s"] for line in lines if line.get("epoch_s")]
            last: Mapping[str, Any] = lines[-1]
            return {
                "epoch": last.get("epoch"),
                "step": last.get("step"),
                "steps": last.get("steps"),
                "epoch_s": statistics.median(seconds) if seconds else None,
            }
    return {}
