"""Send a sweep's missing runs to an engine; so far the engine is this machine.

Nothing stays in memory: what is to be run is on disk before the first process starts.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import submitit

from cluster.profile import Profile, usable_cpus, visible_gpus
from jobs import launch, record
from jobs.store import RunFolder, Store
from jobs.sweep import Sweep

_A_YEAR_IN_MINUTES = 60 * 24 * 365
"""submitit's local executor insists on a time limit; on this machine there is none."""

_TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a submission came to."""

    store: Store
    submitted: Mapping[str, int]  # ids of the runs sent off, and their last fence before
    done: tuple[str, ...]  # ids of the runs that have a record
    running: tuple[str, ...]  # ids of the runs that somebody else is running right now
    workers: tuple[submitit.Job[None], ...] = field(default=())

    def cancel(self) -> None:
        """Stop the workers; their runs are noted as cancelled and can be submitted again."""
        for worker in self.workers:
            if not worker.done():
                os.kill(int(worker.job_id), signal.SIGTERM)  # a local job's id is its process's
        while not self.is_over():
            time.sleep(0.05)

    def is_over(self) -> bool:
        """Whether all workers have ended."""
        return all(worker.done() for worker in self.workers)


def submit(sweep: Sweep, store: Store, profile: Profile, *, workers: int | None) -> Receipt:
    """Start workers for every run of the sweep that has no record and is not being run.

    Args:
        sweep: what is asked for.
        store: where it lives; made if it is not there.
        profile: where to run.
        workers: runs at a time; default: as many as the CPUs allow.
    """
    store.save(sweep)
    done, running, missing = [], [], {}
    for planned in sweep.runs:
        folder = store.run(planned.run.id)
        folder.create(planned.run)
        if has_record(folder):
            done.append(folder.id)
        elif folder.is_locked():
            running.append(folder.id)
        else:
            missing[folder.id] = folder.last_fence()
    lanes = min(workers or max(1, usable_cpus() // profile.threads), len(missing))
    return Receipt(
        store=store,
        submitted=missing,
        done=tuple(done),
        running=tuple(running),
        workers=_start(store, profile, missing, lanes) if missing else (),
    )


def has_record(folder: RunFolder) -> bool:
    """Whether the run's outcome is published; a torn record is set aside, so that it is run again."""
    try:
        record.read(folder.record_file, run_id=folder.id)
    except FileNotFoundError:
        return False
    except record.RecordError as error:
        folder.set_record_aside()
        folder.note("record set aside", message=str(error))
        return False
    return True


def _start(
    store: Store, profile: Profile, missing: dict[str, int], lanes: int
) -> tuple[submitit.Job[None], ...]:
    content: dict[str, Any] = {
        "schema": 1,
        "time": time.time(),
        "profile": profile.name,
        "threads": profile.threads,
        "gpus": visible_gpus(),
        "runs": missing,
    }
    submission = store.new_submission(content)
    executor = submitit.LocalExecutor(folder=submission.submitit)
    executor.update_parameters(timeout_min=_A_YEAR_IN_MINUTES, stderr_to_stdout=True)
    with _detached():
        jobs = executor.map_array(
            launch.work,
            [str(store.root.resolve())] * lanes,
            [submission.number] * lanes,
            range(lanes),
        )
    return tuple(jobs)


@contextmanager
def _detached() -> Iterator[None]:
    """Start processes that outlive the terminal and hold neither its Ctrl-C nor our output.

    submitit gives its children our signals and standard streams. A child that ignores SIGINT and
    SIGHUP is not torn down half-way by the terminal; one that does not hold our stdout lets
    `probprec submit ... | less` end when we do. The workers set their own handlers.
    """
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _TERMINAL_SIGNALS}
    streams = [os.dup(number) for number in range(3)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for number in range(3):
            os.dup2(null, number)
        yield
    finally:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.close(null)
        for number, handler in handlers.items():
            signal.signal(number, handler)
