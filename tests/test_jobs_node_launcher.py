"""Array tasks from claim to record; the trainings are small scripts, the processes and signals real."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from containers.command import Command
from containers.training import Training
from jobs import files, signals
from jobs.failure import Failure
from jobs.node import cgroup, child
from jobs.node.allocation import Allocation
from jobs.node.attempt_budget import out_of_budget
from jobs.node.deadline import Deadline
from jobs.node.execution import Execution
from jobs.node.launcher import Launcher
from jobs.node.worker import work
from jobs.snapshot import code_digest
from jobs.store.store import Store
from jobs.store.submission_plan import Entry
from jobs.sweep import PlannedRun, Run
from tests.helpers import make_plan, make_run, make_sweep_of, note

RUN = make_run()
HEAD = """
import json, os, signal, sys, time
from pathlib import Path
from jobs.store.store import Store
signal.pthread_sigmask(signal.SIG_SETMASK, [])  # as jobs.train, once it listens
out = Path(sys.argv[1])
outcome = json.loads(os.environ["OUTCOME"])
def publish(content=None):
    (out / "outcome.json").write_text(json.dumps(content or outcome))
"""


def outcome(run=RUN):
    return {
        "schema": 1,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed",
        "stop": {"reason": "completed", "epoch": 1, "step": 37},
        "curves": {"test_loss": [2.3, 1.0]},
        "cost": {},
        "provenance": {"host": "here"},
    }


@pytest.fixture(autouse=True)
def _handlers():
    """A launcher takes the signals over; give them back."""
    numbers = (*signals.STOP_SIGNALS, signal.SIGCHLD)
    kept = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def folder(store):
    return store.run(RUN.id)


def trainer(monkeypatch):
    """`trains(script)`: what a training does instead of training."""

    def use(script):
        def command(training, _container):
            run = Run.from_json(json.loads(training.run_file.read_bytes()))
            return Command(
                arguments=(sys.executable, "-c", HEAD + script, str(training.out)),
                environment={**os.environ, "OUTCOME": json.dumps(outcome(run))},
            )

        monkeypatch.setattr(Training, "command", command)

    return use


@pytest.fixture
def trains(monkeypatch):
    return trainer(monkeypatch)


class Element(Allocation):
    """A made-up element of an array."""

    name = "7_0"
    grace = 0.5

    def __init__(self, *, restarts=0, end=None, lead=0.0, problem=None):
        self.restarts, self.end, self.lead, self.problem = restarts, end, lead, problem
        self.requeued = 0

    def describe(self):
        return {"element": self.name, "restart": self.restarts}

    def why_stop(self, number):
        return Failure(failure="preempted", message="preempted", evidence=str(number))

    def requeue(self):
        self.requeued += 1
        if self.problem is None:  # as Slurm ends what it has put back
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        return self.problem


def how(**changes):
    plain = {
        "data": None,
        "code_file": Path("none.zip"),
        "requeues": frozenset({"timeout", "preempted"}),
    }
    return Execution(**{**plain, **changes})


def launcher(store, allocation=None, **changes):
    return Launcher(store, how(**changes), Deadline(allocation or Allocation()))


def attempt(store, fence=0, allocation=None, run=RUN, **changes):
    return launcher(store, allocation, **changes).run_task([Entry.of(run, fence)])


def ends(folder):
    return [line for line in folder.journal() if line["event"] == "ended"]


def snapshot(store):
    """A file of code, and its sha256."""
    store.code.mkdir(exist_ok=True)
    (store.code / "c.zip").write_bytes(b"code")
    return store.code / "c.zip", hashlib.sha256(b"code").hexdigest()


def test_an_outcome_is_published_with_its_provenance(store, folder, trains):
    trains("publish()")
    archive, sha256 = snapshot(store)
    code = {"commit": "c", "dirty": False, "snapshot": sha256}

    assert attempt(store, code=code, code_file=archive)
    record = json.loads(folder.record_file.read_bytes())
    assert set(record["cost"]["total"]) == {"wall_s", "cpu_s", "peak_memory_bytes"}
    assert record["provenance"]["attempts"] == 1
    assert record["provenance"]["host"] == "here"
    assert {"commit", "dirty", "slurm", "snapshot", "co_tenants"} <= set(record["provenance"])
    assert [line["event"] for line in folder.journal()] == ["claimed", "publishing", "ended"]
    assert not folder.is_locked()


@pytest.mark.parametrize(
    ("script", "failure", "message"),
    [
        ("publish(outcome | {'id': 'x'})", "exception", "says to be run"),
        ("(out / 'outcome.json').write_text('{')", "exception", "outcome.json"),
        ("sys.exit(3)", "exception", "exit code 3"),
        ("sys.exit(127)", "image", "cannot be started"),
        ("sys.exit(73)", "disk_full", "no space"),
        ("sys.exit(75)", "timeout", "time limit"),
        ("os.kill(os.getpid(), 9)", "killed", "SIGKILL"),
        (
            """(out / 'error.json').write_text('{"failure": "bad_data", "message": "torn"}')""",
            "bad_data",
            "torn",
        ),
    ],
)
def test_what_is_no_outcome_is_a_failure(store, folder, trains, script, failure, message):
    trains(script)

    assert not attempt(store)
    assert not folder.record_file.exists()
    assert ends(folder)[-1]["failure"] == failure
    assert message in ends(folder)[-1]["message"]


def test_a_training_that_cannot_be_started(store, folder, monkeypatch):
    monkeypatch.setattr(
        Training, "command", lambda *_: Command(arguments=("/no/such/python",), environment={})
    )

    assert not attempt(store)
    assert ends(folder)[-1]["failure"] == "image"


def test_the_kernels_word_on_memory(store, folder, trains, monkeypatch):
    """A process that was killed while the counter of its cgroup grew was killed for its memory."""
    readings = iter([4, 5])
    monkeypatch.setattr(cgroup, "oom_kills", lambda: next(readings))
    trains("os.kill(os.getpid(), 9)")
    attempt(store)

    assert ends(folder)[-1]["failure"] == "oom"


def test_an_overtaken_attempt_is_refused(store, folder, trains):
    """A zombie can burn time, never change a result."""
    trains("Store(out.parents[3]).run(out.parents[1].name).claim(); publish()")

    assert not attempt(store)
    assert not folder.record_file.exists()
    assert folder.journal()[-1]["event"] == "refused"


def test_a_run_with_a_record_is_left_alone(store, folder, trains):
    trains("publish()")
    attempt(store)
    before = folder.record_file.read_bytes()

    assert attempt(store, fence=1)
    assert folder.last_fence() == 1
    assert folder.record_file.read_bytes() == before


def test_a_run_that_somebody_else_claimed_is_left_alone(store, folder, trains):
    trains("publish()")
    folder.claim()

    assert not attempt(store)
    assert folder.last_fence() == 1
    assert [line["event"] for line in folder.journal()] == ["refused"]


def test_runs_of_one_task_run_side_by_side(store, trains):
    runs = [Run.from_json(RUN.to_json() | {"seed": seed}) for seed in (1, 2)]
    trains("publish() if outcome['run']['seed'] == 1 else sys.exit(3)")
    done = launcher(store).run_task([Entry.of(run, 0) for run in runs])

    assert not done
    record = json.loads(store.run(runs[0].id).record_file.read_bytes())
    assert record["provenance"]["co_tenants"] == [runs[1].id]
    assert ends(store.run(runs[1].id))[-1]["failure"] == "exception"


def test_a_stopped_training_is_told_and_waited_for(store, folder, trains):
    trains(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
        "os.kill(os.getppid(), signal.SIGUSR2); time.sleep(20)"
    )
    attempt(store)

    assert ends(folder)[-1]["failure"] == "cancelled"
    assert [line["event"] for line in folder.journal()] == ["claimed", "stopping", "ended"]


def test_a_training_that_does_not_listen_is_killed(store, folder, trains):
    trains(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(600); (out / 'survived').touch()"
    )
    attempt(store, allocation=Element(problem="no"))

    assert ends(folder)[-1]["failure"] == "preempted"
    assert not (folder.attempt(1).path / "survived").exists()


def test_a_training_that_goes_without_a_word_when_it_is_told_to_was_stopped(store, folder, trains):
    """Its own exit code says nothing: that is 0, too, where nobody could read it."""
    trains("signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); time.sleep(60)")
    attempt(store, allocation=Element(end=time.time() + 60, lead=59.5))

    assert ends(folder)[-1]["failure"] == "timeout"


def test_time_runs_out(store, folder, trains):
    """Without a signal, by the end time alone; afterwards the element is put back."""
    trains("signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(60)")
    element = Element(end=time.time() + 60, lead=59.5)
    attempt(store, allocation=element)

    assert ends(folder)[-1]["failure"] == "timeout"
    assert element.requeued == 1
    assert folder.journal()[-1] == folder.journal()[-1] | {"event": "requeued", "element": "7_0"}


def test_a_warning_that_comes_too_early_stops_nothing(store, folder, trains):
    """Slurm may warn of a time limit a minute early: all of a short limit."""
    trains("os.kill(os.getppid(), signal.SIGUSR2); time.sleep(1); publish()")
    element = Element(end=time.time() + 60, lead=5.0)
    element.why_stop = lambda _number: None

    assert attempt(store, allocation=element)
    assert [line["event"] for line in folder.journal()] == ["claimed", "publishing", "ended"]


def test_a_signal_after_an_early_warning_counts(store, folder, trains):
    trains(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
        "os.kill(os.getppid(), signal.SIGUSR2); time.sleep(0.5);"
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    )
    element = Element(end=time.time() + 60, lead=5.0)
    told = Failure(failure="preempted", message="preempted")
    element.why_stop = lambda number: told if number == signal.SIGTERM else None
    attempt(store, allocation=element)

    assert ends(folder)[-1]["failure"] == "preempted"
    assert element.requeued == 1


def test_an_element_that_is_told_to_stop_before_it_began_is_put_back(store, folder, trains):
    """It would fail without a word otherwise, and the run wait for somebody to submit it again."""
    trains("signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(60)")
    element = Element()
    early = launcher(store, element)
    os.kill(os.getpid(), signal.SIGUSR2)
    early.run_task([Entry.of(RUN, 0)])
    events = [line["event"] for line in folder.journal()]

    assert events == ["claimed", "stopping", "ended", "requeued"]
    assert ends(folder)[-1]["failure"] == "preempted"
    assert element.requeued == 1


def test_a_requeue_that_is_refused_is_written_down(store, folder, trains):
    trains("sys.exit(75)")
    attempt(store, allocation=Element(problem="Requested operation is presently disabled"))

    assert folder.journal()[-1]["event"] == "not requeued"
    assert "disabled" in folder.journal()[-1]["message"]


def test_a_restarted_element_goes_on_with_its_run(store, folder, trains):
    """It follows its own last attempt, whose end it writes down if that could not."""
    zombie = folder.claim()
    note(folder, "claimed", fence=zombie.fence, element="7_0", submission=0)
    trains("publish()")

    assert attempt(store, allocation=Element(restarts=1))
    assert [(line["fence"], line["failure"]) for line in ends(folder)] == [(1, "lost"), (2, None)]


def test_a_restarted_element_leaves_the_runs_of_others_alone(store, folder, trains):
    other = folder.claim()
    note(folder, "claimed", fence=other.fence, element="8_0", submission=0)
    trains("publish()")

    assert not attempt(store, allocation=Element(restarts=1))
    assert folder.last_fence() == 1


def test_scratch_is_used_and_left_as_it_was(store, folder, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setenv("MY_JOB", "7")
    monkeypatch.setattr(
        Training,
        "command",
        lambda training, _container: (
            seen.append(training.scratch) or Command(arguments=("true",), environment={})
        ),
    )
    for place in ("$MY_JOB", "$NOT_SET"):
        attempt(store, fence=folder.last_fence(), scratch=f"{tmp_path}/scratch/{place}")

    assert seen[0].parent == tmp_path / "scratch" / "7"
    assert seen[1] is None
    assert not list((tmp_path / "scratch" / "7").iterdir())


def journal(folder, *tries, submission=1):
    for fence, (failure, step) in enumerate(tries, 1):
        note(folder, "claimed", fence=fence, submission=submission)
        note(folder, "ended", fence=fence, failure=failure, step=step, message="m")


@pytest.mark.parametrize(
    ("tries", "message"),
    [
        ([], None),
        ([("timeout", 10)], None),
        ([("timeout", 10), ("timeout", 20)], None),
        ([("timeout", 10), ("timeout", 10)], None),  # the first of them made progress
        ([("timeout", None), ("timeout", None)], "two attempts without a newer checkpoint"),
        ([("timeout", 10), ("timeout", 10), ("timeout", 10)], "than step 10"),
        ([("preempted", None)] * 3, None),  # they may have had no time
        ([("preempted", step) for step in range(5)], "5 attempts"),
    ],
)
def test_the_budget(folder, tries, message):
    folder.create(RUN)
    journal(folder, *tries)
    found = out_of_budget(folder, most=5)

    if message is None:
        assert found is None
    else:
        assert found.failure == "no_progress"
        assert message in found.message


def test_a_new_submission_has_a_new_budget(folder):
    folder.create(RUN)
    journal(folder, ("timeout", None), ("timeout", None))
    note(folder, "claimed", fence=3, submission=2)

    assert out_of_budget(folder, most=5) is None


def test_a_stopped_worker_starts_nothing_more(store, trains):
    runs = [Run.from_json(RUN.to_json() | {"seed": seed}) for seed in (1, 2, 3)]
    planned = [PlannedRun(run=run, problem="p", optimizer="o") for run in runs]
    store.save(make_sweep_of(planned))
    _, sha256 = snapshot(store)
    plan = make_plan(
        gpus=["3", "5"],
        code={"sha256": sha256},
        groups=[
            {"tasks": [[Entry.of(run, 0).to_json()] for run in group]}
            for group in (runs[:2], runs[2:])
        ],
    )
    number = store.new_submission(plan).number
    trains(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(20)"
    )
    work(str(store.root), number, 1)
    attempted = [run.id for run in runs if store.run(run.id).last_fence()]

    assert attempted == [runs[0].id]
    assert store.run(runs[0].id).journal()[-1]["failure"] == "cancelled"


def test_the_code_has_one_digest():
    assert code_digest() == code_digest()
    assert len(code_digest()) == 12


def test_slurm_ids_are_part_of_the_provenance(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")

    assert child.of_launch()["slurm"] == {"job_id": "17"}


def test_a_torn_error_report_does_not_hide_the_exit(store, folder, trains):
    trains("(out / 'error.json').write_text('{'); sys.exit(4)")
    attempt(store)

    assert ends(folder)[-1]["message"] == "exit code 4 without a report"
    assert files.read_lines(folder.journal_file)


def test_code_that_was_edited_since_it_was_submitted_is_not_run(store, folder, trains):
    trains("publish()")
    archive, sha256 = snapshot(store)
    archive.write_bytes(b"edited")
    code = {"commit": "c", "dirty": False, "snapshot": sha256}

    assert not attempt(store, code=code, code_file=archive)
    assert ends(folder)[-1]["failure"] == "drifted"
    assert "c.zip" in ends(folder)[-1]["message"]
    assert sha256 in ends(folder)[-1]["evidence"]


def test_a_run_that_was_set_aside_begins_again(store, folder, trains, monkeypatch):
    """Neither from an old checkpoint, nor with old attempts held against it or counted."""
    resumed = []

    def use(script):
        trains(script)
        inner = Training.command

        def command(training, container):
            resumed.append([path.name for path in training.resume])
            return inner(training, container)

        monkeypatch.setattr(Training, "command", command)

    checkpoint = "(out / 'checkpoint-a.pt').write_bytes(b'c');"
    progress = '(out / "progress.jsonl").write_text(\'{"checkpoint": 1, "step": 900}\\n\');'
    use(f"{checkpoint}{progress}sys.exit(3)")
    attempt(store)
    attempt(store, fence=1)
    folder.set_aside(2, by="me", why="redo", submission=0)
    assert out_of_budget(folder, 2) is None
    use(f"{checkpoint}sys.exit(3)")
    attempt(store, fence=3)
    use("publish()")
    attempt(store, fence=4)

    assert resumed == [[], ["0001"], [], ["0004"]]
    record = json.loads(folder.record_file.read_bytes())
    assert record["provenance"]["attempts"] == 2
    assert not list(folder.path.rglob("checkpoint-*"))
