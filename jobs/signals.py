"""The signals that a launcher listens to, and those that it sends."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Those that tell a launcher to stop."""


@contextmanager
def hold() -> Iterator[None]:
    """Have the signals that stop us wait; a process that is started meanwhile has them wait, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have Ctrl-C wait, for us and for what is started meanwhile; it is raised at the end.

    Of the main thread alone. To hold it back is not enough for us: another thread would take it.
    """
    told = []
    before = signal.signal(signal.SIGINT, lambda *_: told.append(True))
    try:
        with hold():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    if told:
        raise KeyboardInterrupt


def notice(_number: int, _frame: object) -> None:
    """A handler that does nothing: the signal's number goes to the wake-up pipe."""


def drain(pipe: int) -> None:
    """Read what is in a pipe, without waiting."""
    try:
        while os.read(pipe, 4096):
            pass
    except BlockingIOError:
        return


def signal_one(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def kill_session(leader: int) -> None:
    """Kill what is left of a session after its leader's end.

    A container runtime mounts its image by a helper in a process group of its own, which stays
    behind when the runtime is killed.
    """
    signal_group(leader, signal.SIGKILL)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:  # its session (proc_pid_stat(5))
            signal_one(int(path.parent.name), signal.SIGKILL)
