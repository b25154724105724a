"""A training ends when the launcher that started it is gone."""

import ctypes
import os
import signal
import stat
import threading

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def die_with_parent() -> None:
    """Arrange that this process ends when the launcher is gone.

    The kernel does that (prctl(2), Linux), but in a container the parent is another process: there
    a thread waits for the end of the standard input, which only the launcher holds open.
    """
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_await_end_of_input, daemon=True).start()


def _await_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
