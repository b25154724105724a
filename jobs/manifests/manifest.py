"""A manifest describes a data set byte for byte: its files with size and sha256, and one hash.

A manifest is made once from a folder, or from an archive, that is known to be good. Every copy of
the data set is compared with the manifest; no name is trusted.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from jobs.errors import InputError
from jobs.hashes import blocks_of

_NAME_MAX_BYTES, _PATH_MAX_BYTES = 255, 2000
"""Limits of names and paths; Linux allows 255 and 4095, the folder of the data set included."""

_SHA256 = re.compile("[0-9a-f]{64}")


class ManifestError(InputError):
    """The data differs from its manifest, or no manifest can describe it."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a data set."""

    path: str  # below the data set's folder, with slashes
    size: int  # bytes
    sha256: str

    def __str__(self) -> str:
        """Size and sha256, for error texts."""
        return f"{self.size} bytes with sha256 {self.sha256}"


@dataclass(frozen=True)
class Manifest:
    """The files of a data set, by path."""

    files: tuple[File, ...]

    @cached_property
    def sha256(self) -> str:
        """The hash over all paths, sizes and hashes: the data set's identity."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @classmethod
    def of(cls, files: Iterable[File]) -> "Manifest":
        """The manifest of these files, whatever their order.

        Raises:
            ManifestError: two files cannot lie in one folder, or a file would lie outside of it.
        """
        names = Names()
        ordered = sorted(files, key=lambda file: file.path)
        for file in ordered:
            names.add(file.path)
        return cls(tuple(ordered))

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values; `from_json` returns an equal manifest."""
        return {"schema": 1, "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Manifest":
        """Inverse of `to_json`.

        Raises:
            ManifestError: `content` is no manifest, or a path leads outside of the data set.
        """
        try:
            if content["schema"] != 1:
                raise ManifestError(f"not a manifest of schema 1, but {content['schema']!r}")
            return cls.of(_file(one) for one in content["files"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"not a manifest: {error!r}") from None


def _file(content: Mapping[str, Any]) -> File:
    path, size, sha256 = content["path"], content["size"], content["sha256"]
    if not isinstance(path, str):
        raise ManifestError(f"not a manifest: {path!r} is not a path")
    if type(size) is not int or size < 0:
        raise ManifestError(f"not a manifest: {path!r} has a size of {size!r}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ManifestError(f"not a manifest: {path!r} has a sha256 of {sha256!r}")
    return File(path=path, size=size, sha256=sha256)


class Names:
    """Paths of one folder: each occurs once, and none is both file and folder."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, path: str) -> None:
        """Add a file's path; ManifestError if it conflicts with another or leads outside."""
        check_inside(path)
        if path in self._files:
            raise ManifestError(f"{path!r} is there twice")
        self._files.add(path)
        self._take({path}, {parent.as_posix() for parent in PurePosixPath(path).parents})

    def add_folder(self, path: str) -> None:
        """Add a folder's path, which may occur any number of times."""
        check_inside(path)
        self._take(set(), {path, *(parent.as_posix() for parent in PurePosixPath(path).parents)})

    def _take(self, files: set[str], folders: set[str]) -> None:
        for both in sorted((files & self._folders) | (folders & self._files)):
            raise ManifestError(f"{both!r} is a file and a folder")
        self._folders |= folders


def of_folder(folder: Path, on_bytes: Callable[[int], object] = lambda _: None) -> Manifest:
    """The manifest of all files in a folder; `on_bytes` gets the length of every block read.

    Raises:
        ManifestError: the folder does not exist, is empty, or holds anything but plain files and
            folders (a link or a device would differ on the next machine). All are named.
        OSError: a file or folder cannot be read; the error names it.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    paths = list(plain_files(folder))
    if not paths:
        raise ManifestError(f"{folder} has no files")
    found = []
    for path in paths:
        digest, size = hashlib.sha256(), 0
        for block in blocks_of(path):
            digest.update(block)
            size += len(block)
            on_bytes(len(block))
        name = path.relative_to(folder).as_posix()
        found.append(File(path=name, size=size, sha256=digest.hexdigest()))
    return Manifest.of(found)


def plain_files(folder: Path, pulse: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """All files in a folder, sorted; errors as `of_folder`. `pulse` is called in each folder."""
    strange = []
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        pulse()
        for name in (*folders, *names):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found.append(path)
            elif not stat.S_ISDIR(mode):
                strange.append(f"{path}: {_kind(mode)}")
    if strange:
        raise ManifestError("neither plain files nor folders:\n  " + "\n  ".join(sorted(strange)))
    yield from sorted(found)


def _raise(error: OSError) -> None:
    raise error  # a folder that cannot be read is not an empty one


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def differences(manifest: Manifest, found: Manifest, where: Path) -> list[str]:
    """The differences of `found`, which lies at `where`, from a manifest, with both hashes."""
    expected = {file.path: file for file in manifest.files}
    there = {file.path: file for file in found.files}
    lines = []
    for path in sorted(expected.keys() | there.keys()):
        if path not in there:
            lines.append(f"{where / path}: missing; {expected[path]} in the manifest")
        elif path not in expected:
            lines.append(f"{where / path}: {there[path]}, not in the manifest")
        elif there[path] != expected[path]:
            lines.append(f"{where / path}: {there[path]}, not {expected[path]}")
    return lines


def check_inside(path: str) -> None:
    """Refuse (ManifestError) a path that is not portable or leads outside of the data set."""
    pure = PurePosixPath(path)
    if (
        path in {"", "."}
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in path
        or re.match("[A-Za-z]:", path)  # a Windows drive
    ):
        raise ManifestError(f"{path!r} is not a path inside of a data set")
    if pure.as_posix() != path:
        raise ManifestError(f"{path!r} is not the plain spelling of a path: {pure.as_posix()!r}")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", path):
        raise ManifestError(f"{path!r} has control characters, or is not UTF-8")
    if len(path.encode()) > _PATH_MAX_BYTES or any(
        len(part.encode()) > _NAME_MAX_BYTES for part in pure.parts
    ):
        raise ManifestError(f"{path[:60]!r}... is too long for the name of a file")
