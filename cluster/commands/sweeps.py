"""The sweeps below a root are listed here, and the one that a person names is found."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cluster.terminal.exit_codes import DONE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from cluster.terminal.plain import command as quoted
from jobs.errors import InputError
from jobs.store.state import STATES
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from jobs.units import duration, rough_size

_MAX_SWEEPS_NAMED = 8
"""The error about a mistyped name lists at most so many sweeps."""


@dataclass(frozen=True, kw_only=True)
class ListedSweep:
    """A sweep below a root, as `ls` lists it."""

    store: Store
    states: Counter[str]  # by the runs' files alone: a run in Slurm's queue is pending
    age_s: float | None = None  # since the sweep was last submitted
    bytes: int | None = None
    problem: str | None = None  # why the sweep cannot be read

    def to_json(self) -> dict[str, Any]:
        """An entry of `ls --json`."""
        return {
            "name": self.store.root.name,
            "path": str(self.store.root),
            "states": dict(self.states),
            "age_s": self.age_s,
            "bytes": self.bytes,
            "problem": self.problem,
        }


def find(root: Path, name: str, command: str) -> Store:
    """The sweep of this path, or of this name below the root.

    Args:
        root: the folder of the sweeps.
        name: the word that a person typed.
        command: the command of `probprec`, for the advice in an error.

    Raises:
        InputError: no such sweep; the text suggests which one was meant.
    """
    for store in (Store(Path(name)), Store(root / name)):
        if store.exists():
            return store
    if Path(name).is_file():
        raise InputError(_not_a_sweep(root, name, command))
    known = [store.root.name for store, _ in _stores(root)]
    raise InputError(f"{root / name} is no sweep: it has no sweep.json{_meant(root, name, known)}")


def require_no_sweep(spec: Path, root: Path) -> None:
    """Refuse a sweep in the place of a spec.

    Raises:
        InputError: the path or name is a sweep's; the text names the spec that made it.
    """
    store = next((one for one in (Store(spec), Store(root / spec)) if one.exists()), None)
    if store is not None and not spec.is_file():
        file = store.sweep().file or "SPEC"
        raise InputError(f"{spec} is a sweep, not a spec; the spec that made it: {file}")


def _meant(root: Path, name: str, known: list[str]) -> str:
    from jobs.yaml.mistakes import did_you_mean, listed

    if not known:
        return f"; there is no sweep below {root}, where --root or $PROBPREC_ROOT says they are"
    typed = Path(name).name
    starting = [one for one in known if one.startswith(typed) and typed]
    near = did_you_mean(typed, known) or (f"; did you mean {starting[0]!r}?" if starting else "")
    return f"{near} (there are: {listed(known, _MAX_SWEEPS_NAMED)}; all of them: probprec ls)"


def _not_a_sweep(root: Path, name: str, command: str) -> str:
    """The error about a file that was typed in the place of a sweep."""
    from jobs.spec.plan import name_of
    from jobs.yaml.file_kind import described, kind_of_file

    if kind_of_file(Path(name)) != "spec":
        what = described(Path(name))
        return f"{name} is no sweep, but {what}; sweeps are named by name or folder: probprec ls"
    sweep = name_of(Path(name))
    own = [store.root.name for store, _ in _stores(root)]
    names = [one for one in own if one == sweep or one.startswith(f"{sweep}@")]
    if not names:
        todo = quoted("run", name)
        return f"{name} is a spec, and its sweep {sweep} is not below {root}: {todo}"
    where = [] if Store(_default_root() / names[0]).exists() else ["--root", str(root)]
    lines = [quoted(command, one, *where) for one in names]
    its = f"its sweep is {sweep}" if len(names) == 1 else f"its sweeps are {', '.join(names)}"
    return f"{name} is a spec; {its}: {' or '.join(lines)}"


def _default_root() -> Path:
    return Path(os.environ.get("PROBPREC_ROOT", "sweeps"))


def all_below(root: Path) -> Iterator[ListedSweep]:
    """Every sweep below the root, by name; unreadable ones have a `problem`."""
    for store, problem in _stores(root):
        if problem is not None:
            yield ListedSweep(store=store, states=Counter(), problem=problem)
            continue
        try:
            yield _look(store)
        except (OSError, InputError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            yield ListedSweep(store=store, states=Counter(), problem=reason)


def beside(store: Store) -> Iterator[Store]:
    """A sweep, whether it exists or not, and then the others below its root."""
    yield store
    yield from (one for one, _ in _stores(store.root.parent) if one.root != store.root)


def _stores(root: Path) -> Iterator[tuple[Store, str | None]]:
    """The sweeps below the root; folders that cannot be looked into come with the error."""
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208 - only names are wanted
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{root} cannot be read: {error.strerror}") from None
    for name in names:
        store = Store(root / name)
        try:
            store.sweep_file.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield store, error.strerror
        else:
            yield store, None


def _look(store: Store) -> ListedSweep:
    memory, sweep = StateCache(store), store.sweep()
    folders = {folder.id: folder for folder in store.folders()}
    states: Counter[str] = Counter()
    for planned in sweep.runs:
        folder = folders.get(planned.run.id)
        try:
            states["pending" if folder is None else memory.of(folder).state] += 1
        except (LookupError, TypeError, ValueError):  # damaged files; `collect` names them
            states["failed"] += 1
    memory.save()
    age = time.time() - store.sweep_file.stat().st_mtime
    return ListedSweep(store=store, states=states, age_s=max(0.0, age), bytes=store.size())


def ls(root: Path, *, as_json: bool) -> int:
    """List every sweep below the root, by its files alone: Slurm is not asked.

    Raises:
        InputError: the root cannot be read.
    """
    found = list(all_below(root))
    if as_json:
        content = {"schema": 1, "sweeps": [one.to_json() for one in found]}
        print_json(content)
        return DONE
    console = PlainConsole()
    if not found:
        console.print(plain(f"no sweep below {root}; next: probprec run SPEC"), soft_wrap=True)
        return DONE
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("sweep", overflow="fold")
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("states", overflow="fold")
    table.add_column("submitted", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for one in found:
        table.add_row(*map(Text, _row(one)))
    console.print(table)
    return DONE


def _row(one: ListedSweep) -> tuple[str, ...]:
    name = one.store.root.name
    if one.age_s is None or one.bytes is None:
        return name, "", f"cannot be read: {one.problem}", "", ""
    said = [f"{one.states[name]} {name}" for name in STATES if one.states[name]]
    ago = f"{duration(one.age_s)} ago"
    return name, str(one.states.total()), ", ".join(said), ago, rough_size(one.bytes)
