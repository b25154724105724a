"""The user's own modules in a training: the folders they are imported from, and the used modules.

On the module path, own folders come after the standard library and this toolkit, and before
installed packages: a user's `random.py` breaks nothing, a user's copy of a package is preferred.
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

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_FILE_PREFIX = "./"  # of the name of a file that is no module
_OPEN_EVENTS = ("open", "ctypes.dlopen", "sqlite3.connect")  # Python's audit events
_STDLIB_FOLDER = f"{sysconfig.get_path('stdlib')}/"  # sys.stdlib_module_names lacks some modules

_folders: list[str] = []
_read: set[str] = set()  # paths of files in own folders that were opened, modules among them
_written: set[str] = set()  # files that the training wrote before it read them: they are no code


def use(folders: Sequence[Path]) -> None:
    """Import own modules from these folders from now on, and record which files there are read.

    A module that must win over an own module of the same name has to be imported before.
    """
    if not folders:
        return
    paths = [os.path.realpath(folder) for folder in folders]  # as a module's __file__
    places = (index for index, path in enumerate(sys.path) if is_installed(path))
    index = next(places, len(sys.path))
    sys.path[index:index] = paths
    _folders.extend(paths)
    sys.addaudithook(_see)


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    """Record a file of an own folder that is opened, for reading or only for writing."""
    if event not in _OPEN_EVENTS or not isinstance(arguments[0], str | bytes):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - a Path would be slow
    if path in _read or not any(path.startswith(f"{folder}/") for folder in _folders):
        return
    if event == "open" and arguments[2] & os.O_ACCMODE == os.O_WRONLY:
        _written.add(path)
    elif path not in _written:
        _read.add(path)


def modules() -> dict[str, str]:
    """The sha256 of every own module imported so far, by name, and of files read beside them.

    A module is the user's own if it belongs neither to Python, nor to this toolkit, nor to an
    installed package. The name of a file that is no module begins with `./`, also of code that was
    executed without becoming a module.
    """
    own = {name: file for name, file in loaded() if is_own(name, file)}
    found = _hashes(own.items())
    known = {os.path.abspath(own[name]) for name in found}  # noqa: PTH100 - as in _see
    for path in sorted(set(map(_source_of, _read)) - known):
        folder = next(one for one in _folders if path.startswith(f"{one}/"))
        with suppress(OSError):  # a folder, or a file that is gone
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found.setdefault(f"{_FILE_PREFIX}{path[len(folder) + 1 :]}", digest)
    return dict(sorted(found.items()))


def _source_of(path: str) -> str:
    """The path of the source if `path` is cached bytecode; else the path itself."""
    with suppress(ValueError, NotImplementedError):  # no cached bytecode
        return importlib.util.source_from_cache(path)
    return path


def toolkit_modules() -> dict[str, str]:
    """The sha256 of every module of this toolkit that has been imported, by name."""
    found = _hashes((name, file) for name, file in loaded() if _top(name) in PACKAGES)
    return dict(sorted(found.items()))


def _hashes(modules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The sha256 of each module by its name; modules without a source are left out."""
    found = {name: _sha256(name, file) for name, file in modules}
    return {name: digest for name, digest in found.items() if digest is not None}


def loaded() -> Iterator[tuple[str, str]]:
    """Name and file of each module imported from a file, except those of Python."""
    for key, module in list(sys.modules.items()):
        name, file = key, getattr(module, "__file__", None)
        if key in {"__main__", "__mp_main__"}:  # python -m jobs.train: the module's real name
            name = getattr(getattr(module, "__spec__", None), "name", None) or ""
        if name and isinstance(file, str) and not _is_pythons(name, file):
            yield name, file


def _is_pythons(name: str, file: str) -> bool:
    return is_pythons(file) or _top(name) in sys.stdlib_module_names


def is_own(name: str, file: str) -> bool:
    """Whether a module that was imported from that file is the user's.

    The outermost package decides: a package's modules may name any file as their own.
    """
    outermost = getattr(sys.modules.get(_top(name)), "__file__", None) or file
    return _top(name) not in PACKAGES and not is_installed(outermost)


def extent() -> tuple[int, int]:
    """The numbers of imported modules and of read files in own folders, which only grow."""
    return len(sys.modules), len(_read)


def sha256_now(names: Iterable[str]) -> dict[str, str | None]:
    """The present sha256 of modules, and of files in own folders, by name; None: missing.

    A module that was not imported is only located; its parent packages are imported for that.
    """
    known = dict(loaded())
    return {
        name: _sha256(name, known[name]) if name in known else _looked_for(name) for name in names
    }


def _looked_for(name: str) -> str | None:
    if name.startswith(_FILE_PREFIX):
        paths = (Path(folder, name.removeprefix(_FILE_PREFIX)) for folder in _folders)
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
    with suppress(OSError, AttributeError):  # AttributeError: a module without a loader
        return hashlib.sha256(_source(loader, file)).hexdigest()
    return None


def _source(loader: Any, file: str) -> bytes:
    """The source of a module, also in a zip beside its bytecode; else its bytecode."""
    with suppress(OSError):
        return bytes(loader.get_data(file[:-1] if file.endswith(".pyc") else file))
    return bytes(loader.get_data(file))


def is_pythons(file: str) -> bool:
    """Whether a file belongs to Python's standard library, or is frozen into Python."""
    return file.startswith((_STDLIB_FOLDER, "<frozen ")) and not is_installed(file)


def is_toolkit(file: str) -> bool:
    """Whether a file belongs to this toolkit."""
    return any(file.startswith(f"{ROOT / package}/") for package in PACKAGES)


def is_installed(path: str) -> bool:
    """Whether a file belongs to an installed package."""
    return any(part in _PACKAGE_FOLDERS for part in path.split("/"))


def _top(name: str) -> str:
    return name.partition(".")[0]
