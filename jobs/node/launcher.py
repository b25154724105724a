"""On the node: claim runs, train each in a child process, publish what came of them.

The launcher needs no torch. It runs one array task after the other: all the runs of a task side by
side, each as a child of its own.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from containers import command
from containers.runtime import ContainerError
from jobs import failure, signals
from jobs.errors import DriftedError
from jobs.failure import Failure
from jobs.manifests.manifest import ManifestError
from jobs.node import cgroup
from jobs.node.allocation import Allocation, timeout
from jobs.node.budget import out_of_budget
from jobs.node.child import Live
from jobs.node.execution import How
from jobs.node.prepare import Node, Told, UnusableDataError, why_not
from jobs.store import journal
from jobs.store.attempts import Attempt, ClaimedError, RunFolder, StaleAttemptError
from jobs.store.plan import Entry
from jobs.store.store import Store
from jobs.sweep import Run

log = logging.getLogger(__name__)

_LAST_SECONDS = 5.0
"""Before a time limit: what still lives is killed and its end written down, while there is time."""

_UNTIL_REQUEUED = 120.0
"""Seconds within which a requeue ends this process."""


class _ToldToStopError(Exception):
    """Told to stop before the training began."""

    def __init__(self, why: Failure) -> None:
        super().__init__(why.message)
        self.failure = why


_MAY_PASS = frozenset(("cancelled", "killed", "preempted", "node_fail", "timeout"))
"""Of these a run did not end by itself: whoever starts its element again means it, too."""

_CANNOT_START = (OSError, ContainerError, DriftedError, ManifestError, UnusableDataError)


class Launcher:
    """Runs array tasks until it is told to stop."""

    def __init__(self, store: Store, how: How, allocation: Allocation) -> None:
        self.store = store
        self.how = how
        self.allocation = allocation
        self.stopped: Failure | None = None
        self.on_told: Callable[[], object] = lambda: None
        self._signal: int | None = None
        self._told: float | None = None  # when the trainings were told to stop
        self._live: list[Live] = []  # of the task under way
        self._again: list[Attempt] = []  # of it, too: they ended early and may go on later
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, signals.notice)
        for number in signals.STOP_SIGNALS:
            signal.signal(number, self._see)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOP_SIGNALS)  # they waited until now

    def run_task(self, entries: Iterable[Entry]) -> bool:
        """Attempt the runs side by side; whether all of them have a record now.

        A run that has a record, or that somebody else has claimed since the submission, is left
        alone.
        """
        with Node(self.store, self.how, self.allocation.name or str(os.getpid())) as node:
            return self._run_task(list(entries), node)

    def _run_task(self, entries: list[Entry], node: Node) -> bool:
        for entry in entries:
            try:
                if len(entries) == 1 or not self._is_settled(entry):
                    self._start(entry, node, self._gpu(len(entries)))
            except OSError:  # not even its journal can be written; the others go on
                log.exception("run %s cannot begin", entry.run.id)
        if self.stopped is not None:  # while data was being staged
            self._stop(self.stopped)
        while self._live:
            self._attend()
            self._reap()
        ended, self._again = self._again, []
        again = [attempt for attempt in ended if self._may_requeue(attempt)]
        if again:
            self._requeue(again)
        return all(self.store.run(entry.run.id).record_file.exists() for entry in entries)

    def _is_settled(self, entry: Entry) -> bool:
        """Whether the run has failed for good in this element, which others of it brought back."""
        if not self.allocation.restarts:
            return False
        past = journal.read(self.store.run(entry.run.id))
        if not past or past[-1].element != self.allocation.name or past[-1].is_requeued:
            return False
        return past[-1].failure not in {None, *_MAY_PASS, *self.how.requeues}

    def _gpu(self, size: int) -> str:
        """The GPUs of one of so many runs: a task's GPUs are shared out among them."""
        names = self.how.gpu.split(",")
        taken = [training.gpu for training in self._live]
        return self.how.gpu if size == 1 else min(names, key=taken.count)

    def _start(self, entry: Entry, node: Node, gpu: str) -> None:
        folder = self.store.run(entry.run.id)
        folder.create(entry.run)
        if folder.record_file.exists() or (self._signal is not None and not self.allocation.name):
            return  # but an array's element begins: else it would fail without a word
        try:
            attempt = folder.claim(self._last_fence(folder, entry))
        except ClaimedError as error:
            folder.note("refused", submission=self.how.submission, message=str(error))
            return
        try:
            self._begin(attempt, entry.run, node, gpu)
        except BaseException:
            attempt.release()
            raise

    def _begin(self, attempt: Attempt, run: Run, node: Node, gpu: str) -> None:
        """Write down whose it is, and start its training, or write down why that cannot be."""
        folder = attempt.folder
        self._close_previous(attempt)
        folder.note(
            "claimed",
            fence=attempt.fence,
            host=socket.gethostname(),
            pid=os.getpid(),
            submission=self.how.submission,
            **self.allocation.describe(),
        )
        why = out_of_budget(folder, self.how.max_attempts)
        try:
            if why is None:
                self._spawn(attempt, run, node, gpu)
        except _ToldToStopError as told:
            why = told.failure
        except _CANNOT_START as error:
            why = why_not(error)
        if why is not None:
            self._end(attempt, why)

    def _last_fence(self, folder: RunFolder, entry: Entry) -> int:
        """The fence to follow: that of the submission, or of this element's own last attempt."""
        claims = [line for line in folder.journal() if line.get("event") == "claimed"]
        if self.allocation.restarts and claims:
            newest = claims[-1]
            if newest.get("element") == self.allocation.name:
                return int(newest["fence"])
        return entry.fence

    def _close_previous(self, attempt: Attempt) -> None:
        """Write down the end of an earlier attempt of this element that could not do so itself."""
        folder, fence = attempt.folder, attempt.fence - 1
        lines = [line for line in folder.journal() if line.get("fence") == fence]
        claimed = next((line for line in lines if line["event"] == "claimed"), None)
        if claimed is None or any(line["event"] == "ended" for line in lines):
            return
        if self.allocation.restarts and claimed.get("element") == self.allocation.name:
            told = [line for line in lines if line["event"] == "stopping"]
            names = ("failure", "message", "evidence")
            known = Failure(**{name: told[-1][name] for name in names}) if told else None
            self._note_end(folder.attempt(fence), known or self.allocation.why_vanished())

    def _spawn(self, attempt: Attempt, run: Run, node: Node, gpu: str) -> None:
        told = Told(
            log=partial(_log, attempt.log_file),
            note=partial(attempt.folder.note, fence=attempt.fence),
            pulse=self._pulse,
        )
        node.check_code()
        container = node.container(told)
        data, staging = node.data_of(run, told)
        fences = range(attempt.fence - 1, attempt.folder.life(), -1)
        earlier = map(attempt.folder.attempt, fences)
        training = command.training(
            attempt.folder.run_file.resolve(),
            attempt.path.resolve(),
            python=self.how.python,
            data=data,
            resume=[old.path.resolve() for old in earlier if old.has_checkpoint()],
            until=self._until(),
            checkpoint_every=self.how.checkpoint_every,
            manifest=staging["manifest"] if staging else None,
            image_sha256=self.how.image.sha256 if self.how.image else None,
            code=self.how.code_file.resolve(),
            own=node.own_code(),
            threads=self.how.threads,
            gpu=gpu,
            needs_gpu=self.how.needs_gpu,
            scratch=node.scratch,
            environment=self.how.environment,
            container=container,
        )
        oom_kills = cgroup.oom_kills()
        with attempt.log_file.open("ab") as log, signals.hold():  # until the training listens
            process = subprocess.Popen(
                training.arguments,
                env=dict(training.environment),
                cwd=attempt.path,
                stdin=subprocess.PIPE,  # never written to: its end tells that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its whole process group can be ended
            )
        started = Live(attempt, process, staging, gpu, oom_kills)
        for other in self._live:
            other.others.add(run.id)
            started.others.add(other.attempt.folder.id)
        self._live.append(started)

    def _pulse(self) -> None:
        """While data is being staged: look after the trainings, and leave, if it is time to."""
        self._reap()
        self.stopped = self.stopped or self._heed_signal() or self._heed_end()
        if self.stopped is not None:
            raise _ToldToStopError(self.stopped)

    def _until(self) -> float | None:
        """When a training has to be over."""
        if self.allocation.end is None:
            return None
        return self.allocation.end - max(self.allocation.lead, _LAST_SECONDS)

    def _attend(self) -> None:
        """Sleep until a child ends, a signal comes, or it is time to stop the trainings."""
        select.select([self._wake], [], [], self._patience())
        signals.drain(self._wake)
        if self.stopped is None:
            why = self._heed_signal() or self._heed_end()
            if why is not None:
                self._stop(why)
        if self._is_late(time.time()):
            for training in self._live:
                signals.signal_group(training.process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Publish what has come of the trainings that have ended, or write down why it is nothing.

        Looked for again until there is none: the word of one may come while another is looked into.
        """
        while ended := [training for training in self._live if training.has_ended()]:
            for training in sorted(ended, key=lambda training: not training.was_killed()):
                self._live.remove(training)
                if anew := training.attempt.why_anew():
                    training.attempt.folder.try_note(
                        "anew", fence=training.attempt.fence, message=anew
                    )
                found = training.outcome(self.how) or self._failure(training)
                if isinstance(found, Failure):
                    self._end(training.attempt, found)
                else:
                    self._publish(training.attempt, found)

    def _end(self, attempt: Attempt, why: Failure) -> None:
        """The attempt has no outcome."""
        if self._note_end(attempt, why) and why.failure in self.how.requeues:
            self._again.append(attempt)
        attempt.release()

    def _heed_signal(self) -> Failure | None:
        """Why this process was told to stop; None: it was not, or there is time left."""
        number = self._signal
        if number is None:
            return None
        why = self.allocation.why_stop(number)
        if why is None and self._signal == number:  # not one that came meanwhile
            self._forget_signal()
        return why

    def _heed_end(self) -> Failure | None:
        """The time limit, if it is near."""
        end = self.allocation.end
        if end is None or time.time() < end - self.allocation.lead:
            return None
        return timeout(end)

    def rest(self, seconds: float) -> None:
        """Sleep between two tasks, unless it is told to stop."""
        select.select([self._wake], [], [], seconds)
        signals.drain(self._wake)
        self.stopped = self.stopped or self._heed_signal()

    def _patience(self) -> float:
        """Seconds until something has to be done."""
        now, end = time.time(), self.allocation.end
        if self._told is not None:
            return 0.2
        return 60.0 if end is None else min(60.0, max(0.05, end - self.allocation.lead - now))

    def _is_late(self, now: float) -> bool:
        """Whether trainings that were told to stop have had their time."""
        if self._told is None:
            return False
        end = self.allocation.end
        return now >= self._told + self.allocation.grace or (
            end is not None and now >= end - _LAST_SECONDS
        )

    def _stop(self, why: Failure) -> None:
        """Tell the trainings to write a checkpoint and leave."""
        self.stopped, self._told = why, self._told or time.time()
        for training in self._live:
            training.tell(why)

    def _failure(self, training: Live) -> Failure:
        code = training.process.returncode
        if code != failure.EXIT_INTERRUPTED and cgroup.oom_kills() > training.oom_kills:
            for other in self._live:  # this one is accounted for
                other.oom_kills += 1
            return Failure(
                failure="oom",
                message="killed by the kernel: over the memory limit",
                evidence="oom_kill of the job's cgroup",
            )
        if code == failure.EXIT_INTERRUPTED or (self.stopped is not None and code <= 0):
            return self._why_interrupted()  # killed, or gone without a word (0) when it was told to
        try:
            return Failure(**json.loads(training.attempt.error_file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return failure.of_exit(code, in_image=self.how.image is not None)

    def _why_interrupted(self) -> Failure:
        """Why a training left early: this process was told so, too, or time was running out."""
        deadline = time.monotonic() + 2.0
        while self._signal is None and self.stopped is None and time.monotonic() < deadline:
            select.select([self._wake], [], [], 0.1)  # Slurm tells both; ours may come later
            signals.drain(self._wake)
        if self.stopped is None and (why := self._heed_signal()) is not None:
            self._stop(why)
        return self.stopped or timeout(self.allocation.end)

    def _publish(self, attempt: Attempt, outcome: dict[str, Any]) -> None:
        """Make it the run's record, once and for good; where that fails, write down why."""
        try:
            attempt.publish(outcome)
        except (FileExistsError, StaleAttemptError) as error:
            attempt.folder.try_note("refused", fence=attempt.fence, message=str(error))
        except OSError as error:
            why = Failure(
                failure="disk_full" if failure.is_disk_full(error) else "exception",
                message=f"its record cannot be written: {error}",
                evidence=str(attempt.outcome_file),
            )
            self._end(attempt, why)
        else:
            self._clean_up(attempt, outcome["outcome"])
        attempt.release()

    @staticmethod
    def _clean_up(attempt: Attempt, outcome: str) -> None:
        """After the record is there: what it holds, or makes needless, goes."""
        try:
            attempt.outcome_file.unlink()
            attempt.folder.note("ended", fence=attempt.fence, failure=None, outcome=outcome)
            for fence in range(1, attempt.fence + 1):
                attempt.folder.attempt(fence).drop_checkpoints()
        except OSError:  # the record is what counts
            log.exception("run %s has its record", attempt.folder.id)

    def _note_end(self, attempt: Attempt, why: Failure) -> bool:
        return attempt.folder.try_note(
            "ended", fence=attempt.fence, step=attempt.checkpointed_step(), **why.to_json()
        )

    def _may_requeue(self, attempt: Attempt) -> bool:
        """Whether the run may go on later; if not, that is its end."""
        if attempt.folder.last_fence() != attempt.fence:
            return False  # a newer attempt has it, maybe in this very element: leave that alone
        spent = out_of_budget(attempt.folder, self.how.max_attempts)
        if spent is not None:
            self._note_end(attempt, spent)
        return spent is None

    def _requeue(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            attempt.folder.try_note("requeued", fence=attempt.fence, element=self.allocation.name)
        self._forget_signal()
        problem = self.allocation.requeue()
        if problem is not None:
            for attempt in attempts:
                attempt.folder.try_note("not requeued", fence=attempt.fence, message=problem)
            return
        deadline = time.monotonic() + _UNTIL_REQUEUED
        while self._signal is None and time.monotonic() < deadline:
            # The requeue ends this process; an exit before that would look like a failure.
            select.select([self._wake], [], [], 1.0)
            signals.drain(self._wake)

    def _see(self, number: int, _frame: object) -> None:
        self._signal = number
        self.on_told()

    def _forget_signal(self) -> None:
        self._signal = None


def _log(file: Path, text: str) -> None:
    """Add a line to an attempt's log."""
    with file.open("a") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
