"""The scratch folder of a node, and the folders for temporary files in it."""

import errno
import os
import re
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from jobs import locks, places

_ABANDONED_S = 60.0
"""Age from which an unlocked temporary folder is abandoned; a younger one may not be locked yet."""

_ASIDE_PREFIX = ".probprec-"
_MARK = ".made-by-probprec"
"""File in a folder with a job's number in its name: probprec made it. Each task locks the file."""

_JOB_VARIABLE = re.compile(r"\$\{?SLURM_JOB_?ID\b")


def expanded(place: str | None) -> Path | None:
    """The scratch folder on this node, expanded as in `jobs.places`.

    None if a variable is not set here, or the path is not absolute: nothing is guessed.
    """
    try:
        wanted = places.expanded(place or "")
    except ValueError:
        return None
    return Path(wanted) if wanted.startswith("/") else None


def make(place: str | None, stack: ExitStack) -> Path | None:
    """Make the scratch folder; None: the profile has none. OSError if it cannot be made.

    If its path holds the job's number and the site has not made that folder, the site will not
    remove it either: the last task that uses the folder removes it, when its stack is closed.
    """
    wanted = expanded(place)
    if wanted is None:
        return None
    own = _of_the_job(place or "")
    while own is not None and not _use(own, stack):
        pass
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


def _of_the_job(place: str) -> Path | None:
    """The outermost folder of the path whose name holds the job's number."""
    parts = place.split("/")
    for count, part in enumerate(parts, 1):
        if _JOB_VARIABLE.search(part):
            return expanded("/".join(parts[:count]))
    return None


def _use(folder: Path, stack: ExitStack) -> bool:
    """Make and mark the folder if it does not exist; lock its mark, if it has one.

    False: its last user has just removed the folder.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_ASIDE_PREFIX))
        (new / _MARK).touch()
        try:
            new.rename(folder)
        except OSError as error:
            shutil.rmtree(new)
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # another task was faster
                raise
    try:
        mark = _opened_mark(folder)
    except FileNotFoundError:
        return False
    if mark is None:
        return True  # the site made the folder, and will remove it
    locks.hold(mark, folder / _MARK, shared=True)
    if not locks.is_at(mark, folder / _MARK):
        os.close(mark)
        return False
    stack.callback(_leave, folder, mark)
    return True


def _opened_mark(folder: Path) -> int | None:
    """The folder's mark, opened; None: no mark. FileNotFoundError: the folder was replaced."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return os.open(_MARK, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
    except FileNotFoundError:
        if not os.path.samestat(os.fstat(here), folder.stat()):
            raise
        return None
    finally:
        os.close(here)


def _leave(folder: Path, mark: int) -> None:
    """Remove the folder, unless others hold its mark."""
    try:
        if not locks.try_hold(mark, folder / _MARK):
            return
        aside = tempfile.mkdtemp(dir=folder.parent, prefix=_ASIDE_PREFIX)
        folder.rename(aside)  # at once: the next task makes a new folder
        shutil.rmtree(aside, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(mark)


def temporary(parent: Path, stack: ExitStack) -> Path:
    """A new folder for temporary files, removed when the stack is closed.

    Folders that killed tasks of this node left are removed, too. Other nodes may not see a lock on
    a folder: folders with another node's name are left alone.
    """
    prefix = f"probprec-tmp-{socket.gethostname()}-"
    ours = re.compile(re.escape(prefix) + "[a-z0-9_]+")  # node-1 is not node
    for folder in parent.iterdir():
        if ours.fullmatch(folder.name):
            with suppress(OSError):
                _sweep(folder)
    made = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    stack.callback(shutil.rmtree, made, ignore_errors=True)
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    locks.hold(descriptor, made)  # in use as long as the descriptor is open
    return made


def _sweep(folder: Path) -> None:
    """Remove a temporary folder of this user that no task uses."""
    about = folder.lstat()
    if about.st_uid != os.getuid() or time.time() - about.st_mtime < _ABANDONED_S:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if locks.try_hold(descriptor, folder):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
