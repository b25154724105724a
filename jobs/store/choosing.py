"""A choice picks a tuning's best setting by its runs' records; evaluation runs follow from it.

The caller holds the sweep's lock (`Store.submitting`). If it is killed at any point, the next
caller does the rest: a choice is published once, the submission that follows from it is recorded
before it begins, and the same records always give the same choice.
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
"""A submission's number, and the index of one of its groups."""


@dataclass(frozen=True)
class Undecided:
    """A tuning of which no setting can be chosen now, and why."""

    why: str
    missing: tuple[Run, ...] = ()  # the tuning runs that have no record


@dataclass(frozen=True)
class Decisions:
    """The choices of a sweep made so far, and the tunings without a choice."""

    sweep: Sweep  # with the runs that follow from the choices
    undecided: tuple[Undecided, ...]


def choose(store: Store, sweep: Sweep) -> Decisions:
    """Make every choice that can be made."""
    sweep, undecided = store.with_choices(sweep), []
    for tuning in sweep.undecided:
        found = judged(store, sweep, tuning)
        if isinstance(found, Choice):
            with suppress(FileExistsError):  # a process on which the lock has no effect was faster
                store.choose(found)
        else:
            undecided.append(found)
    return Decisions(store.with_choices(sweep), tuple(undecided))


def judged(store: Store, sweep: Sweep, tuning: Tuning) -> Choice | Undecided:
    """The choice of a tuning by its records: the best mean; among equals, the smallest step size.

    A setting with a diverged run is never chosen.
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
    """The runs without a record, or else those whose record cannot be trusted."""
    absent = [one for one in runs if not store.run(one.run.id).record_file.exists()]
    return absent or [
        one for one in runs if state.of(store.run(one.run.id)).state not in state.RECORDED
    ]


def follow_up(store: Store, sweep: Sweep, number: int) -> list[Submission]:
    """The submissions that follow from submission `number`: existing ones, and new ones.

    Runs that follow from a choice and have not been submitted are planned as the newest tuning run
    was: with the same code, image, data and resources. Runs whose tuning ran on another engine
    (local or slurm) are left to the next submission.
    """
    if not sweep.tunings:
        return []
    plans = {one.number: one.plan() for one in store.submissions()}
    newest = _newest(plans)
    new: dict[_Group, list[Entry]] = {}  # the runs to submit like those of the group
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
    """The tuning runs that other workers train now, if a choice waits for nothing else.

    Only tunings on the engine of submission `number` count: runs that follow from other tunings
    are not for the workers of that submission.
    """
    plans = {one.number: one.plan() for one in store.submissions()}
    newest, engine = _newest(plans), plans[number].profile.engine
    found: list[RunFolder] = []
    for tuning in sweep.undecided:
        runs = sweep.competing[tuning.key]
        # Locks before records: a run that ends in between has a record, or costs one vain wait.
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
    """The criterion's value of one run; None: not measured."""
    if criterion.at == "final":
        return curve[-1] if curve else None
    known = [value for value in curve if value is not None]
    return (max if criterion.is_better_high else min)(known, default=None)


def _why_none(candidates: Sequence[Candidate], criterion: Criterion) -> str:
    if all(one.diverged for one in candidates):
        return f"a run of each of the {len(candidates)} settings diverged"
    return f"{criterion.metric} was not measured; choose by another one"


def _newest(plans: Mapping[int, Plan]) -> dict[str, _Group]:
    """The newest submission that names a run, and the run's group there, by the run's id."""
    return {
        entry.id: (number, index)
        for number in sorted(plans)
        for index, group in enumerate(plans[number].groups)
        for entry in group.entries
    }


def _is_unsent(folder: RunFolder, newest: Mapping[str, _Group]) -> bool:
    """Whether the run has no record, and no submission in its present life names it."""
    if folder.record_file.exists():
        return False
    ended = folder.attempt(folder.life()).ended_life()
    named = newest.get(folder.id)
    return named is None or (ended is not None and named[0] <= ended.submission)
