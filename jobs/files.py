"""Files are written so that a reader sees the whole content or none of it.

The umask and the folder (setgid, default ACL) decide who may read and write a file. An error names
the file that was to be written, not the temporary one.
"""

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from jobs.errors import naming

_FILE_MODE = 0o666
"""The mode that files are created with, before the kernel applies the umask."""


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: temporary file beside it, fsync, rename over what was there."""
    with _beside(path, content) as temporary:
        temporary.replace(path)
    sync(path.parent)


def publish(path: Path, content: bytes) -> None:
    """Put `content` at `path` once: as `write_atomically`, but never over an existing file.

    Raises:
        FileExistsError: a file is published there already; it is left as it is.
    """
    with _beside(path, content) as temporary:
        os.link(temporary, path)  # link, unlike rename, refuses an existing name
    sync(path.parent)


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append one JSON line in one write (O_APPEND) and fsync; several writers do not interleave.

    The line break comes first as well as last, so that a line torn by a killed writer spoils only
    itself.
    """
    line = "\n" + json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _FILE_MODE)
    try:
        encoded = line.encode()
        with naming(path):
            if os.write(descriptor, encoded) < len(encoded):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """The content of a file, opened by `open_plain`."""
    with open_plain(path) as file:
        return file.read()


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; refuse what might block for ever, such as a named pipe.

    Raises:
        OSError: the path is no plain file, or the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "this is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_lines(
    path: Path, last: int | None = None, first: int | None = None
) -> list[dict[str, Any]]:
    """The JSON objects of a file of lines; a torn line (a killed writer's last) is left out.

    Args:
        path: the file; if it does not exist, there are no lines.
        last: read only so many bytes at the end of the file.
        first: read only so many bytes from there on.
    """
    try:
        with open_plain(path) as file:
            if last is not None:
                file.seek(max(0, file.seek(0, os.SEEK_END) - last))
            text = file.read(-1 if first is None else first)
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split(b"\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            lines.append(content)
    return lines


def to_json(content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """UTF-8 JSON with a final newline; ValueError for NaN or infinity."""
    return (json.dumps(content, indent=indent, allow_nan=False) + "\n").encode()


@contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """A synced temporary file beside `path` that has the content; removed at the end."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path, *, follow: bool = True) -> None:
    """Wait until the disk has the content of a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | (0 if follow else os.O_NOFOLLOW))
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a killed writer left this temporary file behind, by its name."""
    return _is_temporary(path.name)


def others(folder: Path | str, known: set[str]) -> list[Path]:
    """The paths in the folder whose names are not known, sorted; none if there is no folder."""
    return [Path(folder, name) for name in sorted(names(folder) - known)]


def leftovers(folder: Path | str) -> list[Path]:
    """The temporary files in the folder that killed writers left behind, sorted."""
    return [Path(folder, name) for name in sorted(filter(_is_temporary, names(folder)))]


def names(folder: Path | str) -> set[str]:
    """The names in the folder; none if there is no folder."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - thousands of folders: a Path per name is slow
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")
