"""Slurm's commands about jobs, and the only place where a command of Slurm's is run.

Every call is counted, because a controller that serves a whole university is easily annoyed.
"""

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.slurm import states
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


@dataclass(frozen=True, kw_only=True)
class Element:
    """One job of the queue: an element of an array, or a plain job."""

    job_id: int  # the array's, or the plain job's
    task: int | None  # the element's index
    raw_id: int  # the element's own id
    state: str  # PENDING, RUNNING, COMPLETING, COMPLETED, FAILED, ...
    reason: str
    node: str
    restarts: int
    qos: str
    comment: str

    @property
    def name(self) -> str:
        """As Slurm writes it: `123_4`, or `123`."""
        return f"{self.job_id}" if self.task is None else f"{self.job_id}_{self.task}"

    @property
    def is_over(self) -> bool:
        """Whether it will never run (again)."""
        return self.state in states.OVER


def environment() -> dict[str, str]:
    """This process's environment without what would change Slurm's commands; SLURM_CONF stays.

    Nor does a job get the settings of the shell's Python: they may mean another one.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not name.startswith((*_OF_THE_CALLER, "PYTHON"))
    }


PATIENCE = 60.0
"""Seconds that a command may take; whoever only looks waits less."""


def queue(others: Iterable[int] = (), patience: float = PATIENCE) -> list[Element]:
    """My jobs, the recently ended ones (MinJobAge) included; one call, whatever the size.

    Mine are those of this process's uid: the shell's USER may be another's (su, sudo -E).

    Args:
        others: uids of users whose jobs are wanted, too.
        patience: seconds to wait for an answer.

    Raises:
        UnreachableError: the controller does not answer, not within `patience` seconds.
    """
    fields = "%F|%K|%A|%T|%r|%N|%q|%k"
    users = sorted({os.getuid(), *others})
    output = run(
        [
            "squeue",
            "--noheader",
            "--array",
            "--states=all",
            f"--user={','.join(map(str, users))}",
            f"--format={fields}",
        ],
        timeout=patience,
    )
    return [_element(match) for match in map(_JOB.match, output.splitlines()) if match]


_JOB = re.compile(r"\s*(\d+)\|([^|]*)\|(\d+)\|([A-Z_]+)\|([^|]*)\|([^|]*)\|([^|]*)\|(.*)")
"""A line of squeue; sites print greetings around them."""


def _element(line: re.Match[str]) -> Element:
    job, task, raw, state, reason, node, qos, comment = line.groups()
    return Element(
        job_id=int(job),
        task=int(task) if task.isdecimal() else None,
        raw_id=int(raw),
        state=state,
        reason=reason,
        node=node,
        restarts=0,
        qos=qos,
        comment=comment,
    )


def show_job(name: str) -> dict[str, str]:
    """What scontrol knows of one job; SlurmError if it has forgotten it.

    A key counts where it stands first: paths and comments, which may hold anything, come last.
    """
    command = ["scontrol", "--oneliner", "show", "job", name]
    line = next((line for line in run(command).splitlines() if line.startswith("JobId=")), None)
    if line is None:
        raise SlurmError(command, "says nothing of the job")
    found: dict[str, str] = {}
    for key, value in re.findall(r"(\w[\w:/]*)=(\S*)", line):
        found.setdefault(key, value)
    return found


def unix_time(text: str | None) -> float | None:
    """A time as Slurm prints it, `2026-11-23T23:00:00`, local; None if it is none."""
    try:
        return time.mktime(time.strptime(text or "", "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def number_of(settings: Mapping[str, str], name: str, usual: int) -> int:
    """A setting that is a number; `usual` where it is none, or not there."""
    text = settings.get(name, "")
    return int(text) if text.isdecimal() else usual


_JOB_ID = re.compile(
    r"^\s*(?:Submitted batch job )?(\d+)(?:;\S*|(?: on cluster \S+)?)\s*$", re.MULTILINE
)
"""As sbatch says it, also where a site's wrapper drops `--parsable`."""


def sbatch(script: Path, *, hold: int | None = None, test_only: bool = False) -> tuple[int, str]:
    """Send a batch script; returns the job's id (0 with `test_only`) and what sbatch said.

    Args:
        script: with its #SBATCH lines.
        hold: a descriptor that sbatch keeps open as long as it lives.
        test_only: only ask when it would start.

    Raises:
        UnreachableError: whether it was sent, and as which job, is not known: nobody answers in
            time, or it was taken and no job's id can be read.
        SlurmError: it was not sent.
    """
    options = ["--test-only"] if test_only else ["--parsable"]
    command = ["sbatch", *options, str(script)]
    output = run(command, hold=hold, timeout=300, both=test_only)
    if test_only:
        return 0, output.strip()
    found = set(map(int, _JOB_ID.findall(output)))  # sites print greetings around it
    if len(found) != 1:  # it may have been taken: not to be withdrawn, but looked for in the queue
        text = f"said {output.strip()!r} instead of a job id; the next command looks for the job"
        raise UnreachableError(command, text)
    return found.pop(), output


def requeue(name: str) -> None:
    """Put a job, or exactly one element of an array, back into the queue."""
    run(["scontrol", "requeue", name])


def cancel(names: Iterable[str]) -> None:
    """Cancel jobs and elements."""
    listed = list(names)
    for start in range(0, len(listed), 500):  # a command line is finite
        run(["scancel", *listed[start : start + 500]])


def accounting(job_ids: Iterable[int | str], since: float) -> list[dict[str, str]] | None:
    """What sacct knows of the jobs' elements, all their runs; None where there is no accounting.

    Without a start time sacct forgets everything before midnight.
    """
    fields = ("JobID", "State", "ExitCode", "NodeList", "MaxRSS", "ReqMem", "Elapsed", "Timelimit")
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
    ids = ",".join(str(job_id) for job_id in job_ids)
    try:
        output = run(
            [
                "sacct",
                "-nP",
                "--duplicates",
                f"--starttime={start}",
                f"--jobs={ids}",
                f"--format={','.join(fields)}",
            ]
        )
    except SlurmError:
        return None
    rows = (line.split("|") for line in output.splitlines() if re.match(r"\d+(_|\.|\||$)", line))
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]


def run(
    command: list[str], *, hold: int | None = None, timeout: float = PATIENCE, both: bool = False
) -> str:
    """Standard output of a command; `both`: standard error, too."""
    _calls[command[0]] += 1
    try:
        done = subprocess.run(
            command,
            env=environment(),
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


def gpus_of(variables: Mapping[str, str]) -> str:
    """The GPUs that Slurm gave to this job, as its variable names them; empty: none."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    found = next((variables[name] for name in names if variables.get(name)), "")
    return "" if found == "NoDevFiles" else found
