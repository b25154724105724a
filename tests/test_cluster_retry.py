"""What failed is sent again with what it lacked, and nothing else is."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import escalate
from cluster.profile import Profile
from cluster.retry import retry
from jobs.errors import InputError
from jobs.resources import Resources

FakeSlurm = runpy.run_path(str(Path(__file__).parent / "fake_slurm.py"))["FakeSlurm"]
NOTHING = {
    "failed": False,
    "classes": [],
    "runs": [],
    "mem": None,
    "time": None,
    "exclude_bad_nodes": False,
    "profile": None,
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Four runs: out of memory, an error of its own, lost, and one that runs."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.fail(0, "100_0", "oom", node="node1")
    fake.fail(1, "100_1", "exception", node="node2")
    fake.claim(2, "100_2").release()
    fake.queue(("100_3", "RUNNING", "None", "node2"))
    return fake


def call(fake, capsys, code, **options):
    assert retry(fake.store, **(NOTHING | options), as_json=True) == code
    return json.loads(capsys.readouterr().out)


def changes(report):
    return {entry["class"]: entry["changes"] for entry in report["retried"]}


def asked(fake, index):
    return escalate.last_asked(fake.store)[fake.runs[index].id]


def test_the_policy_decides(fake, capsys):
    report = call(fake, capsys, 0)

    assert changes(report) == {"oom": "mem 2G -> 4G", "lost": "as before"}
    assert asked(fake, 0).mem == 4096
    assert asked(fake, 2).mem == 2048
    assert [left["id"] for left in report["left"]] == [fake.runs[1].id]
    assert "traceback" in report["left"][0]["why"]
    assert {job["job_id"] for job in report["jobs"]} == {"900"}
    scripts = [
        script.read_text() for script in (fake.store.root / "submitit" / "0002").glob("*.sh")
    ]
    assert sorted("--mem=4096M" in script for script in scripts) == [False, True]


def test_only_a_class(fake, capsys):
    report = call(fake, capsys, 0, classes=["exception"])
    assert [entry["id"] for entry in report["retried"]] == [fake.runs[1].id]


def test_all_that_failed_with_more_of_everything(fake, capsys):
    report = call(fake, capsys, 0, failed=True, mem="+1G", time="+50%")

    assert len(report["retried"]) == 3
    assert asked(fake, 1) == Resources(mem=3072, time=5400, cpus=1)


def test_a_second_retry_does_not_forget_the_first(fake, capsys):
    call(fake, capsys, 0, classes=["oom"])
    fake.fail(0, "900_0", "cancelled", submission=2)
    fake.queue()
    report = call(fake, capsys, 0, classes=["cancelled"])

    assert changes(report) == {"cancelled": "as before"}
    assert asked(fake, 0).mem == 4096


def test_named_runs_that_did_not_fail_are_told(fake, capsys):
    report = call(fake, capsys, 1, runs=[fake.runs[3].id])
    assert report["retried"] == []
    assert report["left"][0]["why"].startswith("running:")


def test_time_by_what_epochs_took(fake, capsys):
    attempt = fake.claim(0, "100_0")
    fake.progress(attempt, 2, epoch_s=1000.0)
    fake.end(attempt, "timeout")
    fake.queue()
    policy = {**fake.profile.policy, "timeout": "time"}
    report = call(
        fake, capsys, 0, classes=["timeout"], profile=replace(fake.profile, policy=policy)
    )

    assert changes(report) == {"timeout": "time 01:00:00 -> 02:40:00"}  # 8 epochs x 1000 s x 1.2


def test_the_node_it_failed_on_is_avoided(fake, capsys):
    fake.fail(3, "100_3", "gpu_missing", node="node7")
    fake.queue()
    report = call(fake, capsys, 0, classes=["gpu_missing"])

    assert changes(report) == {"gpu_missing": "not on node7"}
    assert asked(fake, 3).exclude == ("node7",)


def test_the_only_node_is_not_avoided(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.fail(0, "100_0", "node_fail", node="node1")
    fake.queue()
    report = call(fake, capsys, 0, runs=[fake.runs[0].id])

    assert changes(report) == {
        "node_fail": "as before; node1 is not avoided: no other node is known"
    }


def test_bad_nodes_are_avoided_by_all(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, 8)
    for index in (0, 1):
        fake.fail(index, f"100_{index}", "killed", node="node7")
        fake.record(index, node="node1")
    fake.fail(2, "100_2", "oom", node="node1")
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(3, 8)])
    report = call(fake, capsys, 0, exclude_bad_nodes=True)

    assert changes(report) == {"oom": "mem 2G -> 4G, not on node7"}


def test_nothing_to_retry(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(4)])
    assert retry(fake.store, **NOTHING, as_json=False) == 1
    assert "nothing to retry; 4 runs wait or run" in capsys.readouterr().out
    for index in range(4):
        fake.record(index)
    assert retry(fake.store, **NOTHING, as_json=False) == 0
    assert "every run has a record" in capsys.readouterr().out
    assert fake.calls("sbatch") == []


def test_nothing_is_sent_while_slurm_does_not_answer(fake, capsys):
    for index in (0, 1, 3):
        fake.record(index)
    fake.down()
    assert retry(fake.store, **NOTHING, as_json=False) == 1
    assert "of 1 runs nothing is known: Slurm cannot be asked" in capsys.readouterr().out


def test_the_table_for_people(fake, capsys):
    assert retry(fake.store, **NOTHING, as_json=False) == 0
    shown = capsys.readouterr().out

    assert "mem 2G -> 4G" in shown
    assert "job 900: array of 1 (1 runs)" in shown
    assert "not retried" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["omm"]}, "did you mean 'oom'"),
        ({"mem": "8"}, "--mem 8: expected a size"),
        ({"time": "x0"}, "expected a factor above 0"),
        ({"runs": ["zz"]}, "no run of sweep begins"),
    ],
)
def test_wrong_input(fake, options, message):
    with pytest.raises(InputError, match=message):
        retry(fake.store, **(NOTHING | options), as_json=False)


def test_on_this_machine_there_are_no_limits(fake):
    local = Profile(name="local", engine="local")
    with pytest.raises(InputError, match="there are no limits"):
        retry(fake.store, **(NOTHING | {"profile": local, "mem": "x2"}), as_json=False)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [("x2", 1000, 2000), ("+50%", 1001, 1502), ("+2G", 1024, 3072), ("8G", None, 8192)],
)
def test_amounts(text, before, after):
    assert escalate.parse_change("mem", text).of(before, "mem") == after


def test_a_relative_amount_of_nothing():
    with pytest.raises(InputError, match="nothing was asked for before"):
        escalate.parse_change("mem", "x2").of(None, "mem")
    assert escalate.with_memory(Resources(), None) == Resources()
    assert escalate.with_memory(Resources(mem_per_cpu=512), None) == Resources(mem_per_cpu=1024)
    assert escalate.described(Resources(), Resources(mem=8192)) == "mem 8G"


def test_memory_that_was_given_instead_of_memory_per_cpu_stays(fake):
    place = Profile(name="here", engine="slurm", resources=Resources(mem_per_cpu=1024, cpus=2))
    one = type("One", (), {"planned": fake.sweep.runs[0]})()

    assert escalate.kept(one, place, Resources(mem=8192)) == Resources(mem=8192)
    assert escalate.kept(one, place, Resources(mem=1024)) == Resources()
    assert escalate.kept(one, place, None) == Resources()
