"""The launcher on a node claims runs, trains each in a child process, and publishes their records.

The launcher needs no torch. It executes one array task after the other: all runs of a task side by
side, each in a child process of its own. `deadline` says when trainings have to stop, `endings`
records how attempts end.
"""

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from containers.runtime import ContainerError
from containers.training import Training
from jobs import failure, signals
from jobs.errors import DriftedError
from jobs.failure import Failure
from jobs.manifests.manifest import ManifestError
from jobs.node import cgroup
from jobs.node.allocation import timeout
from jobs.node.attempt_budget import out_of_budget
from jobs.node.child import RunningTraining
from jobs.node.deadline import Deadline
from jobs.node.endings import Endings, note_end
from jobs.node.execution import Execution
from jobs.node.prepare import Node, Reporter, UnusableDataError, why_not
from jobs.store import journal
from jobs.store.attempts import Attempt, ClaimedError, RunFolder
from jobs.store.store import Store
from jobs.store.submission_plan import Entry
from jobs.sweep import Run

log = logging.getLogger(__name__)

_ENDED_FROM_OUTSIDE = frozenset(("cancelled", "killed", "preempted", "node_fail", "timeout"))
"""Failure classes that something outside the run caused.

If Slurm starts the array element again, such a run is attempted again; a run that failed by itself
is not.
"""

_START_ERRORS = (OSError, ContainerError, DriftedError, ManifestError, UnusableDataError)


class _StoppedError(Exception):
    """An attempt was told to stop before its training began."""

    def __init__(self, why: Failure) -> None:
        super().__init__(why.message)
        self.failure = why


class Launcher:
    """The launcher of array tasks in one allocation."""

    def __init__(self, store: Store, execution: Execution, deadline: Deadline) -> None:
        self.store = store
        self.execution = execution
        self.deadline = deadline
        self.allocation = deadline.allocation
        self._endings = Endings(deadline)
        self._live: list[RunningTraining] = []  # of the task under way

    def run_task(self, entries: Iterable[Entry]) -> bool:
        """Attempt the runs side by side; returns whether all of them have a record now.

        A run that has a record, or that another launcher has claimed since the submission, is left
        alone.
        """
        with Node(self.store, self.execution, self.allocation.name or str(os.getpid())) as node:
            return self._run_task(list(entries), node)

    def _run_task(self, entries: list[Entry], node: Node) -> bool:
        for entry in entries:
            try:
                if len(entries) == 1 or not self._is_settled(entry):
                    self._start(entry, node, self._gpu(len(entries)))
            except OSError:  # not even the journal can be written; the other runs go on
                log.exception("run %s cannot begin", entry.run.id)
        if self.deadline.stopped is not None:  # while data was being staged
            self._tell(self.deadline.stopped)
        while self._live:
            self._attend()
            self._reap()
        self._endings.requeue(self.execution)
        return all(self.store.run(entry.run.id).record_file.exists() for entry in entries)

    def _is_settled(self, entry: Entry) -> bool:
        """Whether the run failed for good in this element, which was requeued for other runs."""
        if not self.allocation.restarts:
            return False
        past = self.store.run(entry.run.id).history()
        if not past or past[-1].element != self.allocation.name or past[-1].is_requeued:
            return False
        return past[-1].failure not in {None, *_ENDED_FROM_OUTSIDE, *self.execution.requeues}

    def _gpu(self, size: int) -> str:
        """The GPUs of one of the task's `size` runs, among which its GPUs are shared out."""
        names = self.execution.gpu.split(",")
        taken = [training.gpu for training in self._live]
        return self.execution.gpu if size == 1 else min(names, key=taken.count)

    def _start(self, entry: Entry, node: Node, gpu: str) -> None:
        folder = self.store.run(entry.run.id)
        folder.create(entry.run)
        is_too_late = self.deadline.is_signalled and not self.allocation.name
        if folder.record_file.exists() or is_too_late:
            return  # a signalled array element begins, so that the journal says why it ends
        try:
            attempt = folder.claim(self._last_fence(folder, entry))
        except ClaimedError as error:
            folder.note(journal.refused(str(error), submission=self.execution.submission))
            return
        try:
            self._begin(attempt, entry.run, node, gpu)
        except BaseException:
            attempt.release()
            raise

    def _begin(self, attempt: Attempt, run: Run, node: Node, gpu: str) -> None:
        """Record the claim and start the training, or record why it cannot start."""
        self._close_previous(attempt)
        claimed = journal.claimed(
            host=socket.gethostname(),
            pid=os.getpid(),
            submission=self.execution.submission,
            **self.allocation.describe(),
        )
        attempt.note(claimed)
        why = out_of_budget(attempt.folder, self.execution.max_attempts)
        try:
            if why is None:
                self._spawn(attempt, run, node, gpu)
        except _StoppedError as stopped:
            why = stopped.failure
        except _START_ERRORS as error:
            why = why_not(error)
        if why is not None:
            self._endings.end(attempt, why)

    def _last_fence(self, folder: RunFolder, entry: Entry) -> int:
        """The fence to claim after: the submission's, or that of this element's last attempt."""
        if not self.allocation.restarts:
            return entry.fence
        begun = [past for past in folder.history() if past.start is not None]
        is_own = bool(begun) and begun[-1].element == self.allocation.name
        return begun[-1].fence if is_own else entry.fence

    def _close_previous(self, attempt: Attempt) -> None:
        """Record the end of this element's previous attempt, if that attempt could not do so."""
        if not self.allocation.restarts:
            return
        fence = attempt.fence - 1
        previous = next((past for past in attempt.folder.history() if past.fence == fence), None)
        if previous is None or previous.is_over or previous.element != self.allocation.name:
            return
        note_end(attempt.folder.attempt(fence), previous.why or self.allocation.why_vanished())

    def _spawn(self, attempt: Attempt, run: Run, node: Node, gpu: str) -> None:
        reporter = Reporter(
            log=partial(_log, attempt.log_file),
            note=attempt.note,
            heartbeat=self._heartbeat,
        )
        node.check_code()
        container = node.container(reporter)
        data, staging = node.data_of(run, reporter)
        fences = range(attempt.fence - 1, attempt.folder.life(), -1)
        earlier = map(attempt.folder.attempt, fences)
        training = Training(
            run_file=attempt.folder.run_file.resolve(),
            out=attempt.path.resolve(),
            python=self.execution.python,
            data=data,
            resume=[old.path.resolve() for old in earlier if old.has_checkpoint()],
            until=self.deadline.training_end(),
            checkpoint_every=self.execution.checkpoint_every,
            manifest=staging["manifest"] if staging else None,
            image_sha256=self.execution.image.sha256 if self.execution.image else None,
            code=self.execution.code_file.resolve(),
            own=node.own_code(),
            threads=self.execution.threads,
            gpu=gpu,
            needs_gpu=self.execution.needs_gpu,
            scratch=node.scratch,
            environment=self.execution.environment,
        ).command(container)
        started = RunningTraining.start(attempt, training, staging, gpu)
        for other in self._live:
            other.others.add(run.id)
            started.others.add(other.attempt.folder.id)
        self._live.append(started)

    def _heartbeat(self) -> None:
        """Handle ended trainings while data is being staged; raise if it is time to stop."""
        self._reap()
        why = self.deadline.look()
        if why is not None:
            raise _StoppedError(why)

    def _attend(self) -> None:
        """Sleep until there is something to do for the trainings; stop them if it is time to."""
        self.deadline.wait()
        why = self.deadline.look()
        if why is not None:
            self._tell(why)
        if self.deadline.is_grace_over():
            for training in self._live:
                signals.signal_group(training.process.pid, signal.SIGKILL)

    def _tell(self, why: Failure) -> None:
        """Tell the trainings to write a checkpoint and exit."""
        self.deadline.begin_grace()
        for training in self._live:
            training.tell(why)

    def _reap(self) -> None:
        """Publish the records of trainings that have ended, or record their failures.

        Repeated until no training has ended: one may end while another is handled.
        """
        while ended := [training for training in self._live if training.has_ended()]:
            for training in sorted(ended, key=lambda training: not training.was_killed()):
                self._live.remove(training)
                if anew := training.attempt.why_anew():
                    training.attempt.try_note(journal.anew(anew))
                found = training.outcome(self.execution) or self._failure(training)
                if isinstance(found, Failure):
                    self._endings.end(training.attempt, found)
                else:
                    self._endings.publish(training.attempt, found)

    def _failure(self, training: RunningTraining) -> Failure:
        """Why a training has left no outcome."""
        code = training.process.returncode
        if code != failure.EXIT_INTERRUPTED and cgroup.oom_kills() > training.oom_kills:
            for other in self._live:  # the kill is accounted for
                other.oom_kills += 1
            return Failure(
                failure="oom",
                message="killed by the kernel: over the memory limit",
                evidence="oom_kill of the job's cgroup",
            )
        if code == failure.EXIT_INTERRUPTED or (self.deadline.stopped and code <= 0):
            # stopped as told: killed by a signal, or exited with 0 and no outcome
            return self._why_interrupted()
        try:
            return Failure(**json.loads(training.attempt.error_file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return failure.of_exit(code, in_image=self.execution.image is not None)

    def _why_interrupted(self) -> Failure:
        """Why a training stopped early: the launcher was told to stop, or the limit is near."""
        if self.deadline.stopped is None and (why := self.deadline.look_at_late_signal()):
            self._tell(why)
        return self.deadline.stopped or timeout(self.allocation.end)


def _log(file: Path, text: str) -> None:
    """Add a line to an attempt's log."""
    with file.open("a") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
