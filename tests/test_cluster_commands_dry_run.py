"""`submit --dry-run` shows what `submit` would send: the same runs, cut into the same arrays."""

import json

import pytest

from cluster import cli
from jobs.store.store import Store
from tests.fake_slurm import FakeSlurm
from tests.test_cluster_submit_submit import sent


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch, count=6, sent=False)


HOUR = "resources: {time: 01:00:00}"


def dry(fake, capsys, *, place="", problems="[digits_mlp]"):
    """What the command says, of a spec with the runs of the fake's sweep."""
    spec = fake.folder / "sweep.yaml"
    spec.write_text(
        f"problems: {problems}\noptimizers: {{SGD: {{lr: 0.1}}}}\nseeds: 0..5\nepochs: 10\n"
        "batch_size: 32\n"
    )
    (fake.folder / "here.yaml").write_text(f"engine: slurm\n{place or HOUR}\n")
    code = cli.main(words(fake, "--dry-run", "--json"))
    out, fake.said = capsys.readouterr()
    return code, json.loads(out)


def words(fake, *more):
    spec, place = str(fake.folder / "sweep.yaml"), str(fake.folder / "here.yaml")
    return ["submit", spec, "--on", place, "--root", str(fake.folder), *more]


def arrays(report):
    """The values of --array."""
    lines = [line for one in report["scripts"] for line in one["text"].splitlines()]
    return [line.partition("--array=")[2] for line in lines if "--array=" in line]


TWO = "{digits_mlp: {resources: {mem: 1G}}, digits_2c2d: {resources: {mem: 2G}}}"


@pytest.mark.parametrize(
    ("place", "problems", "mine", "expected", "waiting"),
    [
        ("", "[digits_mlp]", 0, ["0-3", "0-1"], 0),
        ("limits: {max_array: 5}", "[digits_mlp]", 0, ["0-3", "0-1"], 0),
        ("limits: {max_array: 3}", "[digits_mlp]", 0, ["0-2", "0-2"], 0),
        ("", TWO, 0, ["0-3", "0-1", "0-3", "0-1"], 0),
        ("resources: {runs_per_task: 4}", "[digits_mlp]", 0, ["0-1"], 0),
        ("limits: {max_submit: 9}", "[digits_mlp]", 3, ["0-3", "0-1"], 0),
        ("limits: {max_submit: 9}", "[digits_mlp]", 4, ["0-3"], 2),
        ("limits: {max_submit: 9}", TWO, 0, ["0-3", "0-1", "0-1"], 4),
    ],
)
def test_it_cuts_as_submit_does(fake, capsys, place, problems, mine, expected, waiting):
    """By MaxArraySize, one more than the largest index; by the profile; by the room in the queue."""
    fake.queue(*[(str(job), "PENDING") for job in range(70, 70 + mine)])
    fake.command("scontrol", "echo 'MaxArraySize = 4'; echo 'MaxJobCount = 10000'")

    code, report = dry(fake, capsys, place=place, problems=problems)

    runs = 12 if problems == TWO else 6
    assert (code, arrays(report), report["waiting"]) == (0, expected, waiting)
    assert (report["runs"], report["done"], report["running"]) == (runs, 0, 0)
    assert report["arrays"] == len(expected)
    later = f" now, {waiting} tasks when there is room" if waiting else ""
    said = f"{runs} runs: 0 done, 0 under way, {runs} to be sent in {len(expected)} array"
    assert f"{said}{'s' * (len(expected) > 1)}{later}; nothing was written or sent" in fake.said
    assert "\\n" not in fake.said
    fake.command("sbatch", 'n=$(ls "$0".* 2>/dev/null | wc -l); touch "$0".$n; echo $((900 + n))')
    assert cli.main(words(fake, "--replace", "--json")) == 0
    sent = json.loads(capsys.readouterr().out)
    assert ([job["array"] for job in sent["jobs"]], sent["waiting"]) == (expected, waiting)


def test_a_queue_without_room(fake, capsys):
    """The first array is shown all the same: that is what is looked at."""
    fake.queue(("77", "PENDING"))

    code, report = dry(fake, capsys, place="limits: {max_submit: 1}")

    assert (code, arrays(report)) == (0, ["0-5"])
    assert (report["arrays"], report["waiting"]) == (0, 6)
    assert report["notes"][0].startswith("the queue has no room now; shown is the first array")
    assert "6 to be sent in 0 arrays now, 6 tasks when there is room" in fake.said


def test_it_counts_what_would_be_sent(fake, capsys):
    """Neither what has a record, nor what waits or runs already."""
    fake.send(range(4), job=100)
    fake.record(0)
    fake.queue(("100_1", "PENDING"), ("100_2", "RUNNING", "None", "node1"))

    code, report = dry(fake, capsys)

    assert (code, report["runs"], report["done"], report["running"]) == (0, 3, 1, 2)
    assert arrays(report) == ["0-2"]
    assert "6 runs: 1 done, 2 under way, 3 to be sent in 1 array; nothing" in fake.said
    assert report["hours_at_most"] == {"task": 3.0}
    assert report["hours_about"] == {"task": pytest.approx(3 * (99 + 10 * 25) / 3600)}
    assert sent(fake) == [3, 4, 5]


def test_without_a_controller_it_still_shows(fake, capsys):
    fake.command("scontrol", "exit 1")

    _, report = dry(fake, capsys)

    assert arrays(report) == ["0-5"]
    note = "how much Slurm takes is not known (scontrol: exit code 1): shown as if all of it fits"
    assert report["notes"] == [note]
    assert f"{note}\n" in fake.said


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
