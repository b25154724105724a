"""The settings of a lab: its nodes, their size, and its limits."""

from dataclasses import asdict, dataclass
from typing import Any

from jobs.errors import InputError

_MINIMA = {
    "nodes": 1,
    "cpus": 1,
    "memory_mb": 100,
    "gpus": 0,
    "max_array_size": 2,
    "max_jobs": 10,
    "min_job_age": 2,
    "kill_wait": 1,
    "grace_time": 0,
    "node_timeout": 5,
    "scratch_mb": 1,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A lab's settings; all of them have defaults.

    Attributes:
        nodes: Virtual nodes, named node1, node2, ...
        cpus: CPUs of each node, as Slurm counts them; the machine may have fewer.
        memory_mb: Memory of each node, as Slurm counts it.
        gpus: Fake GPUs of each node, of type gtx1080ti: scheduled, but no device is behind them.
        accounting: With slurmdbd and a private MariaDB, so that `sacct` works.
        max_array_size: Slurm's MaxArraySize: array indices are smaller than this.
        max_submit: Jobs (array tasks counted) a user may have in the queue; needs `accounting`.
        max_jobs: Slurm's MaxJobCount.
        min_job_age: Seconds that the controller remembers a job that has ended.
        cgroups: Memory limits by cgroups; None: where that really works.
        kill_wait: Seconds between SIGTERM and SIGKILL, at the time limit and at scancel.
        grace_time: Seconds that a preempted job of the partition `preemptible` is given.
        node_timeout: Seconds until a silent node is down and its jobs are requeued.
        scratch_mb: Size of the nodes' scratch, where it can be a file system of its own (root).
    """

    nodes: int = 2
    cpus: int = 4
    memory_mb: int = 8000
    gpus: int = 2
    accounting: bool = False
    max_array_size: int = 1001
    max_submit: int | None = None
    max_jobs: int = 10_000
    min_job_age: int = 300
    cgroups: bool | None = None
    kill_wait: int = 15
    grace_time: int = 10
    node_timeout: int = 20
    scratch_mb: int = 256

    @property
    def node_names(self) -> list[str]:
        """node1, node2, ..."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def check(self) -> None:
        """Refuse settings that Slurm cannot work with; InputError names every mistake."""
        values = asdict(self)
        wrong = [
            f"{name} is {values[name]}: at least {least} is needed"
            for name, least in _MINIMA.items()
            if values[name] < least
        ]
        if self.nodes > 64:
            wrong.append(f"nodes is {self.nodes}: at most 64 fit one machine")
        if self.max_submit is not None and not self.accounting:
            wrong.append("max_submit needs accounting: the limit lives in Slurm's database")
        if self.max_submit is not None and self.max_submit < 1:
            wrong.append(f"max_submit is {self.max_submit}: at least 1 is needed")
        if wrong:
            raise InputError("lab: " + "; ".join(wrong))

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, for the lab's folder."""
        return asdict(self)
