"""The post-mortem of a run: what happened, where, with how much memory, and what to type."""

import json

import pytest

from cluster.commands.why import why
from cluster.status.meaning import MEANING
from jobs.errors import InputError
from jobs.profile import POLICY
from tests.fake_slurm import FakeSlurm
from tests.helpers import note


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(("100_3", "PENDING", "BadConstraints"))
    return fake


def call(fake, capsys, index, code=1):
    assert why(fake.store, fake.runs[index].id[:10], as_json=True) == code
    return json.loads(capsys.readouterr().out)


def shown(fake, capsys, index, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    why(fake.store, fake.runs[index].id, as_json=False)
    return capsys.readouterr().out


def test_every_class_is_explained():
    assert set(MEANING) >= set(POLICY)


def test_out_of_memory(fake, capsys, monkeypatch):
    first = fake.claim(0, "100_0", node="node1", ago=900)
    fake.progress(first, 2)
    fake.end(first, "preempted", step=250)
    note(first.folder, "requeued", fence=1, element="100_0")
    second = fake.fail(0, "100_0", "oom", "killed by the kernel", node="node2", ago=300)
    second.log_file.write_text("\n".join(f"[line] {number}" for number in range(100)))
    row = {"JobID": "100_0.batch", "State": "OUT_OF_MEMORY", "MaxRSS": "2097152K"}
    fake.accounting([{"JobID": "100_0", "State": "OUT_OF_MEMORY"}, row])
    report = call(fake, capsys, 0)

    assert (report["state"], report["class"]) == ("failed", "oom")
    assert report["meaning"] == MEANING["oom"][0]
    assert report["memory"] == {"peak": 2 * 1024**3, "asked": 2 * 1024**3, "source": "sacct"}
    assert [past["node"] for past in report["history"]] == ["node1", "node2"]
    assert [past["step"] for past in report["history"]] == [250, None]
    assert report["next"][0] == f"probprec retry {fake.store.root} --class oom"
    assert report["log_tail"][-1] == "[line] 99"
    assert report["slurm_calls"] == 2

    text = shown(fake, capsys, 0, monkeypatch)
    assert "failed (oom): killed by the kernel" in text
    assert "preempted, requeued" in text
    assert "memory: peak 2.00 GiB (sacct), 2.00 GiB asked for" in text
    assert "epoch 2 of 10, step 200 of 1000, 30 s per epoch" in text
    assert "[line] 99" in text
    assert "node: node2, against which nothing speaks" in text


def test_lost_asks_accounting_once_and_uses_it_twice(fake, capsys):
    fake.claim(0, "100_0").release()
    fake.claim(1, "100_1").release()
    fake.accounting([{"JobID": "100_0", "State": "TIMEOUT", "MaxRSS": "12M"}])
    report = call(fake, capsys, 0)

    assert (report["class"], report["memory"]["peak"]) == ("timeout", 12 * 1024**2)
    assert report["slurm_calls"] == 2
    assert "100_1" not in fake.calls("sacct")[0]


def test_a_hopeless_wait(fake, capsys, monkeypatch):
    report = call(fake, capsys, 3)
    assert (report["state"], report["hopeless"]) == ("pending", True)
    assert "submit with other resources" in report["waits_for"]
    assert "waiting does not help" in shown(fake, capsys, 3, monkeypatch)


def test_a_completed_run(fake, capsys):
    fake.record(0, node="node1")
    report = call(fake, capsys, 0, code=0)

    assert (report["state"], report["memory"]["peak"]) == ("completed", 3 * 1024**3)
    assert report["memory"]["source"] == "record"
    assert report["next"] == [f"probprec collect {fake.store.root}"]


def test_a_running_run(fake, capsys, monkeypatch):
    attempt = fake.claim(0, "100_0")
    fake.progress(attempt, 4, epoch_s=600.0)
    fake.queue(("100_0", "RUNNING", "None", "node1"))
    text = shown(fake, capsys, 0, monkeypatch)

    assert "alive" in text
    assert "01:00:00 asked for each attempt; the epochs that are left take about 60 min" in text
    assert f"probprec logs {fake.runs[0].id} --of {fake.store.root} -f" in text
    attempt.release()


def test_a_suspicious_node_is_avoided(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, 12)
    for index in range(3):
        fake.fail(index, f"100_{index}", "gpu_missing", node="node7")
    fake.fail(3, "100_3", "killed", node="node1")
    for index in range(4, 12):
        fake.record(index, node="node1")
    fake.queue()

    assert "--exclude-bad-nodes" in call(fake, capsys, 0)["next"][0]
    assert "which looks bad: 3 of 3" in shown(fake, capsys, 0, monkeypatch)
    assert "not enough evidence against it: 1 of 9" in shown(fake, capsys, 3, monkeypatch)


def test_what_was_never_sent_and_what_is_not_known(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    monkeypatch.setenv("PROBPREC_ROOT", str(tmp_path))
    assert call(fake, capsys, 0)["next"] == ["probprec submit sweep.yaml"]
    fake.send([0], job=100)
    fake.down()
    report = call(fake, capsys, 0)
    assert (report["state"], report["next"][0]) == ("unknown", f"probprec status {fake.store.root}")
    assert "Unable to contact" in report["notes"][0]
    assert "Unable to contact" in shown(fake, capsys, 0, monkeypatch)


def test_an_unknown_run(fake):
    with pytest.raises(InputError, match="no run of sweep"):
        why(fake.store, "nothing", as_json=True)
