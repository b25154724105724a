"""The commands `run` and `submit`: from a spec to runs under way, and to their end."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.commands import follow, status, sweep_screen, sweeps
from cluster.commands.dry_run import dry_run as show_dry_run
from cluster.commands.selection import selection
from cluster.lab import connect
from cluster.profile import destination, syntax
from cluster.slurm import partitions
from cluster.slurm.process import calls_of
from cluster.status import advice, choice_lines, queue
from cluster.status.run_status import RunStatus
from cluster.submit import admission
from cluster.submit.data_places import is_left_to_nodes
from cluster.submit.seal import Seal, sealed
from cluster.submit.submit import Receipt, jobs_json
from cluster.submit.submit import submit as send
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain, to_copy
from jobs import spec
from jobs.datasets import find as datasets
from jobs.profile import Profile
from jobs.store import journal
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Sweep


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    spec: Path
    overrides: Sequence[str]
    root: Path
    on: str | None  # the profile
    words: Sequence[str]  # all that was typed behind `probprec`
    only: Sequence[str]  # `key=value`; see cluster.commands.selection
    replace: bool  # the sweep of that name, by whatever is asked for now
    workers: int | None
    threads: int | None
    as_json: bool


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """The request, checked; nothing has been written."""

    sweep: Sweep
    store: Store
    chosen: Callable[[PlannedRun], bool]
    seal: Seal


def run(request: Request) -> int:
    """Submit and wait; 0 if every run has a record in the end, else 1.

    On this machine Ctrl-C stops the runs; on a cluster they go on without us.
    """
    console = PlainConsole(stderr=request.as_json, soft_wrap=True)
    prepared = _prepare(request)
    store, receipt = prepared.store, _submit(prepared, request, console)
    if prepared.seal.profile.engine == "slurm":
        _tell_jobs(receipt, console)
        return status.status(store, watch=True, as_json=request.as_json)
    try:
        found = follow.follow(receipt, console)
    except KeyboardInterrupt:
        receipt.cancel()
        console.print("stopped; the same command continues with the runs that have no record")
        raise
    sweep = store.sweep()
    console.print(sweep_screen.table(sweep, found))
    for line in sweep_screen.troubles(found):
        console.print(line)
    for line in choice_lines.lines(store, sweep, found, len(sweep.tunings)):
        console.print(line)
    counts = sweep_screen.count(found)
    is_complete = not sweep.undecided and counts["completed"] + counts["diverged"] == len(found)
    if receipt.running and not is_complete:
        console.print(f"{len(receipt.running)} runs were left to whoever is running them already")
    step = advice.of_ended(store, is_complete=is_complete, is_live=bool(receipt.running))
    console.print(to_copy(str(step), "" if is_complete else "dim"))
    _require_begun(receipt, found, console)
    if request.as_json:
        _print_json(receipt, {"sweep": sweep.name, "states": dict(counts)})
    return DONE if is_complete else INCOMPLETE


def _require_begun(receipt: Receipt, found: Sequence[RunStatus], console: Console) -> None:
    """Say which runs no worker could begin, and try it once: that says why.

    Raises:
        OSError: what kept the workers from it, as a full disk does; they could not write it down.
    """
    left = [
        one.planned.run
        for one in found
        if one.state.state == "pending" and one.planned.run.id in receipt.submitted
    ]
    if left:
        console.print(f"{len(left)} runs could not be begun; the same command goes on with them")
        receipt.store.run(left[0].id).create(left[0])
        receipt.store.run(left[0].id).note(journal.not_begun())


def submit(request: Request) -> int:
    """Submit and return at once; 0 when everything is under way or done."""
    console = PlainConsole(stderr=request.as_json, soft_wrap=True)
    prepared = _prepare(request)
    receipt = _submit(prepared, request, console)
    if prepared.seal.profile.engine == "slurm":
        _tell_jobs(receipt, console)
    elif receipt.submitted:
        receipt.wait_until_at_work()
        said = f"{len(receipt.workers)} workers are running in the background"
        console.print(to_copy(f"{said}; {advice.of_any(prepared.store)}"))
    if request.as_json:
        _print_json(receipt, {})
    return INCOMPLETE if receipt.fed is not None and receipt.fed.problem else DONE


def dry_run(request: Request) -> int:
    """Show what `submit` would send, and what Slurm says of it; nothing is written or sent."""
    it = _prepare(request)
    if not request.replace:
        admission.admitted(it.sweep, it.store, queue.look(it.store))
    return show_dry_run(it.sweep, it.store, it.seal, it.chosen, as_json=request.as_json)


def _prepare(request: Request) -> _Prepared:
    sweeps.require_no_sweep(request.spec, request.root)
    plan = spec.make_plan(request.spec, request.overrides)
    store = Store(request.root / plan.sweep.name)
    sweep = store.with_choices(plan.sweep)
    chosen = selection(sweep, request.only)
    place = destination.chosen(request.on, request.words)
    if request.threads is not None:
        place = replace(place, threads=request.threads)
    connect.use(place.name)
    if folder := os.environ.get(datasets.VARIABLE):
        os.environ[datasets.VARIABLE] = str(Path(folder).resolve())  # the runs stand elsewhere
    syntax.require(store.root, place)
    wanted = [one for one in sweep.runs if chosen(one)]
    missing = [one for one in wanted if not store.run(one.run.id).record_file.exists()]
    notes = _check_times(place, missing)
    console = PlainConsole(stderr=True, soft_wrap=True)
    with console.status("reading image and data, to seal them"):
        seal = sealed(sweep, place, missing, store, plan)
    if is_left_to_nodes(sweep, place):
        notes.append("data that was not added is left to the nodes: nothing of it is sealed")
    for note in notes:
        console.print(plain(note, style="yellow"))
    return _Prepared(sweep=sweep, store=store, chosen=chosen, seal=seal)


def _check_times(place: Profile, wanted: Sequence[PlannedRun]) -> list[str]:
    """What may be too long for its partition, see `partitions.check_times`."""
    if place.engine != "slurm":
        return []
    return partitions.check_times(place.resources.merged(planned.resources) for planned in wanted)


def _submit(prepared: _Prepared, request: Request, console: Console) -> Receipt:
    store = prepared.store
    receipt = send(
        prepared.sweep,
        store,
        prepared.seal,
        workers=request.workers,
        chosen=prepared.chosen,
        may_replace=request.replace,
        on_wait=lambda: console.print(f"{store.root} is being submitted by somebody else; waiting"),
    )
    for line in choice_lines.new(store, prepared.sweep, receipt.sweep):
        console.print(plain(line))
    sweep = receipt.sweep
    left = len(sweep.runs) - len(receipt.submitted) - len(receipt.done) - len(receipt.running)
    parts = [
        f"{len(receipt.submitted)} submitted",
        f"{len(receipt.done)} done already",
        *([f"{len(receipt.running)} waiting or running already"] if receipt.running else []),
        *([f"{left} not selected"] if left else []),
        *_to_follow(sweep),
    ]
    console.print(f"{store.root}: {len(sweep.runs)} runs, {', '.join(parts)}")
    if "@" in sweep.name:
        said = f"--set makes it a sweep of its own, {sweep.name}; --name gives it another name"
        console.print(said, style="dim")
    return receipt


def _to_follow(sweep: Sweep) -> list[str]:
    """How many runs there will be beside those that are known now."""
    runs, settings = len(sweep.to_follow), len(sweep.undecided)
    noun = "setting is" if settings == 1 else "settings are"
    return [f"{runs} more follow when {settings} {noun} chosen"] if settings else []


def _tell_jobs(receipt: Receipt, console: Console) -> None:
    """The jobs, what waits, and what to type next."""
    fed = receipt.fed
    if fed is not None:
        for line in fed.lines():
            console.print(f"  {line}")
        if fed.lacks is not None:
            console.print(f"  {fed.lacks}", style="bold yellow")
    console.print(to_copy(str(advice.of_sent(receipt.store)), "dim"))


def _print_json(receipt: Receipt, extra: dict[str, Any]) -> None:
    content = {
        "schema": 1,
        **extra,
        "submitted": len(receipt.submitted),
        "already": len(receipt.done) + len(receipt.running),
        **jobs_json(receipt),
        "sbatch_calls": calls_of("sbatch"),
    }
    print_json(content)
