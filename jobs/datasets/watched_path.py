"""The folder of data that a problem is given, and whether the problem does anything with it."""

import mmap
from pathlib import Path, PosixPath
from typing import Any

_used = mmap.mmap(-1, 1)  # shared with what is forked: the workers of a loader of data


class _Noticed(PosixPath):
    """A path like any other; whoever does anything with it needs what it is made of."""

    def __getattribute__(self, name: str) -> Any:
        _used[0] = 1
        return super().__getattribute__(name)


def noticed(folder: Path) -> Path:
    """The same path, of which nothing has been used so far."""
    found = _Noticed(folder)
    _used[0] = 0
    return found


def is_used() -> bool:
    """Whether the path that was given last, or anything made of it, has been used since."""
    return _used[0] == 1
