"""What differs in the provenance of runs that are averaged or compared is a finding."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.commands.collect import collect
from jobs.results import ledger
from jobs.store.store import Store
from tests.helpers import texts
from tests.make_sweep import make_sweep

KNOWN: dict[str, Any] = {
    "numpy": "2.1.0",
    "threads": 1,
    "cuda": None,
    "driver": None,
    "image": {"path": "/a.sif", "sha256": "1" * 64},
    "environment": "aaaaaaaaaaaa",
    "own_code": {"my_opt": "a" * 64},
    "data": {"dataset": "fmnist", "folder": "/here", "sha256": {"train": "b" * 64}},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A problem, two optimizers with three seeds each."""
    store = make_sweep(tmp_path / "sweep", problems=["fmnist_2c2d"], epochs=2)
    for run in ids(store):
        change(store, run, **KNOWN)
    return store


def ids(store: Store, optimizer: str = "") -> list[str]:
    runs = store.sweep().runs
    return [one.run.id for one in runs if one.optimizer.startswith(optimizer)]


def change(store: Store, run: str, **values: Any) -> None:
    """Give a record other provenance; `...` takes an entry away."""
    file = store.run(run).record_file
    record = json.loads(file.read_text())
    entries = record["provenance"] | values
    record["provenance"] = {name: value for name, value in entries.items() if value is not ...}
    file.write_text(json.dumps(record))


def findings(store: Store) -> list[str]:
    return list(texts(ledger.collect(store).ledger))


def of_cells(store: Store) -> list[str]:
    return [finding for finding in findings(store) if "averages" in finding]


def test_equal_provenance_is_no_finding(store):
    assert findings(store) == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"code": "ba9876543210"}, "code: 0123456789ab (seeds 43, 44), ba9876543210 (seed 42)"),
        ({"torch": "2.5.0"}, "torch: 2.13.0 (seeds 43, 44), 2.5.0 (seed 42)"),
        ({"numpy": "1.26.4"}, "numpy: 1.26.4 (seed 42), 2.1.0 (seeds 43, 44)"),
        ({"python": "3.13.1"}, "python: 3.11.7 (seeds 43, 44), 3.13.1 (seed 42)"),
        ({"threads": 4}, "threads: 1 (seeds 43, 44), 4 (seed 42)"),
        ({"image": {"path": "/b.sif", "sha256": "2" * 64}}, "image: 111111111111 (seeds 43, 44)"),
        ({"image": None}, "image: 111111111111 (seeds 43, 44), none (seed 42)"),
        ({"environment": "bbbbbbbbbbbb"}, "environment: aaaaaaaaaaaa (seeds 43, 44)"),
        ({"own_code": {"my_opt": "c" * 64}}, "own code my_opt: aaaaaaaaaaaa (seeds 43, 44), cccc"),
        (
            {"own_code": {"my_opt": "a" * 64, "helper": "d" * 64}},
            "own code helper: dddddddddddd (seed 42), not listed (seeds 43, 44)",
        ),
        (
            {"data": {"dataset": "fmnist", "folder": "/here", "sha256": {"train": "e" * 64}}},
            "data train: bbbbbbbbbbbb (seeds 43, 44), eeeeeeeeeeee (seed 42)",
        ),
        ({"data": {"manifest": "e" * 64}}, "data manifest: eeeeeeeeeeee (seed 42), unknown (seeds"),
        ({"data": None}, "data train: bbbbbbbbbbbb (seeds 43, 44), unknown (seed 42)"),
        ({"torch": ...}, "torch: 2.13.0 (seeds 43, 44), unknown (seed 42)"),
    ],
)
def test_seeds_of_different_provenance_are_a_finding_of_their_cell(store, values, says, capsys):
    """It names what differs, the values, and which seeds of which setting have which."""
    change(store, ids(store, "SGD")[0], **values)
    (found,) = of_cells(store)

    assert found.startswith("fmnist_2c2d SGD averages runs of different ")
    assert says in found
    assert collect(store, strict=False, as_json=False) == 0
    assert collect(store, strict=True, as_json=False) == 1
    assert says in capsys.readouterr().out


def test_a_cell_on_two_kinds_of_devices_is_one_finding(store):
    change(store, ids(store, "Adam")[2], device="cuda", gpu="A100", cuda="12.6", driver="550")
    (found,) = of_cells(store)

    assert found.startswith("fmnist_2c2d Adam averages runs of different ")
    for part in (
        "device: cpu (seeds 42, 43), cuda (seed 44)",
        "gpu: A100 (seed 44), none (seeds 42, 43)",
        "cuda: 12.6 (seed 44), none (seeds 42, 43)",
    ):
        assert part in found
    assert "driver" not in found  # that, and the processor, is said once for the whole sweep
    assert "records of different driver: 550 (1 runs), none (5 runs)" in findings(store)


def test_the_setting_says_which_cell(tmp_path):
    grid = {"SGD": [{"lr": 0.1}, {"lr": 0.2}]}
    store = make_sweep(tmp_path / "s", problems=["digits_mlp"], optimizers=grid, seeds=range(6))
    change(store, ids(store)[-1], torch="2.5.0")

    assert of_cells(store) == [
        "digits_mlp SGD lr=0.2 averages runs of different torch: 2.13.0 (seeds 0..4), 2.5.0 (seed 5)"
    ]


def test_cells_that_differ_are_one_finding_on_the_sweep(store):
    """They are compared in one table; each of them is of one kind."""
    for run in ids(store, "Adam"):
        change(store, run, torch="2.5.0", own_code={"my_opt": "c" * 64})

    assert findings(store) == [
        "records of different torch: 2.13.0 (3 runs), 2.5.0 (3 runs)",
        "records of different own code my_opt: aaaaaaaaaaaa (3 runs), cccccccccccc (3 runs)",
    ]


def test_what_only_some_cells_use_is_no_difference_between_them(store):
    for run in ids(store, "Adam"):
        change(store, run, own_code={})

    assert findings(store) == []


def test_other_problems_may_have_other_data_and_other_threads(tmp_path):
    store = make_sweep(tmp_path / "sweep", epochs=2)
    for planned in store.sweep().runs:
        is_large = planned.problem == "cifar10_3c3d"
        change(
            store,
            planned.run.id,
            threads=4 if is_large else 1,
            device="cuda" if is_large else "cpu",
            data={"dataset": planned.problem, "sha256": {"train": "a" if is_large else "b"}},
        )

    assert findings(store) == []


@pytest.mark.parametrize("none", [{}, None, ...])
def test_a_run_without_own_code_is_as_one_of_before(store, none):
    for run in ids(store):
        change(store, run, own_code={})
    change(store, ids(store)[0], own_code=none)

    assert findings(store) == []


def test_an_older_record_names_the_class_and_not_the_module(store):
    for planned in store.sweep().runs:
        change(store, planned.run.id, own_code={planned.run.optimizer: "a" * 64})
    change(store, ids(store)[0], own_code={"torch.optim": "a" * 64})
    assert findings(store) == []

    change(store, ids(store)[0], own_code={"torch.optim": "f" * 64})
    assert "own code torch.optim: aaaaaaaaaaaa (seeds 43, 44), ffff" in of_cells(store)[0]


def test_what_no_record_of_before_tells_is_no_difference(store):
    for run in ids(store):
        change(store, run, **dict.fromkeys(KNOWN, ...))

    assert findings(store) == []


def test_a_shells_environment_is_no_difference_without_an_image(store):
    for number, run in enumerate(ids(store)):
        change(store, run, image=None, environment=str(number))

    assert findings(store) == []


def test_very_many_differences_are_counted(store):
    change(store, ids(store)[0], own_code={f"module{i}": "c" * 64 for i in range(20)})

    assert "; and 15 more differences" in of_cells(store)[0]


def test_runs_of_unverified_data_are_named(store):
    for run in ids(store)[:2]:
        change(store, run, data={"folder": "/here", "unverified": True})
    unverified = [finding for finding in findings(store) if finding.startswith("unverified_data")]
    assert unverified == [
        "unverified_data: no hash says what was read by fmnist_2c2d SGD (seeds 42, 43)"
    ]

    for run in ids(store):
        change(store, run, data={"folder": "/here", "unverified": True})
    assert findings(store) == [
        "unverified_data: no hash says what was read by all 6 runs of fmnist_2c2d"
    ]
    assert collect(store, strict=True, as_json=True) == 1


@pytest.mark.parametrize("garbage", [5, "text", [], {"x": [1]}, {"sha256": 7}])
def test_provenance_of_another_shape_stops_nothing(store, garbage):
    change(store, ids(store)[0], own_code=garbage, data=garbage, image=garbage, staging=garbage)

    assert ledger.collect(store).ledger.states == {"completed": 6}


def test_code_that_changes_no_number_is_no_finding(store):
    """The command line was edited between two submissions; what trains was not."""
    for number, run in enumerate(ids(store)):
        change(store, run, code=f"{number:012d}", training_code="c" * 12)
    assert findings(store) == []

    change(store, ids(store)[0], training_code="d" * 12)
    (finding,) = of_cells(store)
    assert "code: cccccccccccc (seeds 43, 44), dddddddddddd (seed 42)" in finding


def test_packages_are_compared_where_both_imported_them(store):
    """How far a run came may decide whether one is imported."""
    first, second, *others = ids(store, ids_of(store))
    for run in others:
        change(store, run, packages={"torch": "2.5.0", "heavyball": "1.0"})
    change(store, first, packages={"torch": "2.5.0"})
    change(store, second, packages={"torch": "2.5.0", "heavyball": "2.0 0123456789ab"})

    (finding,) = of_cells(store)
    assert finding.endswith(
        "averages runs of different package heavyball: 1.0 (seed 44), 2.0 0123456789ab (seed 43)"
    )


def ids_of(store: Store) -> str:
    """The label of the first optimizer."""
    return store.sweep().runs[0].optimizer


def test_code_with_uncommitted_changes_is_named_with_its_commit(store):
    for run in ids(store):
        change(store, run, commit="a" * 40, dirty=False)
    assert findings(store) == []
    for run in ids(store, "SGD")[:2]:
        change(store, run, dirty=True)
    assert findings(store) == [
        "2 of 6 runs are of code with uncommitted changes (commit aaaaaaaaaaaa)"
    ]
    for run in ids(store):
        change(store, run, dirty=True)
    (finding,) = findings(store)
    assert finding.startswith("all 6 runs are of code")
