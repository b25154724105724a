"""Several runs in one array task: what becomes of one is no matter of the others."""

import errno
import json
import os
import subprocess

import pytest

from containers.command import Command
from containers.training import Training
from jobs import files
from jobs.node import cgroup
from jobs.node.prepare import Node, UnusableDataError
from jobs.store import attempts
from jobs.store.store import Store
from jobs.store.submission_plan import Entry
from jobs.sweep import Run
from tests.helpers import LONG, wait_for
from tests.test_jobs_node_launcher import (
    RUN,
    Element,
    _handlers,  # noqa: F401 - a fixture, used by all
    ends,
    launcher,
    trainer,
)

FIRST, SECOND = (Run.from_json(RUN.to_json() | {"seed": seed}) for seed in (1, 2))
SEED = "seed = outcome['run']['seed'];"
LISTENS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
WAITS = "time.sleep(600); (out / 'waited').touch()"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def trains(monkeypatch):
    return trainer(monkeypatch)


def attempt(store, allocation=None, runs=(FIRST, SECOND), **changes):
    return launcher(store, allocation, **changes).run_task([Entry.of(run, 0) for run in runs])


def claims(store, run):
    return [line for line in store.run(run.id).journal() if line["event"] == "claimed"]


def were_told(store):
    """Whether both have left before their time: nobody kills them when `grace` is longer."""
    return not any(
        (store.run(run.id).attempt(1).path / "waited").exists() for run in (FIRST, SECOND)
    )


def record(store, run):
    return json.loads(store.run(run.id).record_file.read_bytes())


@pytest.mark.parametrize(("failure", "times"), [("oom", 1), ("killed", 3)])
def test_what_has_failed_for_good_is_not_brought_back_by_the_others(store, trains, failure, times):
    """Else it would fail again beside them, at last for want of progress: with another advice."""
    error = json.dumps({"failure": failure, "message": "as it was"})
    trains(
        f"{SEED} seed == 1 and (out / 'error.json').write_text({error!r}); sys.exit(75 * (seed == 2))"
    )
    for restarts in range(3):
        store.run(SECOND.id).create(SECOND)
        attempt(store, Element(restarts=restarts), max_attempts=9)

    assert len(claims(store, FIRST)) == times
    assert ends(store.run(FIRST.id))[0]["failure"] == failure
    assert len(claims(store, SECOND)) > 1


def test_a_run_alone_that_is_put_back_by_hand_is_tried_again(store, trains):
    trains("""(out / 'error.json').write_text('{"failure": "oom", "message": "m"}')""")
    for restarts in range(2):
        attempt(store, Element(restarts=restarts), runs=[FIRST])
    assert len(claims(store, FIRST)) == 2


@pytest.mark.parametrize(
    ("number", "failure"), [(errno.EDQUOT, "disk_full"), (errno.EIO, "exception")]
)
def test_a_record_that_cannot_be_written_ends_only_its_own_run(
    store, trains, monkeypatch, number, failure
):
    whole = files.publish

    def publish(path, content):
        if FIRST.id in str(path):
            raise OSError(number, os.strerror(number))
        whole(path, content)

    monkeypatch.setattr(attempts.files, "publish", publish)
    trains(f"{SEED} time.sleep(seed - 1); publish()")

    assert not attempt(store)
    assert ends(store.run(FIRST.id))[-1]["failure"] == failure
    assert os.strerror(number) in ends(store.run(FIRST.id))[-1]["message"]
    assert store.run(FIRST.id).attempt(1).outcome_file.exists()
    assert record(store, SECOND)["id"] == SECOND.id


@pytest.mark.parametrize("event", ["claimed", "ended"])
def test_a_journal_that_cannot_be_written_stops_no_other_run(
    store, trains, monkeypatch, event, caplog
):
    whole = files.append_line

    def append(path, line):
        if FIRST.id in str(path) and line["event"] == event:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, line)

    monkeypatch.setattr(attempts.files, "append_line", append)
    trains(f"{SEED} sys.exit(3) if seed == 1 else publish()")

    assert not attempt(store)
    assert record(store, SECOND)["id"] == SECOND.id
    assert FIRST.id in caplog.text
    assert not store.run(FIRST.id).is_locked()


@pytest.mark.parametrize("event", ["stopping", "requeued"])
def test_a_full_disk_keeps_no_other_run_from_being_put_back(store, trains, monkeypatch, event):
    whole = files.append_line

    def append(path, line):
        if FIRST.id in str(path) and line["event"] == event:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        whole(path, line)

    monkeypatch.setattr(attempts.files, "append_line", append)
    trains(
        f"""{SEED}
{LISTENS}
if seed == 2:
    os.kill(os.getppid(), signal.SIGUSR2)
{WAITS}
"""
    )
    element = Element()
    element.grace = 2 * LONG
    attempt(store, element)

    assert were_told(store)
    assert store.run(SECOND.id).journal()[-1]["event"] == "requeued"
    assert ends(store.run(FIRST.id))[-1]["failure"] == "preempted"
    assert element.requeued == 1


@pytest.mark.parametrize(
    ("gpu", "given"),
    [
        ("0,1", ["0", "1", "0"]),
        ("4,5,6,7", ["4", "5", "6"]),
        ("GPU-1", ["GPU-1"] * 3),
        ("", [""] * 3),
    ],
)
def test_gpus_are_shared_out(store, monkeypatch, gpu, given):
    seen = []

    def command(training, _container):
        seen.append(training.gpu)
        return Command(arguments=("true",), environment={})

    monkeypatch.setattr(Training, "command", command)
    attempt(store, runs=[FIRST, SECOND, RUN], gpu=gpu)
    assert seen == given

    attempt(store, runs=[Run.from_json(RUN.to_json() | {"seed": 3})], gpu=gpu)
    assert seen[-1] == gpu


def test_gpus_of_a_task_that_was_put_back_are_shared_out_among_the_rest(store, trains, monkeypatch):
    """The first and the third of four runs have their records."""
    runs = [Run.from_json(RUN.to_json() | {"seed": seed}) for seed in range(4)]
    trains("publish()")
    attempt(store, runs=runs[::2])
    seen = []

    def command(training, _container):
        seen.append(training.gpu)
        return Command(arguments=("true",), environment={})

    monkeypatch.setattr(Training, "command", command)
    attempt(store, runs=runs, gpu="0,1")
    assert seen == ["0", "1"]


def test_one_kill_for_memory_is_no_excuse_for_the_others(store, trains, monkeypatch, tmp_path):
    """The counter is of all of them: it tells that one was killed, not which."""
    killed = tmp_path / "killed"
    monkeypatch.setattr(cgroup, "oom_kills", lambda: int(killed.exists()))
    error = json.dumps({"failure": "exception", "message": "a bug"})
    trains(
        f"""{SEED}
if seed == 2:
    Path({str(killed)!r}).with_suffix(".new").write_text(str(os.getpid()))
    Path({str(killed)!r}).with_suffix(".new").rename({str(killed)!r})
    os.kill(os.getpid(), 9)
while not Path({str(killed)!r}).exists():
    time.sleep(0.01)
other = Path("/proc", Path({str(killed)!r}).read_text())
while other.exists() and ") Z" not in (other / "stat").read_text():
    time.sleep(0.01)
(out / 'error.json').write_text({error!r})
"""
    )
    attempt(store)

    assert ends(store.run(SECOND.id))[-1]["failure"] == "oom"
    assert ends(store.run(FIRST.id))[-1]["failure"] == "exception"


def test_a_kill_for_memory_right_at_the_start_is_one(store, trains, monkeypatch, tmp_path):
    """The training has ended before the launcher does anything more."""
    killed = tmp_path / "killed"
    monkeypatch.setattr(cgroup, "oom_kills", lambda: int(killed.exists()))
    start = subprocess.Popen

    def start_and_end(*arguments, **more):
        process = start(*arguments, **more)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        killed.touch()
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_end)
    trains("os.kill(os.getpid(), 9)")
    attempt(store, runs=[FIRST])

    assert ends(store.run(FIRST.id))[-1]["failure"] == "oom"


def test_what_has_ended_does_not_wait_for_the_data_of_another(store, trains, monkeypatch):
    """It is published at once, with its own time, and who never trained was no co-tenant."""
    whole = Node.data_of

    def data_of(node, run, reporter):
        if run.id != SECOND.id:
            return whole(node, run, reporter)
        wait_for(lambda: reporter.heartbeat() or store.run(FIRST.id).record_file.exists())
        raise UnusableDataError("torn")

    monkeypatch.setattr(Node, "data_of", data_of)
    trains("publish()")
    attempt(store)

    assert ends(store.run(SECOND.id))[-1]["failure"] == "bad_data"
    assert record(store, FIRST)["provenance"]["co_tenants"] == []


def test_who_is_started_after_the_word_to_stop_hears_it_too(store, trains, monkeypatch):
    """Of the first one the data is being staged when it comes; the second one needs none."""
    whole = Node.data_of

    def data_of(node, run, reporter):
        if run.id == FIRST.id:
            os.kill(os.getpid(), 10)
            reporter.heartbeat()
        return whole(node, run, reporter)

    monkeypatch.setattr(Node, "data_of", data_of)
    trains(f"{LISTENS} {WAITS}")
    element = Element()
    element.grace = 2 * LONG
    attempt(store, element)

    assert were_told(store)
    for run in (FIRST, SECOND):
        assert ends(store.run(run.id))[-1]["failure"] == "preempted"
        assert store.run(run.id).journal()[-1]["event"] == "requeued"


def test_who_ends_while_another_end_is_looked_into(store, trains):
    """Whether a training that left early was told to takes seconds to find out."""
    trains(f"{SEED} sys.exit(75) if seed == 1 else (time.sleep(1), publish())")
    attempt(store)

    assert record(store, SECOND)["id"] == SECOND.id


def test_a_policy_may_put_back_what_could_not_even_be_started(store, trains, monkeypatch):
    def data_of(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/scratch")

    monkeypatch.setattr(Node, "data_of", data_of)
    trains("publish()")
    element = Element()
    attempt(store, element, runs=[FIRST], requeues=frozenset({"disk_full"}))

    assert ends(store.run(FIRST.id))[-1]["failure"] == "disk_full"
    assert element.requeued == 1
