"""Only this sweep's jobs are cancelled, and only what was named."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.commands import cancel as cancel_module
from cluster.commands.cancel import cancel
from cluster.slurm.process import SlurmError
from cluster.status.sweep_status import sweep_status
from tests.fake_slurm import FakeSlurm
from tests.helpers import LONG, note


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(
        ("99_0", "RUNNING"),  # of somebody else's sweep
        ("100_0", "COMPLETED"),
        *[(f"100_{index}", "PENDING", "Priority") for index in range(1, 4)],
    )
    return fake


def call(fake, capsys, code, *indices):
    names = [fake.runs[index].id for index in indices]
    assert cancel(fake.store, names, as_json=True) == code
    return json.loads(capsys.readouterr().out)


def test_the_whole_sweep_by_its_arrays_id(fake, capsys):
    report = call(fake, capsys, 0)

    assert fake.calls("scancel") == ["100"]
    assert report["cancelled"] == sorted(run.id for run in fake.runs[1:])
    assert report["slurm_calls"] == 2
    fake.queue()
    assert sweep_status(fake.store).runs[1].state.failure == "cancelled"


def test_some_runs_by_their_elements(fake, capsys):
    report = call(fake, capsys, 0, 1, 3)

    assert sorted(fake.calls("scancel")[0].split()) == ["100_1", "100_3"]
    assert report["cancelled"] == sorted([fake.runs[1].id, fake.runs[3].id])


def test_an_element_that_holds_others_goes_on(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, per_task=2)
    fake.queue(("100_0", "RUNNING"), ("100_1", "PENDING"))
    report = call(fake, capsys, 1, 0, 2, 3)

    assert fake.calls("scancel") == ["100_1"]
    assert report["left"][0]["id"] == fake.runs[0].id
    assert f"shares 100_0 with {fake.runs[1].id}" in report["left"][0]["why"]


def test_feeders_go_first(tmp_path, monkeypatch, capsys):
    """A feeder starts as soon as its array is over: cancelled after it, it would send the next one."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    submission = fake.send([0, 1], planned=[2, 3], job=100)
    fake.feed(submission, job=200, first=2)
    fake.queue(("100_0", "RUNNING"), ("100_1", "PENDING"), ("200", "PENDING", "Dependency"))

    one = call(fake, capsys, 1, 2)
    assert "is not sent yet" in one["left"][0]["why"]
    assert fake.calls("scancel") == []
    assert len(call(fake, capsys, 0)["cancelled"]) == 4
    assert fake.calls("scancel") == ["200 100"]


def test_nothing_to_cancel(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue()
    assert cancel(fake.store, [], as_json=False) == 0
    assert cancel(fake.store, [fake.runs[0].id], as_json=False) == 0
    assert "nothing to cancel" in capsys.readouterr().out
    assert fake.calls("scancel") == []


def test_slurm_does_not_answer(fake, capsys):
    fake.down()
    assert cancel(fake.store, [], as_json=False) == 1
    assert "nothing of it is cancelled: squeue: " in capsys.readouterr().out


def test_scancel_fails(fake):
    fake.command("scancel", "echo 'Access denied' >&2; exit 1")
    with pytest.raises(SlurmError, match="Access denied"):
        cancel(fake.store, [], as_json=False)


WORKER = """
import os, signal, sys, time
from pathlib import Path
from jobs.store.attempts import RunFolder
from jobs.store.journal import claimed
folder = RunFolder(Path(sys.argv[1]))
attempt = folder.claim()
attempt.note(claimed(host=sys.argv[2], pid=os.getpid(), submission=1))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A local launcher with the first run: a real process that holds the real lock."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    folder = fake.store.run(fake.runs[0].id)
    folder.create(fake.runs[0])
    started = []

    def start(host):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(folder.path), host],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield fake, start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_worker_of_this_machine_is_told_to_stop(worker, capsys):
    fake, start = worker
    process = start(socket.gethostname())
    report = call(fake, capsys, 0, 0)

    assert process.wait(timeout=LONG) == -signal.SIGTERM
    assert (report["cancelled"], report["workers"]) == ([fake.runs[0].id], [process.pid])
    assert report["slurm_calls"] == 0


def test_runs_that_were_replaced_are_stopped_with_the_others(worker, capsys):
    fake, start = worker
    process = start(socket.gethostname())
    fake.store.save(replace(fake.sweep, runs=fake.sweep.runs[1:]))

    assert call(fake, capsys, 0)["cancelled"] == [fake.runs[0].id]
    assert process.wait(timeout=LONG) == -signal.SIGTERM


def test_a_worker_that_has_ended_meanwhile(worker, capsys, monkeypatch):
    """Between the look at it and the signal."""
    fake, start = worker
    process = start(socket.gethostname())
    look = cancel_module._local

    def look_and_end(*arguments):
        look(*arguments)
        process.kill()
        process.wait()

    monkeypatch.setattr(cancel_module, "_local", look_and_end)
    assert call(fake, capsys, 0, 0)["workers"] == [process.pid]


def test_a_worker_of_another_machine_is_left_alone(worker, capsys):
    fake, start = worker
    process = start("elsewhere")
    assert cancel(fake.store, [], as_json=False) == 1

    assert "runs on elsewhere: log in there" in capsys.readouterr().out
    assert process.poll() is None


def test_a_pid_that_is_somebody_elses_by_now(worker, capsys):
    """The journal's pid is only believed if that process has the lock open."""
    fake, start = worker
    start("elsewhere")
    folder = fake.store.run(fake.runs[0].id)
    innocent = subprocess.Popen(["sleep", "600"])
    note(folder, "claimed", fence=1, host=socket.gethostname(), pid=innocent.pid, submission=1)
    report = call(fake, capsys, 1, 0)

    assert "does not hold its lock" in report["left"][0]["why"]
    assert innocent.poll() is None
    assert os.getpgid(innocent.pid)
    innocent.kill()
    innocent.wait()
