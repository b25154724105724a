"""A task obtains a data set on its node: it finds a staged set, or makes room and copies."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jobs import files, locks
from jobs.failure import is_disk_full
from jobs.hashes import sha256_of
from jobs.manifests.manifest import Manifest
from jobs.staging import staged_sets
from jobs.staging.copying import READ_ONLY, fill

SPARE_BYTES = 64 << 20
"""The disk space that is left free for logs and temporary files."""


class NoRoomError(OSError):
    """The disk has no room for the set, even without all unused sets."""

    def __str__(self) -> str:
        """The text, without the error's number."""
        return self.strerror or super().__str__()


class Task:
    """A task that obtains one set, with its bytes copied and seconds waited so far."""

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        on_wait: Callable[[], object],
        on_bytes: Callable[[int], object],
    ) -> None:
        self.root, self.manifest = root, manifest
        self.key = manifest.sha256[:32]
        self.place = root / "sets" / self.key
        self.data = self.place / "data"
        self.partial = root / "partial" / self.key
        self.copied, self.waited = 0, 0.0
        self._on_wait, self._on_bytes = on_wait, on_bytes
        self._told: BaseException | None = None  # what `on_bytes` or `on_wait` raised

    def obtain(self, source: Path, owner: str) -> tuple[tuple[int, Path], bool]:
        """Find or copy the set, and lease it; returns the lease, and whether a copy existed."""
        with self._disk_full_is_no_room():
            staged_sets.create(self.root)
            with self.locked(staged_sets.lock_of(self.partial)):
                lease = self.lease(owner)
                try:
                    hit = self.is_whole()
                    if not hit:
                        self.copy(source)
                except BaseException:
                    staged_sets.end(lease)
                    raise
        return lease, hit

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException as error:
            self._told = error
            raise

    def _wait(self) -> None:
        self._tell(self._on_wait)

    def _count(self, size: int) -> None:
        self.copied += size
        self._tell(self._on_bytes, size)

    def _is_full(self, error: OSError) -> bool:
        """Whether the scratch disk is full; an error raised by a callback is another disk's."""
        return is_disk_full(error) and error is not self._told

    @contextmanager
    def _disk_full_is_no_room(self) -> Iterator[None]:
        """Turn the error of a full scratch disk, where even a lease failed, into NoRoomError."""
        try:
            yield
        except OSError as error:
            if isinstance(error, NoRoomError) or not self._is_full(error):
                raise
            text = f"{self.root}: {self.manifest.size} bytes wanted: {error.strerror}"
            raise NoRoomError(errno.ENOSPC, text) from error

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold a lock, and count the seconds of waiting for it."""
        with locks.held(path, self._wait) as waited:
            self.waited += waited
            yield

    def lease(self, owner: str) -> tuple[int, Path]:
        """Mark the set as in use, by a lock that ends with the process."""
        with self.locked(self.root / "lock"):  # else the lease could be swept before it is locked
            prefix = ".".join(filter(None, (self.key, owner, "")))
            descriptor, name = tempfile.mkstemp(dir=self.root / "leases", prefix=f"{prefix}.")
            locks.hold(descriptor, Path(name))
        return descriptor, Path(name)

    def is_whole(self) -> bool:
        """Whether the set is staged and whole; files touched since verification are rehashed."""
        try:
            is_own = all(staged_sets.is_own(path, folder=True) for path in self._folders())
            now = self._state(self.data)
        except OSError:
            return False
        known = self._known()
        touched = [file for file in self.manifest.files if known.get(file.path) != now[file.path]]
        for file in touched:
            if not self._is_still(self.data / file.path, file.sha256):
                return False
        is_as_it_was = now == known
        paths = {file.path for file in self.manifest.files}
        if not is_own or not (is_as_it_was or staged_sets.is_trusted(self.data, paths)):
            return False
        if not is_as_it_was:
            with suppress(OSError):  # then the files are hashed again the next time
                self._write_state(self.place)
        os.utime(self.place)  # its last use, for `staged_sets.unused`
        return True

    def _folders(self) -> list[Path]:
        inner = {parent for file in self.manifest.files for parent in Path(file.path).parents}
        return [self.place, *(self.data / folder for folder in sorted(inner))]

    def _state(self, data: Path) -> dict[str, Any]:
        """The signature of each file, and of each folder, which an added name changes."""
        files_ = {
            file.path: staged_sets.signature(data / file.path) for file in self.manifest.files
        }
        inner = (folder.relative_to(self.data) for folder in self._folders()[1:])
        return files_ | {f"{folder}/": staged_sets.signature(data / folder) for folder in inner}

    def _known(self) -> dict[str, Any]:
        path = self.place / "state.json"
        try:
            content = (
                json.loads(path.read_bytes()) if staged_sets.is_own(path, folder=False) else {}
            )
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write_state(self, folder: Path) -> None:
        content = files.to_json(self._state(folder / "data"))
        files.write_atomically(folder / "state.json", content)

    def _is_still(self, path: Path, sha256: str) -> bool:
        try:
            if not staged_sets.is_own(path, folder=False):
                return False
            is_same = sha256_of(path, lambda _: self._count(0)) == sha256
            if stat.S_IMODE(path.lstat().st_mode) != READ_ONLY:
                path.chmod(READ_ONLY)
        except OSError as error:
            if error is self._told:
                raise
            return False
        return is_same

    def copy(self, source: Path) -> None:
        """Copy the set, or its rest; if others fill the disk meanwhile, unused sets are evicted."""
        if self.place.exists() or self.place.is_symlink():  # a damaged set
            with self.locked(self.root / "lock"):
                staged_sets.remove(self.root, self.place)
        while True:
            try:
                self._fill(source)
            except OSError as error:
                if not self._is_full(error):
                    raise
                if isinstance(error, NoRoomError) or not self._evict():
                    self._give_up()
                    raise
            else:
                return

    def _fill(self, source: Path) -> None:
        try:
            self._reserve()
            fill(source, self.partial / "data", self.manifest, self._count)
            self._write_state(self.partial)
            with self.locked(self.root / "lock"):
                self.partial.rename(self.place)
        finally:
            staged_sets.reservation_of(self.partial).unlink(missing_ok=True)

    def _reserve(self) -> None:
        """Reserve the disk space that the copy needs; evict unused sets for it."""
        with self.locked(self.root / "lock"):
            self._make_partial()
            staged_sets.reservation_of(self.partial).unlink(missing_ok=True)  # of a killed copier
            whole = sum(staged_sets.on_disk(file.size) for file in self.manifest.files)
            need = max(0, whole - staged_sets.bytes_in(self.partial)) + SPARE_BYTES
            unused = staged_sets.unused(self.root, but=self.key)
            free = staged_sets.free(self.root)
            if (
                free + sum(map(staged_sets.bytes_in, unused)) >= need
            ):  # else eviction would be in vain
                while free < need and unused:
                    staged_sets.remove(self.root, unused.pop(0))
                    free = staged_sets.free(self.root)
            if free < need:
                text = (
                    f"{whole} bytes wanted, {max(0, free)} free, of which {SPARE_BYTES} stay free for"
                    " logs; all else is in use"
                )
                raise NoRoomError(errno.ENOSPC, f"{self.root}: {text}")
            staged_sets.reservation_of(self.partial).write_text(str(whole))

    def _make_partial(self) -> None:
        """Make the folder to copy into; keep what a killed copier left, if it can be trusted."""
        try:
            if staged_sets.is_own(self.partial, folder=True):
                for state in self.partial.glob("*state.json*"):
                    state.unlink()
            names = {f"data/{file.path}" for file in self.manifest.files}
            if not staged_sets.is_trusted(self.partial, names):
                staged_sets.remove(self.root, self.partial)
        except FileNotFoundError:
            pass
        self.partial.mkdir(mode=0o700, exist_ok=True)

    def _evict(self) -> bool:
        """Remove the unused set that is wanted least; False: there is none."""
        with self.locked(self.root / "lock"):
            doomed = staged_sets.unused(self.root, but=self.key)[:1]
            for folder in doomed:
                staged_sets.remove(self.root, folder)
        return bool(doomed)

    def _give_up(self) -> None:
        """Remove the partial copy: half a set would only keep the disk full."""
        with self.locked(self.root / "lock"):
            if self.partial.exists():
                staged_sets.remove(self.root, self.partial)
