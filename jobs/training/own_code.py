"""The user's own modules in a training: where they are imported from, and which ones were used.

Own folders come behind the standard library and this toolkit, and ahead of what is installed: a
`random.py` of the user's breaks nothing, and the user's copy of a package wins over the installed one.
"""

import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jobs.snapshot import PACKAGES, ROOT

_INSTALLED = ("site-packages", "dist-packages")
_READ = "./"  # before the name of a file that is no module
_OPENED = ("open", "ctypes.dlopen", "sqlite3.connect")  # Python's audit events
_PYTHON = f"{sysconfig.get_path('stdlib')}/"  # some of its modules are no part of its names

_folders: list[str] = []
_read: set[str] = set()  # paths of files in own folders that were opened, modules among them
_written: set[str] = set()  # those that the training wrote before it read them: they are no code


def use(folders: Sequence[Path]) -> None:
    """Import own modules from these folders from now on, and notice which files in them are read.

    Whatever else has to be imported ahead of a module of the same name has to be imported before.
    """
    if not folders:
        return
    paths = [os.path.realpath(folder) for folder in folders]  # as a module resolves its own path
    places = (index for index, path in enumerate(sys.path) if is_installed(path))
    index = next(places, len(sys.path))
    sys.path[index:index] = paths
    _folders.extend(paths)
    sys.addaudithook(_see)


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    """Remember a file of an own folder that is opened, and whether it is only written to."""
    if event not in _OPENED or not isinstance(arguments[0], str | bytes):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - a Path would be slow
    if path in _read or not any(path.startswith(f"{folder}/") for folder in _folders):
        return
    if event == "open" and arguments[2] & os.O_ACCMODE == os.O_WRONLY:
        _written.add(path)
    elif path not in _written:
        _read.add(path)


def modules() -> dict[str, str]:
    """The sha256 of every own module that has been imported, by name, and of files read beside them.

    Own is what belongs neither to Python, nor to this toolkit, nor to an installed package. The name
    of a file that is no module begins with `./`; so does that of code which was executed and is no
    module now.
    """
    own = {name: file for name, file in loaded() if is_own(name, file)}
    found = _hashes(own.items())
    known = {os.path.abspath(own[name]) for name in found}  # noqa: PTH100 - as in _see
    for path in sorted(set(map(_source_of, _read)) - known):
        folder = next(one for one in _folders if path.startswith(f"{one}/"))
        with suppress(OSError):  # it was a folder, or has gone since
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found.setdefault(f"{_READ}{path[len(folder) + 1 :]}", digest)
    return dict(sorted(found.items()))


def _source_of(path: str) -> str:
    """The source of a file of bytecode, which is read in its place; else the file itself."""
    with suppress(ValueError, NotImplementedError):  # it is no bytecode that Python keeps
        return importlib.util.source_from_cache(path)
    return path


def toolkit_modules() -> dict[str, str]:
    """The sha256 of every module of this toolkit that has been imported, by name."""
    found = _hashes((name, file) for name, file in loaded() if _top(name) in PACKAGES)
    return dict(sorted(found.items()))


def _hashes(modules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The sha256 of each module by its name; one that has no source has no hash."""
    found = {name: _sha256(name, file) for name, file in modules}
    return {name: digest for name, digest in found.items() if digest is not None}


def loaded() -> Iterator[tuple[str, str]]:
    """Name and file of each module that has been imported from a file, but for those of Python."""
    for key, module in list(sys.modules.items()):
        name, file = key, getattr(module, "__file__", None)
        if key in {"__main__", "__mp_main__"}:  # python -m jobs.train: its own name
            name = getattr(getattr(module, "__spec__", None), "name", None) or ""
        if name and isinstance(file, str) and not _is_pythons(name, file):
            yield name, file


def _is_pythons(name: str, file: str) -> bool:
    return is_pythons(file) or _top(name) in sys.stdlib_module_names


def is_own(name: str, file: str) -> bool:
    """Whether a module that was imported from that file is the user's.

    What its outermost package is decides: packages make modules that name files as they like.
    """
    outermost = getattr(sys.modules.get(_top(name)), "__file__", None) or file
    return _top(name) not in PACKAGES and not is_installed(outermost)


def extent() -> tuple[int, int]:
    """How many modules have been imported, and files beside own ones read: both only grow."""
    return len(sys.modules), len(_read)


def sha256_now(names: Iterable[str]) -> dict[str, str | None]:
    """The sha256 of modules, and of files read beside own ones, as they are now; None: not there.

    A module that was not imported is looked for, not imported; its packages are.
    """
    known = dict(loaded())
    return {
        name: _sha256(name, known[name]) if name in known else _looked_for(name) for name in names
    }


def _looked_for(name: str) -> str | None:
    if name.startswith(_READ):
        paths = (Path(folder, name.removeprefix(_READ)) for folder in _folders)
        path = next((path for path in paths if path.is_file()), None)
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    with suppress(ImportError, AttributeError, ValueError, OSError):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            return _digest(spec.loader, spec.origin)
    return None


@cache
def _sha256(name: str, file: str) -> str | None:
    module: ModuleType | None = sys.modules.get(name) or sys.modules.get("__main__")
    return _digest(getattr(module, "__loader__", None), file)


def _digest(loader: Any, file: str) -> str | None:
    with suppress(OSError, AttributeError):  # AttributeError: a module that its package made
        return hashlib.sha256(_source(loader, file)).hexdigest()
    return None


def _source(loader: Any, file: str) -> bytes:
    """The source of a module, which may lie in a zip beside its bytecode; bytecode that has none."""
    with suppress(OSError):
        return bytes(loader.get_data(file[:-1] if file.endswith(".pyc") else file))
    return bytes(loader.get_data(file))


def is_pythons(file: str) -> bool:
    """Whether a file is of Python's own library, or of what is frozen in it."""
    return file.startswith((_PYTHON, "<frozen ")) and not is_installed(file)


def is_toolkit(file: str) -> bool:
    """Whether a file is of this toolkit."""
    return any(file.startswith(f"{ROOT / package}/") for package in PACKAGES)


def is_installed(path: str) -> bool:
    """Whether a file belongs to an installed package."""
    return any(part in _INSTALLED for part in path.split("/"))


def _top(name: str) -> str:
    return name.partition(".")[0]
