"""The folder of staged sets on a node: which sets are in use, which may go, how much space is free.

Only locks tell which tasks are alive: the kernel releases lease, reservation and copy of a killed
task at once, whatever Slurm knows. That is why the folder has to be on a local disk.
"""

import errno
import os
import re
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs import locks

_KEY = re.compile(r"[0-9a-f]{32}(\.\d+)?")
_PAGE_BYTES = 4096  # disk space of the smallest file


class ForeignStoreError(OSError):
    """The store is not this user's alone, so that none of its files can be trusted."""


def nothing(*_: object) -> None:
    """Do nothing: the default of callbacks."""


def create(root: Path) -> None:
    """Make the store, for this user alone; ForeignStoreError if another user made it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root, root / "sets", root / "partial", root / "leases"):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        check_own(folder)


def check_own(folder: Path) -> None:
    """Refuse a folder that is a link, another user's, or writable by others (ForeignStoreError)."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        why = "is no folder (a link is not followed)"
    elif about.st_uid != os.geteuid():
        why = f"belongs to user {about.st_uid}, not to {os.geteuid()}"
    elif about.st_mode & 0o022:
        why = f"has mode {stat.S_IMODE(about.st_mode):04o}: others may have written into it"
    else:
        if about.st_mode & 0o077:
            folder.chmod(0o700)
        return
    text = f"{why}; staged data has to be this user's alone: remove it, or name another scratch"
    raise ForeignStoreError(errno.EPERM, text, str(folder))


def is_own(path: Path, *, folder: bool) -> bool:
    """Whether the path is a plain file, or a folder, of this user that no other can write to."""
    about = path.lstat()
    is_kind = stat.S_ISDIR(about.st_mode) if folder else stat.S_ISREG(about.st_mode)
    return is_kind and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def end(lease: tuple[int, Path]) -> None:
    """End a lease: this task no longer uses the set."""
    descriptor, path = lease
    path.unlink(missing_ok=True)
    os.close(descriptor)


def unused(root: Path, *, but: str = "") -> list[Path]:
    """The folders that may be removed: leftovers of killed copiers, then unread sets, oldest first.

    Leases of dead tasks are removed, too. To be called with the root's lock.
    """
    read = {but}
    for lease in (root / "leases").iterdir():
        if locks.is_held(lease, follow=False):
            read.add(lease.name.partition(".")[0])
        else:
            lease.unlink(missing_ok=True)  # `end` unlinks without the lock
    kept = [path for path in (root / "sets").iterdir() if _KEY.fullmatch(path.name)]
    left = [
        path
        for path in (root / "partial").iterdir()
        if _KEY.fullmatch(path.name)
        and path.name != but
        and not locks.is_held(lock_of(path), follow=False)
    ]
    aside = [path for path in kept if "." in path.name]
    sets = [path for path in kept if "." not in path.name and path.name not in read]
    return [*aside, *left, *sorted(sets, key=lambda path: path.lstat().st_mtime)]


def lock_of(partial: Path) -> Path:
    """The lock file of the task that copies into a partial folder."""
    return partial.with_name(f"{partial.name}.lock")


def reservation_of(partial: Path) -> Path:
    """The file with the number of bytes that a copying task has reserved."""
    return partial.with_name(f"{partial.name}.size")


def free(root: Path) -> int:
    """The free bytes that no living copier has reserved.

    Reservations of dead tasks are removed. To be called with the root's lock.
    """
    about = os.statvfs(root)
    left = about.f_bavail * about.f_frsize
    for reserved in (root / "partial").glob("*.size"):
        partial = reserved.with_suffix("")
        if not locks.is_held(lock_of(partial), follow=False):
            reserved.unlink(missing_ok=True)
            continue
        with suppress(FileNotFoundError, ValueError):  # just copied; or torn: not begun
            left -= max(0, int(reserved.read_text()) - bytes_in(partial))
    return left


def remove(root: Path, folder: Path) -> int:
    """Remove a set, or a partial one; returns its bytes. To be called with the root's lock.

    The folder is renamed first, so that a killed process leaves no half of a set under its name.
    """
    size = bytes_in(folder)
    if "." not in folder.name:
        aside = root / "sets" / f"{folder.name}.{time.time_ns()}"
        folder.rename(aside)
        folder = aside
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    return size


def sweep_locks(root: Path) -> None:
    """Remove the lock files that no process holds."""
    for path in (root / "partial").glob("*.lock"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if locks.try_hold(descriptor, path):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def signature(path: Path) -> list[int]:
    """Numbers of lstat that change when a file, or the names in a folder, change."""
    found = path.lstat()
    times = [found.st_mtime_ns, found.st_ctime_ns]
    return [found.st_size, found.st_ino, *times, found.st_mode, found.st_uid]


def on_disk(size: int) -> int:
    """The disk space, in bytes, of a file of `size` bytes."""
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


def bytes_in(folder: Path) -> int:
    """The disk space, in bytes, of the files in a folder; files that vanish do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += on_disk(Path(parent, name).lstat().st_size)
    return total


def is_trusted(folder: Path, paths: set[str]) -> bool:
    """Whether the folder holds only this user's files, and only those of `paths`."""

    def failed(error: OSError) -> Any:
        raise error

    if not is_own(folder, folder=True):
        return False
    for parent, folders, names in os.walk(folder, onerror=failed):
        for name in folders:
            if not is_own(Path(parent, name), folder=True):
                return False
        for name in names:
            path = Path(parent, name)
            if not is_own(path, folder=False) or path.relative_to(folder).as_posix() not in paths:
                return False
    return True
