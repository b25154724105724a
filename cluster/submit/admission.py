"""A submission that changes a sweep is admitted, or refused without `--replace`.

Adding runs is always allowed. A submission needs `--replace` if it would drop records, or runs that
wait or run, or if it comes from another spec than the one that made the sweep.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.status import run_status
from cluster.status.queue import Queue
from cluster.status.run_status import RunStatus
from jobs.canonical import Value
from jobs.errors import InputError
from jobs.spec.sources import read_tree
from jobs.store.state import RECORDED
from jobs.store.store import Store, StoreError
from jobs.sweep import PlannedRun, Sweep
from jobs.text import ranges, spelled
from jobs.yaml.mistakes import SpecError

MAX_SETTINGS_SHOWN = 10
"""A summary lists at most so many settings, and counts the runs of the others."""


_WAYS_OUT = """\
to leave it alone: --name OTHER, or another `name:` in the spec, makes a sweep of its own
to go on: --replace; what is lost stays on disk and counts no more, jobs go on until `probprec cancel`\
"""


def admitted(sweep: Sweep, store: Store, queue: Queue) -> Sweep:
    """The sweep asked for, if it drops nothing of the sweep in the store.

    The sweep keeps the spec file that it was made from, as long as that exists.

    Args:
        sweep: the sweep that is asked for now.
        store: the folder of the sweep.
        queue: Slurm's queue of the sweep in the store.

    Raises:
        InputError: the sweep comes from another file, or would drop runs; the text says which.
    """
    if not store.exists():
        return sweep
    try:
        before = store.sweep()
    except StoreError as error:
        raise InputError(f"{error}; nothing was written\n{_WAYS_OUT}") from None
    lines = []
    if is_taken_over(before, sweep):
        lines.append(f"it was made by {before.file}, and this is {sweep.file}")
    dropped = _dropped(before, store.with_choices(sweep), store, queue)
    if dropped:
        done = sum(one.state.state in RECORDED for one in dropped)
        counts = {"that have a record": done, "that wait or run": len(dropped) - done}
        said = " and ".join(f"{number} runs {what}" for what, number in counts.items() if number)
        lines += [f"it would lose {said}:", *summary([one.planned for one in dropped], sweep.runs)]
        known = {tuning.key for tuning in sweep.tunings}
        if any(tuning.chosen and tuning.key not in known for tuning in before.tunings):
            lines.append("other settings, tuning seeds or another rule are another choice")
    if lines:
        head = f"{store.root} would become another sweep; nothing was written"
        raise InputError("\n".join([head, *lines, _WAYS_OUT]))
    return replace(sweep, file=before.file) if _is_there(before.file) else sweep


def is_taken_over(before: Sweep, now: Sweep) -> bool:
    """Whether the sweep in the store belongs to another spec, which still exists.

    A project that was moved, or is seen through another mount, has the same spec, and so has an equal
    copy, as in another user's checkout.
    """
    if before.file is None or now.file is None or before.file == now.file:
        return False
    if not _is_there(before.file) or _is_same_file(before.file, now.file):
        return False
    if _asked(before) == _asked(now):
        return False
    return now.texts not in (before.texts, _texts(before.file))


def _is_there(file: str | None) -> bool:
    """Whether a spec exists, or may exist where this user may not look."""
    try:
        return file is not None and Path(file).stat() is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _is_same_file(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _asked(sweep: Sweep) -> tuple[object, ...]:
    return sweep.asked, sweep.problems, sweep.optimizers, sweep.targets, sweep.data


def _texts(file: str) -> list[str] | None:
    try:
        return list(read_tree(Path(file), ()).sources.values())
    except SpecError:
        return None


def _dropped(before: Sweep, now: Sweep, store: Store, queue: Queue) -> list[RunStatus]:
    """The runs that are no longer asked for, and have a record, wait or run."""
    kept = {planned.run.id for planned in now.runs}
    if all(planned.run.id in kept for planned in before.runs):
        return []
    found = run_status.of_runs(store, before, queue)
    return [
        one
        for one in found
        if (run_id := one.planned.run.id) not in kept
        and (one.state.state in RECORDED | {"unknown"} or one.is_live or queue.is_live(run_id))
    ]


def summary(runs: Iterable[PlannedRun], now: Sequence[PlannedRun] = ()) -> list[str]:
    """A line per setting: its labels, the values in which it differs, also from the runs `now`, and its seeds."""
    cells: dict[tuple[str, str, str], list[PlannedRun]] = {}
    for planned in runs:
        cells.setdefault((planned.problem, planned.optimizer, planned.run.cell), []).append(planned)
    lines = []
    for (problem, optimizer, _), members in list(cells.items())[:MAX_SETTINGS_SHOWN]:
        said = ", ".join(
            f"{name}={spelled(value, exact=True)}" for name, value in _setting(members[0], now)
        )
        seeds = ranges(planned.run.seed for planned in members)
        setting = f" {said}" if said else ""
        lines.append(f"  {problem} {optimizer}{setting}, seed {seeds}")
    rest = sum(len(members) for members in list(cells.values())[MAX_SETTINGS_SHOWN:])
    return [*lines, *([f"  and {rest} more"] if rest else [])]


def _setting(planned: PlannedRun, now: Sequence[PlannedRun]) -> list[tuple[str, Value]]:
    """The values of a run's axes, and those that no run of the same labels has in `now`."""
    others = [
        _fields(other)
        for other in now
        if (other.problem, other.optimizer) == (planned.problem, planned.optimizer)
    ]
    lost = {
        name: value
        for name, value in _fields(planned).items()
        if others and all(other.get(name) != value for other in others)
    }
    return list({**planned.varied, **lost}.items())


def _fields(planned: PlannedRun) -> dict[str, Value]:
    """All fields of a run's cell."""
    fields = planned.run.to_json()
    hyperparameters, regime = fields.pop("hyperparameters"), fields.pop("regime", {})
    del fields["seed"], fields["version"]
    return {**fields, **hyperparameters, **regime}
