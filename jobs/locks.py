"""Locks of files and folders (flock): a process holds a lock until it releases it, or ends.

The kernel releases a lock when no process has the file open any more, however its holders ended. A
child that inherits the descriptor holds the lock, too.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import naming

_PAUSE_MIN_S, _PAUSE_MAX_S = 0.02, 0.2
"""Pause between two tries to take a lock: at first, and at most."""


def hold(descriptor: int, path: Path, *, shared: bool = False) -> None:
    """Wait for the lock of an open file or folder; an OSError names `path`."""
    with naming(path):
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_hold(descriptor: int, path: Path, *, shared: bool = False) -> bool:
    """Take the lock of an open file or folder, if it is free; an OSError names `path`."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        with naming(path):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held(path: Path, on_wait: Callable[[], object] = lambda: None) -> Iterator[float]:
    """Hold a lock file, which is created if necessary; yields the seconds of waiting.

    `on_wait` is called often meanwhile; an exception that it raises ends the waiting.
    """
    begun, pause = time.monotonic(), _PAUSE_MIN_S
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            if try_hold(descriptor, path) and is_at(descriptor, path):
                yield time.monotonic() - begun
                return
        finally:
            os.close(descriptor)
        on_wait()
        time.sleep(pause)
        pause = min(_PAUSE_MAX_S, 1.5 * pause)


def is_held(path: Path, *, follow: bool = True) -> bool:
    """Whether a process holds the file's exclusive lock; False if there is no file.

    Raises:
        OSError: the file cannot be opened, such as a link that is not to be followed.
    """
    flags = os.O_RDONLY | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return False
    try:
        return not try_hold(descriptor, path, shared=True)
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still has that path: a lock file may be removed before it is locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
