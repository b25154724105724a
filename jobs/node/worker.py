"""A worker on a person's own machine: it goes through a submission, and through what follows from it."""

from collections.abc import Container
from pathlib import Path

from jobs.node.allocation import Allocation
from jobs.node.deadline import Deadline
from jobs.node.execution import execution_of
from jobs.node.launcher import Launcher
from jobs.store import choosing
from jobs.store.store import Store
from jobs.store.submissions import Submission
from jobs.store.workers import AtWork, at_work

_PAUSE = 0.5
"""Seconds between two looks at the tuning runs that other workers are training."""


def work(root: str, submission: int, lane: int) -> None:
    """Go through a submission's tasks on this machine until none is left that nobody has taken.

    Several workers may go through one submission side by side: a run belongs to whoever claims it
    first. `lane` numbers the workers; it spreads them over the GPUs. Then what was tuned is chosen,
    and the runs that follow from that are gone through likewise.
    """
    _Worker(Store(Path(root)), lane).go(submission)


class _Worker:
    """One of the workers."""

    def __init__(self, store: Store, lane: int) -> None:
        self.store, self.lane = store, lane
        self.deadline = Deadline(Allocation())

    def go(self, number: int) -> None:
        """Work until nothing is left, or it is told to stop."""
        gone_through: set[int] = set()
        todo = [self.store.submission(number)]
        while todo:
            for submission in todo:
                gone_through.add(submission.number)
                with at_work(submission, self.lane) as held:
                    self._go_through(submission, held)
            todo = self._following(number, gone_through)

    def _go_through(self, submission: Submission, held: AtWork) -> None:
        plan = submission.plan()
        gpu = plan.gpus[self.lane % len(plan.gpus)] if plan.gpus else ""
        self.deadline.on_signal = held.release
        for group in plan.groups:
            settings = execution_of(self.store, submission.number, plan, group, gpu)
            launcher = Launcher(self.store, settings, self.deadline)
            for task in group.tasks:
                if self.deadline.stopped is None:
                    launcher.run_task(task)

    def _following(self, number: int, gone_through: Container[int]) -> list[Submission]:
        """What else follows from the submission; waits for tuning runs that others are training."""
        while self.deadline.stopped is None and self.store.sweep().tunings:
            waiting = choosing.under_way(self.store, self.store.sweep(), number)
            with self.store.submitting():
                made = choosing.choose(self.store, self.store.sweep())
                following = choosing.follow_up(self.store, made.sweep, number)
            todo = [one for one in following if one.number not in gone_through]
            if todo or not waiting:
                return todo
            while all(folder.is_locked() for folder in waiting) and self.deadline.stopped is None:
                self.deadline.rest(_PAUSE)
        return []
