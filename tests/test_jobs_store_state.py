"""Every state has its evidence; vanished is not completed; a torn record is no record."""

import dataclasses
import errno
import json
import os

import pytest

from jobs import files
from jobs.store import record, state
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from tests.helpers import make_run, note

RUN = make_run(epochs=2)


def make_record(**changes):
    content = {
        "schema": 1,
        "id": RUN.id,
        "run": RUN.to_json(),
        "outcome": "completed",
        "stop": {"reason": "completed", "epoch": 2, "step": 74},
        "curves": {"test_loss": [2.3, 1.0, 0.5], "valid_loss": [2.3, 1.0, 0.5]},
        "cost": {},
        "provenance": {},
    }
    return content | changes


@pytest.fixture
def folder(tmp_path):
    folder = Store(tmp_path).run(RUN.id)
    folder.create(RUN)
    return folder


def claim(folder, **details):
    attempt = folder.claim()
    note(folder, "claimed", fence=attempt.fence, host="here", pid=1, **details)
    return attempt


def end(attempt, failure, message="no", **details):
    note(attempt.folder, "ended", fence=attempt.fence, failure=failure, message=message, **details)
    attempt.release()


def test_pending(folder):
    assert state.of(folder).state == "pending"


def test_running_with_its_progress(folder):
    attempt = claim(folder, element="7_3", node="node1", submission=2)
    for epoch in (0, 1):
        line = {"time": 1.0, "epoch": epoch, "epochs": 2, "step": 37 * epoch, "steps": 74}
        files.append_line(attempt.progress_file, line | ({"epoch_s": 8.0} if epoch else {}))
    found = state.of(folder)

    assert (found.state, found.epoch, found.attempts) == ("running", 1, 1)
    assert (found.step, found.steps, found.epoch_s) == (37, 74, 8.0)
    assert (found.node, found.element, found.submission) == ("node1", "7_3", 2)
    assert "attempt 1 holds" in found.evidence
    attempt.release()


def test_failed_with_class_message_and_log(folder):
    attempt = claim(folder)
    end(attempt, "bad_data", "DataError: torn")
    found = state.of(folder)

    assert (found.state, found.failure, found.message) == ("failed", "bad_data", "DataError: torn")
    assert found.log == str(attempt.log_file)
    assert found.tried == (("here", "bad_data"),)


def test_the_last_attempt_counts(folder):
    end(claim(folder), "killed", "killed by SIGKILL")
    claim(folder, node="node2").release()
    found = state.of(folder)

    assert (found.state, found.node) == ("lost", "node2")
    assert found.tried == (("here", "killed"),)


def test_a_new_attempt_is_as_far_as_the_one_before(folder):
    """It goes on from there, even if it has not said so yet."""
    first = claim(folder)
    files.append_line(first.progress_file, {"time": 1.0, "epoch": 1, "step": 40, "checkpoint": "a"})
    end(first, "timeout")
    second = claim(folder)
    found = state.of(folder)

    assert (found.state, found.epoch, found.step) == ("running", 1, 40)
    second.release()


def test_put_back_into_the_queue(folder):
    attempt = claim(folder, element="7_3")
    end(attempt, "timeout", "time limit")
    note(folder, "requeued", fence=1, element="7_3")
    assert (state.of(folder).state, state.of(folder).failure) == ("pending", "timeout")

    note(folder, "not requeued", fence=1, message="no")
    assert state.of(folder).state == "failed"


def test_the_history_of_all_attempts(folder):
    end(claim(folder, element="7_3", node="node1", end=99.0), "preempted", step=30)
    note(folder, "requeued", fence=1, element="7_3")
    claim(folder, element="7_3", node="node2").release()
    note(folder, "refused", submission=1, message="no fence")
    first, second = folder.history()

    assert (first.node, first.failure, first.step, first.limit) == ("node1", "preempted", 30, 99.0)
    assert (first.is_over, first.is_requeued) == (True, True)
    assert (second.node, second.is_over, second.end) == ("node2", False, None)


@pytest.mark.parametrize("outcome", ["completed", "diverged"])
def test_the_record_decides(folder, outcome):
    folder.claim().publish(make_record(outcome=outcome))
    note(folder, "ended", fence=1, failure="killed", message="after the record")
    found = state.of(folder)

    assert (found.state, found.epoch) == (outcome, 2)
    assert found.evidence == str(folder.record_file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"id": "0" * 12}, "says to be run '000000000000'"),
        ({"outcome": "fine"}, "outcome 'fine'"),
        ({"curves": {"test_loss": [1.0], "valid_loss": []}}, "unequal length"),
        ({"curves": {"test_loss": [1.0]}}, "1 evaluations instead of 3"),
        ({"curves": {}}, "0 evaluations instead of 3"),
        ({"run": RUN.to_json() | {"version": 99}}, "protocol version 99"),
        ({"run": {}}, "no 'version'"),
        (
            {"run": RUN.to_json() | {"seed": 43}, "id": dataclasses.replace(RUN, seed=43).id},
            f"not of {RUN.id}",
        ),
    ],
)
def test_what_is_no_record(folder, change, reason):
    folder.record_file.write_text(json.dumps(make_record(**change)))
    found = state.of(folder)

    assert (found.state, found.failure) == ("failed", "bad_record")
    assert reason in found.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": NaN}'])
def test_garbage_is_no_record(folder, content):
    folder.record_file.write_bytes(content)

    with pytest.raises(record.RecordError, match=r"record\.json"):
        record.read(folder.record_file)


def test_a_folder_in_a_files_place_is_reported(folder):
    """Garbage in one run's folder never stops the look at the others."""
    folder.claim()
    folder.journal_file.mkdir()
    found = state.of(folder)

    assert (found.state, found.failure) == ("failed", "bad_files")
    assert "journal.jsonl" in found.message


def test_a_line_of_progress_without_an_epoch(folder):
    files.append_line(folder.claim().progress_file, {"time": 1.0})

    assert state.of(folder).epoch is None


def test_record_round_trip(folder):
    folder.claim().publish(make_record())

    assert record.read(folder.record_file).to_json() == make_record()


def test_a_record_that_was_changed_after_it_was_published_is_none(folder):
    folder.claim().publish(make_record())
    folder.record_file.write_text(folder.record_file.read_text().replace("0.5", "0.4"))
    found = state.of(folder)

    assert (found.state, found.failure) == ("failed", "bad_record")
    assert "was changed after it was published" in found.message


def test_a_record_of_an_older_version_is_believed(folder):
    """Its journal has no line that says what was published."""
    folder.record_file.write_text(json.dumps(make_record()))
    note(folder, "ended", fence=1, failure=None, outcome="completed")

    assert state.of(folder).state == "completed"


def test_what_a_zombie_wanted_to_publish_spoils_no_record(folder, monkeypatch):
    """It wrote down what it was about to publish, and another one was quicker."""
    publish = files.publish

    def publish_late(path, content):
        monkeypatch.undo()
        folder.claim().publish(make_record())
        publish(path, content)

    zombie = folder.claim()
    monkeypatch.setattr(files, "publish", publish_late)
    with pytest.raises(FileExistsError):
        zombie.publish(make_record(cost={"train": {"wall_s": 1.0}}))

    assert [line["event"] for line in folder.journal()] == ["publishing"] * 2
    assert state.of(folder).state == "completed"


def test_a_record_tells_its_node_and_what_an_epoch_took(folder):
    end(claim(folder, node="node1"), "node_fail")
    cost = {
        "setup": {"wall_s": 50},
        "train": {"wall_s": 6.0},
        "eval": {"wall_s": 2.0},
        "apply": None,
    }
    slurm = {"slurmd_nodename": "node2", "array_job_id": "7", "array_task_id": "3"}
    folder.claim().publish(make_record(cost=cost, provenance={"slurm": slurm}))
    found = state.of(folder)

    assert (found.epoch_s, found.node, found.element) == (4.0, "node2", "7_3")
    assert found.tried == (("node1", "node_fail"), ("node2", None))


def test_memory_reads_a_record_once(tmp_path, folder, monkeypatch):
    folder.claim().publish(make_record(provenance={"host": "here"}))
    memory = StateCache(Store(tmp_path))
    first = memory.of(folder)
    memory.save()
    monkeypatch.setattr(state, "of", None)
    again = StateCache(Store(tmp_path))

    assert again.of(folder) == first


def test_memory_notices_another_record(tmp_path, folder):
    folder.claim().publish(make_record())
    memory = StateCache(Store(tmp_path))
    memory.of(folder)
    folder.record_file.write_text("{")

    assert memory.of(folder).failure == "bad_record"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "records": {"a": [1]}}'])
def test_a_memory_of_another_kind_is_empty(tmp_path, text):
    (tmp_path / "states.json").write_text(text)
    memory = StateCache(Store(tmp_path))
    memory.remember_slurm_state("7_3", "TIMEOUT")
    memory.save()

    assert StateCache(Store(tmp_path)).slurm_state("7_3") == "TIMEOUT"
    assert StateCache(Store(tmp_path)).slurm_state(None) is None


def test_a_memory_that_cannot_be_written(tmp_path, folder):
    """Somebody else's sweep may be looked at."""
    folder.claim().publish(make_record())
    memory = StateCache(Store(tmp_path / "not there"))
    memory.of(folder)
    memory.save()


def test_the_end_of_a_long_progress(folder):
    attempt = claim(folder)
    lines = [json.dumps({"time": 1.0, "epoch": epoch, "pad": "x" * 100}) for epoch in range(400)]
    attempt.progress_file.write_text("\n".join(lines))
    lines = files.read_lines(attempt.progress_file, last=16_384)

    assert lines[-1]["epoch"] == 399
    assert 50 < len(lines) < 400


def test_a_record_that_cannot_be_read_now_is_not_torn(folder, monkeypatch):
    """It may be whole: it must not be set aside."""
    folder.record_file.write_text(json.dumps(make_record()))

    def shaky(_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "record.json")

    monkeypatch.setattr(files, "read", shaky)
    found = state.of(folder)

    assert (found.state, found.failure) == ("failed", "bad_files")
    assert "Input/output error" in (found.message or "")
