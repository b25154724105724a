"""Choosing: of a tuning's settings the best one, by the records of its runs, and what is run then.

Whoever calls this holds the sweep (`Store.submitting`). Killed at any point, it is done again by the
next one: a choice is published once, what follows from it is written down before it is begun, and
from the same records everybody chooses the same.
"""

import hashlib
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from jobs import files
from jobs.store import record, state
from jobs.store.attempts import RunFolder
from jobs.store.store import Store
from jobs.store.submission_plan import Entry, Plan
from jobs.store.submissions import Submission
from jobs.sweep import PlannedRun, Run, Sweep
from jobs.tuning import Candidate, Choice, Criterion, Tuning, best

_Group = tuple[int, int]
"""A submission's number, and one of its groups."""


@dataclass(frozen=True)
class Undecided:
    """A tuning of which nothing can be chosen now, and why."""

    why: str
    missing: tuple[Run, ...] = ()  # the tuning runs that have no record


@dataclass(frozen=True)
class Decisions:
    """What has been chosen by now, and what has not."""

    sweep: Sweep  # with the runs that follow from what has been
    undecided: tuple[Undecided, ...]


def choose(store: Store, sweep: Sweep) -> Decisions:
    """Make every choice that can be made."""
    sweep, undecided = store.with_choices(sweep), []
    for tuning in sweep.undecided:
        found = judged(store, sweep, tuning)
        if isinstance(found, Choice):
            with suppress(FileExistsError):  # of somebody who does not see our lock; it stands
                store.choose(found)
        else:
            undecided.append(found)
    return Decisions(store.with_choices(sweep), tuple(undecided))


def judged(store: Store, sweep: Sweep, tuning: Tuning) -> Choice | Undecided:
    """What is to be chosen, by the records: the best mean; of equal ones the smaller step size.

    A setting of which a run diverged is never chosen.
    """
    runs = sweep.competing[tuning.key]
    lacking = missing(store, runs)
    if lacking:
        done = f"{len(runs) - len(lacking)} of {len(runs)} tuning runs done"
        return Undecided(done, tuple(planned.run for planned in lacking))
    of_cell: dict[str, list[PlannedRun]] = {cell: [] for cell in tuning.cells}
    for planned in runs:
        of_cell[planned.run.cell].append(planned)
    candidates = tuple(_candidate(store, own, tuning.criterion) for own in of_cell.values())
    winner = best(candidates, tuning.criterion)
    if winner is None:
        return Undecided(_why_none(candidates, tuning.criterion))
    return Choice(
        key=tuning.key,
        problem=tuning.problem,
        optimizer=tuning.optimizer,
        criterion=tuning.criterion,
        seeds=tuning.seeds,
        cell=winner.cell,
        time=time.time(),
        by=_me(),
        candidates=candidates,
    )


def missing(store: Store, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs that have no record, or none that can be trusted."""
    absent = [one for one in runs if not store.run(one.run.id).record_file.exists()]
    return absent or [
        one for one in runs if state.of(store.run(one.run.id)).state not in state.RECORDED
    ]


def follow_up(store: Store, sweep: Sweep, number: int) -> list[Submission]:
    """The submissions that follow from submission `number`: those there are, and what is new.

    What was chosen, and nobody has sent, is written down to be sent as its newest tuning run was:
    with the same code, image, data and resources. What was tuned elsewhere (here, or on a cluster)
    is left to the next submission.
    """
    if not sweep.tunings:
        return []
    plans = {one.number: one.plan() for one in store.submissions()}
    newest = _newest(plans)
    new: dict[_Group, list[Entry]] = {}  # the runs to send as those of that group were
    for tuning in sweep.tunings:
        tuned = [one for one in sweep.competing[tuning.key] if one.run.cell == tuning.chosen]
        groups = {newest[one.run.id] for one in tuned if one.run.id in newest}
        wanted = tuned[0].evaluated(tuning.evaluation) if tuned else []
        unsent = [one for one in wanted if _is_unsent(store.run(one.run.id), newest)]
        if groups and unsent:
            new.setdefault(max(groups), []).extend(
                Entry.of(one.run, store.run(one.run.id).last_fence()) for one in unsent
            )
    for source in sorted({group[0] for group in new}):
        plan = plans[source]
        if plan.profile.engine == plans[number].profile.engine:
            alike = [plan.groups[i].with_runs(own) for (of, i), own in new.items() if of == source]
            store.new_submission(
                replace(plan, time=time.time(), follows=number, groups=tuple(alike))
            )
    return [one for one in store.submissions() if one.plan().follows == number]


def under_way(store: Store, sweep: Sweep, number: int) -> list[RunFolder]:
    """The tuning runs that others train now, where a choice waits for nothing else.

    They are of those that were sent to where submission `number` was: to this machine, not a
    cluster. What follows from the others is not for whoever goes through that submission.
    """
    plans = {one.number: one.plan() for one in store.submissions()}
    newest, engine = _newest(plans), plans[number].profile.engine
    found: list[RunFolder] = []
    for tuning in sweep.undecided:
        runs = sweep.competing[tuning.key]
        # Asked first: one that ends in between has a record, or is waited for in vain but once.
        locked = {one.run.id for one in runs if store.run(one.run.id).is_locked()}
        lacking = {one.run.id for one in missing(store, runs)}
        sources = {newest[run_id][0] for run_id in lacking if run_id in newest}
        is_here = {plans[source].profile.engine for source in sources} == {engine}
        if lacking <= locked and is_here:
            found += [store.run(run_id) for run_id in sorted(lacking)]
    return found


def _me() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return f"{f'job {job}' if job else f'process {os.getpid()}'} on {socket.gethostname()}"


def _candidate(store: Store, runs: Sequence[PlannedRun], criterion: Criterion) -> Candidate:
    values, diverged, hashes = [], 0, {}
    for planned in runs:
        path = store.run(planned.run.id).record_file
        found = record.read(path, run_id=planned.run.id)
        hashes[planned.run.id] = hashlib.sha256(files.read(path)).hexdigest()
        diverged += found.outcome == "diverged"
        values.append(_value(found.curves.get(criterion.metric, ()), criterion))
    known = [value for value in values if value is not None]
    is_able = not diverged and len(known) == len(values)
    lr = runs[0].run.hyperparameters.get("lr")
    return Candidate(
        cell=runs[0].run.cell,
        setting=runs[0].varied,
        lr=float(lr) if isinstance(lr, int | float) and not isinstance(lr, bool) else None,
        value=math.fsum(known) / len(known) if is_able else None,
        diverged=diverged,
        records=hashes,
    )


def _value(curve: Sequence[float | None], criterion: Criterion) -> float | None:
    """The number of one run; None: it was not measured."""
    if criterion.at == "final":
        return curve[-1] if curve else None
    known = [value for value in curve if value is not None]
    return (max if criterion.is_better_high else min)(known, default=None)


def _why_none(candidates: Sequence[Candidate], criterion: Criterion) -> str:
    if all(one.diverged for one in candidates):
        return f"a run of each of the {len(candidates)} settings diverged"
    return f"{criterion.metric} was not measured; choose by another one"


def _newest(plans: Mapping[int, Plan]) -> dict[str, _Group]:
    """Of each run, by its id, the newest submission that names it, and in which group."""
    return {
        entry.id: (number, index)
        for number in sorted(plans)
        for index, group in enumerate(plans[number].groups)
        for entry in group.entries
    }


def _is_unsent(folder: RunFolder, newest: Mapping[str, _Group]) -> bool:
    """Whether no submission has named the run since it began its life, and it has no record."""
    if folder.record_file.exists():
        return False
    ended = folder.attempt(folder.life()).ended_life()
    named = newest.get(folder.id)
    return named is None or (ended is not None and named[0] <= ended.submission)
