"""A profile describes a cluster: its engine, and the resources, paths and policy of runs there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from jobs.failure import FailureClass
from jobs.resources import Resources

Engine = Literal["local", "slurm"]
Action = Literal["requeue", "retry", "mem", "time", "exclude", "stop"]
"""The action after a failed attempt: requeue the array element; submit again (`retry`), with more
memory or time, or without the node; or nothing until a person has looked at the failure."""

Option = str | int | bool

Unstaged = Literal["fail", "in_place"]
"""The policy where scratch is missing or full: fail, or read the data from its original place."""

POLICY: Mapping[FailureClass, Action] = MappingProxyType(
    {
        "oom": "mem",
        "timeout": "requeue",
        "preempted": "requeue",
        "node_fail": "exclude",
        "cancelled": "retry",
        "killed": "retry",
        "disk_full": "retry",
        "bad_data": "stop",
        "drifted": "stop",
        "image": "stop",
        "setup": "stop",
        "gpu_missing": "exclude",
        "cuda_oom": "stop",
        "import_error": "stop",
        "exception": "stop",
        "no_progress": "stop",
        "lost": "retry",
    }
)
"""The default action for each failure class."""

LONGEST_LEAD = 90  # seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a cluster, and of what probprec does unasked; None: the cluster is asked."""

    max_array: int | None = None  # elements of one array
    max_submit: int | None = None  # jobs of one user in the queue
    max_hashed_data: int = 10 * 1024  # MiB of an own problem's data that was not added


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The profile of a cluster: where and how runs are executed."""

    name: str
    engine: Engine
    resources: Resources = field(default_factory=Resources)
    threads: int | None = None  # CPU threads per run; None: the CPUs of the task, shared
    scratch: str | None = None  # a folder on the nodes; may hold $USER and $SLURM_JOB_ID
    data: Path | None = None  # folder of the data sets, absolute
    data_on_nodes: bool = False  # data sets that were not added exist only on nodes or in the image
    image: Path | None = None  # a .sif file, or the recipe that it is built by; absolute
    stage_image: bool = False  # copy the image to scratch, too
    unstaged: Unstaged = "in_place"  # where scratch is missing or full
    python: str | None = None  # the training's; None: the submitting interpreter, or python3
    setup: tuple[str, ...] = ()  # shell lines before a task
    environment: Mapping[str, str] = field(default_factory=dict)  # added to a task's
    job_name: str | None = None
    mail_type: str | None = None
    mail_user: str | None = None
    throttle: int | None = None  # elements of an array that run at a time
    limits: Limits = field(default_factory=Limits)
    signal_lead: int | None = None  # seconds before the end at which Slurm sends USR2
    checkpoint_every: int = 600  # seconds
    max_attempts: int = 20
    policy: Mapping[FailureClass, Action] = field(default_factory=lambda: dict(POLICY))
    options: Mapping[str, Option] = field(default_factory=dict)  # more options of sbatch
    source: Path | None = None  # the file that the profile was read from

    def threads_of(self, resources: Resources) -> int:
        """CPU threads of each run of an array task that gets `resources`."""
        shared = (resources.cpus or 1) // (resources.runs_per_task or 1)
        return self.threads or max(1, shared)

    def lead_of(self, resources: Resources) -> int:
        """Seconds before the end at which Slurm sends USR2: at most a quarter of the time limit."""
        if self.signal_lead is not None:
            return self.signal_lead
        return min(LONGEST_LEAD, resources.time // 4) if resources.time else LONGEST_LEAD

    def to_json(self) -> dict[str, Any]:
        """The profile as a submission stores it."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "resources": self.resources.to_json(),
            "data": str(self.data) if self.data else None,
            "image": str(self.image) if self.image else None,
            "setup": list(self.setup),
            "environment": dict(self.environment),
            "limits": asdict(self.limits),
            "policy": dict(self.policy),
            "options": dict(self.options),
            "source": str(self.source) if self.source else None,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; a missing key has its default."""
        fields = dict(content)
        for name, read in _READERS.items():
            if fields.get(name) is not None:
                fields[name] = read(fields[name])
        return cls(**fields)


_READERS: Mapping[str, Any] = {
    "resources": Resources.from_json,
    "limits": lambda limits: Limits(**limits),
    "setup": tuple,
    "data": Path,
    "image": Path,
    "source": Path,
}

LOCAL = Profile(name="local", engine="local", threads=1)
"""The default: submitit's local executor, this Python, this machine."""
