"""Faults of a cluster, as operators or bad luck cause them, are injected on purpose."""

import errno
import os
import secrets
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.lab import daemons, mounts, processes
from cluster.lab.base import Base
from jobs.errors import InputError

FILLER = ".filled-by-the-lab"
ORPHANS = "run/orphans"
NODE_CLEANUP_S = 6.0
"""So long after its end a job may still get signals of its node."""


class Faults(Base):
    """The faults that can be injected into a lab that is up."""

    def kill(self, daemon: str, sig: int = signal.SIGKILL, *, with_steps: bool = False) -> None:
        """Signal one daemon: munged, slurmctld, slurmd:NODE, slurmdbd or mariadbd.

        Args:
            daemon: The daemon's name.
            sig: The signal; SIGSTOP and SIGCONT make a daemon hang for a while.
            with_steps: Also the slurmstepd processes of that node: a node that is dead for Slurm,
                while the processes of its jobs live on.
        """
        process = self._process(daemon)
        steps = self.steps(daemon.partition(":")[2]) if with_steps else []
        if steps:  # `down` must find their jobs' processes without them
            with (self.folder / ORPHANS).open("a") as file:
                file.writelines(f"{one.pid} {one.start}\n" for one in processes.descendants(steps))
        processes.send(process, sig)
        for step in steps:
            processes.send(step, sig)
        if sig in {signal.SIGKILL, signal.SIGTERM}:
            processes.wait_gone([process, *steps], 10)

    def restart(self, daemon: str) -> None:
        """Stop one daemon if it runs and start it again; returns when it listens."""
        process = self._process(daemon)
        if processes.is_alive(process):
            processes.send(process, signal.SIGCONT)
            processes.send(process, signal.SIGTERM)
            for left in processes.wait_gone([process], 10):
                processes.send(left, signal.SIGKILL)
                processes.wait_gone([left], 10)
        daemons.start(self.place, daemon)

    def save_state(self) -> None:
        """Make the controller save its state, which it would else lose if it is killed.

        A busy controller saves every five seconds. A quiet one that has started a job from its
        backfill scheduler waits for minutes: killed before, it takes that job for pending, has its
        processes killed without notice and starts it again, under the same id and restart count.
        """
        file = self.folder / "state" / "job_state"
        name = (
            f"save-{secrets.token_hex(8)}"  # a new job makes it save; its name is found in the file
        )
        options = ("--parsable", "--hold", "--output=/dev/null", "--wrap=true")
        done = self.run("sbatch", f"--job-name={name}", *options)
        self.run("scancel", done.stdout.strip().partition(";")[0])
        deadline = time.monotonic() + 30
        while not file.exists() or name.encode() not in file.read_bytes():
            if time.monotonic() > deadline:
                raise TimeoutError("slurmctld has not saved its state in 30 s")
            time.sleep(0.1)

    def steps(self, node: str) -> list[processes.Process]:
        """The slurmstepd processes of a node."""
        sockets = f"{self.folder}/spool/{node}/"
        logs = f"{self.folder}/log/slurmd-{node}.log"
        return [
            found.process
            for found in processes.everything()
            if found.name == "slurmstepd" and processes.has_open(found.process.pid, (sockets, logs))
        ]

    def orphans(self) -> list[processes.Process]:
        """The processes of jobs whose slurmstepd was killed, running or not."""
        try:
            lines = (self.folder / ORPHANS).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [processes.Process(*map(int, line.split())) for line in lines]

    def drain(self, node: str, reason: str = "lab") -> None:
        """Drain a node, so that it starts no new job."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def resume(self, node: str) -> None:
        """Take a drained or down node back into service."""
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def requeue(self, job: str) -> None:
        """Put a running job (or array element, A_i) back into the queue.

        Slurm makes the job wait for about two minutes, whatever the configuration; see `start_now`.
        """
        self.run("scontrol", "requeue", job)

    def start_now(self, job: str, pause: float = NODE_CLEANUP_S) -> None:
        """Cancel the wait that Slurm imposes on a requeued job.

        Slurm would accept the request and forget it while the old attempt is ending, so the request
        comes later. A node that has just ended the old attempt may signal the new one: hence the pause.
        """
        deadline = time.monotonic() + self.settings.kill_wait + 30
        while self.job(job).get("JobState") == "COMPLETING" and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(pause)
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def preempt(self, nodes: Sequence[str] | None = None, seconds: float = 20) -> str:
        """Take whole nodes (default: all) away from the jobs of the partition `preemptible`.

        Returns:
            The id of the urgent job, which sleeps there for `seconds`.
        """
        names = list(nodes or self.settings.node_names)
        done = self.run(
            "sbatch",
            "--parsable",
            "--job-name=lab-preempt",
            "--partition=urgent",
            "--exclusive",
            f"--nodes={len(names)}",
            f"--nodelist={','.join(names)}",
            "--output=/dev/null",
            "--chdir=/",
            f"--wrap=sleep {seconds}",
        )
        return done.stdout.strip().partition(";")[0]

    def fill_scratch(self) -> Path:
        """Fill the nodes' scratch to the last byte; returns the file that fills it.

        Raises:
            InputError: scratch is no file system of its own: that takes root.
        """
        self._require_own_scratch()
        filler = self.scratch / FILLER
        descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for size in (1 << 20, 1 << 12, 1):
                _write_until_full(descriptor, size)
        finally:
            os.close(descriptor)
        return filler

    def free_scratch(self) -> None:
        """Undo `fill_scratch`."""
        (self.scratch / FILLER).unlink(missing_ok=True)

    def wait_for(self, job: str, *states: str, seconds: float = 60) -> str:
        """Wait until a job is in one of the states; returns its state.

        Raises:
            TimeoutError: the job is in none of them in time; the text has its state.
        """
        deadline = time.monotonic() + seconds
        while (state := self.job(job).get("JobState", "UNKNOWN")) not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is {state} after {seconds} s, not {states}")
            time.sleep(0.1)
        return state

    def job(self, job: str) -> dict[str, str]:
        """The fields of one job by `scontrol show job`; empty if Slurm has forgotten the job."""
        done = self.run("scontrol", "--oneliner", "show", "job", job, check=False)
        fields = (word.partition("=") for word in done.stdout.split())
        return {key: value for key, _, value in fields if key}

    def _require_own_scratch(self) -> None:
        if not mounts.is_mounted(self.scratch):
            raise InputError(
                f"lab: {self.scratch} is an ordinary folder (mounting a small file system takes"
                " root): what is done to it would be done to the machine's disk"
            )

    def _process(self, daemon: str) -> processes.Process:
        known = daemons.names(self.settings)
        if daemon not in known:
            raise InputError(f"lab: no daemon {daemon!r}; there are: {', '.join(known)}")
        process = processes.read(daemons.pid_file(self.folder, daemon))
        if process is None:
            raise InputError(f"lab: {daemon} was never started; next: probprec lab down")
        return process


def _write_until_full(descriptor: int, size: int) -> None:
    block = b"\0" * size
    try:
        while True:
            os.write(descriptor, block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
