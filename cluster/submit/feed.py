"""A submission is sent: as many and as large arrays as the queue takes, then a feeder that goes on."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cluster.slurm import client
from cluster.slurm.process import SlurmError, UnreachableError
from cluster.status import queue
from cluster.submit import batch_script
from cluster.submit.queue_room import free_places, next_size, room_of
from jobs.store import choosing
from jobs.store.choosing import Undecided
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, FeederJob, Task
from jobs.store.submissions import PartKind, Submission


@dataclass
class FeedReport:
    """A report on the jobs that one call of `feed` has sent."""

    chunks: list[tuple[int, int, list[str]]] = field(default_factory=list)  # job, elements, runs
    feeder: int | None = None  # the job that will send the rest, or runs that follow from a choice
    waiting: int = 0  # tasks that are not sent yet
    choices: int = 0  # settings to be chosen once the runs in the queue are over
    problem: str | None = None  # why no feeder could be sent

    def lines(self) -> list[str]:
        """Lines about the arrays that were sent, and the job that sends the rest."""
        found = [
            f"job {job}: array of {count} ({len(runs)} runs)" for job, count, runs in self.chunks
        ]
        if self.feeder is not None and self.waiting:
            rest = f"sends the other {self.waiting} tasks when there is room"
            found.append(f"job {self.feeder}: {rest}")
        elif self.feeder is not None:
            noun = "setting" if self.choices == 1 else "settings"
            then = f"chooses {self.choices} {noun} when the runs are over, and sends what follows"
            found.append(f"job {self.feeder}: {then}")
        return found

    @property
    def lacks(self) -> str | None:
        """The tasks or choices that no job takes care of, and why, in words."""
        if self.problem is None:
            return None
        what = f"{self.waiting} tasks are not sent" if self.waiting else "nobody will choose"
        how = "sends them" if self.waiting else "does"
        return f"{what} ({self.problem}); the same command later {how}"

    def add(self, other: "FeedReport") -> None:
        """Add the report on a submission that follows."""
        self.chunks += other.chunks
        self.feeder = self.feeder or other.feeder
        self.waiting += other.waiting
        self.problem = self.problem or other.problem


@dataclass(frozen=True)
class _Task:
    """An array task that is still to be sent."""

    position: int  # among the tasks of the plan
    group: int
    runs: Task


def feed(store: Store, submission: Submission, *, hold: int | None = None) -> FeedReport:
    """Send arrays until all tasks are sent or no more fit; then send a feeder for the rest.

    Args:
        store: the sweep, held by the caller (`Store.submitting`).
        submission: the submission to send.
        hold: the descriptor of that lock.

    Raises:
        SlurmError: Slurm takes nothing at all, or does not answer.
    """
    found = queue.repair(store)
    made = choosing.choose(store, store.sweep())  # after the look, so that no run's end is missed
    fed = _Sender(store, submission, hold, found, made.undecided).go()
    for following in choosing.follow_up(store, made.sweep, submission.number):
        # One feeder is enough to make the remaining choices: that of the submission itself.
        fed.add(_Sender(store, following, hold, queue.repair(store), undecided=()).go())
    return fed


class _Sender:
    """A sender of one submission, within `feed`."""

    def __init__(
        self,
        store: Store,
        submission: Submission,
        hold: int | None,
        found: queue.Queue,
        undecided: Sequence[Undecided],
    ) -> None:
        self.store, self.submission, self.hold = store, submission, hold
        plan = submission.plan()
        self.profile, self.groups = plan.profile, plan.groups
        self.room = room_of(self.profile, self.groups)
        self.free = free_places(self.room, client.queue())
        jobs = [element for element in found.jobs.values() if not element.is_over]
        self.live = sorted({job.job_id for job in jobs if job.task is not None})  # arrays
        self.feeders = {job.job_id for job in jobs if job.task is None} - {_own_job()}
        self.left = self._unsent()
        coming = {entry.id for task in self.left for entry in task.runs}
        self.fed = FeedReport(
            choices=sum(
                bool(one.missing)
                and all(run.id in coming or found.is_live(run.id) for run in one.missing)
                for one in undecided
            )
        )

    def go(self) -> FeedReport:
        """Send as many arrays as fit, and a feeder if tasks or choices are left."""
        while self.left:
            after = 1 if self.fed.choices else 0
            size = next_size([task.group for task in self.left], self.room, self.free, after)
            if size < 1 or not self._send(size):
                break
            if self.left and not self.room.is_certain and self.fed.feeder is None:
                self._send_feeder()  # while the queue certainly has room
        self.fed.waiting = len(self.left)
        if (self.left or self.fed.choices) and self.fed.feeder is None:
            self._send_feeder()
        return self.fed

    def _unsent(self) -> list[_Task]:
        """The tasks that are in no array yet, without runs that a newer submission holds."""
        ends = [chunk.first + chunk.count for chunk in self._chunks()]
        begin = max(ends, default=0)
        newer = {
            entry.id
            for other in self.store.submissions()
            if other.number > self.submission.number
            for entry in other.plan().entries
        }
        tasks = [(number, task) for number, group in enumerate(self.groups) for task in group.tasks]
        kept = (
            _Task(position, group, tuple(entry for entry in task if entry.id not in newer))
            for position, (group, task) in enumerate(tasks)
            if position >= begin
        )
        return [task for task in kept if task.runs]

    def _chunks(self) -> list[Chunk]:
        return [part.chunk() for part in self.submission.parts("chunk")]

    def _send(self, size: int) -> bool:
        """Send the next `size` tasks, or fewer if Slurm refuses so many."""
        while True:
            tasks = self.left[:size]
            group = self.groups[tasks[0].group]
            chunk = Chunk(
                token=_token(),
                first=tasks[0].position,
                count=tasks[-1].position + 1 - tasks[0].position,
                group=replace(group, tasks=tuple(task.runs for task in tasks)),
            )
            try:
                job = self._sbatch("chunk", chunk.first, chunk)
            except UnreachableError:
                raise
            except SlurmError as error:
                if error.is_limit and self.live:
                    return False
                if not error.is_limit or size == 1:
                    raise
                size //= 2
                continue
            del self.left[:size]
            self.free -= size
            self.live.append(job)
            self.fed.chunks.append((job, size, [entry.id for entry in chunk.group.entries]))
            return True

    def _send_feeder(self) -> None:
        """Send the feeder: it starts when the oldest array is over, or, if it only chooses, when all are."""
        if not self.live:
            self.fed.problem = "the queue has no room, and nothing of this sweep is in it"
            return
        position = (
            self.left[0].position if self.left else sum(len(group.tasks) for group in self.groups)
        )
        group = self.left[0].group if self.left else -1
        before = self.submission.part("feeder", position)
        if before.file.exists():  # this process is that feeder, started again
            job = before.job_id()
            if job in self.feeders:
                self.fed.feeder = job
                return
            before.withdraw("it is over, and there still is something to be sent")
        feeder = FeederJob(
            token=_token(),
            after=tuple(self.live[:1] if self.left else self.live),
            resources=self.groups[group].resources,
        )
        try:
            self.fed.feeder = self._sbatch("feeder", position, feeder)
        except UnreachableError:
            raise
        except SlurmError as error:
            self.fed.problem = str(error)

    def _sbatch(self, kind: PartKind, first: int, content: Chunk | FeederJob) -> int:
        """Note the intent, send the job, and note its receipt.

        The intent is withdrawn if Slurm rejects the job. If Slurm did not answer, it may have taken
        the job all the same: the intent stays, and the next command looks for its token.
        """
        part = self.submission.part(kind, first)
        part.intend(content)
        text = batch_script.script_of(self.store, self.submission, self.profile, content)
        try:
            job, _ = client.sbatch(batch_script.write(self.submission, part, text), hold=self.hold)
        except UnreachableError:
            raise
        except SlurmError as error:
            part.withdraw(str(error))
            raise
        part.settle(job)
        return job


def _own_job() -> int | None:
    """The id of the job that this process runs in; None: it runs in none."""
    return int(os.environ["SLURM_JOB_ID"]) if "SLURM_JOB_ID" in os.environ else None


def _token() -> str:
    """A token for the job's comment, by which the job is found if its submitter dies."""
    return f"probprec-{secrets.token_hex(8)}"
