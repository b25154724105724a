"""submitit writes batch scripts for Slurm, and starts workers on this machine; only this module uses it."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import submitit
from submitit.slurm.slurm import _make_sbatch_string  # private: `pyproject.toml` pins the version

from jobs.errors import naming
from jobs.node import worker
from jobs.profile import Option
from jobs.snapshot import ROOT
from jobs.store.store import Store
from jobs.store.submissions import Submission

_A_YEAR_IN_MINUTES = 60 * 24 * 365
"""submitit's local executor insists on a time limit; on this machine there is none."""

_TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP)

Worker = submitit.Job[None]


def script(
    command: str,
    folder: Path,
    parameters: Mapping[str, Option],
    *,
    setup: Sequence[str] = (),
    count: int | None = None,
    dependency: str | None = None,
) -> str:
    """The text of a batch script; it has no option of sbatch that is not asked for here.

    Args:
        command: what the batch process becomes.
        folder: where submitit puts logs that `parameters` do not name.
        parameters: sbatch's options, with underscores for hyphens.
        setup: shell lines before the command.
        count: tasks, if it is an array.
        dependency: as of sbatch(1).
    """
    return _make_sbatch_string(
        command=command,
        folder=folder,
        map_count=count,
        dependency=dependency,
        setup=list(setup) or None,
        time=None,  # type: ignore[arg-type]  # submitit's default: five minutes
        wckey=None,  # type: ignore[arg-type]  # its default: a key that no site knows
        use_srun=False,  # the entry point is the batch process itself: signals reach it
        additional_parameters=dict(parameters),
    )


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
