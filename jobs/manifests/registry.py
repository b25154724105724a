"""A registry is a folder of manifests: NAME.json describes a data set and says where it lies.

A data set with a name of the catalog has to be the catalog's data set.
"""

import json
import re
import shlex
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import files, hashes
from jobs.datasets.catalog import DATASETS, Dataset
from jobs.datasets.find import locate, read_verified
from jobs.errors import DataError, InputError, naming
from jobs.manifests import manifest
from jobs.manifests.manifest import File, Manifest, ManifestError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FILES_SHOWN_MAX = 10  # of those that differ
_PACKED_FACTOR_MAX = 2  # x its plain size: no compressed file of the catalog is larger


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A data set in the registry."""

    name: str
    source: Path  # a folder or an archive
    added: float  # unix time
    manifest: Manifest

    def to_json(self) -> dict[str, Any]:
        """The content of the data set's file in the registry."""
        return {
            "schema": 1,
            "name": self.name,
            "source": str(self.source),
            "added": self.added,
            "manifest": self.manifest.to_json(),
            "sha256": self.manifest.sha256,
        }


def file_of(folder: Path, name: str) -> Path:
    """The registry's file of the data set `name`; InputError if that is no valid name."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a data set: letters, digits, _ . and -, at most 100,"
            " the first a letter or a digit"
        )
    return folder / f"{name}.json"


def add(
    folder: Path, name: str, source: Path, on_bytes: Callable[[int], object] = lambda _: None
) -> Registered:
    """Register a folder or an archive under a name; nothing changes if it is registered already.

    Registered content whose old source is gone gets the new source.

    Args:
        folder: the registry; made if it does not exist.
        name: of the data set; under a name of the catalog the content has to be the catalog's.
        source: the folder or the archive.
        on_bytes: gets the number of bytes read from the source, before decompression.

    Raises:
        InputError: a wrong name, no such source, files that cannot be in a data set, other
            content under that name (which files differ, and what to type), or not the catalog's.
        OSError: a file cannot be read or written; the error names it.
    """
    file = file_of(folder, name)
    known = load(folder, name)
    found = Registered(
        name=name, source=source.resolve(), added=time.time(), manifest=scan(source, on_bytes)
    )
    if name in DATASETS:
        _check_catalog(DATASETS[name], source, found.manifest)
    if known is None:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process has just added it
            files.publish(file, files.to_json(found.to_json(), indent=1))
            return found
        known = load(folder, name) or found
    if known.manifest != found.manifest:
        raise InputError(_differs(file, known, found))
    if known.source.exists():
        return known
    moved = replace(known, source=found.source)
    files.write_atomically(file, files.to_json(moved.to_json(), indent=1))
    return moved


def _differs(file: Path, known: Registered, found: Registered) -> str:
    lines = manifest.differences(known.manifest, found.manifest, found.source)
    place = shlex.quote(str(found.source))
    more = (
        [f"... and {len(lines) - _FILES_SHOWN_MAX} more"] if len(lines) > _FILES_SHOWN_MAX else []
    )
    return "\n  ".join(
        [
            f"{known.name} is known with other content, from {known.source}:",
            *lines[:_FILES_SHOWN_MAX],
            *more,
            "to replace it:",
            f"  rm {shlex.quote(str(file))}",
            f"  probprec data add {known.name} {place} --datasets {shlex.quote(str(file.parent))}",
        ]
    )


def scan(source: Path, on_bytes: Callable[[int], object] = lambda _: None) -> Manifest:
    """The manifest of a folder or an archive, every byte of which is read.

    Raises:
        InputError: the source does not exist, or no manifest can describe it.
        OSError: a file cannot be read; the error names it.
    """
    if source.is_dir():
        return manifest.of_folder(source, on_bytes)
    if not source.exists():
        raise InputError(f"{source}: no such folder or archive")
    from jobs.manifests.archive import of_archive

    return of_archive(source, on_bytes)


def size_of(source: Path) -> int:
    """The bytes that `scan` reads; errors as `scan`."""
    if source.is_dir():
        return sum(path.stat().st_size for path in manifest.plain_files(source))
    return source.stat().st_size if source.exists() else 0


def load(folder: Path, name: str) -> Registered | None:
    """The registered data set of that name, or None; InputError if its file is damaged."""
    file = file_of(folder, name)
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(_damaged(file, str(error))) from None
    try:
        found = Registered(
            name=str(content["name"]),
            source=Path(content["source"]),
            added=float(content["added"]),
            manifest=Manifest.from_json(content["manifest"]),
        )
        is_whole = content["schema"] == 1 and content["sha256"] == found.manifest.sha256
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(_damaged(file, str(error) or repr(error))) from None
    if not is_whole or found.name != name:
        raise InputError(_damaged(file, "name, schema or sha256 do not fit its content"))
    return found


def _damaged(file: Path, why: str) -> str:
    return f"{file}: not the manifest of a data set ({why}); remove it, and add the data set again"


def all_(folder: Path) -> list[Registered]:
    """All registered data sets, by name; InputError if a file is damaged."""
    names = sorted(path.stem for path in folder.glob("*.json") if _NAME.fullmatch(path.stem))
    return [found for name in names if (found := load(folder, name)) is not None]


def remove(folder: Path, name: str) -> None:
    """Remove a data set from the registry; the data itself stays."""
    file_of(folder, name).unlink(missing_ok=True)


def manifest_of_dataset(name: str, folder: Path) -> Manifest:
    """The manifest of only those files in `folder` that a training on the data set `name` reads.

    The files are hashed once per node and state. Links are followed: their content counts.

    Args:
        name: of a data set of the catalog.
        folder: has the files, as `jobs.datasets.find.find` gives it.

    Raises:
        DataError: the catalog has no such data set, or a file is missing.
        OSError: a file cannot be read; the error names it.
    """
    if name not in DATASETS:
        raise DataError(f"no data set {name!r}; there are {', '.join(DATASETS)}")
    paths = {
        file.name: locate(folder, file, DATASETS[name].suffixes) for file in DATASETS[name].files
    }
    if missing := [wanted for wanted, path in paths.items() if path is None]:
        raise DataError(f"{folder}: no {', '.join(missing)}; {DATASETS[name].title} has them")
    found = []
    for path in filter(None, paths.values()):
        with naming(path):
            sha256 = hashes.known_sha256(path)
        found.append(File(path=path.name, size=path.stat().st_size, sha256=sha256))
    return Manifest.of(found)


def _check_catalog(dataset: Dataset, source: Path, found: Manifest) -> None:
    """Refuse content that is not the catalog's data set; the InputError names the wrong file."""
    if source.is_dir():
        _check_folder(dataset, source, source)
        return
    sizes = {file.name: file.size for file in dataset.files}
    wanted = {
        str(Path(layout, file.name + suffix)): sizes[file.name]
        for layout in dataset.layouts
        for file in dataset.files
        for suffix in dataset.suffixes
    }
    for file in found.files:
        if file.path in wanted and file.size > _PACKED_FACTOR_MAX * wanted[file.path]:
            raise ManifestError(f"{source}: {file.path}: {file.size} bytes are too many for it")
    with tempfile.TemporaryDirectory(prefix="probprec-data-") as temporary:
        from jobs.manifests.archive import Archive

        with Archive(source) as archive:
            for member in archive.members():
                if member.path in wanted:
                    target = Path(temporary, member.path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as writer:
                        writer.writelines(member.blocks())
        _check_folder(dataset, Path(temporary), source)


def _check_folder(dataset: Dataset, root: Path, source: Path) -> None:
    """Refuse a folder as `_check_catalog`; `root` is the source, or its unpacked content."""
    problem = ""
    for layout in dataset.layouts:
        paths = {file: locate(root / layout, file, dataset.suffixes) for file in dataset.files}
        if missing := [file.name for file, path in paths.items() if path is None]:
            if len(missing) < len(paths):
                problem = problem or f"{source / layout}: no {', '.join(missing)}"
            continue
        try:
            for file, path in paths.items():
                if path is not None:
                    read_verified(path, file)
        except DataError as error:
            problem = str(error).replace(str(root), str(source), 1)
            continue
        return
    names = ", ".join(file.name for file in dataset.files)
    problem = problem or f"{source}: has no {names}"
    suffixes = " or ".join(suffix or "plain" for suffix in dataset.suffixes)
    raise InputError(
        f"this is not {dataset.title}: {problem}\n"
        f"{dataset.name} is {dataset.source} ({suffixes}); give other data another name"
    )
