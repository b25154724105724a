"""This module runs Slurm's commands: no other one starts them.

Every call is counted, because a controller that serves a whole university is easily annoyed.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence

from jobs.errors import ExpectedError

_OF_THE_CALLER = (
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
"""Variables that change what Slurm's commands do: a job that submits must not pass on its own."""

_KEPT = {"SLURM_CONF"}

PATIENCE_S = 60.0
"""A command may take this long; whoever only looks waits less."""

_LIMIT = re.compile(
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
        """Whether it says no because too much is in the queue already, or in one array."""
        return _LIMIT.search(self.message) is not None


class UnreachableError(SlurmError):
    """The controller does not answer, or the command is not there: what it would say is unknown."""


_calls: Counter[str] = Counter()
"""How often this process has run each of Slurm's commands."""


class CallCount:
    """Counts the runs of Slurm's commands from now on."""

    def __init__(self) -> None:
        self._before = _calls.total()

    @property
    def total(self) -> int:
        """All of them, until now."""
        return _calls.total() - self._before


def calls_of(command: str) -> int:
    """How often this process has run that command."""
    return _calls[command]


def _environment() -> dict[str, str]:
    """This process's environment without what would change Slurm's commands; SLURM_CONF stays.

    Nor does a job get the settings of the shell's Python: they may mean another one.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not name.startswith((*_OF_THE_CALLER, "PYTHON"))
    }


def run(
    command: list[str], *, hold: int | None = None, timeout: float = PATIENCE_S, both: bool = False
) -> str:
    """Run a command of Slurm's, and return its standard output; `both`: standard error, too.

    Raises:
        UnreachableError: it cannot be started, or has no answer: its outcome is not known.
        SlurmError: it failed.
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
    except OSError as error:  # a wrapper without #!, not to be executed; no more processes
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
