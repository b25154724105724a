"""The formats of archives, read with suspicion: what tarfile and zipfile would let pass is refused."""

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

_HEADERS = {b"x", b"g", b"X", b"L", b"K"}  # members of a tar that describe others: pax and GNU
_HEADER_MAX_BYTES = 1 << 20  # a header is read into memory
_END_MAX_BYTES = 64 << 20  # zeros after the end of a tar


class Reader(Protocol):
    """What a stream of bytes has to be able to do."""

    def read(self, size: int = ..., /) -> bytes:
        """At most so many bytes; none: its end."""
        ...


def damages() -> tuple[type[Exception], ...]:
    """What the readers raise of archives that are torn or damaged."""
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
        ValueError,  # sizes and numbers that are none
    )


@contextmanager
def decompressed(file: IO[bytes], path: Path) -> Iterator[Reader]:
    """The tar in an open file, by the file's name; what is torn shows when it is read."""
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
    """A header that is not one is an error; tarfile takes most of them for the archive's end."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Self:
        """The header in a block."""
        if len(buf) == buf.count(0) == tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises what ends the archive
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if info.size < 0 or (info.type in _HEADERS and info.size > _HEADER_MAX_BYTES):
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


def why_not_tar(info: tarfile.TarInfo) -> str | None:
    """What a member is that is neither a plain file nor a folder."""
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
    """Read what follows the end of a tar: checksums are verified, more data would be lost."""
    length = 0
    while block := stream.read(BLOCK_BYTES):
        length += len(block)
        if block.count(0) != len(block) or length > _END_MAX_BYTES:
            raise tarfile.ReadError("more data after the end of the archive")


def why_not_zip(info: zipfile.ZipInfo) -> str | None:
    """What a member is that is neither a plain file nor a folder."""
    if info.flag_bits & 0x1:
        return "encrypted; unpack it, and pack it without a password"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "a link" if stat.S_ISLNK(mode) else "a device, or something unknown"
    if info.is_dir() and info.file_size:
        return "a folder with content"
    return None


def check_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    """Members that share bytes are how a small archive has a huge content."""
    end = 0
    for info in infos:
        if info.header_offset < end:
            raise zipfile.BadZipFile(f"{info.filename!r} overlaps the member before it")
        end = info.header_offset + 30 + info.compress_size  # bytes: the shortest header
