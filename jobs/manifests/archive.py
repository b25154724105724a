"""Archives are read as a stream of checked members; a hostile, torn or special member is refused.

Nothing here writes to a disk; members are read one after the other, each at most once.
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Self, cast

from jobs.errors import naming
from jobs.hashes import BLOCK_BYTES
from jobs.manifests.formats import (
    Reader,
    StrictTarInfo,
    check_end,
    check_overlaps,
    damages,
    decompressed,
    why_not_tar,
    why_not_zip,
)
from jobs.manifests.manifest import File, Manifest, ManifestError, Names

if TYPE_CHECKING:
    from types import TracebackType

KINDS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".zip")
"""The suffixes of archives that can be read."""


@dataclass(frozen=True)
class Member:
    """A plain file in an archive."""

    path: str  # normal, inside of the archive's root, unique
    size: int  # bytes, as the archive says
    blocks: Callable[[], Iterator[bytes]]
    """The content, to be read once, before the next member; never more than `size` bytes."""


def is_archive(path: Path) -> bool:
    """Whether the path has the suffix of an archive that can be read."""
    return path.name.lower().endswith(KINDS)


def of_archive(path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> Manifest:
    """The manifest of an archive's members, read once; `on_bytes` gets counts of packed bytes.

    Raises:
        ManifestError: the archive is of an unknown kind, torn, has no files, or a hostile member.
        OSError: the archive cannot be read; the error names it.
    """
    found = []
    with Archive(path) as archive:
        done = 0
        for member in archive.members():
            digest, size = hashlib.sha256(), 0
            for block in member.blocks():
                digest.update(block)
                size += len(block)
                on_bytes(max(0, archive.position - done))
                done = max(done, archive.position)
            found.append(File(path=member.path, size=size, sha256=digest.hexdigest()))
    on_bytes(max(0, path.stat().st_size - done))
    if not found:
        raise ManifestError(f"{path} has no files")
    return Manifest.of(found)


class Archive:
    """An open archive (a context manager); `members` gives its files, once.

    Raises:
        ManifestError: while reading, if the archive is torn, or a member hostile or no plain file.
        OSError: the archive cannot be read; the error names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._names = Names()

    def __enter__(self) -> Self:
        """Open the archive."""
        if not is_archive(self.path):
            kinds = ", ".join(KINDS)
            raise ManifestError(f"{self.path}: neither a folder nor an archive ({kinds})")
        self._file = self._stack.enter_context(self.path.open("rb"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        """Close the archive."""
        self._stack.close()

    @property
    def position(self) -> int:
        """The number of the archive's bytes read so far, about."""
        return self._file.tell()

    def members(self) -> Iterator[Member]:
        """The archive's plain files in their order; folders are skipped."""
        is_zip = self.path.name.lower().endswith(".zip")
        yield from self._zip() if is_zip else self._tar()

    def _tar(self) -> Iterator[Member]:
        with self._reading("its beginning"):
            stream = self._stack.enter_context(decompressed(self._file, self.path))
            tar = self._stack.enter_context(
                tarfile.open(  # noqa: SIM115 - the stack closes it
                    fileobj=cast("IO[bytes]", stream),
                    mode="r|",
                    bufsize=1 << 14,  # a larger buffer is copied around with each small file
                    tarinfo=StrictTarInfo,
                )
            )
        last = "its beginning"
        while True:
            with self._reading(f"after {last}"):
                info = tar.next()
            if info is None:
                break
            cast("Any", tar).members = []  # else tarfile keeps all headers in memory
            last = repr(info.name)
            path = self._checked(info.name, is_folder=info.isdir(), why_not=why_not_tar(info))
            if path is not None:
                with self._reading(last):
                    reader = tar.extractfile(info)
                yield self._member(path, info.size, cast("Reader", reader))
        with self._reading(f"after {last}"):
            check_end(cast("Reader", tar.fileobj))

    def _zip(self) -> Iterator[Member]:
        with self._reading("its directory"):
            archive = self._stack.enter_context(zipfile.ZipFile(self._file))
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            check_overlaps(infos)
        for info in infos:
            name = info.orig_filename
            path = self._checked(name, is_folder=info.is_dir(), why_not=why_not_zip(info))
            if path is not None:
                with self._reading(repr(name)):
                    reader = archive.open(info)
                with reader:
                    yield self._member(path, info.file_size, cast("Reader", reader))

    def _checked(self, name: str, *, is_folder: bool, why_not: str | None) -> str | None:
        """The normal path of a file; None for a folder."""
        if why_not is not None:
            raise ManifestError(f"{self.path}: {name!r} is {why_not}")
        # No ./ in front, no // and no / at the end; a .. stays and is refused below.
        path = PurePosixPath(name).as_posix()
        if is_folder and path == ".":
            return None
        try:
            if is_folder:
                self._names.add_folder(path)
            else:
                self._names.add(path)
        except ManifestError as error:
            raise ManifestError(f"{self.path}: {error}") from None
        return None if is_folder else path

    def _member(self, path: str, size: int, reader: Reader) -> Member:
        def blocks() -> Iterator[bytes]:
            left = size
            while True:
                with self._reading(repr(path)):
                    block = reader.read(min(BLOCK_BYTES, left + 1))
                if not block:
                    break
                left -= len(block)
                if left < 0:
                    break
                yield block
            if left:
                have = "more" if left < 0 else str(size - left)
                raise ManifestError(f"{self.path}: {path!r}: {size} bytes announced, {have} there")

        return Member(path, size, blocks)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Name the place at which the archive is torn; a disk's OSError stays as it is."""
        try:
            with naming(self.path):
                yield
        except damages() as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ManifestError(f"{self.path}: torn or damaged at {what} ({error})") from error
