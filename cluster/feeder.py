"""Send as much of a submission as fits into the queue; what is left is sent by a job of its own.

    python -m cluster.feeder ROOT SUBMISSION        that job: it starts when an array is over

No process stays on the login node: the job sends the next arrays and the next such job, and ends.
"""

import logging
import secrets
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import array, queue, slurm
from cluster.profile import Profile
from cluster.slurm import Cap
from jobs.store import Store
from jobs.submissions import PartKind, Submission

log = logging.getLogger(__name__)

_PATIENCE = 600.0
"""Seconds for which a feeder asks a controller that does not answer."""


@dataclass
class Fed:
    """What one call has sent."""

    chunks: list[tuple[int, int, list[str]]] = field(default_factory=list)  # job, elements, runs
    feeder: int | None = None  # the job that will send the rest
    waiting: int = 0  # tasks that are left
    problem: str | None = None  # why nobody will send them


@dataclass(frozen=True)
class _Task:
    """An array task that is still to be sent."""

    position: int  # in the submission
    group: int
    runs: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much the cluster takes."""

    per_array: int
    caps: tuple[Cap, ...]  # on my jobs in the queue; the tightest counts
    is_certain: bool  # whether no other limit can be met


def feed(store: Store, submission: Submission, *, hold: int | None = None) -> Fed:
    """Send arrays until all is sent or no more fits; then see to it that the rest will be sent.

    Args:
        store: the sweep, held by the caller (`Store.submitting`).
        submission: what is to be sent.
        hold: the descriptor of that lock.

    Raises:
        slurm.SlurmError: Slurm takes nothing at all, or does not answer.
    """
    return _Feeding(store, submission, hold).go()


class _Feeding:
    """One call of `feed`."""

    def __init__(self, store: Store, submission: Submission, hold: int | None) -> None:
        self.store, self.submission, self.hold = store, submission, hold
        content = submission.content()
        self.profile = Profile.from_json(content["profile"])
        self.groups = content["groups"]
        found = queue.repair(store)
        self.room = room(self.profile, self.groups)
        self.free = free_places(self.room, slurm.queue())
        jobs = [element for element in found.jobs.values() if not element.is_over]
        self.live = sorted({job.job_id for job in jobs if job.task is not None})  # arrays
        self.feeders = {job.job_id for job in jobs if job.task is None}
        self.left = self._unsent()
        self.fed = Fed()

    def go(self) -> Fed:
        """Send what fits."""
        while self.left:
            size = next_size([task.group for task in self.left], self.room, self.free)
            if size < 1 or not self._send(size):
                break
            if self.left and not self.room.is_certain and self.fed.feeder is None:
                self._send_feeder()  # while there certainly is room for it
        self.fed.waiting = len(self.left)
        if self.left and self.fed.feeder is None:
            self._send_feeder()
        return self.fed

    def _unsent(self) -> list[_Task]:
        """The tasks that are in no array yet, without the runs that were submitted again since."""
        ends = [content["first"] + content["count"] for content in self._chunks()]
        begin = max(ends, default=0)
        newer = {
            run["id"]
            for other in self.store.submissions()
            if other.number > self.submission.number
            for group in other.content()["groups"]
            for task in group["tasks"]
            for run in task
        }
        tasks = [
            (number, task) for number, group in enumerate(self.groups) for task in group["tasks"]
        ]
        kept = (
            _Task(position, group, [run for run in task if run["id"] not in newer])
            for position, (group, task) in enumerate(tasks)
            if position >= begin
        )
        return [task for task in kept if task.runs]

    def _chunks(self) -> list[dict[str, Any]]:
        return [part.content() for part in self.submission.parts("chunk")]

    def _send(self, size: int) -> bool:
        """Send the next `size` tasks, or fewer if Slurm says that these are too many."""
        while True:
            tasks = self.left[:size]
            group = self.groups[tasks[0].group]
            content = {
                "token": _token(),
                "first": tasks[0].position,
                "count": tasks[-1].position + 1 - tasks[0].position,
                **{name: value for name, value in group.items() if name != "tasks"},
                "tasks": [task.runs for task in tasks],
            }
            try:
                job = self._sbatch("chunk", tasks[0].position, content)
            except slurm.UnreachableError:
                raise
            except slurm.SlurmError as error:
                if error.is_limit and self.live:
                    return False
                if not error.is_limit or size == 1:
                    raise
                size //= 2
                continue
            del self.left[:size]
            self.free -= size
            self.live.append(job)
            self.fed.chunks.append((job, size, [run["id"] for task in tasks for run in task.runs]))
            return True

    def _send_feeder(self) -> None:
        """Send the job that goes on when the oldest of the arrays is over."""
        if not self.live:
            self.fed.problem = "the queue has no room, and nothing of this sweep is in it"
            return
        first = self.left[0]
        before = self.submission.part("feeder", first.position)
        if before.file.exists():  # this feeder was interrupted, and is run again
            job = before.job_id()
            if job in self.feeders:
                self.fed.feeder = job
                return
            before.withdraw("it is over, and the tasks are still to be sent")
        content = {
            "token": _token(),
            "after": self.live[0],
            "resources": self.groups[first.group]["resources"],
        }
        try:
            self.fed.feeder = self._sbatch("feeder", first.position, content)
        except slurm.UnreachableError:
            raise
        except slurm.SlurmError as error:
            self.fed.problem = str(error)

    def _sbatch(self, kind: PartKind, first: int, content: Mapping[str, Any]) -> int:
        """Write down, send, write down that it is sent.

        A rejection is taken back. If Slurm did not answer, it may have taken the job all the same:
        that stays written down, and the next command looks for the token.
        """
        part = self.submission.part(kind, first)
        part.intend(content)
        writer = array.script_of_chunk if kind == "chunk" else array.script_of_feeder
        text = writer(self.store, self.submission, self.profile, content)
        try:
            job, _ = slurm.sbatch(array.write(self.submission, part, text), hold=self.hold)
        except slurm.UnreachableError:
            raise
        except slurm.SlurmError as error:
            part.withdraw(str(error))
            raise
        part.settle(job)
        return job


def room(profile: Profile, groups: Sequence[Mapping[str, Any]]) -> Room:
    """How much fits: by the profile, else by what Slurm says of its limits."""
    config = slurm.config()
    per_array = min(
        slurm.number_of(config, "MaxArraySize", 1001), profile.limits.max_array or sys.maxsize
    )
    enforced = "limits" in config.get("AccountingStorageEnforce", "")
    capacity = slurm.number_of(config, "MaxJobCount", 10_000) // 2  # of the whole cluster
    caps: set[Cap] = set()
    if profile.limits.max_submit is not None:
        caps = {Cap(jobs=profile.limits.max_submit)}
    elif enforced:
        asked = [group["resources"] for group in groups]
        for account, qos in {(one.get("account"), one.get("qos")) for one in asked}:
            caps.update(slurm.submit_caps(account, qos, config.get("ClusterName")))
    return Room(
        per_array=max(1, per_array),
        caps=(Cap(jobs=capacity), *caps),
        is_certain=bool(caps) or not enforced,
    )


def free_places(room: Room, queue: Iterable[slurm.Element]) -> int:
    """How many more jobs fit into the queue, beside mine that are there."""
    mine = [element for element in queue if not element.is_over]
    return min(
        cap.jobs - sum(cap.qos in {None, element.qos} for element in mine) for cap in room.caps
    )


def next_size(groups: Sequence[int], room: Room, free: int) -> int:
    """How many of the tasks that are left are the next array; less than 1: it does not fit now.

    Args:
        groups: of each task, in their order: an array has one request for resources.
        room: how much the cluster takes.
        free: places in the queue; one of them is kept for a feeder if not everything fits.
    """
    same = next((n for n, group in enumerate(groups) if group != groups[0]), len(groups))
    return min(same, room.per_array, free if len(groups) <= free else free - 1)


def _token() -> str:
    """What the job's comment carries, to find the job by if its submitter dies."""
    return f"probprec-{secrets.token_hex(8)}"


def main(arguments: Sequence[str]) -> int:
    """The job between two arrays."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    store, number = Store(Path(arguments[0])), int(arguments[1])
    deadline, pause = time.monotonic() + _PATIENCE, 2.0
    while True:
        try:
            with store.submitting() as lock:
                fed = feed(store, store.submission(number), hold=lock)
        except slurm.SlurmError as error:
            log.info("%s", error)
            if time.monotonic() > deadline:
                return 1
            time.sleep(pause)
            pause = min(60.0, pause * 1.5)
            continue
        for job, count, _ in fed.chunks:
            log.info("sent array %d of %d", job, count)
        log.info("%d tasks left, next feeder: %s", fed.waiting, fed.feeder)
        return 1 if fed.problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
