"""The code that a sweep's runs use, kept as it was when they were submitted.

A zip named by its content lies in the sweep's folder; runs import from it. It holds the toolkit,
and below `own/0`, `own/1`, ... the Python files of the spec's folders of code, if a run uses them.

Python keeps no bytecode of what it imports from a zip, so there is some beside each source: whoever
has the version of the Python that submitted (3.11, say) compiles nothing, any other reads the
sources. The zip depends on the sources and on that version alone.
"""

import hashlib
import importlib.util
import io
import marshal
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs import files
from jobs.errors import InputError
from jobs.sweep import Run

PACKAGES = ("probprec", "cluster", "containers", "jobs")
ROOT = Path(__file__).resolve().parent.parent
"""Where this code lies: a checkout, site-packages, or such a zip."""

_TOPS = tuple(f"{package}/" for package in PACKAGES)
_MOST_FILES = 5_000
_MOST_BYTES = 50_000_000
_SHOWN_IN = "code.zip"  # in tracebacks: where the zip will lie is not known, and must not matter
_WITHOUT_REFERENCES = 2  # marshal's version; later ones depend on what else the process has done
_UNCHECKED = 0b01  # bytecode that goes with its source by hash, and is believed
_NO_CODE = (SyntaxError, ValueError, RecursionError)  # no Python; or no such marshal (Python 3.14)
_MOST_COMPILED = 5_000_000  # bytes of own sources; of so many, runs import few
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the zip depends on the contents alone


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A zip of code."""

    file: Path
    sha256: str  # of the zip
    own: tuple[str, ...]  # folders inside it that hold the user's own code


def take(folder: Path, code: Sequence[str], runs: Sequence[Run], *, keep: bool = True) -> Snapshot:
    """Keep the toolkit, and the spec's own code if the runs use any, in `folder`.

    Without `keep` nothing is written, nor compiled: what is returned is as for the sources alone.

    Raises:
        InputError: the folders of code hold too much to be code.
    """
    ours = dict(toolkit())
    theirs: dict[str, bytes] = {}
    own = tuple(f"own/{number}" for number in range(len(code))) if uses_own_code(runs) else ()
    for prefix, place in zip(own, code, strict=False):
        theirs |= {f"{prefix}/{name}": text for name, text in _python_files(Path(place))}
    content = ours | theirs
    if keep:
        is_small = sum(map(len, theirs.values())) <= _MOST_COMPILED
        content |= _bytecode(content if is_small else ours)
    packed = _pack(content)
    digest = hashlib.sha256(packed).hexdigest()
    file = folder / f"{digest[:12]}.zip"
    if keep and not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_atomically(file, packed)
    return Snapshot(file=file, sha256=digest, own=own)


def uses_own_code(runs: Sequence[Run]) -> bool:
    """Whether a run's problem or optimizer comes from elsewhere than torch and this toolkit."""
    roots = {path.replace(":", ".").partition(".")[0] for run in runs for path in _paths(run)}
    return bool(roots - {"torch", *PACKAGES})


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


def _paths(run: Run) -> Iterator[str]:
    yield run.optimizer
    if "." in run.problem or ":" in run.problem:  # else it is a name of the catalog
        yield run.problem


def _python_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The Python files below a folder, hidden folders and virtual environments left out."""
    count = size = 0
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _may_hold_code(here / name))
        for name in sorted(names):
            if not name.endswith(".py") or not (here / name).is_file():
                continue  # an editor's lock is a link to nowhere; who reads a pipe waits for ever
            text = (here / name).read_bytes()
            count, size = count + 1, size + len(text)
            if count > _MOST_FILES or size > _MOST_BYTES:
                raise InputError(
                    f"{folder}: more Python than a sweep should carry ({count} files, {size} bytes);"
                    " name the folder of your own modules in the spec: `code: [FOLDER]`"
                )
            yield (here / name).relative_to(folder).as_posix(), text


def _may_hold_code(folder: Path) -> bool:
    if folder.name.startswith((".", "__pycache__")) or folder.name == "node_modules":
        return False
    return not os.access(folder / "pyvenv.cfg", os.F_OK)  # of a private folder, too


def _bytecode(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """What zipimport looks for beside each source; a source that does not compile stays alone."""
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
