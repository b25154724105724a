"""A worker on a person's own machine holds a lock as long as it may begin another run."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jobs import files, locks
from jobs.store.store import Store
from jobs.store.submissions import Submission


@dataclass(frozen=True)
class Worker:
    """A process that executes the tasks of a submission."""

    host: str
    pid: int
    lock: Path  # held as long as the worker may begin another run

    @property
    def name(self) -> str:
        """Process and host, in words."""
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Crew:
    """The living workers of one submission, and the ids of runs that they have yet to begin."""

    workers: tuple[Worker, ...]
    runs: tuple[str, ...]


class AtWork:
    """The lock of a worker; `release` may be called again, and by a signal handler."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Release the lock: the worker begins no further run."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def lock_of(submission: Submission, lane: int) -> Path:
    """The lock file of the worker `lane`."""
    return submission.folder / f"worker-{lane}.lock"


@contextmanager
def at_work(submission: Submission, lane: int) -> Iterator[AtWork]:
    """Hold the worker's lock; its file names host and pid before it is locked."""
    path = lock_of(submission, lane)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"host": socket.gethostname(), "pid": os.getpid()}
    files.write_atomically(path, files.to_json(content))
    descriptor = os.open(path, os.O_RDWR)
    held = AtWork(descriptor)
    try:
        locks.hold(descriptor, path)
        yield held
    finally:
        held.release()


def crews(store: Store) -> list[Crew]:
    """The crews at work on the sweep, submission by submission."""
    found = []
    for submission in store.submissions():
        workers = tuple(_alive(submission))
        if workers:
            found.append(Crew(workers, tuple(_unbegun(store, submission))))
    return found


def _alive(submission: Submission) -> Iterator[Worker]:
    for path in sorted(submission.folder.glob("worker-*.lock")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(files.read(path))
            if locks.is_held(path):
                yield Worker(host=str(content["host"]), pid=int(content["pid"]), lock=path)


def _unbegun(store: Store, submission: Submission) -> Iterator[str]:
    """The ids of runs that no attempt has claimed since they were submitted."""
    for entry in submission.plan().entries:
        folder = store.run(entry.id)
        if folder.last_fence() == entry.fence and not folder.record_file.exists():
            yield entry.id
