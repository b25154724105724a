"""Data sets on a node's own disk: copied once, verified, shared by all tasks of a user there.

ROOT/
  lock             held (flock) while leases and free space are checked; never during a copy
  sets/KEY/        a whole set, named by its manifest's hash
    data/          its files, read-only
    state.json     written last: size, inode, times, ... of each file when it was verified
  partial/KEY/     a set that is being copied; after a kill the next task continues the copy
  partial/KEY.lock held (flock) by the task that copies; other tasks wait for it
  partial/KEY.size the bytes that the copying task has reserved
  leases/KEY.JOB.* held (flock) by each task that reads the set
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobs import hashes, locks
from jobs.errors import naming
from jobs.hashes import sha256_of
from jobs.manifests.manifest import Manifest, ManifestError, plain_files
from jobs.staging import staged_sets
from jobs.staging.fetch import NoRoomError, Task
from jobs.staging.staged_sets import ForeignStoreError, nothing

__all__ = ["ForeignStoreError", "NoRoomError", "Staged", "in_place", "prune", "staged", "store_of"]

OnWait = Callable[[], object]
OnBytes = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A set on this node, and the cost of obtaining it."""

    path: Path  # the folder of its files, which are read-only
    copied: int  # bytes written by this task
    seconds: float  # in all, waiting included
    waited: float  # of these seconds, those spent waiting for other tasks
    hit: bool  # a verified copy existed


def store_of(scratch: Path) -> Path:
    """The folder of this user's staged sets below a scratch folder, which users may share."""
    return scratch / f"probprec-datasets-{os.geteuid()}"


@contextmanager
def staged(
    root: Path,
    manifest: Manifest,
    source: Path,
    *,
    owner: str = "",
    on_wait: OnWait = nothing,
    on_bytes: OnBytes = nothing,
) -> Iterator[Staged]:
    """Keep the set staged on this node for as long as the context lasts.

    Args:
        root: the store, a folder on the node's disk; made if it does not exist.
        manifest: of the set.
        source: the folder with the original files, or an archive with them.
        owner: the job, for the names of lease files; of A-Z a-z 0-9 _ . and -
        on_wait: called several times a second as long as another task copies the set.
        on_bytes: called with the length of every block written, and with 0 for a block only read.
            An exception that a callback raises ends the copy here; the next task continues it.

    Raises:
        ManifestError: the original differs from the manifest; names file and both hashes.
        NoRoomError: the disk is too full.
        ForeignStoreError: the store is not this user's alone.
        OSError: the disk, or the original, cannot be read or written; names the file.
        ValueError: `owner` has other characters.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", owner):
        raise ValueError(f"owner {owner!r}: only A-Z a-z 0-9 _ . and - are allowed")
    begun = time.monotonic()
    task = Task(root, manifest, on_wait, on_bytes)
    lease, hit = task.obtain(source, owner)
    seconds = time.monotonic() - begun
    try:
        yield Staged(
            path=task.data, copied=task.copied, seconds=seconds, waited=task.waited, hit=hit
        )
    finally:
        staged_sets.end(lease)


def prune(root: Path) -> dict[str, int]:
    """Remove the sets that no task reads; returns the bytes of each, by its key.

    Raises:
        ForeignStoreError: the store is not this user's alone.
    """
    removed: dict[str, int] = {}
    if not root.exists() and not root.is_symlink():
        return removed
    staged_sets.create(root)
    with locks.held(root / "lock"):
        for folder in staged_sets.unused(root):
            key = folder.name.partition(".")[0]
            removed[key] = removed.get(key, 0) + staged_sets.remove(root, folder)
        staged_sets.sweep_locks(root)
    return removed


def in_place(
    manifest: Manifest, folder: Path, pulse: OnWait = nothing, *, alone: bool = False
) -> None:
    """Compare a data set in its original folder with its manifest; hashed once per node and state.

    Args:
        manifest: of the data set.
        folder: the original folder.
        pulse: called often meanwhile; an exception that it raises ends the comparison.
        alone: also refuse files that the manifest does not list: a problem that reads the whole
            folder would read them.

    Raises:
        ManifestError: files are missing or differ; each is named, with both hashes.
        OSError: a file cannot be read; the error names it.
    """
    wrong = []
    if alone:
        known = {folder / file.path for file in manifest.files}
        more = (path for path in plain_files(folder, pulse) if path not in known)
        wrong += [f"{path}: is not in its manifest" for path in more]
    most = hashes.MOST_REMEMBERED  # a larger set has one cached hash for every so many files
    for start in range(0, len(manifest.files), most):
        part = Manifest(manifest.files[start : start + most])
        try:
            _look(part, folder, pulse, one_by_one=len(manifest.files) <= most)
        except ManifestError as error:
            wrong.append(str(error))
    if wrong:
        raise ManifestError("\n".join(wrong))


def _look(manifest: Manifest, folder: Path, pulse: OnWait, *, one_by_one: bool) -> None:
    """Compare as `in_place`; the result is cached for each file, or for all of them together."""
    if one_by_one:
        _compare(manifest, folder, lambda path: hashes.known_sha256(path, pulse))
        return
    paths = [folder / file.path for file in manifest.files]
    compare = partial(_compare, manifest, folder, lambda path: sha256_of(path, lambda _: pulse()))
    hashes.once_for_all(paths, manifest.sha256, compare, pulse)


def _compare(manifest: Manifest, folder: Path, sha256: Callable[[Path], str]) -> None:
    """Compare the sha256 of every file with the manifest; errors as `in_place`."""
    wrong = []
    for file in manifest.files:
        path = folder / file.path
        try:
            with naming(path):
                found = sha256(path)
        except (FileNotFoundError, NotADirectoryError):
            wrong.append(f"{path}: missing; sha256 {file.sha256} in its manifest")
            continue
        if found != file.sha256:
            wrong.append(f"{path}: sha256 {found}, not {file.sha256} as its manifest says")
    if wrong:
        raise ManifestError("\n".join(wrong))
