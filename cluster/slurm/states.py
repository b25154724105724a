"""Slurm's states of a job (squeue(1), JOB STATE CODES), by what they mean for its runs."""

from collections.abc import Mapping

from jobs.failure import FailureClass

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
)
"""The job has not begun, or not yet again."""

RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
"""The job has begun, and its processes may still be there."""

LIMITED = frozenset({"RUNNING", "CONFIGURING", "SUSPENDED"})
"""States in which a job's EndTime is its time limit; in COMPLETING it is when the job began to end."""

FAILURES: Mapping[str, tuple[FailureClass, str]] = {
    "OUT_OF_MEMORY": ("oom", "killed with its launcher: over the memory limit"),
    "TIMEOUT": ("timeout", "killed at its time limit"),
    "DEADLINE": ("timeout", "killed at its deadline"),
    "NODE_FAIL": ("node_fail", "its node failed"),
    "BOOT_FAIL": ("node_fail", "its node could not be started"),
    "CANCELLED": ("cancelled", "cancelled"),
    "REVOKED": ("cancelled", "taken back by another cluster"),
    "PREEMPTED": ("preempted", "preempted, and not put back into the queue"),
    "FAILED": ("killed", "its launcher was killed, or could not go on"),
}
"""The failure class and its message for a run whose job ended in this state before its launcher noted an end."""

OVER = frozenset({"COMPLETED", *FAILURES})
"""The job is over: it does not leave these states."""

CANCELLED_WHILE_PENDING = "TAKEN_OUT"
"""Our own marker, not a state of Slurm: an element was cancelled while it waited.

squeue lists its array but not the element, and no attempt of it began: Slurm does not show elements
that are cancelled one by one before they begin. The marker's value is in the sweeps' caches.
"""
