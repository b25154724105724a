"""What is written down of the ends of attempts, and in which order; without any training."""

import pytest

from jobs.failure import Failure
from jobs.node.deadline import Deadline
from jobs.node.endings import Endings
from jobs.store.store import Store
from tests.helpers import note
from tests.test_jobs_node_launcher import (
    RUN,
    Element,
    _handlers,  # noqa: F401 - a fixture, used by all
    how,
    outcome,
)

PREEMPTED = Failure(failure="preempted", message="m")


@pytest.fixture
def folder(tmp_path):
    folder = Store(tmp_path).run(RUN.id)
    folder.create(RUN)
    return folder


@pytest.fixture
def element():
    return Element()


@pytest.fixture
def endings(element):
    return Endings(Deadline(element))


def claim(folder):
    attempt = folder.claim()
    note(folder, "claimed", fence=attempt.fence, submission=1)
    return attempt


def events(folder):
    return [line["event"] for line in folder.journal()]


def test_the_record_comes_before_the_end_and_the_checkpoints_go_last(folder, endings):
    attempt = claim(folder)
    attempt.outcome_file.write_text("{}")
    attempt.checkpoint_files[0].write_bytes(b"c")
    endings.publish(attempt, outcome())

    assert events(folder) == ["claimed", "publishing", "ended"]
    assert folder.record_file.exists()
    assert not attempt.outcome_file.exists()
    assert not attempt.has_checkpoint()
    assert not attempt.is_alive()


def test_a_second_record_is_refused(folder, endings):
    for _ in range(2):
        endings.publish(claim(folder), outcome())

    assert events(folder)[-1] == "refused"


@pytest.mark.parametrize(("failure", "requeued"), [("preempted", 1), ("oom", 0)])
def test_only_what_the_policy_names_is_put_back(folder, endings, element, failure, requeued):
    endings.end(claim(folder), Failure(failure=failure, message="m"))
    endings.requeue(how())

    assert element.requeued == requeued
    assert events(folder) == ["claimed", "ended"] + ["requeued"] * requeued


def test_what_was_put_back_is_not_put_back_again(folder, endings, element):
    endings.end(claim(folder), PREEMPTED)
    endings.requeue(how())
    endings.requeue(how())

    assert element.requeued == 1


def test_who_has_a_newer_attempt_is_not_put_back(folder, endings, element):
    endings.end(claim(folder), PREEMPTED)
    claim(folder)
    endings.requeue(how())

    assert element.requeued == 0


def test_a_run_out_of_budget_ends_for_good(folder, endings, element):
    endings.end(claim(folder), PREEMPTED)
    endings.requeue(how(max_attempts=1))

    assert element.requeued == 0
    assert folder.journal()[-1]["failure"] == "no_progress"
