"""On the node: claim runs, train each in a child process, publish what came of them.

The launcher needs no torch. It runs one array task after the other: all the runs of a task side by
side, each as a child of its own.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers import command
from jobs import failure, memory, provenance, record
from jobs.attempts import Attempt, ClaimedError, RunFolder, StaleAttemptError
from jobs.failure import Failure
from jobs.store import Store
from jobs.sweep import Run

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

_LAST_SECONDS = 5.0
"""Before a time limit: what still lives is killed and its end written down, while there is time."""

_UNTIL_REQUEUED = 120.0
"""Seconds within which a requeue ends this process."""


class Allocation:
    """What a launcher runs in; this one: a process of this machine, without an end."""

    name: str | None = None  # the array's element, `123_4`
    restarts = 0  # how often it was put back into the queue
    end: float | None = None  # unix time at which it will be killed
    lead = 0.0  # seconds before that at which its trainings are told to stop
    grace = 20.0  # seconds that they get to write a checkpoint

    def describe(self) -> dict[str, Any]:
        """What the journal and the record say of it."""
        return {}

    def why_stop(self, number: int) -> Failure | None:
        """Why this process was sent the signal; None: no reason to stop yet."""
        return Failure(
            failure="cancelled",
            message="stopped before its end",
            evidence=signal.Signals(number).name,
        )

    def why_vanished(self) -> Failure:
        """Why an earlier attempt of this element ended without a word."""
        return Failure(failure="lost", message="its launcher vanished")

    def requeue(self) -> str | None:
        """Put this element back into the queue; returns why that is not possible, or None."""
        return "there is no queue"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run that an array task is to attempt."""

    run: Run
    fence: int  # its newest fence when it was submitted; another one: somebody else has it

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
        return {"id": self.run.id, "fence": self.fence, "run": self.run.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Entry":
        """Inverse of `to_json`."""
        return cls(run=Run.from_json(content["run"]), fence=content["fence"])


@dataclass(frozen=True, kw_only=True)
class How:
    """How a submission's runs are trained."""

    data: Path | None
    modules: tuple[Path, ...]  # module path: the code as it was when it was submitted
    python: str = sys.executable
    threads: int = 1
    gpu: str = ""  # as CUDA_VISIBLE_DEVICES names it
    needs_gpu: bool = False
    checkpoint_every: int = 600  # seconds
    max_attempts: int = 20
    requeues: frozenset[str] = frozenset()  # the failure classes after which a run is queued again
    scratch: str | None = None  # a folder of the node; may hold variables
    submission: int = 0
    code: Mapping[str, Any] = field(default_factory=dict)  # commit, dirty, snapshot


@dataclass(eq=False)
class _Live:
    """A training under way."""

    attempt: Attempt
    process: "subprocess.Popen[bytes]"
    others: list[str]  # runs that share the allocation
    start: float = field(default_factory=time.perf_counter)
    oom_kills: int = field(default_factory=memory.oom_kills)
    total: dict[str, Any] = field(default_factory=dict)  # what it cost, seen from outside


class Launcher:
    """Runs array tasks until it is told to stop."""

    def __init__(self, store: Store, how: How, allocation: Allocation) -> None:
        self.store = store
        self.how = how
        self.allocation = allocation
        self.stopped: Failure | None = None
        self._signal: int | None = None
        self._told: float | None = None  # when the trainings were told to stop
        self._scratch: Path | None = None
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _notice)
        for number in STOP_SIGNALS:
            signal.signal(number, self._see)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # they waited until now

    def run_task(self, entries: Iterable[Entry]) -> bool:
        """Attempt the runs side by side; whether all of them have a record now.

        A run that has a record, or that somebody else has claimed since the submission, is left
        alone.
        """
        with _scratch(self.how.scratch) as self._scratch:
            return self._run_task(list(entries))

    def _run_task(self, entries: list[Entry]) -> bool:
        others = [entry.run.id for entry in entries]
        live: list[_Live] = []
        for entry in entries:
            started = self._start(entry, [name for name in others if name != entry.run.id])
            live += [started] if started is not None else []
        again = [attempt for attempt in self._wait(live) if self._may_requeue(attempt)]
        if again:
            self._requeue(again)
        return all(self.store.run(entry.run.id).record_file.exists() for entry in entries)

    def _start(self, entry: Entry, others: list[str]) -> _Live | None:
        folder = self.store.run(entry.run.id)
        folder.create(entry.run)
        if folder.record_file.exists() or (self._signal is not None and not self.allocation.name):
            return None  # but an array's element begins: else it would fail without a word
        try:
            attempt = folder.claim(self._last_fence(folder, entry))
        except ClaimedError as error:
            folder.note("refused", submission=self.how.submission, message=str(error))
            return None
        self._close_previous(attempt)
        folder.note(
            "claimed",
            fence=attempt.fence,
            host=socket.gethostname(),
            pid=os.getpid(),
            submission=self.how.submission,
            **self.allocation.describe(),
        )
        spent = out_of_budget(folder, self.how.max_attempts)
        if spent is not None:
            self._note_end(attempt, spent)
            return None
        try:
            process = self._spawn(attempt)
        except OSError as error:
            cannot = Failure(failure="image", message=f"cannot be started: {error}")
            self._note_end(attempt, cannot)
            return None
        return _Live(attempt, process, others)

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

    def _spawn(self, attempt: Attempt) -> "subprocess.Popen[bytes]":
        earlier = [attempt.folder.attempt(fence) for fence in range(attempt.fence - 1, 0, -1)]
        training = command.training(
            attempt.folder.run_file.resolve(),
            attempt.path.resolve(),
            python=self.how.python,
            data=self.how.data,
            resume=[old.path.resolve() for old in earlier if old.has_checkpoint()],
            until=self._until(),
            checkpoint_every=self.how.checkpoint_every,
            modules=self.how.modules,
            threads=self.how.threads,
            gpu=self.how.gpu,
            needs_gpu=self.how.needs_gpu,
            scratch=self._scratch,
        )
        with attempt.log_file.open("ab") as log, hold_signals():  # until the training listens
            return subprocess.Popen(
                training.arguments,
                env=dict(training.environment),
                cwd=attempt.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its whole process group can be ended
            )

    def _until(self) -> float | None:
        """When a training has to be over."""
        if self.allocation.end is None:
            return None
        return self.allocation.end - max(self.allocation.lead, _LAST_SECONDS)

    def _wait(self, live: list[_Live]) -> list[Attempt]:
        """Wait for the trainings; returns the attempts that ended early and may go on later."""
        again = []
        while live:
            self._attend(live)
            for training in [training for training in live if self._has_ended(training)]:
                live.remove(training)
                found = self._outcome(training)
                if isinstance(found, Failure):
                    self._note_end(training.attempt, found)
                    if found.failure in self.how.requeues:
                        again.append(training.attempt)
                else:
                    self._publish(training.attempt, found)
                training.attempt.release()
        return again

    def _attend(self, live: list[_Live]) -> None:
        """Sleep until a child ends, a signal comes, or it is time to stop the trainings."""
        select.select([self._wake], [], [], self._patience())
        _drain(self._wake)
        if self.stopped is None:
            why = self._heed_signal() or self._heed_end()
            if why is not None:
                self._stop(live, why)
        if self._is_late(time.time()):
            for training in live:
                _signal_group(training.process.pid, signal.SIGKILL)

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

    def _stop(self, live: list[_Live], why: Failure) -> None:
        """Tell the trainings to write a checkpoint and leave."""
        self.stopped, self._told = why, time.time()
        for training in live:
            training.attempt.folder.note("stopping", fence=training.attempt.fence, **why.to_json())
            _signal_one(training.process.pid, signal.SIGTERM)

    def _has_ended(self, training: _Live) -> bool:
        pid, status, usage = os.wait4(training.process.pid, os.WNOHANG)
        if pid == 0:
            return False
        training.process.returncode = os.waitstatus_to_exitcode(status)
        training.total = {
            "wall_s": time.perf_counter() - training.start,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
        }
        _signal_group(training.process.pid, signal.SIGKILL)  # what it left behind
        return True

    def _outcome(self, training: _Live) -> dict[str, Any] | Failure:
        """The record to publish, or why there is none."""
        attempt = training.attempt
        try:
            outcome: dict[str, Any] = json.loads(attempt.outcome_file.read_bytes())
            found = record.parse(outcome).id
        except FileNotFoundError:
            return self._failure(training)
        except (ValueError, KeyError, TypeError) as error:
            return Failure(failure="exception", message=f"{attempt.outcome_file.name}: {error}")
        if found != attempt.folder.id:
            return Failure(failure="exception", message=f"trained another run: {found}")
        outcome["cost"]["total"] = training.total
        outcome["provenance"] |= {
            **self.how.code,
            **provenance.of_launch(),
            "attempts": attempt.fence,
            "co_tenants": training.others,
        }
        return outcome

    def _failure(self, training: _Live) -> Failure:
        code = training.process.returncode
        if code != failure.EXIT_INTERRUPTED and memory.oom_kills() > training.oom_kills:
            return Failure(
                failure="oom",
                message="killed by the kernel: over the memory limit",
                evidence="oom_kill of the job's cgroup",
            )
        if code == failure.EXIT_INTERRUPTED or (self.stopped is not None and code < 0):
            return self._why_interrupted(training)
        try:
            return Failure(**json.loads(training.attempt.error_file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return failure.of_exit(code)

    def _why_interrupted(self, training: _Live) -> Failure:
        """Why a training left early: this process was told so, too, or time was running out."""
        deadline = time.monotonic() + 2.0
        while self._signal is None and self.stopped is None and time.monotonic() < deadline:
            select.select([self._wake], [], [], 0.1)  # Slurm tells both; ours may come later
            _drain(self._wake)
        if self.stopped is None and (why := self._heed_signal()) is not None:
            self._stop([training], why)
        return self.stopped or timeout(self.allocation.end)

    def _publish(self, attempt: Attempt, outcome: dict[str, Any]) -> None:
        try:
            attempt.publish(outcome)
        except (FileExistsError, StaleAttemptError) as error:
            attempt.folder.note("refused", fence=attempt.fence, message=str(error))
            return
        attempt.outcome_file.unlink()  # the record holds all of it
        attempt.folder.note("ended", fence=attempt.fence, failure=None, outcome=outcome["outcome"])
        for fence in range(1, attempt.fence + 1):
            attempt.folder.attempt(fence).drop_checkpoints()

    def _note_end(self, attempt: Attempt, why: Failure) -> None:
        attempt.folder.note(
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
            attempt.folder.note("requeued", fence=attempt.fence, element=self.allocation.name)
        self._forget_signal()
        problem = self.allocation.requeue()
        if problem is not None:
            for attempt in attempts:
                attempt.folder.note("not requeued", fence=attempt.fence, message=problem)
            return
        deadline = time.monotonic() + _UNTIL_REQUEUED
        while self._signal is None and time.monotonic() < deadline:
            # The requeue ends this process; an exit before that would look like a failure.
            select.select([self._wake], [], [], 1.0)
            _drain(self._wake)

    def _see(self, number: int, _frame: object) -> None:
        self._signal = number

    def _forget_signal(self) -> None:
        self._signal = None


def out_of_budget(folder: RunFolder, most: int) -> Failure | None:
    """Why the run should not be attempted again by itself; None: it may.

    Attempts are counted since a person last submitted it. Two attempts in a row that ended
    without a newer checkpoint than the one before are enough; preempted ones are not held against
    it, for they may have had no time.
    """
    lines = folder.journal()
    submission = next(
        (line.get("submission") for line in reversed(lines) if line.get("event") == "claimed"), None
    )
    fences = [
        line["fence"]
        for line in lines
        if line.get("event") == "claimed" and line.get("submission") == submission
    ]
    ended = {line["fence"]: line for line in lines if line.get("event") == "ended"}
    tried = [ended[fence] for fence in fences if fence in ended]
    if len(tried) >= most:
        return Failure(
            failure="no_progress",
            message=f"{len(tried)} attempts, as many as allowed; the last: {tried[-1].get('message')}",
            evidence="journal",
        )
    fair = [line for line in tried if line.get("failure") != "preempted"]
    steps = [line.get("step") or 0 for line in fair]
    before = max(
        (
            line.get("step") or 0
            for line in lines
            if line not in fair[-2:] and line.get("event") == "ended"
        ),
        default=0,
    )
    if len(fair) >= 2 and max(steps[-2:]) <= before:
        return Failure(
            failure="no_progress",
            message=f"two attempts without a newer checkpoint than step {before};"
            f" the last: {fair[-1].get('message')}",
            evidence="journal",
        )
    return None


def timeout(end: float | None) -> Failure:
    """The time limit came near."""
    when = "" if end is None else time.strftime(" at %H:%M:%S", time.localtime(end))
    return Failure(
        failure="timeout", message=f"time limit{when}", evidence="the job's end time by Slurm"
    )


def work(root: str, submission: int, lane: int) -> None:
    """Go through a submission's tasks on this machine until none is left that nobody has taken.

    Several workers may go through one submission side by side: a run belongs to whoever claims it
    first. `lane` numbers the workers; it spreads them over the GPUs.
    """
    store = Store(Path(root))
    content = store.submission(submission).content()
    gpus = content["gpus"]
    gpu = gpus[lane % len(gpus)] if gpus else ""
    launcher: Launcher | None = None
    for group in content["groups"]:
        launcher = Launcher(store, how(store, submission, content, group, gpu), Allocation())
        for task in group["tasks"]:
            if launcher.stopped is None:
                launcher.run_task(map(Entry.from_json, task))


def how(
    store: Store, number: int, content: Mapping[str, Any], group: Mapping[str, Any], gpu: str
) -> How:
    """How the runs of a group of a submission are trained, by what was written down."""
    code = content["code"]
    archive = store.code / code["file"]
    return How(
        data=Path(content["data"]) if content["data"] else None,
        modules=(archive, *(archive / folder for folder in code["own"])),
        python=content["python"] or sys.executable,
        threads=group["threads"],
        gpu=gpu,
        needs_gpu=group["needs_gpu"],
        checkpoint_every=content["checkpoint_every"],
        max_attempts=content["max_attempts"],
        requeues=frozenset(content["requeues"]),
        scratch=content["profile"]["scratch"],
        submission=number,
        code={"commit": code["commit"], "dirty": code["dirty"], "snapshot": code["sha256"]},
    )


@contextmanager
def hold_signals() -> Iterator[None]:
    """Have the signals that stop us wait; a process that is started meanwhile has them wait, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _scratch(place: str | None) -> Iterator[Path | None]:
    """A folder of our own below the node's scratch, for temporary files; removed afterwards.

    Where the node has no such scratch, temporary files go where they usually go.
    """
    wanted = os.path.expandvars(place or "")
    if not wanted or "$" in wanted:  # a variable that is not set here: no guess where that would be
        yield None
        return
    try:
        Path(wanted).mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(dir=wanted, prefix="probprec-")
    except OSError:
        yield None
        return
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _notice(_number: int, _frame: object) -> None:
    """A handler that does nothing: the signal's number goes to the wake-up pipe."""


def _drain(pipe: int) -> None:
    try:
        while os.read(pipe, 4096):
            pass
    except BlockingIOError:
        return


def _signal_one(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
