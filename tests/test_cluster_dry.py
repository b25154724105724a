"""`submit --dry-run` shows what `submit` would send: the same runs, cut into the same arrays."""

import json

import pytest

from cluster import cli
from jobs.store import Store
from tests.fake_slurm import FakeSlurm
from tests.test_cluster_submit import sent


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch, count=6, sent=False)


def dry(fake, capsys):
    """What the command says, of a spec with the runs of the fake's sweep."""
    spec = fake.folder / "sweep.yaml"
    spec.write_text(
        "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 0..5\nepochs: 10\n"
        "batch_size: 32\n"
    )
    (fake.folder / "here.yaml").write_text("engine: slurm\nresources: {time: 01:00:00}\n")
    words = ["submit", str(spec), "--on", str(fake.folder / "here.yaml"), "--dry-run", "--json"]
    code = cli.main([*words, "--root", str(fake.folder)])
    out, err = capsys.readouterr()
    assert "\nat most " in err
    return code, json.loads(out)


def test_it_cuts_as_submit_does(fake, capsys):
    """MaxArraySize is one more than the largest index."""
    fake.queue()
    fake.command("scontrol", "echo 'MaxArraySize = 4'; echo 'MaxJobCount = 10000'")

    code, report = dry(fake, capsys)

    assert code == 0
    arrays = [
        line for one in report["scripts"] for line in one["text"].splitlines() if "--array" in line
    ]
    assert arrays == ["#SBATCH --array=0-3", "#SBATCH --array=0-1"]
    assert (report["runs"], report["done"], report["running"]) == (6, 0, 0)


def test_it_counts_what_would_be_sent(fake, capsys):
    """Neither what has a record, nor what waits or runs already."""
    fake.send(range(4), job=100)
    fake.record(0)
    fake.queue(("100_1", "PENDING"), ("100_2", "RUNNING", "None", "node1"))

    code, report = dry(fake, capsys)

    assert (code, report["runs"], report["done"], report["running"]) == (0, 3, 1, 2)
    assert "--array=0-2" in report["scripts"][0]["text"]
    assert report["hours_at_most"] == {"task": 3.0}
    assert report["hours_about"] == {"task": pytest.approx(3 * (99 + 10 * 25) / 3600)}
    assert sent(fake) == [3, 4, 5]


def test_without_a_controller_it_still_shows(fake, capsys):
    fake.command("scontrol", "exit 1")

    _, report = dry(fake, capsys)

    assert [script["text"].count("--array=0-5") for script in report["scripts"]] == [1]


def test_what_it_says_of_the_cost_is_a_line(fake, capsys):
    fake.queue()
    other = Store(fake.folder / "earlier")
    fake.store.root.rename(other.root)
    fake.store = other
    fake.record(0)

    dry(fake, capsys)  # of a sweep that is not there yet
    spec, here = fake.folder / "sweep.yaml", fake.folder / "here.yaml"
    words = ["submit", spec, "--on", here, "--dry-run", "--root", fake.folder]
    assert cli.main([*map(str, words)]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == (
        "at most 6 task-hours, requeues aside (6 tasks x 1 h); about 0.58 task-hours"
        " by 1 earlier record"
    )
