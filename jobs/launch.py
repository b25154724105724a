"""On the node: claim a run, train it in a child process, publish what came of it.

The launcher needs no torch. It is what submitit starts, with a sweep folder and a number.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from containers import command
from jobs import failure, provenance, record
from jobs.failure import Failure
from jobs.store import Attempt, RunFolder, StaleAttemptError, Store


def work(root: str, submission: int, lane: int) -> None:
    """Go through a submission's runs until none is left that nobody has taken.

    Several workers may go through one submission side by side: a run belongs to whoever holds its
    lock, and each run is attempted at most once per submission. `lane` numbers the workers; it
    spreads them over the GPUs.
    """
    store = Store(Path(root))
    content = store.submission(submission).content()
    sweep = store.sweep()
    gpus = content["gpus"]
    launcher = Launcher(
        data=sweep.data,
        code=sweep.code,
        threads=content["threads"],
        gpu=gpus[lane % len(gpus)] if gpus else "",
    )
    for run_id, fence in content["runs"].items():
        if launcher.stopped:
            return
        launcher.attempt(store.run(run_id), last_fence=fence)


class Launcher:
    """Runs attempts, one at a time, until it is told to stop (SIGTERM or SIGINT)."""

    def __init__(self, *, data: str | None, code: Sequence[str], threads: int, gpu: str) -> None:
        self.data = Path(data) if data else None
        self.code = [Path(folder) for folder in code]
        self.threads = threads
        self.gpu = gpu
        self.stopped = False
        self._child: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def attempt(self, folder: RunFolder, *, last_fence: int) -> None:
        """Attempt the run unless it has a record, is being run, or has a newer fence."""
        with folder.lock() as mine:
            if not mine or folder.record_file.exists() or folder.last_fence() != last_fence:
                return
            attempt = folder.claim()
            fence = attempt.fence
            folder.note("claimed", fence=fence, host=socket.gethostname(), pid=os.getpid())
            total = self._train(attempt)
            found = self._outcome(attempt, total)
            if isinstance(found, Failure):
                folder.note("ended", fence=fence, **found.to_json())
                return
            try:
                attempt.publish(found)
            except (FileExistsError, StaleAttemptError) as error:
                folder.note("refused", fence=fence, message=str(error))
            else:
                attempt.outcome_file.unlink()  # the record holds all of it
                folder.note("ended", fence=fence, failure=None, outcome=found["outcome"])

    def _train(self, attempt: Attempt) -> dict[str, Any]:
        """Run the training to its end; returns its exit and what it cost from outside."""
        training = command.training(
            attempt.folder.run_file.resolve(),
            attempt.path.resolve(),
            data=self.data,
            code=self.code,
            threads=self.threads,
            gpu=self.gpu,
        )
        start = time.perf_counter()
        with attempt.log_file.open("ab") as log:
            child = subprocess.Popen(
                training.arguments,
                env=dict(training.environment),
                cwd=attempt.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its whole process group can be ended
            )
        self._child = child.pid
        if self.stopped:  # the signal came while the child was being started
            self._kill()
        _, status, usage = os.wait4(child.pid, 0)
        self._child = None
        child.returncode = os.waitstatus_to_exitcode(status)
        return {
            "exit": child.returncode,
            "wall_s": time.perf_counter() - start,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
        }

    def _outcome(self, attempt: Attempt, total: dict[str, Any]) -> dict[str, Any] | Failure:
        """The record to publish, or why there is none."""
        returncode = total.pop("exit")
        try:
            outcome: dict[str, Any] = json.loads(attempt.outcome_file.read_bytes())
        except FileNotFoundError:
            return self._failure(attempt, returncode)
        except ValueError as error:
            return Failure(failure="exception", message=f"{attempt.outcome_file.name}: {error}")
        if record.parse(outcome).id != attempt.folder.id:
            return Failure(failure="exception", message=f"trained another run: {outcome['id']}")
        outcome["cost"]["total"] = total
        outcome["provenance"] |= provenance.of_launch() | {"attempts": attempt.fence}
        return outcome

    def _failure(self, attempt: Attempt, returncode: int) -> Failure:
        if not self.stopped and attempt.error_file.exists():
            return Failure(**json.loads(attempt.error_file.read_bytes()))
        return failure.of_exit(returncode, cancelled=self.stopped)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True
        self._kill()

    def _kill(self) -> None:
        if self._child is not None:
            os.killpg(self._child, signal.SIGKILL)
