"""Built images lie in a folder as NAME-KEY.sif, each with a .json that was written last."""

import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers.errors import naming
from containers.runtime import ContainerError

SCHEMA = 1

_NO_LOCKS_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of flock on file systems without locks: NFS without lockd, Lustre mounted without `flock`."""

_SIF = re.compile(r"(?P<name>.+)-(?P<key>[0-9a-f]{12})\.sif")
_FILE_OF_AN_IMAGE = re.compile(
    r"\.?(?P<name>[^.].*)-(?P<key>[0-9a-f]{12})\.(?:sif|def|log|json|lock|sif\.tmp|json\.tmp)"
)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image, with the metadata of its build."""

    path: Path  # absolute
    meta: Mapping[str, Any]  # see `containers.build`

    @property
    def name(self) -> str:
        """The name of the image's recipe."""
        return str(self.meta["name"])

    @property
    def key(self) -> str:
        """The first 12 hex digits of its definition's key."""
        return str(self.meta["key"])[:12]

    @property
    def sha256(self) -> str:
        """The sha256 of the file, when it was built."""
        return str(self.meta["sha256"])

    @property
    def built(self) -> float:
        """The unix time of the build."""
        return float(self.meta["built"])

    @property
    def meta_file(self) -> Path:
        """The file of the metadata; without it the image does not count."""
        return self.path.with_suffix(".json")

    @property
    def log_file(self) -> Path:
        """The runtime's output during the build."""
        return self.path.with_suffix(".log")


class Images:
    """A folder of images; it need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, name: str, key: str) -> Path:
        """The file of a recipe's image, built or not."""
        return self.folder / f"{name}-{key[:12]}.sif"

    def temporary(self, name: str, key: str) -> Path:
        """The file of an image while it is being built."""
        return self.folder / f".{name}-{key[:12]}.sif.tmp"

    def all(self) -> list[Image]:
        """Every image, by name, the newest first."""
        found = (self.at(path) for path in self._sifs())
        there = [image for image in found if image is not None]
        return sorted(there, key=lambda image: (image.name, -image.built))

    def at(self, path: Path) -> Image | None:
        """The image in a file of the folder; None: no such file, or its build did not end."""
        path = path.absolute()
        try:
            meta = json.loads(path.with_suffix(".json").read_bytes())
            size = path.stat().st_size
        except (OSError, ValueError):
            return None
        if not isinstance(meta, dict) or meta.get("schema") != SCHEMA or meta.get("size") != size:
            return None  # another size: a torn copy from elsewhere
        return Image(path=path, meta=meta)

    def find(self, text: str) -> Image | None:
        """The image with this path, name (the newest), name-key, or first digits of key or sha256.

        Raises:
            ContainerError: several images begin so.
        """
        images = self.all()
        for image in images:
            if text in {image.name, image.path.name, image.path.stem}:
                return image
            if Path(text).absolute() == image.path:
                return image
        if not re.fullmatch("[0-9a-f]{4,64}", text):
            return None
        found = [one for one in images if one.key.startswith(text) or one.sha256.startswith(text)]
        if len(found) > 1:
            names = ", ".join(image.path.name for image in found)
            raise ContainerError(f"{text} may be {names}; give more of its digits")
        return found[0] if found else None

    def unfinished(self) -> dict[str, list[Path]]:
        """The leftovers of failed and killed builds, by NAME-KEY; a build may still be going on."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            match = _FILE_OF_AN_IMAGE.fullmatch(path.name)
            if match is None:
                continue
            stem = f"{match['name']}-{match['key']}"
            # A file without the lock was not made by a build in this folder.
            if self.lock_file(stem).exists() and self.at(self.folder / f"{stem}.sif") is None:
                found.setdefault(stem, []).append(path)
        return found

    def lock_file(self, stem: str) -> Path:
        """The lock file that is held (flock) while NAME-KEY is being built or removed."""
        return self.folder / f".{stem}.lock"

    @contextmanager
    def locked(self, stem: str, on_wait: Callable[[], object]) -> Iterator[int]:
        """Lock NAME-KEY, once no other process does; yields the lock's descriptor.

        Raises:
            ContainerError: the folder's file system has no locks.
        """
        lock = self._lock(stem, wait=False)
        if lock is None:
            on_wait()
        while lock is None:
            lock = self._lock(stem, wait=True)
        try:
            yield lock
        finally:
            os.close(lock)

    @contextmanager
    def locked_at_once(self, stem: str) -> Iterator[bool]:
        """Lock NAME-KEY; yields False if another process has locked it.

        Raises:
            ContainerError: the folder's file system has no locks.
        """
        lock = self._lock(stem, wait=False)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)

    def _lock(self, stem: str, *, wait: bool) -> int | None:
        """The descriptor of the locked file; None: another process holds it, or has just removed it."""
        file = self.lock_file(stem)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with naming(file):
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(lock, file):
                return lock
        except BlockingIOError:
            pass
        except BaseException as error:
            os.close(lock)
            if isinstance(error, OSError) and error.errno in _NO_LOCKS_ERRNOS:
                raise ContainerError(
                    f"{file}: this file system has no locks ({error.strerror}); next: --images DIR"
                    " (or $PROBPREC_IMAGES) with a folder on another one, which all nodes see"
                ) from error
            raise
        os.close(lock)
        return None

    def _sifs(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in sorted(self.folder.iterdir()) if _SIF.fullmatch(path.name)]


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
