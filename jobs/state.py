"""The state of a run, from its files alone, with the evidence."""

from dataclasses import dataclass
from typing import Literal

from jobs import files, record
from jobs.store import RunFolder

StateName = Literal["completed", "diverged", "running", "pending", "failed", "lost"]

STATES: tuple[StateName, ...] = (
    "completed",
    "diverged",
    "running",
    "pending",
    "failed",
    "lost",
)


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of a run, and why."""

    state: StateName
    evidence: str
    failure: str | None = None  # class of the last attempt's failure
    message: str | None = None  # its first line
    log: str | None = None  # the last attempt's log
    attempts: int = 0
    epoch: int | None = None  # last evaluated epoch of the last attempt


def of(folder: RunFolder) -> State:
    """The state of the run in `folder`.

    A record decides; else a held lock means running; else the last attempt's end in the journal.
    An attempt that started, holds no lock and wrote no end is `lost`: not completed, not failed.
    """
    try:
        found = record.read(folder.record_file, run_id=folder.id)
    except FileNotFoundError:
        try:
            return _without_record(folder)
        except OSError as error:  # a folder in a file's place, no permission
            return _unreadable("bad_files", error, folder)
    except record.RecordError as error:
        return _unreadable("bad_record", error, folder)
    return State(
        state=found.outcome,
        evidence=str(folder.record_file),
        attempts=folder.last_fence(),
        epoch=found.evaluated_epochs - 1,
    )


def _unreadable(failure: str, error: Exception, folder: RunFolder) -> State:
    return State(
        state="failed",
        failure=failure,
        message=str(error),
        evidence=str(folder.path),
        attempts=folder.last_fence(),
    )


def _without_record(folder: RunFolder) -> State:
    fence = folder.last_fence()
    if fence == 0:
        return State(state="pending", evidence="no attempt yet")
    attempt = folder.attempt(fence)
    epochs = files.read_lines(attempt.progress_file)
    epoch = epochs[-1].get("epoch") if epochs else None
    log = str(attempt.log_file)
    if folder.is_locked():
        return State(
            state="running",
            evidence=f"attempt {fence} holds {folder.path / 'lock'}",
            log=log,
            attempts=fence,
            epoch=epoch,
        )
    end = next((line for line in reversed(folder.journal()) if _is_end(line, fence)), None)
    if end is None:
        return State(
            state="lost",
            evidence=f"attempt {fence} started, wrote no end and is not alive",
            failure="lost",
            message="its launcher vanished",
            log=log,
            attempts=fence,
            epoch=epoch,
        )
    return State(
        state="failed",
        evidence=str(folder.journal_file),
        failure=end.get("failure"),
        message=end.get("message"),
        log=log,
        attempts=fence,
        epoch=epoch,
    )


def _is_end(line: dict[str, object], fence: int) -> bool:
    return line.get("event") == "ended" and line.get("fence") == fence
