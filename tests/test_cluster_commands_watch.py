"""The live screen and the lines: what they say of runs under way."""

import dataclasses
import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from cluster.commands import follow, status, sweep_screen, watch
from cluster.commands.follow import Watch
from cluster.commands.watch import Pace
from jobs import files
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Sweep
from tests.fake_slurm import FakeSlurm
from tests.helpers import make_run, note


def planned(seed):
    return PlannedRun(run=make_run(seed=seed, epochs=10), problem="digits", optimizer="SGD")


@pytest.fixture
def watched(tmp_path):
    sweep = Sweep(
        name="small",
        description="",
        runs=tuple(planned(seed) for seed in (1, 2, 3, 4)),
        problems=("digits",),
        optimizers=("SGD",),
        targets={},
        data=None,
        code=(),
        sources={},
    )
    store = Store(tmp_path)
    store.save(sweep)
    for each in sweep.runs:
        store.run(each.run.id).create(each.run)
    receipt = SimpleNamespace(
        store=store,
        sweep=sweep,
        submitted={each.run.id: 0 for each in sweep.runs},
        done=(),
        running=(),
        workers=(SimpleNamespace(done=lambda: False),),
        is_over=lambda: True,
    )
    return sweep, store, receipt


def fail(store, sweep, index, message="RuntimeError: no"):
    folder = store.run(sweep.runs[index].run.id)
    attempt = folder.claim()
    note(folder, "ended", fence=attempt.fence, failure="exception", message=message)
    attempt.release()


def begin(store, sweep, index, *, start):
    """An attempt that came to its first evaluation so many seconds after its claim."""
    attempt = store.run(sweep.runs[index].run.id).claim()
    now = {"time": 1000.0, "event": "claimed", "fence": attempt.fence, "submission": 1}
    files.append_line(attempt.folder.journal_file, now)
    files.append_line(attempt.progress_file, {"time": 1000.0 + start, "epoch": 0})
    return attempt


def evaluate(attempt, epoch, *, epoch_s):
    files.append_line(attempt.progress_file, {"time": 0.0, "epoch": epoch, "epoch_s": epoch_s})


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_the_screen_fits_the_terminal(watched, width, height):
    sweep, store, receipt = watched
    fail(store, sweep, 0, "RuntimeError: " + "a long story " * 30)
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=height)
    found = follow.follow(receipt, console)
    lines = [line for line in output.getvalue().splitlines() if "small" in line]

    assert sweep_screen.count(found) == {"failed": 1, "pending": 3}
    assert lines


def test_a_line_per_finished_run(watched):
    sweep, store, receipt = watched
    fail(store, sweep, 1)
    output = io.StringIO()
    follow.follow(receipt, Console(file=output, width=200))

    assert output.getvalue() == (
        f"[1/4] failed: {sweep.runs[1].run.id} digits SGD seed 2: RuntimeError: no;"
        " 0 of 40 epochs; time to go: unknown (no epoch has been measured yet)\n"
    )


def test_a_line_says_setting_progress_and_time_to_go(watched, monkeypatch):
    """Of what runs, where nothing has ended for a while; nothing in it moves a cursor."""
    sweep, store, receipt = watched
    labelled = dataclasses.replace(sweep.runs[0], varied={"lr": 0.1}, optimizer="SGD [ours]\x1b[2J")
    store.save(dataclasses.replace(sweep, runs=(labelled, *sweep.runs[1:])))
    looking = Watch(receipt)
    clock = iter([0.0, 1.0, 60.0, 60.0, 61.0, 300.0])
    monkeypatch.setattr(follow.time, "monotonic", lambda: next(clock))
    screen, output = console()
    lines = follow._Lines(looking, screen)
    attempt = begin(store, sweep, 0, start=20.0)
    for epochs in (1, 2):  # too soon after the beginning; then it is time
        evaluate(attempt, epochs, epoch_s=10.0)
        lines.show(looking.look())
    lines.show(looking.look())  # nothing new
    attempt.release()

    assert output.getvalue() == (
        "2 of 40 epochs; about 7 min to go (1 run now; epochs timed in 1 runs);"
        " digits SGD [ours]\\x1b[2J lr=0.1 seed 1 at epoch 2 of 10\n"
    )


def test_the_failure_of_an_earlier_submission_is_pending_now(watched):
    sweep, store, receipt = watched
    fail(store, sweep, 0)
    receipt.submitted[sweep.runs[0].run.id] = 1
    found = Watch(receipt).look()

    assert found[0].state.state == "pending"
    assert found[0].state.evidence == "submitted again"


def test_the_time_to_go_counts_runs_that_wait_and_their_start(watched):
    """8 epochs of 10 s of the one that runs; 3 others of 10 epochs, with 20 s before each."""
    sweep, store, receipt = watched
    looking = Watch(receipt)
    assert str(looking.eta(looking.look())) == (
        "time to go: unknown (no epoch has been measured yet)"
    )

    attempt = begin(store, sweep, 0, start=20.0)
    evaluate(attempt, 2, epoch_s=10.0)
    found = looking.look()

    assert found[0].state.start_s == pytest.approx(20)
    assert looking.eta(found).seconds == pytest.approx(8 * 10 + 3 * (20 + 100))
    receipt.workers *= 2
    assert looking.eta(found).seconds == pytest.approx((8 * 10 + 3 * (20 + 100)) / 2)
    receipt.workers *= 4
    assert looking.eta(found).seconds == pytest.approx(20 + 100)
    attempt.release()


def test_many_failures_are_not_all_printed(watched):
    sweep, store, receipt = watched
    for index in range(4):
        fail(store, sweep, index, f"RuntimeError: {index}")
    receipt.submitted = {}
    lines = sweep_screen.troubles(Watch(receipt).look(), most=2)

    assert len(lines) == 2 * 2 + 1
    assert "log: " in str(lines[1])
    assert "and 2 more" in str(lines[-1])


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch)


def console(width=0):
    output = io.StringIO()
    return Console(file=output, force_terminal=bool(width), width=width or 200, height=24), output


def test_watching_ends_when_nothing_is_live(fake):
    """The story of a sweep: wait, run, done, and one failure; Slurm is asked less than the files."""
    story = iter(
        [
            lambda: None,
            lambda: fake.queue(("100_0", "RUNNING"), ("100_1", "RUNNING")),
            lambda: [fake.record(index) for index in (0, 1)],
            lambda: [fake.record(2), fake.fail(3, "100_3", "exception")],
            fake.queue,
        ]
    )
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(4)])
    screen, output = console()
    looks = []
    look = watch.until_over(
        fake.store,
        screen,
        sleep=lambda pause: looks.append(pause) or next(story, lambda: None)(),
        slurm=Pace(0.0, 0.0),
    )

    assert sweep_screen.count(look.runs) == {"completed": 3, "failed": 1}
    lines = output.getvalue().splitlines()
    assert "4 pending; 0 of 40 epochs; time to go: unknown (nothing runs yet)" in lines[0]
    assert "3 completed, 1 failed; 30 of 40 epochs" in lines[-1]


def test_files_are_looked_at_more_often_than_slurm_is_asked(fake):
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(4)])
    screen, _ = console()
    looks = []

    def sleep(pause):
        looks.append(pause)
        if len(looks) == 30:
            for index in range(4):
                fake.record(index)

    watch.until_over(fake.store, screen, sleep=sleep)

    assert len(looks) == 30
    assert len(fake.calls("squeue")) == 1
    assert max(looks[:3]) < 8 < min(looks[-5:])
    assert max(looks) <= 24


@pytest.mark.parametrize("width", [0, 80])
def test_ctrl_c_leaves_the_jobs_alone(fake, width):
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(4)])
    screen, output = console(width)

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch.until_over(fake.store, screen, sleep=interrupted)
    assert "no longer watching; the jobs go on" in output.getvalue()
    assert fake.calls("scancel") == []


def test_watching_goes_on_while_slurm_does_not_answer(fake):
    fake.down()
    screen, output = console(80)
    looks = []

    def sleep(_):
        looks.append(1)
        if len(looks) == 5:
            for index in range(4):
                fake.record(index)

    look = watch.until_over(fake.store, screen, sleep=sleep)

    assert look.is_complete
    assert len(looks) == 5
    assert "Slurm cannot be asked now" in output.getvalue()


def test_a_sweep_that_grows_while_it_is_watched(fake):
    small = dataclasses.replace(fake.sweep, runs=fake.sweep.runs[:2])
    fake.store.save(small)
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(4)])
    looks = []

    def sleep(_):
        looks.append(1)
        if len(looks) == 1:
            fake.store.save(fake.sweep)
        for index in range(4):
            fake.record(index)

    assert len(watch.until_over(fake.store, console()[0], sleep=sleep).runs) == 4


def test_status_watch_prints_one_object(fake, capsys):
    for index in range(4):
        fake.record(index)
    fake.queue()

    assert status.status(fake.store, watch=True, as_json=True) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["states"] == {"completed": 4}
    assert "4 completed; 40 of 40 epochs" in captured.err


def test_the_pace():
    pace = Pace(2.0, 60.0)
    quiet = [pace.next(changed=False) for _ in range(12)]

    assert 1.6 <= quiet[0] <= 2.4
    assert 48 <= quiet[-1] <= 72
    assert pace.next(changed=True) <= 2.4
    assert pace.next(changed=True, took=5.0) >= 36
