"""The command `probprec logs` prints a run's log, and follows it over all its attempts."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cluster.commands import selection
from cluster.commands.watch import Pace
from cluster.status import accounting, advice
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import sweep_status
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from jobs.store.attempts import RunFolder
from jobs.store.state import RECORDED, UNFINISHED
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from jobs.sweep import PlannedRun
from jobs.text import printable_lines


def logs(
    store: Store, run: str, *, follow: bool, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Write the newest attempt's log to stdout; 1 if there is none yet, or the run failed meanwhile.

    Args:
        store: the sweep.
        run: a run's id, or its beginning.
        follow: go on as the log grows, and with the next attempts, until the run is over.
        sleep: the function that waits.

    Raises:
        InputError: no such run.
    """
    planned = selection.resolve(store.sweep(), [run])[0]
    following = _LogFollower(store, planned)
    if follow:
        return following.go(sleep)
    if following.show_attempt() or following.show_batch():
        return DONE
    one = following.look()
    _say(f"no log yet: {one.state.state}, {one.state.evidence}")
    _say(f"next: {following.advice(one)}")
    return INCOMPLETE


class _LogFollower:
    """A follower of one run's logs writes what is new in them."""

    def __init__(self, store: Store, planned: PlannedRun) -> None:
        self.store = store
        self.folder = store.run(planned.run.id)
        self.sweep = replace(store.sweep(), runs=(planned,))
        self.memory = StateCache(store)
        self._fence = 0
        self._offset = 0
        self._said = ""

    def go(self, sleep: Callable[[float], None]) -> int:
        """Follow the logs until the run is over."""
        files, slurm = Pace(0.5, 5.0), Pace(5.0, 60.0)
        ask_at = 0.0
        while True:
            is_alive = self.folder.is_locked()  # before the log is read, so that no line is lost
            is_done = self.folder.record_file.exists()
            has_new = self.show_attempt()
            if is_done:
                _say(f"{self.folder.id} has its record")
                return DONE
            if not is_alive and time.monotonic() >= ask_at:
                one = self.look()
                if not one.is_live and one.state.state != "unknown":
                    return self._end(one)
                self._wait(one)
                ask_at = time.monotonic() + slurm.next(changed=has_new)
            sleep(files.next(changed=has_new))

    def look(self) -> RunStatus:
        """The status of the run."""
        self.seen = sweep_status(self.store, self.sweep, memory=self.memory)
        return self.seen.runs[0]

    def advice(self, one: RunStatus) -> str:
        """The command to type next about the run."""
        if one.state.state in UNFINISHED:
            return advice.of_class(self.store, one.state.failure, [one], self.seen)
        return advice.of_run(self.store, self.seen, one)[0]

    def show_attempt(self) -> bool:
        """Write what is new in the newest attempt's log; True if anything was."""
        newest = self.folder.last_fence()
        has_new = self._copy() if self._fence else False
        if newest > self._fence:
            self._announce(newest)
            self._fence, self._offset = newest, 0
            has_new = self._copy() or has_new
        return has_new

    def show_batch(self) -> bool:
        """Write the batch script's output if no attempt has begun; True if there is any."""
        sent = self.look().sent
        if sent is None or sent.name is None:
            return False
        shown = False
        for path in accounting.logs_of(self.store, sent):
            if path.is_file() and path.stat().st_size:
                _say(f"==> {path}")
                _write(path.read_bytes())
                shown = True
        return shown

    def _announce(self, fence: int) -> None:
        past = next((one for one in self.folder.history() if one.fence == fence), None)
        where = f" on {past.node}" if past and past.node else ""
        when = f", {_clock(past.start)}" if past and past.start else ""
        _say(f"==> attempt {fence}{where}{when}: {self.folder.attempt(fence).log_file}")

    def _copy(self) -> bool:
        path = self.folder.attempt(self._fence).log_file
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return False
        self._offset += len(text)
        _write(text)
        return bool(text)

    def _wait(self, one: RunStatus) -> None:
        said = f"{one.state.state}: {one.state.evidence}"
        if said != self._said and one.state.state != "running":
            _say(f"waiting; {said}")
        self._said = said

    def _end(self, one: RunStatus) -> int:
        state = one.state
        if state.state in RECORDED:
            _say(f"{self.folder.id} has its record")
            return DONE
        if state.state == "pending":
            _say(f"nothing to follow: {state.evidence}")
        else:
            _say(f"{state.state}: {state.failure}: {state.message}")
        _say(f"next: {self.advice(one)}")
        return INCOMPLETE


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    """Print a line about the logs to stderr: stdout holds the run's own output alone."""
    sys.stdout.flush()
    sys.stderr.write(f"{printable_lines(text)}\n")


def last_lines(path: Path, most: int) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 200 * most))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-most:]


def newest_log(folder: RunFolder) -> Path | None:
    """The log of the newest attempt that has one."""
    paths = (folder.attempt(fence).log_file for fence in range(folder.last_fence(), 0, -1))
    return next((path for path in paths if path.is_file()), None)
