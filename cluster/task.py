"""This process is one element of a Slurm array, on its node.

    python -m cluster.task ROOT SUBMISSION FIRST [--from-snapshot]

Imported first from the installation, the process checks that the code snapshot is what was submitted,
and starts itself again from the snapshot, so that later edits reach no run. The last word marks the
second start.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.slurm import client, states
from cluster.slurm.process import SlurmError
from jobs import signals
from jobs.failure import Failure
from jobs.node.allocation import Allocation, timeout
from jobs.node.deadline import Deadline
from jobs.node.execution import execution_of
from jobs.node.launcher import Launcher
from jobs.snapshot import ROOT, found_sha256
from jobs.store import journal
from jobs.store.attempts import ClaimedError
from jobs.store.store import Store
from jobs.store.submission_plan import Entry

FAILED = 1

_FROM_SNAPSHOT = "--from-snapshot"

_EARLY_WARNING_S = 65.0
"""Slurm may warn of a time limit up to 60 s before the warning is due."""


class SlurmAllocation(Allocation):
    """The allocation of this array element.

    Slurm is asked about `123_4`: the own id of an array's last element is that of the whole array.
    """

    def __init__(self, lead: float) -> None:
        variables = os.environ
        self.name: str = f"{variables['SLURM_ARRAY_JOB_ID']}_{variables['SLURM_ARRAY_TASK_ID']}"
        self.raw_id = int(variables["SLURM_JOB_ID"])
        self.restarts = int(variables.get("SLURM_RESTART_COUNT", "0"))
        self.node = variables.get("SLURMD_NODENAME", "")
        self.lead = lead
        self.end = self._find_end()

    def _find_end(self) -> float | None:
        """The unix time at which Slurm will end this job; before Slurm 23.02 it has to be asked for.

        The answer about a job that is being ended is when that began, which is no time limit.
        """
        told = os.environ.get("SLURM_JOB_END_TIME")
        if told:
            return float(told)
        try:
            job = client.show_job(self.name)
        except SlurmError as error:
            _log(f"the end time is not known: {error}")
            return None
        is_limited = job.get("JobState", "RUNNING") in states.LIMITED
        return client.unix_time(job.get("EndTime")) if is_limited else None

    def describe(self) -> dict[str, Any]:
        """The allocation's fields in the journal."""
        return {
            "element": self.name,
            "job": self.raw_id,
            "restart": self.restarts,
            "node": self.node,
            "end": self.end,
        }

    def why_stop(self, number: int) -> Failure | None:
        """The reason to stop, by the signal, the end time, and the controller's state of this job.

        None: go on, as Slurm warns of the time limit up to a minute too early (sbatch(1), --signal).
        """
        name = signal.Signals(number).name
        is_warning = number in {signal.SIGUSR1, signal.SIGUSR2}
        if is_warning and self._is_near_end(0):
            return timeout(self.end)
        try:
            job = client.show_job(self.name)
        except SlurmError as error:
            job = {"JobState": f"not known ({error})"}
        state = job.get("JobState", "")
        evidence = f"{name}; scontrol says JobState={state} Restarts={job.get('Restarts')}"
        if client.number_of(job, "Restarts", 0) > self.restarts:
            # A requeued job and a cancelled one are both COMPLETING: only this tells them apart.
            return Failure(
                failure="preempted", message="put back into the queue by Slurm", evidence=evidence
            )
        if job.get("PreemptTime", "None") not in {"None", "N/A", "Unknown"}:
            return Failure(
                failure="preempted",
                message="preempted by a job of higher priority",
                evidence=f"{evidence} PreemptTime={job['PreemptTime']}",
            )
        if state == "RUNNING":  # the time limit may have been changed meanwhile
            self.end = client.unix_time(job.get("EndTime")) or self.end
        if self._is_near_end(_EARLY_WARNING_S) and "CANCEL" not in state:
            is_early = is_warning and state == "RUNNING" and not self._is_near_end(0)
            return None if is_early else timeout(self.end)
        message = "cancelled" if state in {"CANCELLED", "COMPLETING"} else f"stopped by {name}"
        return Failure(failure="cancelled", message=message, evidence=evidence)

    def _is_near_end(self, early: float) -> bool:
        """Whether it is time to stop, or will be in `early` seconds."""
        return self.end is not None and time.time() >= self.end - self.lead - early

    def why_vanished(self) -> Failure:
        """The failure of a last attempt without an end: Slurm has started this element again."""
        return Failure(
            failure="node_fail",
            message="the attempt was cut off without a signal, and Slurm started it again",
            evidence=f"restart {self.restarts} of {self.name}",
        )

    def requeue(self) -> str | None:
        """Requeue exactly this element: the array's own id would requeue all of the array."""
        try:
            client.requeue(self.name)
        except SlurmError as error:
            # Slurm may have requeued the element already, as after a preemption.
            return None if "pending execution" in error.message else str(error)
        return None


def main(arguments: Sequence[str]) -> int:
    """Run the element; returns 0 only if every run of it has a record: Slurm takes 0 for COMPLETED."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)  # until the launcher listens
    store, number, first = Store(Path(arguments[0])), int(arguments[1]), int(arguments[2])
    submission = store.submission(number)
    plan, chunk = submission.plan(), submission.part("chunk", first).chunk()
    entries = chunk.group.tasks[int(os.environ["SLURM_ARRAY_TASK_ID"])]
    archive = (store.code / plan.code.file).resolve()
    if archive != ROOT:
        expected, found = plan.code.sha256, found_sha256(archive)
        if found != expected:
            message = f"the code snapshot {archive.name} is not what was submitted"
            return _refuse(
                store, entries, message, f"{archive}: sha256 {found}, expected {expected}"
            )
        if _FROM_SNAPSHOT in arguments:
            message = f"Python does not import the code snapshot {archive.name}"
            path = os.environ.get("PYTHONPATH")
            return _refuse(store, entries, message, f"imported: {ROOT}; PYTHONPATH={path}")
        _become(archive, arguments)
    settings = execution_of(store, number, plan, chunk.group, client.gpus_of(os.environ))
    launcher = Launcher(store, settings, Deadline(SlurmAllocation(chunk.group.lead)))
    return 0 if launcher.run_task(entries) else FAILED


def _become(archive: Path, arguments: Sequence[str]) -> None:
    """Start this process again from the snapshot, under the same pid."""
    environment = {**os.environ, "PYTHONPATH": str(archive)}
    os.execve(  # noqa: S606 - this interpreter, and arguments of our own
        sys.executable,
        [sys.executable, "-m", "cluster.task", *arguments, _FROM_SNAPSHOT],
        environment,
    )


def _refuse(store: Store, entries: Sequence[Entry], message: str, evidence: str) -> int:
    """Refuse code that is not what was submitted: note it in every run's journal, and train nothing."""
    why = Failure(failure="drifted", message=message, evidence=evidence)
    for entry in entries:
        folder = store.run(entry.run.id)
        folder.create(entry.run)
        try:
            attempt = folder.claim(entry.fence)
        except ClaimedError:
            continue
        attempt.note(journal.claimed(**_identity(os.environ)))
        attempt.note(journal.ended(why))
    _log(f"{why.message}: {why.evidence}")
    return FAILED


def _identity(variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "element": f"{variables['SLURM_ARRAY_JOB_ID']}_{variables['SLURM_ARRAY_TASK_ID']}",
        "node": variables.get("SLURMD_NODENAME", ""),
    }


def _log(message: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
