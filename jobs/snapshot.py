"""The code that a sweep's runs use, kept as it was when they were submitted.

A zip named by its content lies in the sweep's folder. It holds the toolkit, which runs import from
the zip, and below `own/0`, `own/1`, ... the spec's folders of code, if a run uses them: their Python
files, and small files that lie beside those. These are unpacked where runs are trained, for a module
may read a file beside itself.

Python keeps no bytecode of what it imports from a zip, so there is some beside each of our sources:
whoever has the version of the Python that submitted (3.11, say) compiles nothing, any other reads
the sources. The zip depends on the sources and on that version alone.
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
"""Where this code lies: a checkout, site-packages, or such a zip."""

_OWN = "own/"
_TOPS = tuple(f"{package}/" for package in PACKAGES)
_MOST_FILES = 5_000
_MOST_BYTES = 50_000_000
_LARGEST_BESIDE = 1_000_000  # bytes of one file that is no Python; larger ones are data
_MOST_BESIDE = 20_000_000  # bytes of all of them; of more, none is code's
_SHOWN_IN = "code.zip"  # in tracebacks: where the zip will lie is not known, and must not matter
_WITHOUT_REFERENCES = 2  # marshal's version; later ones depend on what else the process has done
_UNCHECKED = 0b01  # bytecode that goes with its source by hash, and is believed
_NO_CODE = (SyntaxError, ValueError, RecursionError)  # no such marshal (Python 3.14)
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the zip depends on the contents alone


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A zip of code."""

    file: Path
    sha256: str  # of the zip
    own: tuple[str, ...]  # folders inside it that hold the user's own code


def take(folder: Path, code: Sequence[str] = (), *, keep: bool = True) -> Snapshot:
    """Keep the toolkit, and the user's own folders of code, in `folder`.

    Without `keep` nothing is written, nor compiled: what is returned is as for the sources alone.

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
    """Unpack the user's own code of a snapshot, which has been compared with its hash, in `folder`."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(_OWN)])


def require_imported_from(file: Path) -> None:
    """Refuse to go on if this toolkit was not imported from that snapshot.

    Raises:
        DriftedError: it comes from elsewhere; names both places.
    """
    if not ROOT.samefile(file):
        raise DriftedError(f"{ROOT}: imported from there, and not from the snapshot {file}")


def toolkit() -> Iterator[tuple[str, bytes]]:
    """Every module of this toolkit as it is being used, by name: from files or from a zip."""
    if ROOT.is_file():
        with zipfile.ZipFile(ROOT) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(_TOPS) and name.endswith(".py"):
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

    Hidden folders and virtual environments are left out, and secrets beside code that is none. So are
    all files that are no Python, if those that are small are many: then they are no part of the code.
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
        if count > _MOST_FILES or size > _MOST_BYTES:
            raise InputError(
                f"{folder}: more Python than a sweep should carry ({count} files, {size} bytes);"
                " name the folder of your own modules in the spec: `code: [FOLDER]`"
            )
        yield path.relative_to(folder).as_posix(), text
    small = [path for path in beside if _is_of_the_code(path, is_shared=is_shared)]
    if sum(path.stat().st_size for path in small) <= _MOST_BESIDE:
        yield from ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in small)


def _is_of_the_code(path: Path, *, is_shared: bool) -> bool:
    """Whether a file that is no Python is small, can be read, and is no secret.

    Beside code that others may read (`is_shared`), a file that only its owner may read is one, such
    as a key: others may read the snapshot, too.
    """
    is_secret = is_shared and not _is_readable_by_others(path)
    is_small = path.stat().st_size <= _LARGEST_BESIDE
    return is_small and not is_secret and os.access(path, os.R_OK)


def _is_readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _plain_files(folder: Path) -> Iterator[Path]:
    """The Python files, and all plain files in folders that hold Python or lie in a package.

    Whatever is no plain file, such as an editor's lock, is nobody's code.
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
    return not os.access(folder / "pyvenv.cfg", os.F_OK)  # of a private folder, too


def _bytecode(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """What zipimport looks for beside each source."""
    found = {}
    for name, text in sources.items():
        with warnings.catch_warnings(action="ignore"), suppress(*_NO_CODE):
            code = compile(text, f"{_SHOWN_IN}/{name}", "exec", dont_inherit=True, optimize=0)
            found[f"{name}c"] = b"".join(
                (
                    importlib.util.MAGIC_NUMBER,
                    _UNCHECKED.to_bytes(4, "little"),
                    importlib.util.source_hash(text),
                    marshal.dumps(code, _WITHOUT_REFERENCES),
                )
            )
    return found


def _pack(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(content.items()):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), text)
    return buffer.getvalue()


def commit() -> str | None:
    """The commit of the checkout that this code is in; None: it is in none."""
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
    """Whether the checkout has changes that are not committed; None: there is none."""
    changes = _git("status", "--porcelain", "--", *PACKAGES)
    return None if changes is None else bool(changes)
