"""Slurm's queue of a sweep: one squeue, matched with the sweep's submissions on disk."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cluster.slurm import client
from cluster.slurm.client import Element
from cluster.slurm.process import PATIENCE_S, SlurmError, UnreachableError
from jobs.store.store import Store
from jobs.store.submissions import Part, Submission

_TOKEN = re.compile(r"[\w-]+")
"""A token in a job's comment, which may hold words of the profile or the site, too."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The submission, array and element that a run was last sent in."""

    submission: int
    job_id: int | None  # of the array; None: a feeder is to send it
    task: int
    element: Element | None = None  # in the queue; None: not (or no longer) listed

    @property
    def name(self) -> str | None:
        """The array element's name in Slurm's notation."""
        return None if self.job_id is None else f"{self.job_id}_{self.task}"


@dataclass(kw_only=True)
class Queue:
    """A sweep's jobs in Slurm's queue, and where each of its runs was last sent."""

    asked_at: float = field(default_factory=time.time)  # unix time; later jobs are missing
    runs: dict[str, Placement] = field(default_factory=dict)
    fed: set[int] = field(default_factory=set)  # submissions whose feeder is alive
    unknown: str | None = None  # why Slurm could not be asked
    unsettled: list[tuple[Submission, Part]] = field(default_factory=list)
    jobs: dict[str, Element] = field(default_factory=dict)  # of this sweep, in the queue

    def is_live(self, run_id: str) -> bool:
        """Whether the run is waiting or running in Slurm, or will be sent by a feeder."""
        sent = self.runs.get(run_id)
        if sent is None:
            return False
        if sent.job_id is None:
            return sent.submission in self.fed
        return sent.element is not None and not sent.element.is_over


def look(store: Store, *, ask: bool = True, patience: float = PATIENCE_S) -> Queue:
    """Ask Slurm for the sweep's queue, by one call, if the sweep was ever sent there.

    Args:
        store: the sweep.
        ask: whether to ask Slurm; else only the submissions on disk are read.
        patience: seconds that the answer may take.
    """
    found = Queue()
    submissions = [known for known in store.submissions() if known.parts("chunk")]
    if not submissions:
        return found
    elements: list[Element] = []
    if ask:
        try:
            elements = client.queue((submission.owner() for submission in submissions), patience)
        except SlurmError as error:
            found.unknown = str(error)
    by_token = {
        word: element.job_id for element in elements for word in _TOKEN.findall(element.comment)
    }
    by_place = {(element.job_id, element.task): element for element in elements}
    for submission in submissions:
        _add(found, submission, by_token, by_place)
    return found


def _add(
    found: Queue,
    submission: Submission,
    by_token: Mapping[str, int],
    by_place: Mapping[tuple[int, int | None], Element],
) -> None:
    for run_id, task in _planned(submission):
        found.runs[run_id] = Placement(submission=submission.number, job_id=None, task=task)
    for part in submission.parts("chunk"):
        _add_chunk(found, submission, part, by_token, by_place)
    for part in submission.parts("feeder"):
        job_id = _job_id(part, part.feeder().token, by_token)
        if job_id is None:
            found.unsettled.append((submission, part))
        elif (element := by_place.get((job_id, None))) is not None:
            found.jobs[element.name] = element
            if not element.is_over:
                found.fed.add(submission.number)


def _add_chunk(
    found: Queue,
    submission: Submission,
    part: Part,
    by_token: Mapping[str, int],
    by_place: Mapping[tuple[int, int | None], Element],
) -> None:
    chunk = part.chunk()
    job_id = _job_id(part, chunk.token, by_token)
    if job_id is None:
        found.unsettled.append((submission, part))
    for index, task in enumerate(chunk.group.tasks):
        element = None if job_id is None else _element(job_id, index, by_place)
        if element is not None:
            found.jobs[element.name] = element
        for entry in task:
            found.runs[entry.id] = Placement(
                submission=submission.number, job_id=job_id, task=index, element=element
            )


def _element(
    job_id: int, index: int, by_place: Mapping[tuple[int, int | None], Element]
) -> Element | None:
    """An array's element in the queue.

    Slurm does not show elements that were cancelled one by one before they began; once all of them
    are, it shows the array itself as cancelled.
    """
    rest = by_place.get((job_id, None))
    if rest is not None and rest.state == "CANCELLED":
        return by_place.get((job_id, index), replace(rest, task=index))
    return by_place.get((job_id, index))


def _planned(submission: Submission) -> Iterator[tuple[str, int]]:
    tasks = (task for group in submission.plan().groups for task in group.tasks)
    for position, task in enumerate(tasks):
        yield from ((entry.id, position) for entry in task)


def _job_id(part: Part, token: str, by_token: Mapping[str, int]) -> int | None:
    """The job of a part, by its receipt, or, if the submitter died, by the token in the queue."""
    known = part.job_id()
    if known is None and token in by_token:
        with suppress(
            OSError
        ):  # another user's sweep, or a full disk: the next look finds it again
            part.settle(by_token[token])
        return by_token[token]
    return known


def repair(store: Store) -> Queue:
    """Ask for the queue, and withdraw parts of submissions that never reached Slurm.

    The caller holds the sweep's lock, so that no other process is sending.

    Raises:
        SlurmError: a part has no receipt, and Slurm does not answer: whether it was sent is unknown.
    """
    found = look(store)
    if not found.unsettled:
        return found
    if found.unknown is not None:
        raise UnreachableError(
            ("squeue",),
            f"{found.unknown}; whether {len(found.unsettled)} jobs of an interrupted submission"
            " were sent cannot be known now; nothing was sent; try again later",
        )
    for _, part in found.unsettled:
        part.withdraw("not in the queue, and its submitter is gone")
    return look(store)
