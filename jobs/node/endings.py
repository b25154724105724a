"""The attempts of an array task end: with a record, with a failure, or with a requeue of the task."""

import logging
from typing import Any

from jobs import failure
from jobs.failure import Failure
from jobs.node.attempt_budget import out_of_budget
from jobs.node.deadline import Deadline
from jobs.node.execution import Execution
from jobs.store import journal
from jobs.store.attempts import Attempt, StaleAttemptError

log = logging.getLogger(__name__)

_REQUEUE_WAIT_S = 120.0
"""Time within which Slurm ends the launcher's process after a requeue."""


class Endings:
    """The ends of an array task's attempts, each recorded once, and the requeue of the task."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._ended: list[tuple[Attempt, Failure]] = []  # of the task under way, without a record

    def publish(self, attempt: Attempt, outcome: dict[str, Any]) -> None:
        """Publish an outcome as the run's record, once; if that fails, record why."""
        try:
            attempt.publish(outcome)
        except (FileExistsError, StaleAttemptError) as error:
            attempt.try_note(journal.refused(str(error)))
        except OSError as error:
            why = Failure(
                failure="disk_full" if failure.is_disk_full(error) else "exception",
                message=f"its record cannot be written: {error}",
                evidence=str(attempt.outcome_file),
            )
            self.end(attempt, why)
        else:
            _clean_up(attempt, outcome["outcome"])
        attempt.release()

    def end(self, attempt: Attempt, why: Failure) -> None:
        """Record why the attempt has no outcome, and release its lock."""
        if note_end(attempt, why):
            self._ended.append((attempt, why))
        attempt.release()

    def requeue(self, execution: Execution) -> None:
        """Requeue the array element, if a run that ended early may go on later."""
        ended, self._ended = self._ended, []
        again = [
            attempt
            for attempt, why in ended
            if why.failure in execution.requeues and _may_go_on(attempt, execution.max_attempts)
        ]
        if again:
            self._requeue(again)

    def _requeue(self, attempts: list[Attempt]) -> None:
        allocation = self._deadline.allocation
        for attempt in attempts:
            attempt.try_note(journal.requeued(allocation.name))
        self._deadline.forget_signal()
        problem = allocation.requeue()
        if problem is not None:
            for attempt in attempts:
                attempt.try_note(journal.not_requeued(problem))
            return
        # Slurm ends this process for the requeue; to exit before that would look like a failure.
        self._deadline.await_signal(_REQUEUE_WAIT_S)


def note_end(attempt: Attempt, why: Failure) -> bool:
    """Record the end of an attempt in the journal; returns whether that was possible."""
    return attempt.try_note(journal.ended(why, step=attempt.checkpointed_step()))


def _clean_up(attempt: Attempt, outcome: str) -> None:
    """Remove the outcome file and the checkpoints, which a published record makes needless."""
    try:
        attempt.outcome_file.unlink()
        attempt.note(journal.recorded(outcome))
        for fence in range(1, attempt.fence + 1):
            attempt.folder.attempt(fence).drop_checkpoints()
    except OSError:  # the record is what counts
        log.exception("run %s has its record", attempt.folder.id)


def _may_go_on(attempt: Attempt, max_attempts: int) -> bool:
    """Whether the run may be attempted again; if its budget is spent, that is recorded."""
    if attempt.folder.last_fence() != attempt.fence:
        return False  # a newer attempt has the run, maybe in this very element
    spent = out_of_budget(attempt.folder, max_attempts)
    if spent is not None:
        note_end(attempt, spent)
    return spent is None
