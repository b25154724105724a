"""Why an element of an array is told to stop, by its signal, its end and what Slurm says of it."""

import re
import signal
import time

import pytest

from cluster.task import SlurmAllocation

LEAD = 10


def then(found):
    """The time that `+40` stands for, as Slurm prints it: in 40 seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + int(found[1])))


@pytest.fixture
def allocation(tmp_path, monkeypatch):
    """`allocation(left, says)`: with so many seconds left; a fake scontrol answers `says`.

    In that `+40` stands for the time in 40 seconds.
    """

    def make(left, says=None):
        for name, value in {
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_JOB_ID": "11",
            "SLURM_JOB_END_TIME": str(int(time.time() + left)),
        }.items():
            monkeypatch.setenv(name, value)
        answer = "exit 1" if says is None else "echo JobId=11 " + re.sub(r"\+(\d+)", then, says)
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / "scontrol").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return SlurmAllocation(LEAD)

    return make


RUNS = "JobState=RUNNING Restarts=0 PreemptTime=None"


@pytest.mark.parametrize(
    ("number", "left", "says", "failure"),
    [
        (signal.SIGUSR2, 5, None, "timeout"),  # Slurm need not be asked
        (signal.SIGUSR2, 40, f"{RUNS} EndTime=+40", None),  # warned too early
        (signal.SIGUSR2, 40, None, "timeout"),  # maybe not: nobody can tell
        (signal.SIGUSR2, 40, "JobState=PREEMPTED Restarts=1", "preempted"),
        (signal.SIGUSR2, 40, "JobState=RUNNING PreemptTime=+0", "preempted"),
        (signal.SIGUSR2, 900, f"{RUNS} EndTime=+5", "timeout"),  # the limit was shortened
        (signal.SIGUSR2, 900, f"{RUNS} EndTime=+900", "cancelled"),  # somebody sent it
        (signal.SIGTERM, 900, "JobState=COMPLETING Restarts=1", "preempted"),
        (signal.SIGTERM, 900, "JobState=CANCELLED Restarts=0", "cancelled"),
        (signal.SIGTERM, 40, "JobState=CANCELLED Restarts=0", "cancelled"),
        (signal.SIGTERM, 40, f"{RUNS} EndTime=+40", "timeout"),
    ],
)
def test_why_an_element_stops(allocation, number, left, says, failure):
    found = allocation(left, says).why_stop(number)

    assert (found and found.failure) == failure


def test_the_end_follows_a_changed_limit(allocation):
    element = allocation(40, f"{RUNS} EndTime=+3000")

    assert element.why_stop(signal.SIGUSR2).failure == "cancelled"
    assert element.end == pytest.approx(time.time() + 3000, abs=60)


@pytest.mark.parametrize(
    ("says", "end"),
    [
        ("JobState=RUNNING EndTime=+900", 900),
        ("JobState=COMPLETING Restarts=0 EndTime=+0", None),
        ("JobState=CANCELLED Restarts=0 EndTime=+0", None),
        ("JobState=RUNNING EndTime=Unknown", None),
    ],
)
def test_a_job_that_is_being_ended_has_no_time_limit(allocation, monkeypatch, says, end):
    """Else one that is cancelled before it has asked would take that for its limit, and come back."""
    allocation(900, says)
    monkeypatch.delenv("SLURM_JOB_END_TIME")  # as before Slurm 23.02
    element = SlurmAllocation(LEAD)

    assert element.end == (None if end is None else pytest.approx(time.time() + end, abs=60))
    if "CANCEL" in says or "COMPLETING" in says:
        assert element.why_stop(signal.SIGTERM).failure == "cancelled"


def test_it_puts_back_itself_and_not_the_whole_array(allocation, tmp_path):
    element = allocation(900, "")
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n')

    assert element.requeue() is None
    assert (tmp_path / "calls").read_text() == "requeue 7_3\n"
