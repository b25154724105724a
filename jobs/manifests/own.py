"""Own problems' data folders that nobody added get a manifest at submission, if they are small."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from jobs import hashes
from jobs.manifests import manifest
from jobs.manifests.manifest import File, Manifest

_FILES_MAX = 100_000


class UnverifiedError(Exception):
    """The folder gets no manifest; the text says why."""


def describe(folder: Path, most_bytes: int) -> Manifest:
    """The manifest of all files in a folder; if they are few, their hashes are cached.

    Raises:
        UnverifiedError: the folder cannot be seen here, is too large, or holds what a manifest
            cannot describe.
    """
    try:
        files = list(_files(folder, most_bytes))
        if not files:
            raise UnverifiedError(f"{folder} has no files")
        are_few = len(files) <= hashes.MOST_REMEMBERED
        return Manifest.of(
            File(
                path=path.relative_to(folder).as_posix(),
                size=path.stat().st_size,
                sha256=hashes.known_sha256(path) if are_few else hashes.sha256_of(path),
            )
            for path in files
        )
    except OSError as error:
        raise UnverifiedError(f"{error.filename or folder}: {error.strerror or error}") from error
    except manifest.ManifestError as error:
        raise UnverifiedError(f"{folder}: {error}") from error


def _files(folder: Path, most_bytes: int) -> Iterator[Path]:
    """All files below a folder; the walk ends at the limits, for the folder may be huge."""
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "cannot be seen here"
        raise UnverifiedError(f"{folder} {kind}")
    count = size = 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in (*folders, *sorted(names)):
            path = Path(parent, name)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode):
                raise UnverifiedError(f"{path} is neither a plain file nor a folder")
            count, size = count + 1, size + found.st_size
            if count > _FILES_MAX or size > most_bytes:
                most = f"{most_bytes >> 20} MiB or {_FILES_MAX} files"
                raise UnverifiedError(f"{folder} has more than {most} (limits: max_hashed_data)")
            yield path


def _raise(error: OSError) -> None:
    raise error  # a folder that cannot be read is not an empty one
