"""The state of a run, from its files alone, with the evidence."""

from dataclasses import dataclass
from typing import Literal

from jobs import record
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
    seconds_per_epoch: float | None = None  # of the last attempt


def of(folder: RunFolder) -> State:
    """The state of the run in `folder`.

    A record decides; else a held lock means running; else the last attempt's end in the journal.
    An attempt that started, holds no lock and wrote no end is `lost`: not completed, not failed.
    """
    try:
        found = record.read(folder.record_file)
    except FileNotFoundError:
        return _without_record(folder)
    except record.RecordError as error:
        return State(
            state="failed",
            failure="bad_record",
            message=str(error),
            evidence=str(folder.record_file),
            attempts=folder.last_fence(),
        )
    return State(
        state=found.outcome,
        evidence=str(folder.record_file),
        attempts=folder.last_fence(),
        epoch=found.evaluated_epochs - 1,
    )


def _without_record(folder: RunFolder) -> State:
    fence = folder.last_fence()
    if fence == 0:
        return State(state="pending", evidence="no attempt yet")
    lines = [line for line in folder.journal() if line.get("fence") == fence]
    epochs = [line for line in lines if line.get("event") == "epoch"]
    epoch = epochs[-1]["epoch"] if epochs else None
    log = str(folder.attempt(fence).log_file)
    rate = None
    if len(epochs) > 1 and epochs[-1]["epoch"] > epochs[0]["epoch"]:
        rate = (epochs[-1]["time"] - epochs[0]["time"]) / (epochs[-1]["epoch"] - epochs[0]["epoch"])
    if folder.is_locked():
        return State(
            state="running",
            evidence=f"attempt {fence} holds {folder.path / 'lock'}",
            log=log,
            attempts=fence,
            epoch=epoch,
            seconds_per_epoch=rate,
        )
    end = next((line for line in reversed(lines) if line.get("event") == "ended"), None)
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
