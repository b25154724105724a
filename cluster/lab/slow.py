"""A slow file system: every open and every read of a file on one mount waits for a while.

Run as a script by `Lab.slow`, as root: FOLDER SECONDS READY. The kernel asks it (fanotify(7),
permission events) before each open and each read, and it answers yes, late. When it dies, the
kernel answers yes at once. Standard library only: it runs without the package being installed.
"""

import ctypes
import os
import struct
import sys
import threading
from pathlib import Path

NAME = "lab-slow"
"""Its process's name."""

_CLOEXEC, _CLASS_CONTENT = 0x1, 0x4
_MARK_ADD, _MARK_MOUNT = 0x1, 0x10
_OPEN_PERM, _ACCESS_PERM = 0x10000, 0x20000
_ALLOW = 1
_AT_FDCWD = -100
_PR_SET_NAME = 15
_EVENT = struct.Struct("=IBBHQii")  # length, version, reserved, metadata length, mask, fd, pid
_ANSWER = struct.Struct("=iI")


def listen(folder: Path) -> int:
    """A descriptor on which the kernel asks about every open and read on the folder's mount.

    Raises:
        OSError: this is not root, or the kernel has no permission events.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, NAME.encode(), 0, 0, 0)
    questions = int(libc.fanotify_init(_CLASS_CONTENT | _CLOEXEC, os.O_RDONLY | os.O_CLOEXEC))
    if questions < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init")
    mask = ctypes.c_uint64(_OPEN_PERM | _ACCESS_PERM)
    if libc.fanotify_mark(questions, _MARK_ADD | _MARK_MOUNT, mask, _AT_FDCWD, bytes(folder)):
        raise OSError(ctypes.get_errno(), "fanotify_mark")
    return questions


def answer_late(questions: int, seconds: float) -> None:
    """Say yes to every question after `seconds`, to many at a time."""
    while True:
        events = os.read(questions, 4096)
        offset = 0
        while offset < len(events):
            length, *_, file, _pid = _EVENT.unpack_from(events, offset)
            offset += length
            threading.Timer(seconds, _allow, (questions, file)).start()


def _allow(questions: int, file: int) -> None:
    os.write(questions, _ANSWER.pack(file, _ALLOW))
    os.close(file)


def main(folder: str, seconds: str, ready: str) -> None:
    """Until killed."""
    questions = listen(Path(folder))
    Path(ready).touch()
    answer_late(questions, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
