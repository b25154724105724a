"""A data set is copied or unpacked file by file; every file is verified, complete ones are kept."""

import ctypes
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jobs import files
from jobs.errors import naming
from jobs.hashes import BLOCK_BYTES, blocks_of, sha256_of
from jobs.manifests.archive import Archive, Member
from jobs.manifests.manifest import File, Manifest, ManifestError

if TYPE_CHECKING:
    from hashlib import _Hash

READ_ONLY = 0o444
"""The mode of a file that is complete and verified."""

_PARTIAL_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_SYNCED_FILES_MAX = 256  # to sync each of more files takes longer than to sync the disk

OnBytes = Callable[[int], object]
"""A callback for the number of bytes just written; called with 0, often, during mere reading."""


def fill(source: Path, data: Path, manifest: Manifest, on_bytes: OnBytes) -> None:
    """Copy the files of a set into the folder `data`, from a folder or an archive.

    Raises:
        ManifestError: the original differs from the manifest, or an archive is torn or hostile.
        OSError: the original cannot be read, or the copy not written; names the file.
    """
    data.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    if stat.S_ISDIR(source.stat().st_mode):
        for file in manifest.files:
            _copy(source / file.path, _place(data, file), file, on_bytes)
    else:
        _unpack(source, data, manifest, on_bytes)
    if len(manifest.files) > _SYNCED_FILES_MAX:
        _sync_all(data)
        return
    for file in manifest.files:  # synced at the end: the disk has written most bytes by now
        files.sync(data / file.path, follow=False)
        on_bytes(0)


def _place(data: Path, file: File) -> Path:
    """The path of the file's copy; the folders above it are made."""
    target = data / file.path
    for folder in reversed(target.relative_to(data).parents):
        (data / folder).mkdir(mode=_FOLDER_MODE, exist_ok=True)
    return target


def _copy(original: Path, target: Path, file: File, on_bytes: OnBytes) -> None:
    """Copy one file, continuing where a killed copier stopped."""
    about = original.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ManifestError(f"{original}: not a plain file, unlike its manifest says")
    if about.st_size != file.size:
        found = File(
            path=file.path,
            size=about.st_size,
            sha256=sha256_of(original, lambda _: on_bytes(0)),
        )
        raise ManifestError(f"{original}: {found}, not {file} as its manifest says")
    if _is_complete(target, file, on_bytes):
        return
    sha256 = ""
    for start in dict.fromkeys((_size(target) if _size(target) < file.size else 0, 0)):
        digest = hashlib.sha256()
        for block in blocks_of(target) if start else ():
            digest.update(block)
            on_bytes(0)
        with original.open("rb") as reader:
            rest = _rest(reader, original, start, file.size)
            sha256 = _write(target, rest, digest, start, on_bytes)
        if sha256 == file.sha256:
            target.chmod(READ_ONLY)
            return
    target.unlink()
    raise ManifestError(f"{original}: sha256 {sha256}, not {file.sha256} as its manifest says")


def _rest(reader: IO[bytes], original: Path, start: int, size: int) -> Iterator[bytes]:
    reader.seek(start)
    left = size - start
    while left > 0:
        with naming(original):
            block = reader.read(min(BLOCK_BYTES, left))
        if not block:
            return
        left -= len(block)
        yield block


def _unpack(source: Path, data: Path, manifest: Manifest, on_bytes: OnBytes) -> None:
    """Unpack an archive; a member that the manifest lacks, or with another size, is refused."""
    wanted = {file.path: file for file in manifest.files}
    with Archive(source) as archive:
        for member in archive.members():
            file = wanted.pop(member.path, None)
            if file is None:
                raise ManifestError(f"{source}: {member.path!r} is not in its manifest")
            _unpack_member(source, member, _place(data, file), file, on_bytes)
    if wanted:
        names = ", ".join(map(repr, list(wanted)[:10]))
        raise ManifestError(f"{source}: {len(wanted)} files of its manifest are missing: {names}")


def _unpack_member(
    source: Path, member: Member, target: Path, file: File, on_bytes: OnBytes
) -> None:
    if member.size != file.size:
        text = f"{member.path!r}: {member.size} bytes, not {file} as its manifest says"
        raise ManifestError(f"{source}: {text}")
    if _is_complete(target, file, on_bytes):
        for _ in member.blocks():  # skipped in small steps
            on_bytes(0)
        return
    sha256 = _write(target, member.blocks(), hashlib.sha256(), 0, on_bytes)
    if sha256 != file.sha256:
        target.unlink()
        text = f"{member.path!r}: sha256 {sha256}, not {file.sha256} as its manifest says"
        raise ManifestError(f"{source}: {text}")
    target.chmod(READ_ONLY)


def _is_complete(target: Path, file: File, on_bytes: OnBytes) -> bool:
    """Whether an earlier copier completed the file."""
    if not target.exists() or _size(target) != file.size:
        return False
    return sha256_of(target, lambda _: on_bytes(0)) == file.sha256


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write(
    target: Path, blocks: Iterable[bytes], digest: "_Hash", start: int, on_bytes: OnBytes
) -> str:
    """Write `blocks` from byte `start` on; returns the sha256 of all; `digest` has the start."""
    if start:
        target.chmod(_PARTIAL_FILE_MODE)
        flags = os.O_WRONLY
    else:
        target.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(target, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _PARTIAL_FILE_MODE)
    with open(descriptor, "wb", buffering=0) as writer:  # noqa: PTH123 - opens a descriptor
        writer.seek(start)
        for block in blocks:
            digest.update(block)
            left = memoryview(block)
            while left:
                with naming(target):
                    left = left[writer.write(left) :]
            on_bytes(len(block))
    return digest.hexdigest()


def _sync_all(folder: Path) -> None:
    """Sync the file system of a folder."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
