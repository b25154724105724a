"""Slurm's commands about jobs, and the readers of their answers."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.slurm import states
from cluster.slurm.process import PATIENCE_S, SlurmError, UnreachableError, run


@dataclass(frozen=True, kw_only=True)
class Element:
    """One job of the queue: an element of an array, or a plain job."""

    job_id: int  # the array's, or the plain job's
    task: int | None  # the element's index
    raw_id: int  # the element's own id
    state: str  # PENDING, RUNNING, COMPLETING, COMPLETED, FAILED, ...
    reason: str
    node: str
    qos: str
    comment: str

    @property
    def name(self) -> str:
        """The job's name in Slurm's notation: `123_4`, or `123`."""
        return f"{self.job_id}" if self.task is None else f"{self.job_id}_{self.task}"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended and will not run again."""
        return self.state in states.OVER


def queue(others: Iterable[int] = (), patience: float = PATIENCE_S) -> list[Element]:
    """My jobs, the recently ended ones (MinJobAge) included; one call, whatever the size.

    Mine are those of this process's uid: the shell's USER may be another's (su, sudo -E).

    Args:
        others: uids of users whose jobs are wanted, too.
        patience: seconds to wait for an answer.

    Raises:
        UnreachableError: the controller does not answer within `patience` seconds.
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
    return [_element(match) for match in map(_SQUEUE_LINE.match, output.splitlines()) if match]


_SQUEUE_LINE = re.compile(r"\s*(\d+)\|([^|]*)\|(\d+)\|([A-Z_]+)\|([^|]*)\|([^|]*)\|([^|]*)\|(.*)")
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
        qos=qos,
        comment=comment,
    )


def show_job(name: str) -> dict[str, str]:
    """The fields of one job by `scontrol show job`; SlurmError if the controller has forgotten it.

    The first value of a key counts: paths and comments, which may hold any text, come last.
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
    """The unix time of Slurm's local `2026-11-23T23:00:00`; None if the text is no time."""
    try:
        return time.mktime(time.strptime(text or "", "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def number_of(settings: Mapping[str, str], name: str, usual: int) -> int:
    """The number of a setting; `usual` if it has no number, or is missing."""
    text = settings.get(name, "")
    return int(text) if text.isdecimal() else usual


_JOB_ID = re.compile(
    r"^\s*(?:Submitted batch job )?(\d+)(?:;\S*|(?: on cluster \S+)?)\s*$", re.MULTILINE
)
"""The line with the job id that sbatch prints, with or without `--parsable`, which wrappers may drop."""


def sbatch(script: Path, *, hold: int | None = None, test_only: bool = False) -> tuple[int, str]:
    """Send a batch script; returns the job's id (0 with `test_only`) and sbatch's output.

    Args:
        script: the file, with its #SBATCH lines.
        hold: a descriptor that sbatch keeps open as long as it lives.
        test_only: only ask when the job would start.

    Raises:
        UnreachableError: whether the job was sent, and its id, is not known: Slurm does not answer in
            time, or its answer holds no id.
        SlurmError: the job was not sent.
    """
    options = ["--test-only"] if test_only else ["--parsable"]
    command = ["sbatch", *options, str(script)]
    output = run(command, hold=hold, timeout=300, both=test_only)
    if test_only:
        return 0, output.strip()
    found = set(map(int, _JOB_ID.findall(output)))  # sites print greetings around the id
    if len(found) != 1:  # Slurm may have taken the job: look for it in the queue
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
    """A row of sacct: one start of an element, or one step of that start."""

    name: str  # 100_3; 100_[0-3,7%2]: pending elements; 100_3.batch: a step
    state: str
    max_rss: str  # 12M; empty: not measured

    @property
    def element(self) -> str:
        """The name of the element, without the step."""
        return self.name.partition(".")[0]

    @property
    def is_step(self) -> bool:
        """Whether the row is a step of a start."""
        return "." in self.name


def accounting(job_ids: Iterable[int | str], since: float) -> list[AccountingRow] | None:
    """The rows of sacct about the jobs' elements, all their starts; None without accounting.

    Without a start time sacct leaves out everything before midnight.
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
        for match in map(_SACCT_LINE.match, output.splitlines())
        if match
    ]


_SACCT_LINE = re.compile(r"(\d+(?:[_.][^|]*)?)\|([^| ]*)[^|]*\|([^|]*)$")
"""A line of sacct; the state may be `CANCELLED by 1000`."""


def gpus_of(variables: Mapping[str, str]) -> str:
    """The GPUs that Slurm gave to this job, as Slurm's variable names them; empty: none."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    found = next((variables[name] for name in names if variables.get(name)), "")
    return "" if found == "NoDevFiles" else found
