"""Files that a run uses have to be those of its submission: they are compared by sha256 before use.

A file of a gigabyte is hashed once per node, not once per run: a hash stays valid as long as the
file's device, inode, size and times do not change (its state).
"""

import hashlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from jobs import locks
from jobs.errors import DriftedError, naming

_CACHE_PARENT = Path("/tmp")  # noqa: S108 - owner and mode are looked at
"""Folder of the node's hash cache. Not $TMPDIR: many sites make that anew for each job."""

MOST_REMEMBERED = 256
"""Files of one data set whose hashes are cached one by one: each takes a file in the cache."""

_POLL_S = 0.1
_CACHED_S = 30 * 86400.0  # afterwards a file that is still in use is hashed once more


def check(path: Path, sha256: str, pulse: Callable[[], object] = lambda: None) -> None:
    """Compare a file's sha256 with the one that the submission recorded.

    `pulse` is called often meanwhile; an exception that it raises ends the comparison.

    Raises:
        DriftedError: the hashes differ; names both.
        OSError: the file cannot be read.
    """
    found = known_sha256(path, pulse)
    if found != sha256:
        raise DriftedError(f"{path}: sha256 {found}, expected {sha256}")


def known_sha256(path: Path, pulse: Callable[[], object] = lambda: None) -> str:
    """The sha256 of a file's content, hashed once per node and state of the file.

    If several processes ask at once, one of them hashes and the others wait. `pulse` is called
    often meanwhile; an exception that it raises ends the hashing.
    """
    return _once(lambda: _state(path), lambda: sha256_of(path, lambda _: pulse()), pulse)


def once_for_all(
    paths: Sequence[Path], sha256: str, look: Callable[[], object], pulse: Callable[[], object]
) -> None:
    """Verify a set of files once per node and state of all of them.

    This is for data sets of so many files that a cached hash of each would be too much.

    Args:
        paths: the files; they need not exist.
        sha256: of the content that the set should have.
        look: verifies the files; raises if they do not have that content.
        pulse: as for `known_sha256`.
    """

    def state() -> str:
        digest = hashlib.sha256(sha256.encode())
        for path in paths:
            pulse()
            with suppress(FileNotFoundError, NotADirectoryError):
                digest.update(f"\0{path}\0{_state(path)}".encode(errors="surrogateescape"))
        return f"{socket.gethostname()}-{digest.hexdigest()}"

    def found() -> str:
        look()
        return sha256

    _once(state, found, pulse)


def _once(state: Callable[[], str], look: Callable[[], str], pulse: Callable[[], object]) -> str:
    """The sha256 that `look` returns; from the cache if files in this state were hashed before."""
    before = state()
    with _remembered(before, pulse) as memory:
        if memory is None:
            return look()
        kept = os.read(memory, 100).decode(errors="replace")
        if re.fullmatch("[0-9a-f]{64}", kept):  # else its writer was killed
            return kept
        found = look()
        if state() == before:
            with suppress(OSError):  # a full /tmp: hashed again the next time
                os.ftruncate(memory, 0)
                os.pwrite(memory, found.encode(), 0)
        return found


def _state(path: Path) -> str:
    found = path.stat()
    numbers = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return "-".join([socket.gethostname(), *map(str, numbers)])


@contextmanager
def _remembered(state: str, pulse: Callable[[], object]) -> Iterator[int | None]:
    """The open, locked cache file of the hash for a state; None if the cache cannot be trusted."""
    folder = _CACHE_PARENT / f"probprec-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(folder)  # another user could write the hashes
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        _forget_old(folder)
        path = folder / f"sha256-{state}"
        memory = os.open(path, flags, 0o600)
    except OSError:
        yield None
        return
    try:
        while not locks.try_hold(memory, path):
            pulse()
            time.sleep(_POLL_S)
        yield memory
    finally:
        os.close(memory)


@cache
def _forget_old(folder: Path) -> None:
    """Remove old hashes from the cache, once per process."""
    oldest = time.time() - _CACHED_S
    for path in folder.glob("sha256-*"):
        with suppress(OSError):
            if path.lstat().st_mtime < oldest:
                path.unlink()


BLOCK_BYTES = 1 << 20  # read at once


def blocks_of(path: Path) -> Iterator[bytes]:
    """The content of a file, in blocks; an OSError names the file."""
    with path.open("rb") as file:
        while True:
            with naming(path):
                block = file.read(BLOCK_BYTES)
            if not block:
                return
            yield block


def sha256_of(path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> str:
    """The sha256 of a file's content, in hex; `on_bytes` gets the length of each block."""
    digest = hashlib.sha256()
    for block in blocks_of(path):
        digest.update(block)
        on_bytes(len(block))
    return digest.hexdigest()
