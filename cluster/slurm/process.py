"""This module alone runs Slurm's commands.

Every call is counted, because a controller that serves a whole university is easily annoyed.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence

from jobs.errors import ExpectedError

_CALLER_VARIABLES = (
    "SLURM_",
    "SBATCH_",
    "SQUEUE_",
    "SCANCEL_",
    "SACCT_",
    "SRUN_",
    "SALLOC_",
    "SCONTROL_",
    "SINFO_",
)
"""Variables that change what Slurm's commands do; a job that submits must not pass its own on."""

_KEPT_VARIABLES = {"SLURM_CONF"}

PATIENCE_S = 60.0
"""A command may take this long; commands that only show a sweep wait less."""

_LIMIT_MESSAGE = re.compile(
    r"MaxSubmit|MaxJobs|GrpSubmit|GrpJobs|accounting/QOS policy|QOS.*Limit|Assoc.*Limit"
    r"|job submit limit|temporarily unable to accept|Resource temporarily unavailable"
    r"|Invalid job array specification|Maximum number of jobs",
    re.IGNORECASE,
)


class SlurmError(ExpectedError, RuntimeError):
    """A Slurm command failed."""

    def __init__(self, command: Sequence[str], message: str) -> None:
        super().__init__(f"{command[0]}: {message}")
        self.message = message

    @property
    def is_limit(self) -> bool:
        """Whether a limit was hit: too many jobs in the queue, or too large an array."""
        return _LIMIT_MESSAGE.search(self.message) is not None


class UnreachableError(SlurmError):
    """The controller does not answer, or the command is missing: the outcome is unknown."""


_calls: Counter[str] = Counter()
"""The number of times that this process has run each of Slurm's commands."""


class CallCount:
    """A count of the runs of Slurm's commands from now on."""

    def __init__(self) -> None:
        self._before = _calls.total()

    @property
    def total(self) -> int:
        """The number of runs until now."""
        return _calls.total() - self._before


def calls_of(command: str) -> int:
    """The number of times that this process has run a command of Slurm."""
    return _calls[command]


def _environment() -> dict[str, str]:
    """This process's environment without variables that change Slurm's commands, save SLURM_CONF.

    Settings of the shell's Python are left out, too: a job may run another Python.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_VARIABLES or not name.startswith((*_CALLER_VARIABLES, "PYTHON"))
    }


def run(
    command: list[str], *, hold: int | None = None, timeout: float = PATIENCE_S, both: bool = False
) -> str:
    """Run a command of Slurm, and return its standard output; `both`: standard error, too.

    Raises:
        UnreachableError: the command cannot be started, or does not answer: its outcome is unknown.
        SlurmError: the command failed.
    """
    _calls[command[0]] += 1
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # names and comments of jobs may be anything
            check=False,
            timeout=timeout,
            pass_fds=() if hold is None else (hold,),
        )
    except FileNotFoundError:
        raise UnreachableError(command, "not found; is this a login node?") from None
    except OSError as error:  # such as a wrapper without #!, or too many processes
        raise UnreachableError(command, f"cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(command, f"no answer within {timeout:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        lines = [re.sub(r"^\w+: (error|fatal): ", "", line) for line in said.splitlines()]
        if _is_unreachable(said):
            raise UnreachableError(command, lines[-1])
        raise SlurmError(command, "; ".join(lines))
    return done.stdout + (done.stderr if both else "")


def _is_unreachable(message: str) -> bool:
    return any(
        text in message
        for text in (
            "Unable to contact slurm controller",
            "Connection refused",
            "Socket timed out",
            "Zero Bytes were transmitted",
            "Communication connection failure",
            "Unable to establish configuration source",
            "Could not establish a configuration source",
        )
    )
