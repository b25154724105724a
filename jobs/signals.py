"""The signals that a launcher listens to, and those that it sends."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that tell a launcher to stop."""


@contextmanager
def hold() -> Iterator[None]:
    """Block `STOP_SIGNALS` meanwhile, in this process and in the children that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back meanwhile, also from children that are started; raise it at the end.

    To be called in the main thread. Blocking the signal is not enough: another thread would get it.
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
    """Handle a signal by doing nothing: Python writes its number to the wake-up pipe."""


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
