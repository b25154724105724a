"""`submit --dry-run`: the batch scripts as they would be sent, and Slurm's verdict on each."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.commands import sweeps
from cluster.slurm import client
from cluster.slurm.process import SlurmError
from cluster.status import queue
from cluster.submit import batch_script, price, queue_room
from cluster.submit.seal import Seal
from cluster.submit.submit import plan, sort_runs, usable_lanes
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from jobs.profile import Profile
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, Group
from jobs.sweep import PlannedRun, Sweep

_TOKEN = "probprec-dry-run"  # noqa: S105 - by which no job will be looked for


@dataclass(frozen=True, kw_only=True)
class _Arrays:
    """What would be sent now, and what later."""

    shown: list[Chunk] = field(default_factory=list)  # arrays; the first in any case
    arrays: int = 0  # those of them that fit now
    waiting: int = 0  # tasks that are left to a feeder
    notes: list[str] = field(default_factory=list)  # why it may come out otherwise


def dry_run(
    sweep: Sweep,
    store: Store,
    seal: Seal,
    chosen: Callable[[PlannedRun], bool],
    *,
    as_json: bool,
) -> int:
    """Show what would be sent; 1 if Slurm refuses a script."""
    console = PlainConsole(stderr=as_json, soft_wrap=True)
    done, running, others = sort_runs(sweep, store, queue.look(store))
    missing = [one.planned for one in others if chosen(one.planned)]
    made, profile = plan(sweep, store, seal, missing, keep=False), seal.profile
    if profile.engine == "local":
        lanes = usable_lanes(made, None, len(sweep.to_follow)) if missing else 0
        cut, how = _Arrays(), f"run on this machine, {lanes} at a time"
    else:
        cut = _cut(profile, made.groups, after=1 if sweep.undecided else 0)
        rest = f" now, {cut.waiting} tasks when there is room" if cut.waiting else ""
        how = f"sent in {_count(cut.arrays, 'array')}{rest}"
    scripts = [_tried(store, profile, chunk) for chunk in cut.shown]
    _show(console, scripts, cut.notes)
    unchosen = len(others) - len(missing)
    parts = [f"{len(done)} done", f"{len(running)} under way", f"{len(missing)} to be {how}"]
    parts += [f"{unchosen} not selected"] if unchosen else []
    total, later = _count(len(sweep.runs), "run"), sweep.to_follow
    then = f"; {len(later)} more follow from what is chosen" if later else ""
    console.print(f"{total}: {', '.join(parts)}{then}; nothing was written or sent")
    runs, before = [*missing, *later], sweeps.beside(store)
    cost = price.expected(runs, profile.resources, before) if scripts else None
    if cost is not None:
        console.print(str(cost))
    if as_json:
        counts = {"runs": len(missing), "done": len(done), "running": len(running)}
        counts |= {"runs_to_follow": len(later), "arrays": cut.arrays, "waiting": cut.waiting}
        report = {"schema": 1, **counts, "notes": cut.notes, "scripts": scripts}
        report |= cost.to_json() if cost else {}
        print_json(report)
    return INCOMPLETE if any(script["refused"] for script in scripts) else DONE


def _show(console: PlainConsole, scripts: Sequence[dict[str, Any]], notes: Sequence[str]) -> None:
    for script in scripts:
        console.print(script["text"])
        style = "bold red" if script["refused"] else "green"
        console.print(plain(f"sbatch --test-only: {script['verdict'].strip()}", style=style))
        console.print()
    for note in notes:
        console.print(plain(note, style="yellow"))


def _cut(profile: Profile, groups: Sequence[Group], after: int) -> _Arrays:
    """The arrays that the feeder would send now; if none fits, the first all the same.

    `after`: as of `queue_room.next_size`.
    """
    found, free, notes = _room(profile, groups)
    tasks = [(number, task) for number, group in enumerate(groups) for task in group.tasks]
    kinds = [number for number, _ in tasks]
    sizes: list[int] = []
    while left := kinds[sum(sizes) :]:
        size = queue_room.next_size(left, found, free - sum(sizes), after)
        if size < 1:
            break
        sizes.append(size)
    arrays, waiting = len(sizes), len(left)
    if tasks and not sizes:
        notes.append("the queue has no room now; shown is the first array as it would be with room")
        sizes = [queue_room.next_size(kinds, found, sys.maxsize)]
    shown = []
    for index, size in enumerate(sizes):
        first = sum(sizes[:index])
        own = tuple(task for _, task in tasks[first : first + size])
        group = replace(groups[kinds[first]], tasks=own)
        shown.append(Chunk(token=_TOKEN, first=first, count=size, group=group))
    return _Arrays(shown=shown, arrays=arrays, waiting=waiting, notes=notes)


def _room(profile: Profile, groups: Sequence[Group]) -> tuple[queue_room.QueueRoom, int, list[str]]:
    """How much fits, and how much of it is free; where Slurm does not say, anything, and a note."""
    try:
        found = queue_room.room_of(profile, groups)
        return found, queue_room.free_places(found, client.queue()), []
    except SlurmError as error:
        note = f"how much Slurm takes is not known ({error}): shown as if all of it fits"
        per_array = profile.limits.max_array or sys.maxsize
        return (
            queue_room.QueueRoom(per_array=per_array, caps=(), is_certain=False),
            sys.maxsize,
            [note],
        )


def _tried(store: Store, profile: Profile, chunk: Chunk) -> dict[str, Any]:
    """The batch script of an array, and what Slurm says of it."""
    submission = store.submission(len(store.submissions()) + 1)
    text = batch_script.script_of(store, submission, profile, chunk)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.sh")
        path.write_text(text)
        try:
            _, verdict = client.sbatch(path, test_only=True)
        except SlurmError as error:
            return {"text": text, "verdict": str(error), "refused": True}
    return {"text": text, "verdict": verdict, "refused": False}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
