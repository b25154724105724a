"""A worker on a person's own machine executes a submission's tasks and those that follow."""

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

_POLL_S = 0.5
"""Pause between two checks of the tuning runs that other workers are training."""


def work(root: str, submission: int, lane: int) -> None:
    """Execute a submission's tasks on this machine until every run has been claimed.

    Several workers may go through one submission side by side: a run belongs to the worker that
    claims it first. `lane` numbers the workers, which spreads them over the GPUs. Then tuned
    settings are chosen, and the runs that follow from the choices are executed likewise.
    """
    _Worker(Store(Path(root)), lane).go(submission)


class _Worker:
    """A worker, with its lane."""

    def __init__(self, store: Store, lane: int) -> None:
        self.store, self.lane = store, lane
        self.deadline = Deadline(Allocation())

    def go(self, number: int) -> None:
        """Execute the submission and those that follow, until none is left or a signal stops it."""
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
        """The submissions that follow and are still to execute; waits for others' tuning runs."""
        while self.deadline.stopped is None and self.store.sweep().tunings:
            waiting = choosing.under_way(self.store, self.store.sweep(), number)
            with self.store.submitting():
                made = choosing.choose(self.store, self.store.sweep())
                following = choosing.follow_up(self.store, made.sweep, number)
            todo = [one for one in following if one.number not in gone_through]
            if todo or not waiting:
                return todo
            while all(folder.is_locked() for folder in waiting) and self.deadline.stopped is None:
                self.deadline.rest(_POLL_S)
        return []
