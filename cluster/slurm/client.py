"""Slurm's commands about jobs: what they are told, and how their answers are read."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.slurm import states
from cluster.slurm.command import PATIENCE_S, SlurmError, UnreachableError, run


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


def queue(others: Iterable[int] = (), patience: float = PATIENCE_S) -> list[Element]:
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


@dataclass(frozen=True, kw_only=True)
class AccountingRow:
    """One start of an element, or one step of that start, as sacct knows it."""

    name: str  # 100_3; 100_[0-3,7%2]: elements that never began; 100_3.batch: a step
    state: str
    max_rss: str  # 12M; empty: not measured

    @property
    def element(self) -> str:
        """The name without the step's."""
        return self.name.partition(".")[0]

    @property
    def is_step(self) -> bool:
        """Whether it is a step of a start."""
        return "." in self.name


def accounting(job_ids: Iterable[int | str], since: float) -> list[AccountingRow] | None:
    """What sacct knows of the jobs' elements, all their runs; None where there is no accounting.

    Without a start time sacct forgets everything before midnight.
    """
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
                "--format=JobID,State,MaxRSS",
            ]
        )
    except SlurmError:
        return None
    return [
        AccountingRow(name=match[1], state=match[2], max_rss=match[3])
        for match in map(_ACCOUNTING.match, output.splitlines())
        if match
    ]


_ACCOUNTING = re.compile(r"(\d+(?:[_.][^|]*)?)\|([^| ]*)[^|]*\|([^|]*)$")
"""A line of sacct; the state may be `CANCELLED by 1000`."""


def gpus_of(variables: Mapping[str, str]) -> str:
    """The GPUs that Slurm gave to this job, as its variable names them; empty: none."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    found = next((variables[name] for name in names if variables.get(name)), "")
    return "" if found == "NoDevFiles" else found
