"""The command `probprec data` keeps manifests of data sets: their files, byte for byte."""

import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from jobs import units
from jobs.errors import InputError
from jobs.manifests import manifest, registry
from jobs.manifests.registry import Registered
from jobs.staging import stage
from jobs.text import printable


def add(datasets: Path, name: str, source: Path, *, as_json: bool) -> int:
    """Make the manifest of a folder or an archive.

    Raises:
        InputError: name, source or content cannot be used; nothing is written then.
    """
    registry.file_of(datasets, name)
    before = registry.load(datasets, name)
    with _progress(f"reading {source}", [source]) as told:
        found = registry.add(datasets, name, source, told)
    is_new = before is None
    if as_json:
        file = str(registry.file_of(datasets, name))
        print_json({"schema": 1, **_about(found), "file": file, "new": is_new})
        return DONE
    console = _console()
    state = "is known now" if is_new else "was known, with the same content"
    console.print(f"{name} {state}: {_count(found)}, sha256 {found.manifest.sha256}")
    console.print(f"from {found.source}; manifest: {registry.file_of(datasets, name)}")
    return DONE


def list_(datasets: Path, *, as_json: bool) -> int:
    """Show the data sets that have a manifest."""
    found = registry.all_(datasets)
    if as_json:
        sets = [{**_about(one), "present": not _is_gone(one.source)} for one in found]
        print_json({"schema": 1, "datasets": sets})
        return DONE
    console = _console()
    if not found:
        console.print(f"no data sets in {datasets}; add one: probprec data add NAME SOURCE")
        return DONE
    table = Table(box=None, pad_edge=False)
    table.add_column("name", overflow="fold")
    table.add_column("files", justify="right")
    table.add_column("size", justify="right", no_wrap=True)
    for title in ("sha256", "added", "where"):
        table.add_column(title, overflow="fold", no_wrap=title != "where")
    for one in found:
        where = f"{one.source}{' (gone)' if _is_gone(one.source) else ''}"
        added = time.strftime("%Y-%m-%d", time.localtime(one.added))
        content = one.manifest
        size = units.size(content.size)
        row = (one.name, len(content.files), size, content.sha256[:12], added, where)
        table.add_row(*map(plain, row))
    console.print(table)
    return DONE


def verify(datasets: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Read every byte of the originals again; 1 if one differs from its manifest.

    Raises:
        InputError: there is no such data set.
    """
    known = {one.name: one for one in registry.all_(datasets)}
    if unknown := [name for name in names if name not in known]:
        raise InputError("\n".join(_unknown(name, datasets, known) for name in unknown))
    chosen = [known[name] for name in dict.fromkeys(names)] if names else list(known.values())
    found = {}
    with _progress("reading", [one.source for one in chosen]) as told:
        for one in chosen:
            found[one.name] = _differences(one, told)
    if as_json:
        sets = [{**_about(one), "differences": found[one.name]} for one in chosen]
        print_json({"schema": 1, "datasets": sets})
    else:
        console = _console()
        for one in chosen:
            wrong = found[one.name]
            console.print(f"{one.name}: {f'{len(wrong)} differences' if wrong else 'as it was'}")
            for line in wrong:
                console.print(f"  {line}")
        if not chosen:
            console.print(f"no data sets in {datasets}; add one: probprec data add NAME SOURCE")
    return INCOMPLETE if any(found.values()) else DONE


def prune(datasets: Path, scratch: Path | None, *, as_json: bool) -> int:
    """Forget data sets whose originals are gone; remove staged sets that no task reads.

    Raises:
        InputError: there is no such scratch, or the staged sets there are not this user's.
    """
    if scratch is not None and not scratch.is_dir():
        raise InputError(f"{scratch}: no such folder")
    staged = stage.prune(stage.store_of(scratch)) if scratch is not None else {}
    gone = [one for one in registry.all_(datasets) if _is_gone(one.source)]
    for one in gone:
        registry.remove(datasets, one.name)
    if as_json:
        sets = [{"key": key, "bytes": size} for key, size in staged.items()]
        print_json({"schema": 1, "removed": [_about(one) for one in gone], "staged": sets})
        return DONE
    console = _console()
    for one in gone:
        text = f"{one.name}: removed its manifest, sha256 {one.manifest.sha256};"
        console.print(f"{text} {one.source} is gone")
    if not gone:
        console.print("no manifest removed: all originals are there")
    if scratch is not None:
        size = units.size(sum(staged.values()))
        console.print(f"{len(staged)} staged sets removed in {scratch}, {size}")
    return DONE


def _differences(one: Registered, told: Callable[[int], object]) -> list[str]:
    try:
        found = registry.scan(one.source, told)
    except (InputError, OSError) as error:
        return str(error).splitlines()
    return manifest.differences(one.manifest, found, one.source)


def _is_gone(source: Path) -> bool:
    """Whether a source does not exist; one that merely cannot be read is not gone."""
    try:
        source.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


@contextmanager
def _progress(title: str, sources: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; yields a callback for the number of bytes that were read."""
    total = 0
    for source in sources:
        try:
            total += registry.size_of(source)
        except (OSError, InputError):
            continue  # reading the source reports the error
    title_column = TextColumn("{task.description}", markup=False)
    console = PlainConsole(stderr=True)
    columns = (title_column, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task(printable(title), total=total)

        def told(size: int) -> None:
            if size:
                bar.advance(task, size)

        yield told


def _unknown(name: str, datasets: Path, known: dict[str, Registered]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known) or 'none'}"
    return f"no data set {name!r} in {datasets}{hint}"


def _about(one: Registered) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": str(one.source),
        "added": one.added,
        "files": len(one.manifest.files),
        "size": one.manifest.size,
        "sha256": one.manifest.sha256,
    }


def _count(one: Registered) -> str:
    number = len(one.manifest.files)
    return f"{number} file{'' if number == 1 else 's'}, {units.size(one.manifest.size)}"


def _console() -> Console:
    return PlainConsole(soft_wrap=True)
