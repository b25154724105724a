"""Several sweeps side by side: one table, each run once, and equal labels are equal things."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cluster import cli
from jobs.results import ledger, study, tables
from jobs.results.figures import draw
from jobs.results.study import Study
from jobs.store.store import Store
from jobs.sweep import Target
from tests.make_sweep import make_sweep

PROBLEMS = ["digits_mlp"]
SGD, ADAM = {"SGD": [{"lr": 0.1}]}, {"Adam": [{"lr": 0.001}]}


def sweep(folder: Path, name: str, optimizers=None, **kwargs) -> Store:
    settings = {"problems": PROBLEMS, "epochs": 2} | kwargs
    return make_sweep(folder / name, optimizers=optimizers or SGD | ADAM, **settings)


def together(*stores: Store) -> Study:
    return study.collect(stores)


def counts(found: Study) -> dict[str, tuple[int, int]]:
    """Of each cell, completed of planned runs."""
    return {cell.name: (len(cell.completed), len(cell.planned)) for cell in found.cells}


def findings(found: Study) -> list[str]:
    """Those on how the sweeps go together."""
    return [str(one) for one in found.across]


def test_other_optimizers_of_other_sweeps_stand_side_by_side(tmp_path):
    found = together(sweep(tmp_path, "ours", SGD), sweep(tmp_path, "theirs", ADAM))

    assert (found.name, found.optimizers) == ("ours + theirs", ("SGD", "Adam"))
    assert counts(found) == {"digits_mlp SGD": (3, 3), "digits_mlp Adam": (3, 3)}
    assert found.findings == ()
    assert found.is_whole


def test_one_setting_of_two_sweeps_is_one_cell(tmp_path):
    first, second = (sweep(tmp_path, str(n), SGD, seeds=[n, n + 1]) for n in (1, 3))
    found = together(first, second)

    assert counts(found) == {"digits_mlp SGD": (4, 4)}
    rows = tables.runs(found).to_pylist()
    assert [(row["sweep"], row["seed"]) for row in rows] == [("1", 1), ("1", 2), ("3", 3), ("3", 4)]
    assert findings(found) == []


def test_a_run_of_two_sweeps_counts_once(tmp_path):
    first = sweep(tmp_path, "first", SGD, seeds=[1, 2], is_recorded=lambda one: one.run.seed == 1)
    second = sweep(tmp_path, "second", SGD, seeds=[1, 2, 3])
    found = together(first, second)
    run = [planned.run.id for planned in first.sweep().runs]

    assert counts(found) == {"digits_mlp SGD": (3, 3)}
    assert found.sweeps == ("first", "second", "second")  # where the record is
    assert findings(found) == [
        f"in first and in second, counted once, as first calls it: run {run[0]}, run {run[1]}"
    ]
    assert (found.conflicts, found.is_whole) == (0, False)


def test_a_run_with_other_numbers_in_another_sweep_is_a_conflict(tmp_path):
    first, second = (sweep(tmp_path, name, SGD, seeds=[1]) for name in ("first", "second"))
    file = second.run(second.sweep().runs[0].run.id).record_file
    content = json.loads(file.read_text())
    content["curves"]["test_loss"][-1] = 9.0
    file.write_text(json.dumps(content))
    found = together(first, second)

    assert (found.conflicts, found.is_whole) == (1, False)
    assert "has other numbers in second than in first" in findings(found)[1]
    assert found.found[0].final("test_loss") != 9.0


@pytest.mark.parametrize(
    ("theirs", "kwargs"),
    [
        pytest.param({"SGD": [{"lr": 0.2}]}, {}, id="another setting"),
        pytest.param({"SGD": [{"lr": 0.1}, {"lr": 0.2}]}, {}, id="one more setting"),
        pytest.param(SGD, {"epochs": 3}, id="other epochs"),
        pytest.param(SGD, {"tuned": {"SGD": [7]}}, id="tuned"),
    ],
)
def test_one_label_of_two_settings_is_told_apart(tmp_path, theirs, kwargs):
    first, second = sweep(tmp_path, "a", SGD | ADAM), sweep(tmp_path, "b", theirs, **kwargs)
    found = together(first, second)

    assert found.optimizers == ("SGD [a]", "Adam", "SGD [b]")
    said = "optimizer SGD is not the same in all sweeps: told apart as SGD [a], SGD [b]"
    assert findings(found)[0] == said
    assert {cell.optimizer for cell in found.cells} == {*found.optimizers}
    assert {row["optimizer"] for row in tables.runs(found).to_pylist()} == {*found.optimizers}
    assert all(one.tuning.optimizer == "SGD [b]" for one in found.tunings)


def test_one_label_of_two_classes_is_told_apart(tmp_path):
    first, second = sweep(tmp_path, "a", SGD), sweep(tmp_path, "b", SGD, problems=["fmnist_2c2d"])
    asked = second.sweep()
    runs = [replace(p, run=replace(p.run, optimizer="torch.optim.Adam")) for p in asked.runs]
    second.save(replace(asked, runs=tuple(runs)))

    assert together(first, second).optimizers == ("SGD [a]", "SGD [b]")


def test_one_problem_label_of_two_targets_is_told_apart(tmp_path):
    first, second = sweep(tmp_path, "a"), sweep(tmp_path, "b")
    target = Target(metric="test_accuracy", value=0.5)
    second.save(replace(second.sweep(), targets={"digits_mlp": target}))
    found = together(first, second)

    assert found.problems == ("digits_mlp [a]", "digits_mlp [b]")
    assert found.optimizers == ("SGD", "Adam")
    assert found.targets["digits_mlp [b]"] == target


def test_a_label_that_looks_told_apart_stays_another_one(tmp_path):
    theirs = {"SGD": [{"lr": 0.2}], "SGD [b]": [{"lr": 0.3}]}
    found = together(sweep(tmp_path, "a", SGD), sweep(tmp_path, "b", theirs))

    assert found.optimizers == ("SGD [a]", "SGD [b] [b]", "SGD [b]")


def test_sweeps_of_one_name_are_told_apart_by_their_folders(tmp_path):
    first, second = sweep(tmp_path / "x", "same", SGD), sweep(tmp_path / "y", "same", ADAM)

    assert [*together(first, second).members] == [str(first.root), str(second.root)]


def test_what_is_found_in_each_is_said_of_it_and_results_are_compared_over_all(tmp_path):
    first, second = (sweep(tmp_path, str(n), SGD, seeds=[n]) for n in (1, 2))
    (first.root / "notes.txt").write_text("mine")
    file = second.run(second.sweep().runs[0].run.id).record_file
    file.write_text(file.read_text().replace("2.13.0", "2.5.0"))
    found = [str(one) for one in together(first, second).findings]

    assert found[0] == "1: notes.txt does not belong here; not counted"
    assert "records of different torch: 2.13.0 (1 runs), 2.5.0 (1 runs)" in found


def test_one_sweep_is_itself(tmp_path):
    """Alone it has the same cells, and the tables tell the same."""
    one = sweep(tmp_path, "one", tuned={"SGD": [7, 8]}, optimizers=SGD | ADAM)
    alone, found = ledger.collect(one), together(one)

    assert [cell.name for cell in found.cells] == [cell.name for cell in alone.cells]
    assert tables.runs(found).equals(tables.runs(alone))
    assert found.findings == alone.ledger.on_results


@pytest.mark.parametrize("name", ["grid", "final", "runtime", "sensitivity"])
def test_a_figure_of_two_sweeps(tmp_path, name):
    grid = {"Adam": [{"lr": 0.001}, {"lr": 0.01}]}
    found = together(sweep(tmp_path, "a", SGD), sweep(tmp_path, "b", grid))

    drawing = draw(found, name)
    assert drawing.pages[0].texts[0].get_text() == "a + b · 9 of 9 runs"


def command(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(list(map(str, words)))
    return code, *capsys.readouterr()


def test_the_commands_write_of_several_sweeps_where_they_are_told_to(tmp_path, capsys):
    first, second = sweep(tmp_path, "a", SGD), sweep(tmp_path, "b", {"SGD": [{"lr": 0.2}]})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    words = (first.root, second.root, "--out", tmp_path / "out")
    code, out, _ = command(capsys, "collect", *words, "--json")
    found = json.loads(out)

    assert code == 0
    assert [one["sweep"] for one in found["sweeps"]] == ["a", "b"]
    assert len(found["findings"]) == 1
    assert [Path(path).name for path in found["files"]] == [
        *("runs.parquet", "curves.parquet", "summary.csv", "study.json")
    ]
    assert pd.read_parquet(tmp_path / "out" / "runs.parquet")["sweep"].tolist() == [*"aaabbb"]
    code, out, _ = command(capsys, "collect", *words, "--strict")
    assert code == 1
    assert "a + b: 6 runs" in out
    assert "b: expected 3, completed 3" in out
    assert "SGD [b]" in out

    code, out, _ = command(capsys, "plot", *words, "--json")
    assert (code, json.loads(out)["runs"]) == (0, 6)
    assert (tmp_path / "out" / "grid.png").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("name", ["collect", "plot"])
def test_several_sweeps_have_no_folder_of_their_own(tmp_path, capsys, name):
    first, second = sweep(tmp_path, "a", SGD), sweep(tmp_path, "b", ADAM)
    code, out, err = command(capsys, name, first.root, second.root)

    assert (code, out) == (2, "")
    assert "--out DIR" in err
    assert not first.collected.exists()


def test_a_sweep_that_is_named_twice_is_one(tmp_path, capsys):
    store = sweep(tmp_path, "a", SGD)
    code, out, _ = command(capsys, "collect", store.root, f"{store.root}/.", "--json")

    assert (code, json.loads(out)["sweep"]) == (0, "a")
