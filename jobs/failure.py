"""Why an attempt ended without a record, in classes that say what to do."""

import signal
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jobs.datasets import DataError

FailureClass = Literal[
    "bad_data", "cancelled", "cuda_oom", "exception", "import_error", "killed", "lost", "oom"
]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt has no outcome."""

    failure: FailureClass
    message: str  # one line

    def to_json(self) -> dict[str, Any]:
        """What `error.json` and the journal hold."""
        return asdict(self)


def of_exception(error: BaseException) -> Failure:
    """The failure that an exception of the training amounts to."""
    lines = str(error).splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return Failure(failure=_class_of(error), message=text)


def of_exit(returncode: int, *, cancelled: bool) -> Failure:
    """The failure of a training that left neither outcome nor error behind.

    Args:
        returncode: of the process; negative: the signal that ended it.
        cancelled: whether the launcher was told to stop.
    """
    if cancelled:
        return Failure(failure="cancelled", message="stopped before its end")
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return Failure(failure="killed", message=f"killed by {name}")
    return Failure(failure="exception", message=f"exit code {returncode} without a report")


def _class_of(error: BaseException) -> FailureClass:
    if isinstance(error, DataError):
        return "bad_data"
    if isinstance(error, ImportError):
        return "import_error"
    if isinstance(error, MemoryError):
        return "oom"
    if type(error).__name__ == "OutOfMemoryError":  # torch.cuda's, without importing torch here
        return "cuda_oom"
    return "exception"
