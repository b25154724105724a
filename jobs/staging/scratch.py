"""The scratch of a node: where it is, and the folders for temporary files in it."""

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
"""A folder for temporary files that nobody holds is not one just being made, if it is older."""

_ASIDE = ".probprec-"
_MARK = ".made-by-probprec"
"""In a folder that bears a job's number: we made it. Held (flock) by each task that uses it."""

_OF_A_JOB = re.compile(r"\$\{?SLURM_JOB_?ID\b")


def expanded(place: str | None) -> Path | None:
    """The folder that a profile's `scratch` means on this node, see `jobs.places`.

    None where a variable of it is not set here, or where it is no absolute path: no guess what it
    would be.
    """
    try:
        wanted = places.expanded(place or "")
    except ValueError:
        return None
    return Path(wanted) if wanted.startswith("/") else None


def make(place: str | None, stack: ExitStack) -> Path | None:
    """Make the scratch folder; None: there is none. OSError if it cannot be made.

    Of a folder that bears the job's number and that nobody has made for it, nobody would free the
    disk: the last task that uses it removes it, when its stack is closed.
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
    """The outermost folder of the place that bears the job's number."""
    parts = place.split("/")
    for count, part in enumerate(parts, 1):
        if _OF_A_JOB.search(part):
            return expanded("/".join(parts[:count]))
    return None


def _use(folder: Path, stack: ExitStack) -> bool:
    """Make and mark the folder if it is not there; hold the mark, if it is marked.

    False: whoever used it last has just removed it.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_ASIDE))
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
        return True  # the site made it, and removes it
    locks.hold(mark, folder / _MARK, shared=True)
    if not locks.is_at(mark, folder / _MARK):
        os.close(mark)
        return False
    stack.callback(_leave, folder, mark)
    return True


def _opened_mark(folder: Path) -> int | None:
    """The mark in the folder; None: it has none. FileNotFoundError: it is another folder by now."""
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
        aside = tempfile.mkdtemp(dir=folder.parent, prefix=_ASIDE)
        folder.rename(aside)  # at once: whoever comes now makes a new one
        shutil.rmtree(aside, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(mark)


def temporary(parent: Path, stack: ExitStack) -> Path:
    """A new folder for temporary files, removed when the stack is closed.

    Those that killed tasks of this node left are removed, too. A lock on a folder is not seen by
    other nodes, whatever the file system: what bears another node's name is left alone.
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
    locks.hold(descriptor, made)  # in use, for as long as it is open
    return made


def _sweep(folder: Path) -> None:
    """Remove it, if it is ours and in use by nobody."""
    about = folder.lstat()
    if about.st_uid != os.getuid() or time.time() - about.st_mtime < _ABANDONED_S:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if locks.try_hold(descriptor, folder):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
