"""What a launcher runs in: this machine, or an element of an array; see `cluster.task`."""

import signal
import time
from typing import Any

from jobs.failure import Failure


class Allocation:
    """What a launcher runs in; this one: a process of this machine, without an end."""

    name: str | None = None  # the array's element, `123_4`
    restarts = 0  # how often it was put back into the queue
    end: float | None = None  # unix time at which it will be killed
    lead = 0.0  # seconds before that at which its trainings are told to stop
    grace = 20.0  # seconds that they get to write a checkpoint

    def describe(self) -> dict[str, Any]:
        """What the journal and the record say of it."""
        return {}

    def why_stop(self, number: int) -> Failure | None:
        """Why this process was sent the signal; None: no reason to stop yet."""
        return Failure(
            failure="cancelled",
            message="stopped before its end",
            evidence=signal.Signals(number).name,
        )

    def why_vanished(self) -> Failure:
        """Why an earlier attempt of this element ended without a word."""
        return Failure(failure="lost", message="its launcher vanished")

    def requeue(self) -> str | None:
        """Put this element back into the queue; returns why that is not possible, or None."""
        return "there is no queue"


def timeout(end: float | None) -> Failure:
    """The time limit came near."""
    when = "" if end is None else time.strftime(" at %H:%M:%S", time.localtime(end))
    return Failure(
        failure="timeout", message=f"time limit{when}", evidence="the job's end time by Slurm"
    )
