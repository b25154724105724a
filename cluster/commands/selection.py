"""A selection of a sweep's runs on the command line: `--only seed=42 --only optimizer=SGD`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from jobs.errors import InputError
from jobs.store.store import Store, StoreError
from jobs.sweep import PlannedRun, Sweep
from jobs.text import printable

_KEYS: Mapping[str, Callable[[PlannedRun], str]] = {
    "problem": lambda planned: planned.problem,
    "optimizer": lambda planned: planned.optimizer,
    "role": lambda planned: planned.role,
    "seed": lambda planned: str(planned.run.seed),
    "cell": lambda planned: planned.run.cell,
    "run": lambda planned: planned.run.id,
}
_PREFIX_KEYS = {"cell", "run"}


def selection(sweep: Sweep, only: Sequence[str]) -> Callable[[PlannedRun], bool]:
    """A test for runs: a run is chosen if it has, for every key that is named, one of the values.

    Args:
        sweep: the sweep of the runs.
        only: `key=value`, with problem, optimizer, role (tuning or evaluation), seed, cell or run;
            the last two by a beginning.
            A value may be a list with commas, seeds a range: `seed=42..44`.

    Raises:
        InputError: an unknown key, a value that no run has, or nothing chosen.
    """
    wanted: dict[str, set[str]] = {}
    for text in only:
        key, equals, values = text.partition("=")
        if key not in _KEYS or not equals:
            raise InputError(f"--only {text}: expected one of {', '.join(_KEYS)}, as in seed=42")
        is_one = any(
            _has(planned, key, values) for planned in sweep.runs
        )  # a label may have commas
        for value in [values] if is_one else values.split(","):
            wanted.setdefault(key, set()).update(_spread(key, value))
    for key, named in wanted.items():
        for value in sorted(named):
            if not any(_has(planned, key, value) for planned in sweep.runs):
                later = "; what follows from a choice is known once it is made"
                hint = later if sweep.undecided and key in {"role", "seed"} else ""
                raise InputError(f"--only {key}={value}: no run of {sweep.name} has it{hint}")

    def is_chosen(planned: PlannedRun) -> bool:
        return all(
            any(_has(planned, key, value) for value in values) for key, values in wanted.items()
        )

    if not any(map(is_chosen, sweep.runs)):
        raise InputError(f"--only {' --only '.join(only)}: no run has all of these")
    return is_chosen


def _spread(key: str, value: str) -> list[str]:
    first, dots, last = value.partition("..")
    if key == "seed" and dots and first.isdecimal() and last.isdecimal():
        return [str(seed) for seed in range(int(first), int(last) + 1)]
    return [value]


def _has(planned: PlannedRun, key: str, value: str) -> bool:
    found = _KEYS[key](planned)
    return found.startswith(value) if key in _PREFIX_KEYS else found == value


def resolve(sweep: Sweep, names: Iterable[str]) -> list[PlannedRun]:
    """The runs with these ids, or beginnings of ids.

    Raises:
        InputError: no id begins so, or several do.
    """
    found = []
    for name in names:
        matching = [planned for planned in sweep.runs if planned.run.id.startswith(name)]
        if len(matching) != 1 or not name:
            raise InputError(_not_one(sweep, name, matching))
        found += matching
    return found


def _not_one(sweep: Sweep, name: str, matching: Sequence[PlannedRun]) -> str:
    shown = [
        f"  {planned.run.id} {printable(planned.problem)} {printable(planned.optimizer)}"
        f" seed {planned.run.seed}"
        for planned in (matching or sweep.runs)[:10]
    ]
    if matching:
        head = f"{len(matching)} runs of {sweep.name} begin with {name!r}; which of them?"
    else:
        head = f"no run of {sweep.name} begins with {name!r}; there are, for example:"
    return "\n".join([head, *shown])


def find_sweep(root: Path, run: str) -> Store:
    """The sweep below `root` that has the run; `run` is its id or a beginning of it.

    Raises:
        InputError: no sweep has such a run, or several have.
    """
    found, closed = [], []
    for store in map(Store, sorted(root.iterdir()) if root.is_dir() else ()):
        try:
            is_of = store.exists() and any(one.run.id.startswith(run) for one in store.sweep().runs)
        except (
            OSError,
            StoreError,
        ):  # a private or damaged sweep must not hide the others
            closed.append(store.root.name)
            continue
        if is_of:
            found.append(store)
    if len(found) == 1:
        return found[0]
    names = ", ".join(store.root.name for store in found)
    if found:
        raise InputError(f"run {run!r} is in several sweeps ({names}); name one: --of SWEEP")
    unread = f" (these cannot be read: {', '.join(closed)})" if closed else ""
    raise InputError(f"no sweep below {root} has a run {run!r}{unread}; name the sweep: --of SWEEP")
