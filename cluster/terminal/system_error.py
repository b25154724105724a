"""An error of the operating system in one line: the path, the reason, and what to do about it."""

import argparse
import errno
import os
import pwd
import stat
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_UNRELIABLE = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.ENOTCONN,
    errno.EREMOTEIO,
}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}

_FOLDER_OPTIONS = {"run": "root", "submit": "root", "build": "images", "data": "datasets"}
"""The option that names the folder which a command writes to."""


def line(error: OSError, options: argparse.Namespace) -> str:
    """The line for a person who typed a command with these options.

    An error of writing without a path is standard output's: all files are written by `naming` them.
    """
    name = error.filename if isinstance(error.filename, str | bytes) else None
    reason = error.strerror or str(error)
    if name is None and not _is_somewhere():
        return "the folder that this shell stands in is gone; next: cd to another one"
    if name is None:
        where = "" if error.errno not in _FULL | _UNRELIABLE else "standard output: "
        return _joined(f"{where}{reason}", _advice(error.errno, None))
    path = Path(os.fsdecode(name))
    advice = [*_advice(error.errno, path), *_elsewhere(error.errno, path, options)]
    return _joined(f"{path}: {reason}{_whose(error.errno, path)}", advice)


def _joined(said: str, advice: list[str]) -> str:
    return f"{said}; next: {', or '.join(advice)}" if advice else said


def _advice(number: int | None, path: Path | None) -> list[str]:
    """The advice about an error that keeps the path."""
    if number in _FULL:
        where = f" {there}" if (there := _nearest(path)) else ""
        return [f"make room (df -h{where}; df -i{where}; quota -s) and type the same again"]
    if number in _NO_LOCKS:
        return ["a folder on a file system with locks, as /home often is"]
    if number in _UNRELIABLE:
        return ["try again; if it stays so, tell the admins of this file system"]
    if number in _EXHAUSTED:
        return ["end other processes of yours, or raise the limit (ulimit -a), and try again"]
    return []


def _elsewhere(number: int | None, path: Path, options: argparse.Namespace) -> list[str]:
    """The option that makes this command write to another place."""
    if number in _UNRELIABLE | _EXHAUSTED:
        return []
    if hasattr(options, "out"):
        return ["--out writes to another place"]
    option = _FOLDER_OPTIONS.get(getattr(options, "command", ""), "")
    folder = getattr(options, option, None)
    if folder is None or not _absolute(path).is_relative_to(_absolute(folder)):
        return []
    return [f"--{option} DIR with another folder"]


def _whose(number: int | None, path: Path) -> str:
    """The owner of a path that permissions protect, or of its closest folder."""
    if number not in _DENIED or (there := _nearest(path)) is None:
        return ""
    found = there.stat()
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = f"user {found.st_uid}"
    return f" ({there} belongs to {owner}, {stat.filemode(found.st_mode)})"


def _nearest(path: Path | None) -> Path | None:
    """The path itself or the closest folder above it that can be looked at."""
    for there in () if path is None else (_absolute(path), *_absolute(path).parents):
        try:
            there.stat()
        except OSError:
            continue
        return there
    return None


def _is_somewhere() -> bool:
    """Whether the working directory still exists."""
    try:
        os.getcwd()  # noqa: PTH109 - only whether it can
    except OSError:
        return False
    return True


def _absolute(path: Path) -> Path:
    return path.absolute() if _is_somewhere() else path
