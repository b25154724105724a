"""Run again, with today's code, what has been run: `probprec redo`.

Records and attempts so far are set aside, never deleted; nothing of them is gone on from.
"""

import contextlib
import os
import pwd
import socket
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from cluster.commands import escalate
from cluster.commands.retry import sent_lines
from cluster.commands.selection import selection
from cluster.slurm.process import CallCount, UnreachableError
from cluster.status import advice, queue, run_status
from cluster.status.queue import Queue
from cluster.submit import admission, submit
from cluster.submit.seal import Seal, sealed
from cluster.submit.submit import Receipt
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, command, plain, to_copy
from jobs.errors import InputError
from jobs.profile import Profile
from jobs.resources import Resources
from jobs.store.attempts import ClaimedError
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Sweep
from jobs.tuning import Tuning

_ANEW = "set aside, and chosen anew when its tuning runs are over"


def redo(
    store: Store, *, only: Sequence[str], profile: Profile | None, dry_run: bool, as_json: bool
) -> int:
    """Set aside what these runs have left, and submit them; 1 if some could not be sent.

    Args:
        store: the sweep.
        only: `key=value`; see `cluster.commands.selection`. None: all runs.
        profile: where; default: as the last time.
        dry_run: only show what would be set aside.
        as_json: print one JSON object.

    Raises:
        InputError: some of them wait or run; no such run; image or data are not there.
        SlurmError: Slurm does not answer, or takes nothing.
    """
    calls, sweep = CallCount(), store.sweep()
    chosen = selection(sweep, only)
    place = profile or advice.last_profile(store)
    wanted = [planned for planned in sweep.runs if chosen(planned)]
    _upset(sweep, store, wanted)
    seal = sealed(sweep, place, wanted, store)
    typed = " ".join(["redo", *(f"--only {text}" for text in only)])
    sweep, upset, again, old = _begun_anew(store, chosen, typed, dry_run=dry_run)
    receipt = None if dry_run else _send(sweep, store, seal, again)
    console = PlainConsole(stderr=as_json, soft_wrap=True)
    for tuning in upset:
        would = "would be" if dry_run else "is"
        console.print(
            plain(f"what was chosen of {tuning.problem} {tuning.optimizer} {would} {_ANEW}")
        )
    _show(console, store, again, old, receipt)
    if as_json:
        content = _to_json(again, old, receipt) | {"slurm_calls": calls.total}
        print_json(content)
    fed = receipt.fed if receipt is not None else None
    return INCOMPLETE if fed is not None and fed.problem else DONE


def _begun_anew(
    store: Store, chosen: Callable[[PlannedRun], bool], typed: str, *, dry_run: bool
) -> tuple[Sweep, list[Tuning], list[PlannedRun], list[PlannedRun]]:
    """Set aside what the chosen runs have left, and the choices that rest on it.

    Returns:
        The sweep as it is now, the tunings that are decided anew, the runs that are run again, and
        those of them that had left something.
    """
    with contextlib.nullcontext() if dry_run else store.submitting():
        sweep = store.sweep()  # a worker may have chosen meanwhile
        wanted = [planned for planned in sweep.runs if chosen(planned)]
        upset = _upset(sweep, store, wanted)
        known = queue.look(store) if dry_run else queue.repair(store)
        again = _idle(sweep, store, known, {planned.run.id for planned in wanted})
        old = [planned for planned in again if _has_left(store, planned)]
        if not dry_run:
            for tuning in upset:
                store.set_choice_aside(tuning.key)
            _set_aside(store, old, typed)
    return sweep, upset, again, old


def _upset(sweep: Sweep, store: Store, wanted: Sequence[PlannedRun]) -> list[Tuning]:
    """The tunings that are decided anew: some of the runs that decided them are wanted.

    Raises:
        InputError: not all runs that follow from such a choice are wanted, too.
    """
    ids, found, left = {planned.run.id for planned in wanted}, [], []
    for tuning in (one for one in sweep.tunings if one.chosen is not None):
        competing = sweep.competing[tuning.key]
        if any(planned.run.id in ids for planned in competing):
            found.append(tuning)
            chosen = next(one for one in competing if one.run.cell == tuning.chosen)
            follow = chosen.evaluated(tuning.evaluation)
            left += [planned for planned in follow if planned.run.id not in ids]
    if left:
        lines = admission.summary(left)
        head = f"{len(left)} runs follow from a choice that rests on these; nothing was set aside:"
        todo = f"choose both: {command('redo', store.root, *_both(sweep, left))}"
        raise InputError("\n".join([head, *lines, todo]))
    return found


def _both(sweep: Sweep, left: Sequence[PlannedRun]) -> list[str]:
    """The options that name these runs, and those that they follow from."""
    optimizers = dict.fromkeys(planned.optimizer for planned in left)
    problems = dict.fromkeys(planned.problem for planned in left)
    words = ["--only", f"optimizer={','.join(optimizers)}"]
    is_all = len(problems) == len(sweep.problems)
    return words if is_all else [*words, "--only", f"problem={','.join(problems)}"]


def _idle(sweep: Sweep, store: Store, known: Queue, wanted: set[str]) -> list[PlannedRun]:
    """The wanted runs, none of which may wait or run."""
    found = run_status.of_runs(store, sweep, known)
    chosen = [one for one in found if one.planned.run.id in wanted]
    unknown = [one for one in chosen if one.state.state == "unknown"]
    if unknown:
        message = f"{known.unknown}; whether {len(unknown)} runs still wait or run cannot be known"
        raise UnreachableError(("squeue",), f"{message} now; nothing was set aside")
    live = [one for one in chosen if one.is_live or known.is_live(one.planned.run.id)]
    if live:
        lines = admission.summary([one.planned for one in live])
        head = f"{len(live)} of these runs wait or run; nothing was set aside:"
        todo = f"stop them first: {command('cancel', store.root)}; or choose others with --only"
        raise InputError("\n".join([head, *lines, todo]))
    return [one.planned for one in chosen]


def _has_left(store: Store, planned: PlannedRun) -> bool:
    """Whether there is anything to set aside: not if it was never attempted, or not since."""
    folder = store.run(planned.run.id)
    return folder.record_file.exists() or folder.last_fence() > folder.life()


def _set_aside(store: Store, old: Sequence[PlannedRun], why: str) -> None:
    newest = max((submission.number for submission in store.submissions()), default=0)
    for planned in old:
        folder = store.run(planned.run.id)
        try:
            folder.set_aside(folder.last_fence(), by=_me(), why=why, submission=newest)
        except ClaimedError as error:
            raise InputError(f"run {folder.id}: {error}; the same command later goes on") from None


def _me() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _send(sweep: Sweep, store: Store, seal: Seal, again: Sequence[PlannedRun]) -> Receipt:
    last, place = escalate.last_asked(store), seal.profile
    ids = {planned.run.id for planned in again}

    def more(planned: PlannedRun) -> Resources:
        asked = last.get(planned.run.id) if place.engine == "slurm" else None
        return escalate.kept(planned, place, asked)

    receipt = submit.submit(
        sweep, store, seal, chosen=lambda planned: planned.run.id in ids, more=more
    )
    receipt.wait_until_at_work()
    return receipt


def _show(
    console: Console,
    store: Store,
    again: Sequence[PlannedRun],
    old: Sequence[PlannedRun],
    receipt: Receipt | None,
) -> None:
    would = "would be" if receipt is None else "is"
    said = f"{store.root}: {len(again)} runs begin again; what {len(old)} of them left {would}"
    console.print(plain(f"{said} set aside{':' if old else ''}"))
    for line in admission.summary(old):
        console.print(plain(line))
    if receipt is None:
        console.print(plain("nothing was written or sent"))
        return
    if old:
        where = store.run("ID").attempt(store.run(old[0].run.id).life()).path
        console.print(
            plain(f"each is in its run's folder, such as {where.relative_to(store.root)}")
        )
    for line in sent_lines(receipt):
        console.print(plain(line))
    console.print(to_copy(str(advice.of_live(store)), style="dim"))


def _to_json(
    again: Sequence[PlannedRun], old: Sequence[PlannedRun], receipt: Receipt | None
) -> dict[str, Any]:
    return {
        "schema": 1,
        "runs": [planned.run.id for planned in again],
        "set_aside": [planned.run.id for planned in old],
        **submit.jobs_json(receipt),
    }
