"""The live screen and the lines: what they say of runs under way."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from cluster import status, watch
from cluster.watch import Watch
from jobs import files
from jobs.store import Store
from jobs.sweep import PlannedRun, Run, Sweep


def planned(seed):
    run = Run(
        problem="digits_mlp",
        optimizer="torch.optim.SGD",
        hyperparameters={"lr": 0.1},
        seed=seed,
        epochs=10,
        batch_size=32,
    )
    return PlannedRun(run=run, problem="digits", optimizer="SGD")


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
        submitted={each.run.id: 0 for each in sweep.runs},
        done=(),
        running=(),
        is_over=lambda: True,
    )
    return sweep, store, receipt


def fail(store, sweep, index, message="RuntimeError: no"):
    folder = store.run(sweep.runs[index].run.id)
    fence = folder.claim().fence
    folder.note("ended", fence=fence, failure="exception", message=message)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_the_screen_fits_the_terminal(watched, width, height):
    sweep, store, receipt = watched
    fail(store, sweep, 0, "RuntimeError: " + "a long story " * 30)
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=height)
    found = watch.follow(sweep, receipt, console)
    lines = [line for line in output.getvalue().splitlines() if "small" in line]

    assert status.count(found) == {"failed": 1, "pending": 3}
    assert lines


def test_a_line_per_finished_run(watched):
    sweep, store, receipt = watched
    fail(store, sweep, 1)
    output = io.StringIO()
    watch.follow(sweep, receipt, Console(file=output, width=200))

    assert output.getvalue() == (
        f"[1/4] failed: {sweep.runs[1].run.id} digits SGD seed 2: RuntimeError: no\n"
    )


def test_the_failure_of_an_earlier_submission_is_pending_now(watched):
    sweep, store, receipt = watched
    fail(store, sweep, 0)
    receipt.submitted[sweep.runs[0].run.id] = 1
    found = Watch(sweep, receipt).look()

    assert found[0].state.state == "pending"
    assert found[0].state.evidence == "submitted again"


def test_the_time_to_go_comes_from_the_epochs_done(watched, monkeypatch):
    sweep, store, receipt = watched
    clock = iter([0.0, 5.0])
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock))
    looking = Watch(sweep, receipt)
    assert looking.eta(looking.look()) is None

    folder = store.run(sweep.runs[0].run.id)
    with folder.lock():
        attempt = folder.claim()
        files.append_line(attempt.progress_file, {"time": 0.0, "epoch": 2, "epochs": 10})
        found = looking.look()

    assert found[0].state.epoch == 2
    assert looking.eta(found) == pytest.approx((40 - 2) * 5 / 2)


def test_many_failures_are_not_all_printed(watched):
    sweep, store, receipt = watched
    for index in range(4):
        fail(store, sweep, index)
    receipt.submitted = {}
    lines = status.troubles(Watch(sweep, receipt).look(), most=2)

    assert len(lines) == 3
    assert "and 2 more" in str(lines[-1])


def test_status_says_what_comes_next(watched, capsys):
    """While something runs: look again. Else, if a record is missing: run again."""
    sweep, store, _ = watched
    assert status.status(store, as_json=False) == 1
    assert "again runs what has no record" in capsys.readouterr().out

    folder = store.run(sweep.runs[0].run.id)
    with folder.lock():
        folder.claim()
        status.status(store, as_json=False)
    assert f"next: probprec status {store.root}" in capsys.readouterr().out.replace("\n", "")
