"""When trainings have to stop: real signals to this process, end times that are near, no trainings."""

import os
import signal
import time

import pytest

from jobs.failure import Failure
from jobs.node.allocation import Allocation
from jobs.node.deadline import Deadline
from tests.test_jobs_node_launcher import Element, _handlers  # noqa: F401 - a fixture, used by all


def tell(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def test_without_a_signal_and_an_end_there_is_no_hurry():
    deadline = Deadline(Allocation())

    assert deadline.look() is None
    assert deadline.training_end() is None
    assert not deadline.is_grace_over()


def test_a_signal_wakes_who_sleeps_and_is_the_reason():
    deadline = Deadline(Allocation())
    heard = []
    deadline.on_signal = lambda: heard.append(True)
    tell()
    deadline.wait()  # up to a minute otherwise

    assert heard
    assert deadline.is_signalled
    assert deadline.look().failure == "cancelled"


def test_the_first_reason_holds():
    deadline = Deadline(Element(end=time.time() + 60, lead=59.99))
    deadline.rest(0.05)
    tell()

    assert deadline.stopped.failure == "timeout"
    assert deadline.look() is deadline.stopped


def test_a_signal_that_is_no_reason_is_forgotten():
    element = Element()
    element.why_stop = lambda _number: None
    deadline = Deadline(element)
    tell(signal.SIGUSR2)

    assert deadline.look() is None
    assert not deadline.is_signalled


def test_a_signal_that_comes_while_another_is_looked_into_is_not_forgotten():
    element = Element()
    told = Failure(failure="preempted", message="m")
    element.why_stop = lambda number: told if number == signal.SIGTERM else tell()
    deadline = Deadline(element)
    tell(signal.SIGUSR2)

    assert deadline.look() is None
    assert deadline.look() is told


def test_a_training_may_hear_of_it_first():
    """Its launcher waits for the signal a little; without one there is no reason."""
    deadline = Deadline(Element())
    begun = time.monotonic()

    assert deadline.look_at_late_signal() is None
    assert time.monotonic() - begun > 1.0
    tell()
    assert deadline.look_at_late_signal().failure == "preempted"


@pytest.mark.parametrize(
    ("grace", "end", "is_over"), [(0.0, None, True), (60.0, None, False), (60.0, 4.0, True)]
)
def test_the_time_for_a_checkpoint(grace, end, is_over):
    """It ends after a while, or a little before the allocation does."""
    element = Element(end=end and time.time() + end)
    element.grace = grace
    deadline = Deadline(element)

    assert not deadline.is_grace_over()
    deadline.begin_grace()
    assert deadline.is_grace_over() is is_over


@pytest.mark.parametrize(("lead", "before"), [(0.0, 5.0), (30.0, 30.0)])
def test_when_a_training_has_to_be_over(lead, before):
    assert Deadline(Element(end=1000.0, lead=lead)).training_end() == 1000.0 - before
