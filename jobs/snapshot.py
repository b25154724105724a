"""A snapshot keeps the code of a sweep's runs as it was when they were submitted.

The snapshot is a zip in the sweep's folder, named by its content. It holds the toolkit, which runs
import from the zip, and below `own/0`, `own/1`, ... the spec's folders of code, if a run uses them:
their Python files, and small files beside those. The node unpacks the user's own code, because a
module may read a file beside itself.

Python caches no bytecode of what it imports from a zip, so the zip holds bytecode beside each
source of the toolkit: the Python version that submitted (3.11, say) compiles nothing, any other
compiles the sources. The zip depends on the sources and on that version alone.
"""

import hashlib
import importlib.util
import io
import marshal
import os
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jobs import files
from jobs.errors import DriftedError, InputError
from jobs.machine import output_of

PACKAGES = ("probprec", "cluster", "containers", "jobs")
ROOT = Path(__file__).resolve().parent.parent
"""The folder or zip that this code was imported from: a checkout, site-packages, or a snapshot."""

_OWN_PREFIX = "own/"
_TOOLKIT_PREFIXES = tuple(f"{package}/" for package in PACKAGES)
_OWN_FILES_MAX = 5_000
_OWN_MAX_BYTES = 50_000_000
_SIDE_FILE_MAX_BYTES = 1_000_000  # a larger file beside Python files is data
_SIDE_FILES_MAX_BYTES = 20_000_000  # if the small files beside take more, all of them are data
_TRACEBACK_NAME = "code.zip"  # instead of the zip's path, which bytecode must not depend on
_MARSHAL_VERSION = 2  # later versions depend on what else the process has done
_BYTECODE_FLAGS = 0b01  # PEP 552: tied to its source by hash, and not checked against it
_COMPILE_ERRORS = (SyntaxError, ValueError, RecursionError)  # ValueError: no such marshal version
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the zip depends on the contents alone


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A zip of code, as it was submitted."""

    file: Path
    sha256: str  # of the zip
    own: tuple[str, ...]  # folders inside it that hold the user's own code


def take(folder: Path, code: Sequence[str] = (), *, keep: bool = True) -> Snapshot:
    """Keep the toolkit, and the user's own folders of code, in `folder`.

    Without `keep` nothing is written or compiled: the hash returned is that of the sources alone.

    Raises:
        InputError: the folders of code hold too much to be code.
    """
    ours = dict(toolkit())
    theirs: dict[str, bytes] = {}
    own = tuple(f"own/{number}" for number in range(len(code)))
    for prefix, place in zip(own, code, strict=True):
        theirs |= {f"{prefix}/{name}": text for name, text in _own_files(Path(place))}
    packed = _pack(ours | theirs | (_bytecode(ours) if keep else {}))
    digest = hashlib.sha256(packed).hexdigest()
    file = folder / f"{digest[:12]}.zip"
    if keep and not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_atomically(file, packed)
    return Snapshot(file=file, sha256=digest, own=own)


def unpack_own(file: Path, folder: Path) -> None:
    """Unpack the user's own code into `folder`; the snapshot's hash has been checked."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(
            folder, [name for name in archive.namelist() if name.startswith(_OWN_PREFIX)]
        )


def require_imported_from(file: Path) -> None:
    """Refuse to go on if this toolkit was not imported from that snapshot.

    Raises:
        DriftedError: the toolkit was imported from another place; names both.
    """
    if not ROOT.samefile(file):
        raise DriftedError(f"{ROOT}: imported from there, and not from the snapshot {file}")


def toolkit() -> Iterator[tuple[str, bytes]]:
    """Name and source of every module of this toolkit as imported: from files or from a zip."""
    if ROOT.is_file():
        with zipfile.ZipFile(ROOT) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(_TOOLKIT_PREFIXES) and name.endswith(".py"):
                    yield name, archive.read(name)
        return
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for name, path in sorted((path.relative_to(ROOT).as_posix(), path) for path in found):
        yield name, path.read_bytes()


def found_sha256(file: Path) -> str | None:
    """The sha256 of a file; None if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _own_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The Python files below a folder, and the small files beside them, by name.

    Hidden folders, virtual environments and secret files are left out. If the small files take more
    than `_SIDE_FILES_MAX_BYTES`, they are data, and all of them are left out.
    """
    count = size = 0
    is_shared = False
    beside: list[Path] = []
    for path in _plain_files(folder):
        if path.suffix != ".py":
            beside.append(path)
            continue
        text = path.read_bytes()
        is_shared = is_shared or _is_readable_by_others(path)
        count, size = count + 1, size + len(text)
        if count > _OWN_FILES_MAX or size > _OWN_MAX_BYTES:
            raise InputError(
                f"{folder}: more Python than a sweep should carry ({count} files, {size} bytes);"
                " name the folder of your own modules in the spec: `code: [FOLDER]`"
            )
        yield path.relative_to(folder).as_posix(), text
    small = [path for path in beside if _is_of_the_code(path, is_shared=is_shared)]
    if sum(path.stat().st_size for path in small) <= _SIDE_FILES_MAX_BYTES:
        yield from ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in small)


def _is_of_the_code(path: Path, *, is_shared: bool) -> bool:
    """Whether a file that is no Python is small, can be read, and is no secret.

    A file that only its owner may read, such as a key, is a secret if others may read the code
    beside it (`is_shared`): others may read the snapshot, too.
    """
    is_secret = is_shared and not _is_readable_by_others(path)
    is_small = path.stat().st_size <= _SIDE_FILE_MAX_BYTES
    return is_small and not is_secret and os.access(path, os.R_OK)


def _is_readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _plain_files(folder: Path) -> Iterator[Path]:
    """The Python files, and all plain files in folders that hold Python or lie in a package.

    Other kinds of files, such as an editor's lock, are left out.
    """
    packages: set[Path] = set()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _may_hold_code(here / name))
        is_in_package = here.parent in packages or "__init__.py" in names
        if is_in_package:
            packages.add(here)
        if is_in_package or any(name.endswith(".py") for name in names):
            paths = (here / name for name in sorted(names) if not name.startswith("."))
            yield from (path for path in paths if path.is_file())


def _may_hold_code(folder: Path) -> bool:
    if folder.name.startswith((".", "__pycache__")) or folder.name == "node_modules":
        return False
    return not os.access(folder / "pyvenv.cfg", os.F_OK)  # never raises, also in a private folder


def _bytecode(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The bytecode (.pyc) that zipimport looks for beside each source, by name."""
    found = {}
    for name, text in sources.items():
        with warnings.catch_warnings(action="ignore"), suppress(*_COMPILE_ERRORS):
            code = compile(text, f"{_TRACEBACK_NAME}/{name}", "exec", dont_inherit=True, optimize=0)
            found[f"{name}c"] = b"".join(
                (
                    importlib.util.MAGIC_NUMBER,
                    _BYTECODE_FLAGS.to_bytes(4, "little"),
                    importlib.util.source_hash(text),
                    marshal.dumps(code, _MARSHAL_VERSION),
                )
            )
    return found


def _pack(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(content.items()):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), text)
    return buffer.getvalue()


def commit() -> str | None:
    """The commit of the checkout that this code is in; None: there is no checkout."""
    return _git("rev-parse", "HEAD")


@cache
def code_digest() -> str:
    """First 12 hex digits of the sha256 over every module of this toolkit, names and contents."""
    total = hashlib.sha256()
    for name, text in toolkit():
        total.update(f"{name}\0{hashlib.sha256(text).hexdigest()}\n".encode())
    return total.hexdigest()[:12]


@cache
def _git(*arguments: str) -> str | None:
    return output_of(["git", "-C", str(ROOT), *arguments])


def is_dirty() -> bool | None:
    """Whether the checkout has uncommitted changes; None: there is no checkout."""
    changes = _git("status", "--porcelain", "--", *PACKAGES)
    return None if changes is None else bool(changes)
