"""The tables are files, which are written again only when they would be others."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from jobs import files, snapshot
from jobs.results import tables
from jobs.results.reading import Result, Unsettled
from jobs.results.study import Results

TABLES: Mapping[str, Callable[[Results], bytes]] = {
    "runs.parquet": lambda found: tables.to_parquet(tables.runs(found)),
    "curves.parquet": lambda found: tables.to_parquet(tables.curves(found.found)),
    "summary.csv": lambda found: tables.to_csv(tables.summary(found.cells, found.targets)),
}
"""The tables are made by these functions, by the names of their files."""

_WRITERS = ("numpy", "pandas", "pyarrow")  # packages whose versions may change a file


def write(
    folder: Path,
    results: Results,
    beside: Mapping[str, Mapping[str, Any]],
    *,
    known: Path | None = None,
) -> list[Path]:
    """Write the tables into the folder, and other files of JSON beside them.

    Args:
        folder: it is made if it is not there.
        results: what the tables tell.
        beside: the other files, by their names.
        known: where it is kept what the folder's tables were made of; None: nowhere, they are written
            in any case.
    """
    origin = _origin(results)
    if known is None or not _are_there(folder, known, origin):
        contents = {name: make(results) for name, make in TABLES.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            files.write_atomically(folder / name, content)
        if known is not None:
            written = {"origin": origin, "files": _versions(folder)}
            files.write_atomically(known, files.to_json(written))
    for name, facts in beside.items():
        files.write_atomically(folder / name, files.to_json(facts, indent=1))
    return [folder / name for name in (*TABLES, *beside)]


def _are_there(folder: Path, known: Path, origin: str) -> bool:
    """Whether the tables in the folder were made of the same, and nobody has touched them since."""
    try:
        content = json.loads(files.read(known))
        return bool(content == {"origin": origin, "files": _versions(folder)})
    except (OSError, ValueError):
        return False


def _versions(folder: Path) -> dict[str, list[int]]:
    """What `stat` tells of each table: it differs once another one was written in its place."""
    found = {name: (folder / name).stat() for name in TABLES}
    return {
        name: [it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino] for name, it in found.items()
    }


def _origin(results: Results) -> str:
    """A hash of all that the tables depend on: runs, records, choices, code and versions."""
    found = hashlib.sha256()
    of_all: list[Any] = [platform.python_version(), *map(metadata.version, _WRITERS)]
    of_all += [_sha256(content) for _, content in snapshot.toolkit()]
    of_all += [results.problems, results.optimizers, results.targets]
    of_all += [one.tuning for one in results.tunings]
    found.update(repr(of_all).encode())
    for sweep, outcome in zip(results.sweeps, results.outcomes, strict=True):
        planned = outcome.planned
        labels = (planned.problem, planned.optimizer, planned.varied, planned.role)
        found.update(repr((sweep, planned.run.id, *labels, _told(outcome))).encode())
    return found.hexdigest()


def _told(outcome: Result | Unsettled) -> object:
    return outcome.sha256 if isinstance(outcome, Result) else outcome.state


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
