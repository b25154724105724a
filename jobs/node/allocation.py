"""The allocation of a launcher: this machine, or an array element (`cluster.task` has that one)."""

import signal
import time
from typing import Any

from jobs.failure import Failure


class Allocation:
    """The allocation of a launcher; this class: a process of this machine, without a time limit."""

    name: str | None = None  # of the array element, `123_4`
    restarts = 0  # how often Slurm started the element again
    end: float | None = None  # unix time at which Slurm will kill the job
    lead = 0.0  # seconds before `end` at which the trainings are told to stop
    grace = 20.0  # seconds that trainings get to write a checkpoint

    def describe(self) -> dict[str, Any]:
        """The allocation, as the journal holds it."""
        return {}

    def why_stop(self, number: int) -> Failure | None:
        """Why this process was sent the signal; None: no reason to stop yet."""
        return Failure(
            failure="cancelled",
            message="stopped before its end",
            evidence=signal.Signals(number).name,
        )

    def why_vanished(self) -> Failure:
        """Why an earlier attempt of this element ended without writing its end."""
        return Failure(failure="lost", message="its launcher vanished")

    def requeue(self) -> str | None:
        """Put this array element back into the queue; returns why that failed, or None."""
        return "there is no queue"


def timeout(end: float | None) -> Failure:
    """The failure of a training that stops because the time limit is near."""
    when = "" if end is None else time.strftime(" at %H:%M:%S", time.localtime(end))
    return Failure(
        failure="timeout", message=f"time limit{when}", evidence="the job's end time by Slurm"
    )
