"""One attempt from claim to record; the training itself is faked, its files are what it leaves."""

import json
import signal

import pytest

from jobs import files, provenance
from jobs.launch import Launcher, work
from jobs.store import Store
from jobs.sweep import PlannedRun, Run, Sweep

RUN = Run(
    problem="digits_mlp",
    optimizer="torch.optim.SGD",
    hyperparameters={"lr": 0.1},
    seed=42,
    epochs=1,
    batch_size=32,
)
COST = {"exit": 0, "wall_s": 2.0, "cpu_s": 1.0, "peak_memory_bytes": 1}


def outcome(run=RUN):
    return {
        "schema": 1,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed",
        "stop": {"reason": "completed", "epoch": 1, "step": 37},
        "curves": {"test_loss": [2.3, 1.0]},
        "cost": {},
        "provenance": {"host": "here"},
    }


@pytest.fixture(autouse=True)
def _handlers():
    """A launcher takes the signals over; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path):
    folder = Store(tmp_path).run(RUN.id)
    folder.create(RUN)
    return folder


def fake_training(monkeypatch, leaves):
    """The training's process is replaced by `leaves(attempt)`, which returns the exit code."""
    monkeypatch.setattr(
        Launcher, "_train", lambda _self, attempt: {**COST, "exit": leaves(attempt)}
    )


def launcher():
    return Launcher(data=None, code=(), threads=1, gpu="")


def test_an_outcome_is_published_with_its_provenance(folder, monkeypatch):
    def leaves(attempt):
        files.write_atomically(attempt.outcome_file, files.to_json(outcome()))
        return 0

    fake_training(monkeypatch, leaves)
    launcher().attempt(folder, last_fence=0)
    record = json.loads(folder.record_file.read_bytes())

    assert record["cost"]["total"] == {"wall_s": 2.0, "cpu_s": 1.0, "peak_memory_bytes": 1}
    assert record["provenance"]["attempts"] == 1
    assert record["provenance"]["host"] == "here"
    assert {"commit", "dirty", "slurm"} <= set(record["provenance"])
    assert [line["event"] for line in folder.journal()] == ["claimed", "ended"]


def test_the_outcome_of_another_run_is_not_published(folder, monkeypatch):
    other = Run.from_json(RUN.to_json() | {"seed": 43})

    def leaves(attempt):
        files.write_atomically(attempt.outcome_file, files.to_json(outcome(other)))
        return 0

    fake_training(monkeypatch, leaves)
    launcher().attempt(folder, last_fence=0)

    assert not folder.record_file.exists()
    assert "trained another run" in folder.journal()[-1]["message"]


def test_a_torn_outcome_is_a_failure(folder, monkeypatch):
    def leaves(attempt):
        attempt.outcome_file.write_text('{"schema": 1, ')
        return 0

    fake_training(monkeypatch, leaves)
    launcher().attempt(folder, last_fence=0)

    assert not folder.record_file.exists()
    assert folder.journal()[-1]["failure"] == "exception"


def test_an_overtaken_attempt_is_refused(folder, monkeypatch):
    """A zombie can burn time, never change a result."""

    def leaves(attempt):
        attempt.folder.claim()
        files.write_atomically(attempt.outcome_file, files.to_json(outcome()))
        return 0

    fake_training(monkeypatch, leaves)
    launcher().attempt(folder, last_fence=0)

    assert not folder.record_file.exists()
    assert folder.journal()[-1]["event"] == "refused"


def test_an_error_report_becomes_the_failure(folder, monkeypatch):
    def leaves(attempt):
        report = {"failure": "bad_data", "message": "DataError: torn"}
        files.write_atomically(attempt.error_file, files.to_json(report))
        return 1

    fake_training(monkeypatch, leaves)
    launcher().attempt(folder, last_fence=0)
    end = folder.journal()[-1]

    assert (end["failure"], end["message"]) == ("bad_data", "DataError: torn")


@pytest.mark.parametrize("why", ["has a record", "is locked", "has a newer fence"])
def test_a_run_that_is_not_to_be_attempted(folder, monkeypatch, why):
    fake_training(monkeypatch, lambda _attempt: pytest.fail("attempted"))
    if why == "has a record":
        folder.claim().publish(outcome())
        launcher().attempt(folder, last_fence=1)
    elif why == "is locked":
        with folder.lock():
            launcher().attempt(folder, last_fence=0)
    else:
        folder.claim()
        launcher().attempt(folder, last_fence=0)

    assert folder.journal() == []


def test_a_stopped_launcher_starts_nothing_more(tmp_path, monkeypatch):
    runs = [Run.from_json(RUN.to_json() | {"seed": seed}) for seed in (1, 2, 3)]
    store = Store(tmp_path)
    store.save(
        Sweep(
            name="a",
            description="",
            runs=tuple(PlannedRun(run=run, problem="p", optimizer="o") for run in runs),
            problems=("p",),
            optimizers=("o",),
            targets={},
            data=None,
            code=(),
            sources={},
        )
    )
    for run in runs:
        store.run(run.id).create(run)
    content = {"threads": 1, "gpus": ["3", "5"], "runs": {run.id: 0 for run in runs}}
    number = store.new_submission(content).number

    def leaves(_attempt):
        signal.raise_signal(signal.SIGTERM)
        return -9

    fake_training(monkeypatch, leaves)
    work(str(tmp_path), number, 1)
    attempted = [run.id for run in runs if store.run(run.id).last_fence()]

    assert attempted == [runs[0].id]
    assert store.run(runs[0].id).journal()[-1]["failure"] == "cancelled"


def test_the_code_has_one_digest():
    assert provenance.code_digest() == provenance.code_digest()
    assert len(provenance.code_digest()) == 12


def test_slurm_ids_are_part_of_the_provenance(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")

    assert provenance.of_launch()["slurm"] == {"job_id": "17"}
