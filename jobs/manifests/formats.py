"""The formats of archives, with stricter checks than those of tarfile and zipfile."""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, Self

from jobs.hashes import BLOCK_BYTES

_HEADER_TYPES = {b"x", b"g", b"X", b"L", b"K"}  # tar members that describe others: pax, GNU
_HEADER_MAX_BYTES = 1 << 20  # a header is read into memory
_END_MAX_BYTES = 64 << 20  # zeros after the end of a tar


class Reader(Protocol):
    """A stream of bytes that can be read."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; empty at the stream's end."""
        ...


def damages() -> tuple[type[Exception], ...]:
    """The exceptions that the standard readers raise for torn or damaged archives."""
    from zstandard import ZstdError

    return (
        ZstdError,
        EOFError,
        OSError,  # of gzip and bz2, without a number
        zlib.error,
        lzma.LZMAError,
        tarfile.TarError,
        zipfile.BadZipFile,
        NotImplementedError,  # a compression that zipfile does not know
        RecursionError,  # headers of headers of headers
        ArithmeticError,
        struct.error,
        ValueError,  # malformed sizes and numbers
    )


@contextmanager
def decompressed(file: IO[bytes], path: Path) -> Iterator[Reader]:
    """The tar in an open file, decompressed by the file's suffix; errors come while reading."""
    kind = path.suffix.lower()
    if kind == ".tar":
        yield file
    elif kind in {".gz", ".tgz"}:
        with gzip.open(file) as stream:
            yield stream
    elif kind in {".xz", ".txz"}:
        with lzma.open(file) as stream:
            yield stream
    elif kind in {".bz2", ".tbz2"}:
        with bz2.open(file) as stream:
            yield stream
    else:
        from zstandard import ZstdDecompressor

        with ZstdDecompressor().stream_reader(
            file, read_across_frames=True, closefd=False
        ) as stream:
            yield stream


class StrictTarInfo(tarfile.TarInfo):
    """A tar header; a malformed one is an error, where tarfile mostly assumes the archive's end."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Self:
        """The header in a block."""
        if len(buf) == buf.count(0) == tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises: a zero block ends the archive
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if info.size < 0 or (info.type in _HEADER_TYPES and info.size > _HEADER_MAX_BYTES):
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


def why_not_tar(info: tarfile.TarInfo) -> str | None:
    """Why a tar's member is refused, in words; None: it is a plain file or a folder."""
    if info.size < 0:
        return f"{info.size} bytes long"
    if info.issym() or info.islnk():
        return f"a link to {info.linkname!r}"
    if info.sparse is not None or info.type == tarfile.GNUTYPE_SPARSE:
        return "sparse; pack it without --sparse"
    if info.isdir() or info.isreg():
        return None
    return "a pipe" if info.isfifo() else "a device, or something unknown"


def check_end(stream: Reader) -> None:
    """Read a tar's stream to its end, which verifies checksums; refuse data behind the tar."""
    length = 0
    while block := stream.read(BLOCK_BYTES):
        length += len(block)
        if block.count(0) != len(block) or length > _END_MAX_BYTES:
            raise tarfile.ReadError("more data after the end of the archive")


def why_not_zip(info: zipfile.ZipInfo) -> str | None:
    """Why a zip's member is refused, in words; None: it is a plain file or a folder."""
    if info.flag_bits & 0x1:
        return "encrypted; unpack it, and pack it without a password"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "a link" if stat.S_ISLNK(mode) else "a device, or something unknown"
    if info.is_dir() and info.file_size:
        return "a folder with content"
    return None


def check_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: by them a small archive can have a huge content."""
    end = 0
    for info in infos:
        if info.header_offset < end:
            raise zipfile.BadZipFile(f"{info.filename!r} overlaps the member before it")
        end = info.header_offset + 30 + info.compress_size  # 30 bytes: the shortest header
