"""The command `probprec cancel` stops a sweep, or some of its runs, and nothing else."""

import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.commands import selection
from cluster.slurm import client
from cluster.slurm.client import Element
from cluster.slurm.process import CallCount
from cluster.status import advice, queue
from cluster.status.queue import Queue
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, command, plain, to_copy
from jobs import signals
from jobs.store import workers
from jobs.store.state_cache import StateCache
from jobs.store.store import Store

_NAMES_SHOWN_MAX = 8  # of jobs, or of runs


@dataclass
class _Work:
    """The jobs and workers that are stopped, and the runs that are not, and why."""

    runs: set[str] = field(default_factory=set)
    jobs: list[str] = field(default_factory=list)  # names that scancel takes
    workers: dict[int, list[str]] = field(default_factory=dict)  # pid -> its runs, on this machine
    unbegun: int = 0  # runs that were not named, but whose worker is stopped before it begins them
    left: dict[str, str] = field(default_factory=dict)  # run -> why it goes on
    idle: list[str] = field(default_factory=list)  # runs that neither wait nor run
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "schema": 1,
            "cancelled": sorted(self.runs),
            "jobs": self.jobs,
            "workers": sorted(self.workers),
            "left": [{"id": run_id, "why": why} for run_id, why in self.left.items()],
            "notes": self.notes,
        }


def cancel(store: Store, runs: list[str], *, as_json: bool) -> int:
    """Cancel the jobs of these runs, or all jobs of the sweep; 1 if something asked for goes on.

    Args:
        store: the sweep; jobs of others, and of other sweeps, are never touched.
        runs: ids or beginnings; none: all of them.
        as_json: print one JSON object.

    Raises:
        InputError: no such run.
        SlurmError: scancel failed.
    """
    sweep = store.sweep()
    named = {planned.run.id for planned in selection.resolve(sweep, runs)}
    wanted = named or {folder.id for folder in store.folders()}  # replaced runs, too
    calls = CallCount()
    work = _Work()
    with store.submitting():  # a feeder at work would send jobs that this look missed
        found = queue.look(store)
        if found.unknown is not None:
            work.notes.append(f"Slurm cannot be asked, nothing of it is cancelled: {found.unknown}")
        elements = _elements(found, wanted, work, everything=not named)
        _local(store, wanted, work)
        _waiting_here(store, wanted, work, everything=not named)
        if elements:
            work.jobs = _names(found, elements)
            client.cancel(work.jobs)
            _remember(store, elements)
    for pid in work.workers:
        signals.signal_one(pid, signal.SIGTERM)
    work.idle = sorted(named - work.runs - work.left.keys())
    _show(PlainConsole(stderr=as_json, soft_wrap=True), store, work, everything=not named)
    if as_json:
        content = work.to_json() | {"slurm_calls": calls.total}
        print_json(content)
    return INCOMPLETE if work.left or work.notes else DONE


def _elements(
    found: Queue, wanted: set[str], work: _Work, *, everything: bool
) -> dict[str, Element]:
    """The array elements to cancel, by name; with `everything` the feeders, too, which come first.

    An element goes on if one of its runs was not named.
    """
    if everything:
        live = [element for element in found.jobs.values() if not element.is_over]
        live.sort(key=lambda element: element.task is not None)
        work.runs |= {run_id for run_id in found.runs if found.is_live(run_id)}
        return {element.name: element for element in live}
    holds: defaultdict[str, set[str]] = defaultdict(set)
    for run_id, place in found.runs.items():
        if place.element is not None and found.is_live(run_id):
            holds[place.element.name].add(run_id)
    chosen = {}
    for run_id in sorted(wanted):
        sent = found.runs.get(run_id)
        if sent is None or not found.is_live(run_id):
            continue
        if sent.element is None:
            work.left[run_id] = "is not sent yet, and will be by a job of the whole sweep"
        elif holds[sent.element.name] <= wanted:
            chosen[sent.element.name] = sent.element
            work.runs.add(run_id)
        else:
            others = ", ".join(sorted(holds[sent.element.name] - wanted))
            work.left[run_id] = f"shares {sent.element.name} with {others}; name them, too"
    return chosen


def _names(found: Queue, elements: dict[str, Element]) -> list[str]:
    """The arguments of scancel: an array's id if all its live elements are cancelled, else each element."""
    live: defaultdict[int, set[str]] = defaultdict(set)
    for element in found.jobs.values():
        if not element.is_over:
            live[element.job_id].add(element.name)
    names = (
        str(element.job_id) if live[element.job_id] <= elements.keys() else name
        for name, element in elements.items()
    )
    return list(dict.fromkeys(names))


def _remember(store: Store, elements: dict[str, Element]) -> None:
    """Cache that pending elements were cancelled: they leave no journal, and Slurm forgets them."""
    memory = StateCache(store)
    for element in elements.values():
        if element.state == "PENDING" and element.task is not None:
            memory.remember_slurm_state(element.name, "CANCELLED")
    memory.save()


def _local(store: Store, wanted: set[str], work: _Work) -> None:
    """Add the launchers on this machine that have one of the runs."""
    for folder in store.folders():
        if folder.id not in wanted or folder.record_file.exists() or not folder.is_locked():
            continue
        past = next(reversed(folder.history()), None)
        if past is None or past.element is not None:
            continue
        if past.host != socket.gethostname():
            work.left[folder.id] = f"runs on {past.host}: log in there and type the same"
        elif past.pid is not None and _holds_lock(
            past.pid, folder.attempt(past.fence).path / "lock"
        ):
            work.workers.setdefault(past.pid, []).append(folder.id)
            work.runs.add(folder.id)
        else:
            work.left[folder.id] = f"process {past.pid}, its launcher, does not hold its lock"


def _waiting_here(store: Store, wanted: set[str], work: _Work, *, everything: bool) -> None:
    """Add the runs that workers on this machine have yet to begin; a worker cannot skip a run."""
    for crew in workers.crews(store):
        for one in crew.workers:
            is_ours = one.host == socket.gethostname() and _holds_lock(one.pid, one.lock)
            if everything and is_ours:
                work.workers.setdefault(one.pid, [])
        going_on = [one for one in crew.workers if one.pid not in work.workers]
        waiting = set(crew.runs) if everything else wanted.intersection(crew.runs)
        if not going_on:
            work.runs |= waiting
            work.unbegun += len(crew.runs) - len(waiting)
            continue
        names = ", ".join(one.name for one in going_on)
        for run_id in sorted(waiting):
            work.left[run_id] = (
                f"waits for a local worker ({names}): only all of its runs are stopped"
            )


def _holds_lock(pid: int, lock: Path) -> bool:
    """Whether this process has the lock open: its pid may have been reused by another one."""
    try:
        wanted = lock.stat()
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_is_same(descriptor, wanted) for descriptor in descriptors)


def _is_same(descriptor: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(descriptor.stat(), wanted)
    except OSError:
        return False


def _show(console: Console, store: Store, work: _Work, *, everything: bool) -> None:
    for note in work.notes:
        console.print(plain(note, style="bold yellow"))
    for run_id, why in work.left.items():
        console.print(plain(f"{run_id} is not cancelled: {why}", style="bold yellow"))
    if work.jobs:
        console.print(plain(f"cancelled {_shortened(work.jobs)}: {len(work.runs)} runs"))
    for pid, runs in work.workers.items():
        under_way = f" ({_shortened(runs)}); it writes a checkpoint and ends" if runs else ""
        console.print(plain(f"told worker {pid} to stop{under_way}"))
    waiting = len(work.runs) - sum(map(len, work.workers.values())) if work.workers else 0
    if waiting and not work.jobs:
        console.print(plain(f"{waiting} runs that waited for a local worker are not begun"))
    if work.unbegun:
        again = advice.submit_command(store, store.sweep())
        console.print(to_copy(f"{work.unbegun} other runs are not begun either; to go on: {again}"))
    if work.idle:
        console.print(plain(f"neither wait nor run: {_shortened(work.idle)}"))
    if not work.runs and not work.left and not work.notes:
        console.print(plain("nothing to cancel"))
    else:
        if work.left and not everything:
            console.print(to_copy(f"all of them: {command('cancel', store.root)}"))
        console.print(to_copy(str(advice.of_any(store)), style="dim"))


def _shortened(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN_MAX
    return ", ".join(listed[:_NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
