"""Why an attempt ended without a record, in classes that say what to do."""

import errno
import signal
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jobs import shell_limits
from jobs.errors import DataError, DriftedError

FailureClass = Literal[
    "oom",
    "timeout",
    "preempted",
    "node_fail",
    "cancelled",
    "killed",
    "disk_full",
    "bad_data",
    "drifted",
    "image",
    "setup",
    "gpu_missing",
    "cuda_oom",
    "import_error",
    "exception",
    "no_progress",
    "lost",
]

EXIT_INTERRUPTED = 75
"""Exit code of a training that wrote a checkpoint and stopped (EX_TEMPFAIL of sysexits(3))."""

EXIT_DISK_FULL = 73
"""Exit code of a training that cannot even write why it ended (EX_CANTCREAT of sysexits(3))."""

_EXIT_RUNTIME_FAILED = 255
"""Exit code of Apptainer and Singularity if they could not start the command."""

_CRASH_SIGNALS = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
}
"""Signals that a program receives because of its own bug; another attempt would not help."""

_NO_SPACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt has no outcome."""

    failure: FailureClass
    message: str  # one line
    evidence: str = ""  # what the class was concluded from: a file, a counter, an exit status

    def to_json(self) -> dict[str, Any]:
        """The failure as `error.json` and the journal hold it."""
        return asdict(self)


class GpuMissingError(RuntimeError):
    """The run was allocated a GPU, but no GPU can be used."""


def of_exception(error: BaseException) -> Failure:
    """The failure that an exception of the training amounts to."""
    lines = str(error).splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    limit = shell_limits.behind(error)
    if limit is not None:
        return Failure(failure="setup", message=f"{limit}: {text}", evidence="traceback in the log")
    return Failure(failure=_class_of(error), message=text, evidence="traceback in the log")


def is_disk_full(error: BaseException) -> bool:
    """Whether the file system has no space left, or the user no quota."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE_ERRNOS


def of_exit(returncode: int, *, in_image: bool = False) -> Failure:
    """The failure of a training that left neither outcome nor error behind.

    Args:
        returncode: of the process; negative: the signal that ended it.
        in_image: whether a container runtime passed the code on: it reports a signal as 128 + its
            number, and 255 if it could not start the container.
    """
    if in_image and 128 < returncode <= 128 + signal.SIGRTMAX:
        returncode = 128 - returncode
    if in_image and returncode == _EXIT_RUNTIME_FAILED:
        return Failure(
            failure="image",
            message="the container runtime could not start it; the run's log says why",
            evidence=f"exit status {returncode}",
        )
    if returncode < 0:
        return _of_signal(-returncode)
    if returncode == EXIT_DISK_FULL:
        return Failure(
            failure="disk_full", message="no space left to write to", evidence="exit status"
        )
    if returncode in {126, 127}:  # as a shell and a container runtime say it
        return Failure(
            failure="image",
            message=f"cannot be started: exit code {returncode}",
            evidence="exit status",
        )
    limit = shell_limits.of_memory()
    return Failure(
        failure="exception",
        message=f"exit code {returncode} without a report" + (f"; {limit}" if limit else ""),
        evidence="exit status",
    )


def _of_signal(number: int) -> Failure:
    name, limit = signal.Signals(number).name, shell_limits.of_signal(number)
    if limit is not None:
        return Failure(failure="setup", message=f"{limit}: {name}", evidence="exit status")
    if number in _CRASH_SIGNALS:
        return Failure(failure="exception", message=f"crashed with {name}", evidence="exit status")
    return Failure(failure="killed", message=f"killed by {name}", evidence="exit status")


_BROKEN_GPU_MESSAGES = (
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "CUDA-capable device(s) is/are busy or unavailable",
    "no CUDA-capable device is detected",
)
"""Messages of the CUDA runtime about a broken GPU of this node (cudaGetErrorString)."""

_CLASSES: tuple[tuple[type[BaseException], FailureClass], ...] = (
    (DataError, "bad_data"),
    (DriftedError, "drifted"),
    (GpuMissingError, "gpu_missing"),
    (ImportError, "import_error"),
    (MemoryError, "oom"),
)


def _class_of(error: BaseException) -> FailureClass:
    for kind, failure in _CLASSES:
        if isinstance(error, kind):
            return failure
    if is_disk_full(error):
        return "disk_full"
    if type(error).__name__ == "OutOfMemoryError":  # torch.cuda's, without importing torch here
        return "cuda_oom"
    if isinstance(error, RuntimeError) and any(
        words in str(error) for words in _BROKEN_GPU_MESSAGES
    ):
        return "gpu_missing"
    return "exception"
