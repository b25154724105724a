"""The ledger: every run is counted once, and whatever else lies in the folder is named."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.results import ledger
from jobs.results.ledger import Ledger
from jobs.store import state
from jobs.store.store import Store, StoreError
from tests.helpers import note, texts
from tests.make_sweep import make_record, make_sweep, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """2 problems x 2 optimizers x 3 seeds, all completed."""
    return make_sweep(tmp_path / "sweep", epochs=2)


def take(store: Store) -> Ledger:
    return ledger.collect(store).ledger


def ids(store: Store) -> list[str]:
    return [planned.run.id for planned in store.sweep().runs]


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_whole_sweep_has_no_findings(store):
    found = take(store)

    assert (found.expected, found.states, found.missing) == (12, {"completed": 12}, 0)
    assert texts(found) == ()
    assert found.is_whole


def test_counts_add_up_whatever_became_of_the_runs(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        epochs=3,
        diverges=lambda planned: 2 if planned.run.seed == 42 else None,
        is_recorded=lambda planned: planned.run.seed != 44,
    )
    lost, failed = [run for run in ids(store) if not store.run(run).record_file.exists()][:2]
    store.run(lost).claim().release()
    attempt = store.run(failed).claim()
    attempt.release()
    note(store.run(failed), "ended", fence=attempt.fence, failure="oom", message="out of memory")

    found = take(store)

    assert found.states == {"diverged": 4, "completed": 4, "pending": 2, "lost": 1, "failed": 1}
    assert found.missing == 3
    content = found.to_json()
    assert content["expected"] == sum(
        content[key] for key in ("completed", "diverged", "failed", "missing")
    )
    assert content["missing"] == content["pending"] + content["running"] + content["lost"]
    assert [entry["message"] for entry in content["unsettled"] if entry["id"] == failed] == [
        "out of memory"
    ]
    assert not found.is_whole


def test_a_running_run_is_missing(tmp_path):
    store = make_sweep(tmp_path / "sweep", epochs=2, is_recorded=lambda p: p.run.seed != 42)
    folder = next(store.run(run) for run in ids(store) if not store.run(run).record_file.exists())
    attempt = folder.claim()

    assert take(store).states["running"] == 1
    attempt.release()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('{"schema": 1, "id": "', "EOF while parsing", id="torn"),
        pytest.param("", "EOF while parsing", id="empty"),
        pytest.param("[]", "list indices", id="a list"),
        pytest.param("{}", "no 'schema'", id="an empty object"),
        pytest.param("\x00\x01", "expected value", id="binary"),
    ],
)
def test_a_bad_record_is_a_failure_that_is_named(store, text, says):
    run = ids(store)[3]
    store.run(run).record_file.write_text(text)

    found = take(store)

    assert found.states == {"completed": 11, "failed": 1}
    assert len(texts(found)) > 0
    assert run in texts(found)[0]
    assert says in texts(found)[0]
    assert not found.is_whole


def test_a_record_that_is_a_folder_is_a_failure(store):
    path = store.run(ids(store)[0]).record_file
    path.unlink()
    path.mkdir()

    assert take(store).states == {"completed": 11, "failed": 1}


def test_a_run_whose_other_files_are_garbage_is_a_failure(tmp_path):
    store = make_sweep(tmp_path / "sweep", epochs=2, is_recorded=lambda p: p.run.seed != 42)
    folder = next(store.run(run) for run in ids(store) if not store.run(run).record_file.exists())
    folder.claim()
    folder.journal_file.mkdir()

    found = take(store)

    assert found.states == {"completed": 8, "pending": 3, "failed": 1}
    assert f"run {folder.id} cannot be read" in texts(found)[0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda record: record["curves"].update(test_loss=["a", 1, 2]), id="text"),
        pytest.param(lambda record: record["curves"].update(test_loss="abc"), id="no list"),
        pytest.param(lambda record: record["curves"]["test_loss"].pop(), id="unequal"),
        pytest.param(lambda record: record.update(cost=5), id="cost"),
        pytest.param(lambda record: record["time"]["wall_s"].pop(), id="time"),
        pytest.param(lambda record: record["run"].update(seed=1), id="other run"),
        pytest.param(lambda record: record.update(outcome="great"), id="outcome"),
    ],
)
def test_a_record_that_contradicts_itself_is_a_failure(store, change):
    edit(store.run(ids(store)[0]).record_file, change)

    assert take(store).states == {"completed": 11, "failed": 1}


def test_a_result_knows_what_training_had_taken_at_each_evaluation(store):
    path = store.run(ids(store)[0]).record_file
    edit(path, lambda record: record["time"].update(wall_s=[0, 2, 3.5], cpu_s=[0, 4, 7]))
    edit(store.run(ids(store)[1]).record_file, lambda record: record.pop("time"))
    found, older, *_ = ledger.collect(store).found

    assert found.seconds.tolist() == [0, 2, 3.5]
    assert found.cpu_seconds.tolist() == [0, 4, 7]
    assert (found.steps.tolist(), found.steps.dtype) == ([0, 390, 780], int)
    assert (older.seconds, older.cpu_seconds, older.steps) == (None, None, None)


def test_a_record_that_was_edited_is_a_finding_and_is_not_counted(store):
    planned = store.sweep().runs[0]
    folder = store.run(planned.run.id)
    folder.record_file.unlink()
    folder.claim().publish(make_record(planned))
    assert texts(take(store)) == ()

    edit(folder.record_file, lambda record: record["curves"]["test_accuracy"].__setitem__(-1, 0.99))
    found = take(store)

    assert found.states == {"completed": 11, "failed": 1}
    assert f"run {folder.id} has a record that is not counted" in texts(found)[0]
    assert "fmnist_2c2d SGD seed 42" in texts(found)[0]
    assert "was changed after it was published" in texts(found)[0]
    assert state.of(folder).state == "failed"


def test_a_record_that_was_edited_and_set_aside_contradicts_nothing(store):
    """Its run has been sent again, and has another record now."""
    planned = store.sweep().runs[0]
    folder = store.run(planned.run.id)
    edit(folder.record_file, lambda record: record["curves"]["test_accuracy"].__setitem__(-1, 0.99))
    folder.set_record_aside()
    folder.claim().publish(make_record(planned))
    found = take(store)

    assert (found.duplicate, found.conflicts, found.is_whole) == (0, 0, True)
    assert "was set aside" in texts(found)[0]


def test_a_record_in_another_runs_folder_counts_for_neither(store):
    first, second = ids(store)[:2]
    store.run(first).record_file.replace(store.run(second).record_file)

    found = take(store)

    assert found.states == {"completed": 10, "pending": 1, "failed": 1}
    assert f"is the record of run {first}, not of {second}" in texts(found)[0]


def test_a_record_that_lies_beside_its_place_is_not_counted(store):
    folder = store.run(ids(store)[0])
    folder.record_file.rename(folder.path / "record (1).json")

    found = take(store)

    assert found.states == {"completed": 11, "pending": 1}
    assert f"runs/{folder.id}/record (1).json is the record of run {folder.id}" in texts(found)[0]


def test_an_identical_copy_is_counted_once(store):
    folder = store.run(ids(store)[0])
    shutil.copytree(folder.path, store.runs / f"{folder.id} (copy)")

    found = take(store)

    assert (found.duplicate, found.conflicts, found.extra) == (1, 0, 0)
    assert found.states == {"completed": 12}
    assert "counted once" in texts(found)[0]
    assert found.is_whole


def test_a_copy_that_took_another_time_is_identical(store):
    folder = store.run(ids(store)[0])
    copy = folder.path / "record.json.bak"
    shutil.copy(folder.record_file, copy)
    edit(copy, lambda record: record["provenance"].update(host="elsewhere"))

    assert (take(store).duplicate, take(store).conflicts) == (1, 0)


def test_a_copy_with_other_numbers_is_nondeterminism(store):
    folder = store.run(ids(store)[0])
    copy = folder.path / "record_2.json"
    shutil.copy(folder.record_file, copy)
    edit(copy, lambda record: record["curves"]["test_loss"].__setitem__(1, 0.5))

    found = take(store)

    assert (found.duplicate, found.conflicts) == (1, 1)
    assert texts(found)[0].startswith("nondeterminism: ")
    assert not found.is_whole


def test_runs_that_the_spec_no_longer_asks_for_are_extra(tmp_path):
    make_sweep(tmp_path / "sweep", epochs=2, seeds=[42, 43])
    store = make_sweep(tmp_path / "sweep", epochs=2, seeds=[42])

    found = take(store)

    assert (found.expected, found.states, found.extra) == (4, {"completed": 4}, 4)
    assert all("the spec does not ask for" in finding for finding in texts(found))
    assert found.is_whole


def test_what_is_extra_is_named_by_label_and_setting(tmp_path):
    """As the spec calls it today; what it no longer names is called by its class."""
    was = {"SGD [ours]": [{"lr": 0.1}, {"lr": 0.2}], "RMSprop": [{"lr": 0.01, "alpha": 0.9}]}
    make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers=was, epochs=2)
    make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD [ours]": [{"lr": 0.1}]},
        epochs=1,
        seeds=[7],
        is_recorded=lambda _: False,
    )
    now = {"SGD [ours]": [{"lr": 0.1}]}
    store = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], optimizers=now, epochs=2, seeds=[42]
    )
    found = take(store)

    assert found.extra == 9
    names = sorted(finding.partition(": runs/")[0] for finding in texts(found))
    says = "the spec does not ask for digits_mlp"
    assert names == [
        f"{says} SGD [ours] lr=0.1 (seeds 43, 44; 2 of 2 with a record)",
        f"{says} SGD [ours] lr=0.1, epochs=1 (seed 7; 0 of 1 with a record)",
        f"{says} SGD [ours] lr=0.2 (seeds 42..44; 3 of 3 with a record)",
        f"{says} torch.optim.RMSprop lr=0.01, alpha=0.9 (seeds 42..44; 3 of 3 with a record)",
    ]


def test_an_extra_run_of_a_class_with_two_labels_may_be_either(tmp_path):
    settings = {"SGD": [{"lr": 0.1}], "Momentum": [{"lr": 0.2}]}
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers=settings, epochs=2)
    sweep = store.sweep()
    runs = [
        dataclasses.replace(one, run=dataclasses.replace(one.run, optimizer="torch.optim.SGD"))
        for one in sweep.runs
    ]
    store.save(dataclasses.replace(sweep, runs=tuple(runs)))

    assert any("digits_mlp torch.optim.Momentum lr=0.2 " in one for one in texts(take(store)))
    for number, planned in enumerate(runs):
        write(
            store,
            dataclasses.replace(planned, run=dataclasses.replace(planned.run, seed=number + 90)),
            None,
            "",
        )
    assert any("digits_mlp SGD or Momentum lr=0.2 " in one for one in texts(take(store)))


@pytest.mark.parametrize("change", [{"seed": "x"}, {"seed": None}, {"epochs": [1]}])
@pytest.mark.parametrize("has_record", [True, False])
def test_an_extra_run_of_odd_values_stops_nothing(store, change, has_record):
    planned = store.sweep().runs[0]
    run = dataclasses.replace(planned.run, **change)
    record = make_record(planned) | {"id": run.id, "run": run.to_json()} if has_record else None
    write(store, dataclasses.replace(planned, run=run), record, "[]")

    assert take(store).states == {"completed": 12}


def test_foreign_things_are_named(store):
    folder = store.run(ids(store)[0])
    (store.root / "notes.txt").write_text("mine")
    (store.root / "scratch").mkdir()
    (store.runs / "stray.json").write_text("{}")
    (store.runs / "backup").mkdir()
    (folder.path / "core.123").write_bytes(b"\x00")
    (folder.path / "link.json").symlink_to("/nowhere")

    found = take(store)

    for name in ("notes.txt", "scratch", "runs/stray.json", "runs/backup", "core.123", "link.json"):
        assert any(name in finding for finding in texts(found)), name
    assert found.is_whole


def test_leftovers_of_interrupted_writes_are_named(store):
    folder = store.run(ids(store)[0])
    attempt = folder.claim()
    for place in (store.root, store.runs, folder.path, attempt.path):
        (place / ".record.json.abc.tmp").write_text("{")

    found = take(store)

    assert [("interrupted write" in finding) for finding in texts(found)] == [True] * 4
    assert found.states == {"completed": 12}


def test_records_of_different_versions_are_a_finding(store):
    for run in ids(store)[:2]:
        edit(store.run(run).record_file, lambda record: record["provenance"].update(torch="2.5.0"))

    assert "records of different torch: 2.13.0 (10 runs), 2.5.0 (2 runs)" in texts(take(store))


def test_unequal_seeds_are_a_finding(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        epochs=2,
        is_recorded=lambda planned: (planned.optimizer, planned.run.seed) != ("Adam", 43),
    )

    assert texts(take(store)) == (
        "unequal seeds between the cells of digits_mlp: 42, 43, 44 in SGD; 42, 44 in Adam",
    )


def test_a_hole_in_a_curve_is_a_finding(store):
    run = ids(store)[0]
    edit(
        store.run(run).record_file,
        lambda record: record["curves"]["valid_loss"].__setitem__(-1, None),
    )

    assert f"run {run} lacks values of valid_loss" in texts(take(store))


def test_a_folder_that_is_no_sweep_is_the_users_mistake(tmp_path):
    with pytest.raises(StoreError, match="is no sweep"):
        ledger.collect(Store(tmp_path))


def test_the_ledger_does_not_depend_on_where_the_sweep_lies(store, tmp_path):
    (store.root / "notes.txt").write_text("mine")
    shutil.copytree(store.root, tmp_path / "moved" / "sweep")

    assert take(store).to_json() == take(Store(tmp_path / "moved" / "sweep")).to_json()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["record.json", "run.json", "journal.jsonl", "other.json", "lock"]),
    content=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["schema", "run"]), inner),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_garbage_is_fatal_or_counted(store, name, content):
    """Whatever bytes lie in a run's folder, all other runs are counted, and this one not twice."""
    folder = store.run(ids(store)[0])
    kept = folder.record_file.read_bytes()
    path = folder.path / name
    before = path.read_bytes() if path.exists() else None
    try:
        path.write_bytes(content)
        found = take(store)
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
        folder.record_file.write_bytes(kept)

    assert found.states["completed"] == (11 if name == "record.json" else 12)
    assert sum(found.states.values()) == found.expected == 12
