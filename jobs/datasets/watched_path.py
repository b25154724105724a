"""A data folder that an own problem gets as an argument records whether the problem uses it."""

import mmap
from pathlib import Path, PosixPath
from typing import Any

_used = mmap.mmap(-1, 1)  # shared with forked processes, such as a DataLoader's workers


class _WatchedPath(PosixPath):
    """A path that records any access to its attributes; no use of a path works without one."""

    def __getattribute__(self, name: str) -> Any:
        _used[0] = 1
        return super().__getattribute__(name)


def watched(folder: Path) -> Path:
    """The same path, watched from now on."""
    found = _WatchedPath(folder)
    _used[0] = 0
    return found


def is_used() -> bool:
    """Whether the newest watched path, or a path made from it, has been used."""
    return _used[0] == 1
