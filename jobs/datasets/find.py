"""Data sets are searched on this machine; neither numpy nor torch is imported, for the login node.

The order: the folder that the spec names, `$PROBPREC_DATA`, the folder of the cluster's profile,
then the usual folders of systems. A folder may hold the files themselves or several data sets.
"""

import gzip
import hashlib
import importlib.util
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path

from jobs.datasets.catalog import DATASETS, DataFile, Dataset
from jobs.errors import DataError

VARIABLE = "PROBPREC_DATA"

_COMPARED_MAX_BYTES = 100_000  # smaller files are read to tell data sets with equal names apart


class MissingError(DataError):
    """Data sets are missing on this machine; the text describes all of them."""

    def __init__(self, missing: Mapping[str, str]) -> None:
        super().__init__("\n\n".join(missing.values()))
        self.missing = missing  # name -> the wanted files, and the folders that were searched


def require(
    names: Iterable[str],
    spec_data: Path | None = None,
    profile_data: Path | None = None,
    *,
    inside_packages: bool = True,
) -> dict[str, Path]:
    """The folder of each of the data sets, by its name.

    Without `inside_packages` data sets that Python packages ship are left out: an image, or another
    Python, has its own packages.

    Raises:
        MissingError: data sets are missing; the text names all of them at once.
    """
    wanted = set(names)
    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for name in DATASETS:
        if name not in wanted or (DATASETS[name].package is not None and not inside_packages):
            continue
        try:
            found[name] = find(name, spec_data, profile_data)
        except DataError as error:
            missing[name] = str(error)
    if missing:
        raise MissingError(missing)
    return found


def find(name: str, spec_data: Path | None = None, profile_data: Path | None = None) -> Path:
    """The first folder that has all files of the data set `name`.

    Raises:
        DataError: no folder has them; the text says which files are wanted, which folders were
            searched, and how to get the files.
    """
    dataset = DATASETS[name]
    looked: dict[Path, str] = {}
    for folder in _candidates(dataset, spec_data, profile_data):
        if folder not in looked:
            reason = _why_not(dataset, folder)
            if reason is None:
                return folder
            looked[folder] = reason
    raise DataError(_describe(dataset, looked))


def locate(folder: Path, file: DataFile, suffixes: Iterable[str]) -> Path | None:
    """The path of `file` in `folder`, compressed or not; None if there is no such file."""
    paths = (folder / (file.name + suffix) for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def read_verified(path: Path, file: DataFile) -> bytes:
    """The decompressed content of `path`, verified to be that of `file`.

    Raises:
        DataError: the content cannot be read, is torn, or has another sha256.
    """
    try:
        with _open(path) as stream:
            content = stream.read(file.size + 1)  # no more: the rest could be a bomb
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: torn or not compressed as its name says ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) != file.size:
        have = "more" if len(content) > file.size else f"{len(content)}"
        raise DataError(f"{path}: {file.size} bytes expected once decompressed, found {have}")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(f"{path}: not the original {file.name}: sha256 {found}, not {file.sha256}")
    return content


def _open(path: Path) -> BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".xz":
        return lzma.open(path)
    return path.open("rb")


def _candidates(dataset: Dataset, *named: Path | None) -> Iterator[Path]:
    spec_data, profile_data = named
    variable = os.environ.get(VARIABLE)
    for root in (spec_data, Path(variable) if variable else None, profile_data):
        if root is not None:
            yield from (root.expanduser() / layout for layout in dataset.layouts)
    yield from map(Path, dataset.well_known)
    if dataset.package is not None:
        package, inside = dataset.package
        module = importlib.util.find_spec(package)  # finds, does not import
        if module is not None and module.submodule_search_locations:
            yield Path(module.submodule_search_locations[0]) / inside


def _why_not(dataset: Dataset, folder: Path) -> str | None:
    """Why `folder` does not hold the data set; None if it does, as far as a quick look can tell.

    MNIST and Fashion-MNIST have the same file names: the small files are read and compared.
    """
    try:
        if not folder.is_dir():
            return "no such folder"
        paths = {file: locate(folder, file, dataset.suffixes) for file in dataset.files}
    except OSError as error:  # such as another user's private folder
        return f"cannot be looked at ({error.strerror or error})"
    absent = [file.name for file, path in paths.items() if path is None]
    if absent:
        return f"no {', '.join(absent)}"
    for file, path in paths.items():
        if path is not None and file.size < _COMPARED_MAX_BYTES:
            try:
                read_verified(path, file)
            except DataError as error:
                return str(error).removeprefix(f"{folder}/")
    return None


def _describe(dataset: Dataset, looked: dict[Path, str]) -> str:
    suffixes = ", ".join(suffix or "plain" for suffix in dataset.suffixes)
    lines = [f"{dataset.title} is not here. Wanted ({suffixes}; sha256 once decompressed):"]
    lines += [f"  {file.name}  {file.sha256}" for file in dataset.files]
    lines += ["Looked in:"]
    lines += [f"  {folder}: {reason}" for folder, reason in looked.items()]
    lines += [
        f"How to get it: {dataset.source}.",
        f"Put it in one of these folders, or name another: `data:` in the spec, or ${VARIABLE}.",
    ]
    return "\n".join(lines)
