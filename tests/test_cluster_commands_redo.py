"""What has been run is run again from its beginning; what it left is set aside, and nothing is lost."""

import json
import os
import socket
from pathlib import Path

import pytest

from cluster import cli
from cluster.commands.redo import redo
from cluster.slurm.process import UnreachableError
from cluster.submit import submit
from jobs.errors import InputError
from jobs.profile import LOCAL
from jobs.store import state
from jobs.store.attempts import ClaimedError, RunFolder, StaleAttemptError
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of
from tests.test_cluster_commands_retry import asked

HOW = {"only": [], "profile": None, "dry_run": False, "as_json": True}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Four runs: two with a record, one that failed, one that was never attempted."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    for index in (0, 1):
        fake.claim(index, f"100_{index}").release()
        fake.record(index)
    attempt = fake.claim(2, "100_2")
    fake.progress(attempt, 4)
    attempt.checkpoint_files[0].write_bytes(b"a checkpoint")
    fake.end(attempt, "oom")
    fake.queue()
    return fake


def call(fake, capsys, code=0, **how):
    assert redo(fake.store, **(HOW | how)) == code
    return json.loads(capsys.readouterr().out)


def ids(fake, *indices):
    return [fake.runs[index].id for index in indices]


def folder(fake, index):
    return fake.store.run(fake.runs[index].id)


def records_of(fake, index):
    """All that this run ever published, wherever it lies now."""
    return [path.read_bytes() for path in folder(fake, index).path.rglob("record*.json")]


def all_files(root):
    return {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def test_what_there_is_is_set_aside_and_all_is_sent(fake, capsys):
    before = [records_of(fake, index) for index in (0, 1)]
    report = call(fake, capsys)

    assert report["runs"] == ids(fake, 0, 1, 2, 3)
    assert report["set_aside"] == ids(fake, 0, 1, 2)
    assert [records_of(fake, index) for index in (0, 1)] == before
    assert not any(folder(fake, index).record_file.exists() for index in range(4))
    line = folder(fake, 0).journal()[-1]
    assert (line["event"], line["why"]) == ("set aside", "redo")
    assert line["by"].endswith(f"@{socket.gethostname()}")
    assert line["time"] > 0
    tasks = content_of(fake.store.submissions()[-1])["groups"][0]["tasks"]
    assert [entry["fence"] for task in tasks for entry in task] == [2, 2, 2, 0]
    assert [fake.store.run(run.id).life() for run in fake.runs] == [2, 2, 2, 0]


def test_only_what_is_named(fake, capsys):
    report = call(fake, capsys, only=["seed=1"])

    assert report["set_aside"] == ids(fake, 1)
    assert folder(fake, 0).record_file.exists()
    with pytest.raises(InputError, match="no run of sweep has it"):
        redo(fake.store, **(HOW | {"only": ["seed=9"]}))


def test_a_dry_run_writes_nothing(fake, capsys):
    before = all_files(fake.store.root)
    redo(fake.store, **(HOW | {"dry_run": True, "as_json": False}))
    said = capsys.readouterr().out

    assert "digits SGD, seed 0..2" in said
    assert "nothing was written or sent" in said
    assert set(all_files(fake.store.root)) - {fake.store.states_file} == set(before)
    assert not fake.calls("sbatch")


def test_what_was_set_aside_waits_for_its_first_attempt(fake, capsys):
    call(fake, capsys, only=["seed=2"])
    found = state.of(folder(fake, 2))

    assert (found.state, found.failure, found.epoch) == ("pending", None, None)
    assert "set aside by" in found.evidence
    attempt = fake.claim(2, "900_0", submission=2)
    found = state.of(folder(fake, 2))
    assert (found.state, found.epoch, found.step) == ("running", None, None)
    attempt.release()


def test_nothing_of_the_old_life_comes_into_the_new_one(fake, capsys):
    """Neither a zombie's record, nor an element of the old submission that comes late."""
    zombie = folder(fake, 0).attempt(1)
    call(fake, capsys)

    with pytest.raises(StaleAttemptError):
        zombie.publish({"value": 1})
    with pytest.raises(ClaimedError):
        folder(fake, 0).claim(1)
    assert not folder(fake, 0).record_file.exists()
    assert folder(fake, 0).claim(2).fence == 3


@pytest.mark.parametrize("element", ["PENDING", "RUNNING"])
def test_what_waits_or_runs_is_refused(fake, element):
    fake.queue(("100_3", element, "None", "node1"))
    before = all_files(fake.store.root)

    with pytest.raises(InputError, match=r"1 of these runs wait or run.*\n  digits SGD, seed 3\n"):
        redo(fake.store, **HOW)
    after = all_files(fake.store.root)
    assert set(after) - set(before) <= {
        fake.store.states_file,
        fake.store.root / "submissions" / "lock",
    }
    assert folder(fake, 0).record_file.exists()


def test_a_live_run_of_this_machine_is_refused(fake):
    attempt = folder(fake, 1).claim()
    folder(fake, 1).record_file.unlink()

    with pytest.raises(InputError, match="probprec cancel"):
        redo(fake.store, **HOW)
    attempt.release()


def test_while_slurm_does_not_answer_nothing_is_set_aside(fake):
    fake.down()
    with pytest.raises(UnreachableError):
        redo(fake.store, **HOW)
    assert folder(fake, 0).record_file.exists()


@pytest.mark.parametrize("where", ["claimed", "noted", "set aside"])
def test_an_interrupted_redo_is_finished_by_another(fake, capsys, monkeypatch, where):
    """Killed while it sets the second run aside, or before it sends anything."""
    before = [records_of(fake, index) for index in (0, 1)]
    with monkeypatch.context() as patch:
        if where == "set aside":
            patch.setattr(submit, "submit", _die)
        else:
            real = RunFolder.note

            def note(self, event):
                if self.id == fake.runs[1].id and event.name == "set aside":
                    if where == "noted":
                        real(self, event)
                    _die()
                real(self, event)

            patch.setattr(RunFolder, "note", note)
        with pytest.raises(KeyboardInterrupt):
            redo(fake.store, **HOW)
    report = call(fake, capsys)

    assert report["runs"] == ids(fake, 0, 1, 2, 3)
    assert [records_of(fake, index) for index in (0, 1)] == before
    assert not any(folder(fake, index).record_file.exists() for index in range(4))
    assert any(line["event"] == "set aside" for line in folder(fake, 1).journal())
    assert len(fake.calls("sbatch")) == 1


def _die(*_args, **_how):
    raise KeyboardInterrupt


def test_a_second_redo_keeps_both_records(fake, capsys):
    call(fake, capsys, only=["seed=0"])
    fake.claim(0, "900_0", submission=2).release()
    fake.record(0)
    fake.queue()
    call(fake, capsys, only=["seed=0"])

    assert len(records_of(fake, 0)) == 2
    assert folder(fake, 0).life() == 4


def test_memory_that_a_retry_gave_stays(fake, capsys):
    assert cli.main(["retry", str(fake.store.root), "--mem", "x2"]) == 0
    fake.fail(2, "900_0", "cancelled", submission=2)
    capsys.readouterr()
    call(fake, capsys, only=["seed=2"])

    assert asked(fake, 2).mem == 4096


def test_a_vanished_job_of_the_new_life_is_seen(fake, capsys):
    """Sent again, and in no queue any more: that is not `pending` for ever."""
    call(fake, capsys, only=["seed=0"])
    fake.queue()
    part = fake.store.submission(2).parts("chunk")[0]
    os.utime(part.receipt_file, (0, 0))

    assert cli.main(["status", str(fake.store.root), "--json"]) == 1
    runs = {run["id"]: run for run in json.loads(capsys.readouterr().out)["runs"]}
    assert runs[fake.runs[0].id]["state"] == "lost"


def test_collect_counts_no_record_that_was_set_aside(fake, capsys):
    call(fake, capsys)
    assert cli.main(["collect", str(fake.store.root), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)

    assert (report["completed"], report["missing"], report["duplicate"]) == (0, 4, 0)
    assert report["findings"] == []


def test_data_that_is_gone_leaves_all_as_it_was(fake, monkeypatch):
    """Refused before anything is set aside."""

    def missing(*_args):
        raise InputError("no data")

    monkeypatch.setattr("cluster.submit.seal.sealed_data", missing)
    with pytest.raises(InputError, match="no data"):
        redo(fake.store, **(HOW | {"profile": LOCAL}))
    assert folder(fake, 0).record_file.exists()
