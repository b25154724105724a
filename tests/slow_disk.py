"""Makes a mount slow: every open and every read of a file there waits for a while.

The kernel asks before each (fanotify(7), permission events; that takes root), and this, run as a
script, says yes, late. When it dies, the kernel says yes at once.
"""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

CLOEXEC, CLASS_CONTENT = 0x1, 0x4
MARK_ADD, MARK_MOUNT = 0x1, 0x10
OPEN_PERM, ACCESS_PERM = 0x10000, 0x20000
ALLOW = 1
AT_FDCWD = -100
PR_SET_PDEATHSIG = 1
EVENT = struct.Struct("=IBBHQii")  # length, version, reserved, metadata length, mask, fd, pid
ANSWER = struct.Struct("=iI")


@contextmanager
def slow(folder: Path, seconds: float):
    """Each open and each read of a file on the folder's mount waits so long, until the end."""
    assert folder.is_mount(), "else it is the mount of all the machine that gets slow"
    command = [sys.executable, "-I", __file__, str(folder), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as answering:
        try:
            assert answering.stdout.readline() == b"ready\n"
            yield
        finally:
            answering.kill()


def questions_of(folder: str) -> int:
    """A descriptor on which the kernel asks; it dies with whoever started this."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    questions = libc.fanotify_init(CLASS_CONTENT | CLOEXEC, os.O_RDONLY | os.O_CLOEXEC)
    mask = ctypes.c_uint64(OPEN_PERM | ACCESS_PERM)
    if questions < 0 or libc.fanotify_mark(
        questions, MARK_ADD | MARK_MOUNT, mask, AT_FDCWD, os.fsencode(folder)
    ):
        raise OSError(ctypes.get_errno(), "fanotify", folder)
    return questions


def answer_late(questions: int, seconds: float) -> None:
    """Say yes to every question after `seconds`, to many at a time."""
    while True:
        events = os.read(questions, 4096)
        offset = 0
        while offset < len(events):
            length, *_, file, _pid = EVENT.unpack_from(events, offset)
            offset += length
            threading.Timer(seconds, allow, (questions, file)).start()


def allow(questions: int, file: int) -> None:
    os.write(questions, ANSWER.pack(file, ALLOW))
    os.close(file)


if __name__ == "__main__":
    asked = questions_of(sys.argv[1])
    os.write(1, b"ready\n")
    answer_late(asked, float(sys.argv[2]))
