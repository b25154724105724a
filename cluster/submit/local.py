"""Workers on this machine, through submitit's local executor."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import submitit

from jobs.errors import naming
from jobs.node import worker
from jobs.snapshot import ROOT
from jobs.store.store import Store
from jobs.store.submissions import Submission

_A_YEAR_IN_MINUTES = 60 * 24 * 365
"""submitit's local executor insists on a time limit; on this machine there is none."""

_TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP)

Worker = submitit.Job[None]


def start(store: Store, submission: Submission, count: int) -> tuple[Worker, ...]:
    """Start workers that go through the submission side by side, and outlive this process."""
    executor = submitit.LocalExecutor(folder=submission.submitit)
    executor.update_parameters(timeout_min=_A_YEAR_IN_MINUTES, stderr_to_stdout=True)
    with naming(submission.submitit), _detached():
        jobs = executor.map_array(
            worker.work,
            [str(store.root.resolve())] * count,
            [submission.number] * count,
            range(count),
        )
    return tuple(jobs)


def stop(worker: Worker) -> None:
    """Tell a worker to stop."""
    os.kill(int(worker.job_id), signal.SIGTERM)  # a local job's id is its process's


@contextmanager
def _detached() -> Iterator[None]:
    """Start processes that outlive the terminal and hold neither its Ctrl-C nor our output.

    submitit gives its children our signals and standard streams. A child that ignores SIGINT and
    SIGHUP is not torn down half-way by the terminal; one that does not hold our stdout lets
    `probprec submit ... | less` end when we do. The workers set their own handlers. The settings of
    the shell's Python stay behind: they may mean another Python.
    """
    shell = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _TERMINAL_SIGNALS}
    streams = [os.dup(number) for number in range(3)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for name in shell:
            del os.environ[name]
        os.environ["PYTHONPATH"] = str(ROOT)
        for number in range(3):
            os.dup2(null, number)
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ |= shell
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.close(null)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def usable_cpus() -> int:
    """The CPUs that this process may use (its affinity, so also a job's allocation)."""
    return len(os.sched_getaffinity(0))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    devices = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia*"))
    return sorted((number for number in devices if number.isdecimal()), key=int)
