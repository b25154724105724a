"""The folder of data that a problem is given tells whether the problem does anything with it."""

import mmap
from pathlib import Path, PosixPath
from typing import Any

_used = mmap.mmap(-1, 1)  # shared with what is forked: the workers of a loader of data


class _WatchedPath(PosixPath):
    """A path remembers that somebody asked for one of its attributes: nothing works without."""

    def __getattribute__(self, name: str) -> Any:
        _used[0] = 1
        return super().__getattribute__(name)


def watched(folder: Path) -> Path:
    """The same path, of which nothing has been used so far."""
    found = _WatchedPath(folder)
    _used[0] = 0
    return found


def is_used() -> bool:
    """Whether the path that was given last, or anything made of it, has been used since."""
    return _used[0] == 1
