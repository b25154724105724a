"""What `status` says, to people and to machines."""

import io
import json
import shlex
from dataclasses import replace

import pytest
from rich.console import Console, Group

from cluster import cli
from cluster.commands import status, sweep_screen
from cluster.commands.why import why
from cluster.status import progress
from cluster.status.sweep_status import sweep_status
from jobs.store.store import Store
from jobs.store.workers import at_work
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of, make_plan, note, short_folder
from tests.make_sweep import make_sweep


@pytest.fixture
def fake(monkeypatch):
    """Eight runs: two done, one runs, two wait, two failed alike, one was lost."""
    with short_folder() as folder:
        fake = FakeSlurm(folder, monkeypatch, 8)
        _fill(fake)
        yield fake
        fake.alive.release()


def _fill(fake):
    fake.record(0, node="node1")
    fake.record(1, node="node1")
    fake.alive = fake.claim(2, "100_2", node="node2")
    fake.progress(fake.alive, 4, epoch_s=60.0)
    fake.fail(5, "100_5", "oom", "over the [bold]limit[/bold]")
    fake.fail(6, "100_6", "oom", "over the [bold]limit[/bold]")
    fake.claim(7, "100_7").release()
    fake.queue(
        ("100_2", "RUNNING", "None", "node2"),
        ("100_3", "PENDING", "Priority"),
        ("100_4", "PENDING", "launch failed requeued held"),
    )


def text(fake, width=80, **options):
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    look = sweep_status(fake.store)
    console.print(Group(*sweep_screen.screen(look, fake.store, width=width, **options)))
    return output.getvalue()


def test_json_has_evidence_for_every_run(fake, capsys):
    assert status.status(fake.store, watch=False, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)

    assert report["states"] == {"completed": 2, "running": 1, "pending": 2, "failed": 2, "lost": 1}
    assert report["slurm_calls"] == 2
    assert report["epochs"] == {"done": 24, "wanted": 80}
    assert all(run["evidence"] for run in report["runs"])
    running, waiting = report["runs"][2:4]
    assert (running["element"], running["node"], running["step"]) == ("100_2", "node2", 400)
    assert (waiting["reason"], waiting["live"]) == ("Priority", True)
    assert report["runs"][7]["class"] == "lost"
    assert "no accounting" in report["notes"][0]


def test_the_time_to_go_rests_on_measured_epochs(fake):
    """6 epochs of 60 s are left of the one that runs, 2 x 10 wait; 25 s and 60 s were measured."""
    look = sweep_status(fake.store)
    found = progress.eta(look.runs)
    rate = progress.seconds_per_epoch(look.runs)

    assert rate == 25.0
    assert found.seconds == 26 * rate
    assert found.basis == "1 run now; epochs timed in 3 runs, start-up in none"


def test_no_time_to_go_without_measurements(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(("100_0", "PENDING"))
    assert progress.eta(sweep_status(fake.store).runs).basis == "nothing runs yet"
    fake.queue(("100_0", "RUNNING"))
    assert str(progress.eta(sweep_status(fake.store).runs)) == (
        "time to go: unknown (no epoch has been measured yet)"
    )
    fake.queue()
    assert progress.eta(sweep_status(fake.store).runs).seconds is None


def test_the_time_to_go_counts_what_workers_here_will_come_to(tmp_path, monkeypatch):
    """One of three runs is under way, with 6 epochs of 10 s left; each other needs its start, too."""
    fake = FakeSlurm(tmp_path, monkeypatch, 3, sent=False)
    tasks = [[fake._entry(index)] for index in range(3)]
    submission = fake.store.new_submission(make_plan(groups=[{"tasks": tasks}]))
    alive = fake.claim(0, None, ago=20.0)
    fake.progress(alive, 0, epoch_s=None)
    fake.progress(alive, 4, epoch_s=10.0)
    with at_work(submission, 0):
        look = sweep_status(fake.store)
    found = progress.eta(look.runs)
    alive.release()

    start = look.runs[0].state.start_s
    assert start >= 20
    assert found.seconds == pytest.approx(6 * 10 + 2 * (start + 10 * 10))


def test_the_start_of_a_finished_run_is_what_was_no_epoch(tmp_path, monkeypatch):
    """Of 600 s from claim to end 250 s were epochs; what went on elsewhere tells nothing."""
    fake = FakeSlurm(tmp_path, monkeypatch, 1)
    attempt = fake.claim(0, "100_0", ago=600.0)
    note(attempt.folder, "ended", fence=1, outcome="completed")
    attempt.release()
    fake.record(0)
    record = json.loads(attempt.folder.record_file.read_bytes())
    for attempts, start in ((1, 350.0), (2, None)):
        record["provenance"]["attempts"] = attempts
        attempt.folder.record_file.write_text(json.dumps(record))
        state = sweep_status(fake.store).runs[0].state
        assert state.start_s == (None if start is None else pytest.approx(start, abs=60))
        again = sweep_status(fake.store).runs[0].state  # from memory
        assert again.start_s == state.start_s


def test_another_problem_tells_nothing_about_the_time_to_go(fake):
    """It may take a thousand times as long."""
    look = sweep_status(fake.store)
    runs = [
        replace(one, planned=replace(one.planned, problem="cifar")) if index == 3 else one
        for index, one in enumerate(look.runs)
    ]

    assert str(progress.eta(runs)) == (
        "time to go: unknown (no epoch of cifar has been measured yet)"
    )


def test_the_time_to_go_is_never_nothing(fake):
    """Not even where a run only has to write its record."""
    fake.queue(("100_2", "RUNNING", "None", "node2"))
    fake.progress(fake.alive, 10, epoch_s=60.0)

    assert "about 1 s to go" in text(fake)


@pytest.mark.parametrize(("width", "height"), [(80, 22), (200, 48)])
def test_the_screen_fits(fake, width, height):
    lines = text(fake, width=width, height=height).splitlines()

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_screen_says_what_and_what_to_type(fake):
    shown = text(fake, width=120)

    assert "job 100, array: 2 pending, 1 running" in shown
    assert "1 pending: others are ahead of it in the queue (Priority)" in shown
    assert shown.index("launch failed requeued held") < shown.index("(Priority)")
    assert "2 oom: over the [bold]limit[/bold]" in shown
    words = " ".join(shown.split())  # however the long path of this folder breaks the line
    assert f"probprec retry {fake.store.root} --class oom" in words
    assert "11 of 80" not in shown
    assert "24 of 80" in shown


def test_piped_output_is_not_cut(fake, capsys):
    status.status(fake.store, watch=False, as_json=False)
    assert f"probprec retry {fake.store.root} --class oom" in capsys.readouterr().out


def test_a_bad_node_is_named(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, 12)
    for index in range(3):
        fake.fail(index, f"100_{index}", "gpu_missing", node="node7")
    for index in range(3, 12):
        fake.record(index, node="node1")
    fake.queue()
    shown = text(fake, width=150)

    assert "node7 looks bad: 3 of 3 attempts failed here" in shown
    assert "--exclude-bad-nodes" in shown


@pytest.mark.parametrize(("height", "last"), [(30, "b"), (15, "(9 pairs)"), (8, "(9 pairs)")])
def test_a_table_that_does_not_fit_is_summed_up(tmp_path, height, last):
    store = make_sweep(
        tmp_path / "wide",
        problems=("fmnist_2c2d", "cifar10_3c3d", "mnist_mlp"),
        optimizers={"a": [{"lr": 1}], "SGD": [{"lr": 1}], "b": [{"lr": 1}]},
        seeds=(1,),
    )
    output = io.StringIO()
    look = sweep_status(store)
    table = sweep_screen.table(look.sweep, look.runs, width=80, height=height)
    Console(file=output, width=80).print(table)

    assert len(output.getvalue().splitlines()) <= height
    assert last in output.getvalue()


def test_what_comes_next(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, 2, sent=False)
    monkeypatch.setenv("PROBPREC_ROOT", str(tmp_path))
    status.status(fake.store, watch=False, as_json=False)
    assert "2 runs were never sent; next: probprec submit sweep.yaml\n" in capsys.readouterr().out

    fake.send([0, 1], job=100)
    fake.queue(("100_0", "PENDING"), ("100_1", "PENDING"))
    status.status(fake.store, watch=False, as_json=False)
    assert f"next: probprec status {fake.store.root} --watch" in capsys.readouterr().out

    fake.queue()
    status.status(fake.store, watch=False, as_json=False)
    assert f"next: probprec retry {fake.store.root}\n" in capsys.readouterr().out

    for index in (0, 1):
        fake.record(index)
    assert status.status(fake.store, watch=False, as_json=False) == 0
    assert f"next: probprec collect {fake.store.root}" in capsys.readouterr().out


def test_many_jobs_and_errors_are_not_all_shown(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, 8, sent=False)
    for index in range(8):
        fake.send([index], job=100 + index)
    fake.queue(*[(f"{100 + index}_0", "PENDING") for index in range(8)])
    assert "... and 3 more jobs" in text(fake)
    for index in range(8):
        fake.fail(index, f"{100 + index}_0", "exception", f"error {index}", submission=index + 1)
    fake.queue()
    assert "... and 3 more (--json lists them all)" in text(fake)


SPEC = "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..2\nepochs: 9\n"
SETTINGS = ("epochs=1", "optimizers.SGD={lr: 0.5,\n momentum: 0.9}", "description=a b")


@pytest.mark.parametrize(
    ("profile", "on", "root"),
    [
        ("mycluster.yaml", "./mycluster.yaml", None),
        ("my place/mine.yaml", "my place/mine.yaml", "my sweeps"),
        ("configs/clusters/mine.yaml", "mine", None),
    ],
)
def test_the_suggested_command_sends_the_rest(tmp_path, monkeypatch, capsys, profile, on, root):
    """Typed as it is, it asks for the same runs, in the same place."""
    fake = FakeSlurm(tmp_path / "fake", monkeypatch, sent=False)
    fake.queue(("900_0", "PENDING"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROBPREC_ROOT", raising=False)
    (tmp_path / profile).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / profile).write_text("engine: slurm\n")
    (tmp_path / "some.yaml").write_text(SPEC)
    words = ["submit", "some.yaml", "--on", on, *(("--root", root) if root else ())]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    assert cli.main([*words, "--only", "seed=1"]) == 0
    (folder,) = (tmp_path / (root or "sweeps")).iterdir()
    store = Store(folder)
    sweep = store.sweep()
    fake.queue()
    for run_id in content_of(store.submission(1))["groups"][0]["tasks"][0]:
        index = [planned.run.id for planned in sweep.runs].index(run_id["id"])
        fake.store, fake.runs = store, [planned.run for planned in sweep.runs]
        fake.record(index)
    capsys.readouterr()

    status.status(store, watch=False, as_json=False)
    suggested = capsys.readouterr().out.partition("1 runs were never sent; next: ")[2]
    why(store, fake.runs[1 - index].id, as_json=True)
    assert json.loads(capsys.readouterr().out)["next"] == [suggested.rstrip("\n")]
    assert ("--on mine" in suggested) == (on == "mine")
    assert ("--root" in suggested) == (root is not None)

    assert cli.main(shlex.split(suggested)[1:]) == 0
    assert store.sweep() == sweep
    assert content_of(store.submission(2))["profile"]["source"] == str(tmp_path / profile)
    assert len(list(store.root.parent.iterdir())) == 1
