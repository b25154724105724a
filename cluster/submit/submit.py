"""Send a sweep's missing runs to an engine: this machine, or Slurm.

Nothing stays in memory: what is to be run is on disk before anything is sent, and a run that is
waiting or running somewhere is never sent again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.slurm.process import UnreachableError
from cluster.status import queue, run_status
from cluster.status.run_status import RunStatus
from cluster.submit import admission, feed, submitit_engine
from cluster.submit.seal import Seal
from jobs import locks, snapshot
from jobs.machine import usable_cpus, visible_gpus
from jobs.optimizers import uses_own_code
from jobs.profile import Profile
from jobs.resources import Resources
from jobs.store import choosing, journal
from jobs.store.attempts import RunFolder
from jobs.store.state import RECORDED
from jobs.store.store import Store
from jobs.store.submission_plan import Entry, Group, Plan, SealedCode
from jobs.store.submissions import Submission
from jobs.store.workers import lock_of
from jobs.sweep import PlannedRun, Sweep

_TO_BEGIN = 60.0
"""Seconds that workers on this machine have to start; nothing depends on it but what is shown."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a submission came to."""

    store: Store
    sweep: Sweep  # with the evaluation runs of what has been chosen
    submitted: Mapping[str, int]  # ids of the runs sent off, and their last fence before
    done: tuple[str, ...]  # ids of the runs that have a record
    running: tuple[str, ...]  # ids of the runs that wait or run somewhere already
    workers: tuple[submitit_engine.Worker, ...] = field(default=())
    submission: Submission | None = None  # that the workers go through
    fed: feed.FeedReport | None = None  # on Slurm: what was sent

    def cancel(self) -> None:
        """Stop the workers; their runs are noted as cancelled and can be submitted again."""
        for worker in self.workers:
            if not worker.done():
                submitit_engine.stop(worker)
        while not self.is_over():
            time.sleep(0.05)

    def wait_until_at_work(self) -> None:
        """Wait until the workers hold what says that they are: others see it from then on."""
        if self.submission is None:
            return
        deadline = time.monotonic() + _TO_BEGIN
        held = [lock_of(self.submission, lane) for lane in range(len(self.workers))]
        while time.monotonic() < deadline and not all(
            locks.is_held(lock) or worker.done()
            for lock, worker in zip(held, self.workers, strict=True)
        ):
            time.sleep(0.05)

    def is_over(self) -> bool:
        """Whether all workers have ended."""
        return all(worker.done() for worker in self.workers)


def jobs_json(receipt: Receipt | None) -> dict[str, Any]:
    """What `--json` says of jobs: those sent, who sends what waits, and why nobody does."""
    fed = (receipt.fed if receipt is not None else None) or feed.FeedReport()
    workers = receipt.workers if receipt is not None else ()
    runs = list(receipt.submitted) if receipt is not None else []
    return {
        "jobs": [
            *({"job_id": worker.job_id, "array": None, "runs": runs} for worker in workers),
            *(
                {"job_id": str(job), "array": f"0-{count - 1}", "runs": sent}
                for job, count, sent in fed.chunks
            ),
        ],
        "feeder": None if fed.feeder is None else str(fed.feeder),
        "waiting": fed.waiting,
        "problem": fed.problem,
    }


def submit(
    sweep: Sweep,
    store: Store,
    seal: Seal,
    *,
    workers: int | None = None,
    chosen: Callable[[PlannedRun], bool] = lambda _: True,
    more: Callable[[PlannedRun], Resources] = lambda _: Resources(),
    may_replace: bool = False,
    on_wait: Callable[[], object] = lambda: None,
) -> Receipt:
    """Send every run of the sweep that has no record and is neither waiting nor running.

    Args:
        sweep: what is asked for.
        store: where it lives; made if it is not there.
        seal: where to run, and what the runs read that were missing before the sweep was held.
        workers: on this machine: runs at a time; default: as many as the CPUs allow.
        chosen: which of the missing runs to send.
        more: resources that a run gets beyond what the profile and the spec say.
        may_replace: the sweep may replace another one, which is kept beside it.
        on_wait: called if somebody else is submitting this sweep just now.

    Raises:
        InputError: it would take something away from the sweep, unasked; or `plan` says no.
        SlurmError: Slurm does not answer, or takes nothing.
    """
    with store.submitting(on_wait) as lock:
        known = queue.repair(store)
        if not may_replace:
            sweep = admission.admitted(sweep, store, known)
        store.save(sweep, keep_former=may_replace)
        sweep = choosing.choose(store, sweep).sweep
        done, running, missing = sort_runs(sweep, store, known)
        wanted = [one.planned for one in missing if chosen(one.planned)]
        receipt = Receipt(store=store, sweep=sweep, submitted={}, done=done, running=running)
        if not wanted:
            return receipt
        _set_torn_aside(store, missing)
        return _sent(receipt, plan(sweep, store, seal, wanted, more), lock, workers)


def _sent(receipt: Receipt, made: Plan, lock: int, workers: int | None) -> Receipt:
    """Write the plan down, then send it off; `lock` is the descriptor by which the sweep is held."""
    store = receipt.store
    submission = store.new_submission(made)
    receipt = replace(receipt, submitted={entry.id: entry.fence for entry in made.entries})
    if made.profile.engine == "slurm":
        return replace(receipt, fed=feed.feed(store, submission, hold=lock))
    lanes = usable_lanes(made, workers, len(receipt.sweep.to_follow))
    started = submitit_engine.start(store, submission, lanes)
    return replace(receipt, workers=started, submission=submission)


def plan(
    sweep: Sweep,
    store: Store,
    seal: Seal,
    wanted: Sequence[PlannedRun],
    more: Callable[[PlannedRun], Resources] = lambda _: Resources(),
    *,
    keep: bool = True,
) -> Plan:
    """What a submission writes down: all that the nodes need to know.

    Runs that ask for the same resources are in one group; a group becomes one array, or several.
    Without `keep` neither the code's snapshot nor manifests are written.

    Raises:
        InputError: image or data are not there, or not as they have to be.
    """
    seal, profile = seal.up_to_date(sweep, wanted, store), seal.profile
    own = sweep.code if uses_own_code([planned.run for planned in wanted]) else ()
    code = snapshot.take(store.code, own, keep=keep)
    if keep:
        seal.keep_manifests(store)
    return Plan(
        time=time.time(),
        profile=replace(profile, image=seal.image.path if seal.image else None),
        code=SealedCode(
            file=code.file.name,
            sha256=code.sha256,
            own=code.own,
            commit=snapshot.commit(),
            dirty=snapshot.is_dirty(),
        ),
        data=seal.named,
        image=seal.image,
        sealed=seal.data,
        gpus=tuple(visible_gpus()) if profile.engine == "local" else (),
        groups=_groups(store, profile, wanted, more),
    )


def _groups(
    store: Store,
    profile: Profile,
    wanted: Sequence[PlannedRun],
    more: Callable[[PlannedRun], Resources],
) -> tuple[Group, ...]:
    together: dict[Resources, list[Entry]] = {}
    for planned in wanted:
        resources = profile.resources.merged(planned.resources).merged(more(planned))
        entry = Entry.of(planned.run, store.run(planned.run.id).last_fence())
        together.setdefault(resources, []).append(entry)
    return tuple(
        Group(
            resources=resources,
            threads=profile.threads_of(resources),
            needs_gpu=bool(resources.gpus) or "gpu" in (resources.gres or ""),
            lead=profile.lead_of(resources),
            tasks=(),
        ).with_runs(entries)
        for resources, entries in together.items()
    )


def usable_lanes(made: Plan, workers: int | None, to_follow: int) -> int:
    """How many workers go through a submission on this machine, and through the runs that follow."""
    tasks = sum(len(group.tasks) for group in made.groups) + to_follow
    threads = max(group.threads * max(map(len, group.tasks)) for group in made.groups)
    return min(workers or max(1, usable_cpus() // threads), tasks)


def sort_runs(
    sweep: Sweep, store: Store, known: queue.Queue
) -> tuple[tuple[str, ...], tuple[str, ...], list[RunStatus]]:
    """The runs that have a record, those that wait or run, and the others: they are to be sent.

    Raises:
        UnreachableError: what became of a run that was sent cannot be known now.
    """
    done, running, missing = [], [], []
    for one in run_status.of_runs(store, sweep, known):
        run_id = one.planned.run.id
        if one.state.state in RECORDED:
            done.append(run_id)
        elif one.is_live or known.is_live(run_id):  # of those that failed, others of their task run
            running.append(run_id)
        elif one.state.state == "unknown" and known.unknown is not None:
            raise UnreachableError(
                ("squeue",),
                f"{known.unknown}; whether {one.sent.name if one.sent else one.element} still waits"
                " or runs cannot be known now; nothing was sent; try again later",
            )
        else:
            missing.append(one)
    return tuple(done), tuple(running), missing


def _set_torn_aside(store: Store, missing: Sequence[RunStatus]) -> None:
    """Keep torn records under other names, so that their runs can be run again."""
    for one in missing:
        if one.state.failure == "bad_record":
            _set_aside(store.run(one.planned.run.id), one.state.message)


def _set_aside(folder: RunFolder, message: str | None) -> None:
    with suppress(FileNotFoundError):  # it is gone altogether
        folder.set_record_aside()
        folder.note(journal.record_set_aside(message))
