"""A training runs on the node as a child process of the launcher, which starts and watches it."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any, Self

from containers.command import Command
from jobs import files, signals
from jobs.failure import Failure
from jobs.node import cgroup
from jobs.node.execution import Execution
from jobs.store import journal, record
from jobs.store.attempts import Attempt


@dataclass(eq=False)
class RunningTraining:
    """The training process of one attempt, as the launcher knows it."""

    attempt: Attempt
    process: "subprocess.Popen[bytes]"
    staging: dict[str, Any] | None  # how the data came to this node
    gpu: str  # its GPUs, as CUDA_VISIBLE_DEVICES names them
    oom_kills: int  # by the kernel, before this process started
    others: set[str] = field(default_factory=set)  # runs that were trained beside it
    is_told: bool = False  # to stop
    started: float = field(default_factory=time.perf_counter)
    total: dict[str, Any] = field(default_factory=dict)  # cost of the whole process

    @classmethod
    def start(
        cls, attempt: Attempt, command: Command, staging: dict[str, Any] | None, gpu: str
    ) -> Self:
        """Start the training of an attempt.

        Raises:
            OSError: the process cannot be started.
        """
        oom_kills = cgroup.oom_kills()
        with attempt.log_file.open("ab") as log, signals.hold():  # until the training listens
            process = subprocess.Popen(
                command.arguments,
                env=dict(command.environment),
                cwd=attempt.path,
                stdin=subprocess.PIPE,  # never written to: its end means that the launcher is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its whole process group can be ended
            )
        return cls(attempt, process, staging, gpu, oom_kills)

    def has_ended(self) -> bool:
        """Whether the process has ended; if so, the rest of its session is killed."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.total = {
            "wall_s": time.perf_counter() - self.started,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
        }
        signals.kill_session(self.process.pid)
        return True

    def was_killed(self) -> bool:
        """Whether SIGKILL ended the process (137: reported by a container runtime)."""
        return self.process.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}

    def tell(self, why: Failure) -> None:
        """Tell the training, once, to write a checkpoint and exit."""
        if self.process.returncode is None and not self.is_told:
            self.is_told = True
            self.attempt.try_note(journal.stopping(why))
            signals.signal_one(self.process.pid, signal.SIGTERM)

    def outcome(self, execution: Execution) -> dict[str, Any] | Failure | None:
        """The record to publish; None: no outcome file exists; a failure: the file is invalid."""
        attempt = self.attempt
        try:
            outcome: dict[str, Any] = json.loads(files.read(attempt.outcome_file))
            found = record.parse(outcome).id
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            return Failure(failure="exception", message=f"{attempt.outcome_file.name}: {error}")
        if found != attempt.folder.id:
            return Failure(failure="exception", message=f"trained another run: {found}")
        outcome["cost"]["total"] = self.total
        outcome["provenance"] |= {
            **execution.code,
            **of_launch(),
            "image": execution.image.to_json() if execution.image else None,
            "staging": self.staging,
            "attempts": attempt.fence - attempt.folder.life(),
            "co_tenants": sorted(self.others),
        }
        return outcome


_SLURM_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_PARTITION",
    "SLURMD_NODENAME",
)


def of_launch() -> dict[str, Any]:
    """The launcher's part of a record's provenance: its Slurm job, if any."""
    slurm = {
        name.removeprefix("SLURM_").lower(): os.environ[name]
        for name in _SLURM_VARIABLES
        if name in os.environ
    }
    return {"slurm": slurm}
