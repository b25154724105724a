"""Every state has its evidence; vanished is not completed; a torn record is no record."""

import dataclasses
import json

import pytest

from jobs import files, record, state
from jobs.store import Store
from jobs.sweep import Run

RUN = Run(
    problem="digits_mlp",
    optimizer="torch.optim.SGD",
    hyperparameters={"lr": 0.1},
    seed=42,
    epochs=2,
    batch_size=32,
)


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


def test_pending(folder):
    assert state.of(folder).state == "pending"


def test_running_with_its_epoch(folder):
    with folder.lock():
        attempt = folder.claim()
        files.append_line(attempt.progress_file, {"time": 1.0, "epoch": 1, "epochs": 2})
        found = state.of(folder)

    assert (found.state, found.epoch, found.attempts) == ("running", 1, 1)
    assert "attempt 1 holds" in found.evidence


def test_failed_with_class_message_and_log(folder):
    attempt = folder.claim()
    folder.note("ended", fence=1, failure="bad_data", message="DataError: torn")
    found = state.of(folder)

    assert (found.state, found.failure, found.message) == ("failed", "bad_data", "DataError: torn")
    assert found.log == str(attempt.log_file)


def test_the_last_attempt_counts(folder):
    folder.claim()
    folder.note("ended", fence=1, failure="killed", message="killed by SIGKILL")
    folder.claim()

    assert state.of(folder).state == "lost"


@pytest.mark.parametrize("outcome", ["completed", "diverged"])
def test_the_record_decides(folder, outcome):
    folder.claim().publish(make_record(outcome=outcome))
    folder.note("ended", fence=1, failure="killed", message="after the record")
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
