"""The tables: the numbers that plain numpy finds, and nothing that was not measured."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands.collect import collect
from cluster.commands.status import status
from jobs.results import columns, ledger, tables
from jobs.results.ledger import Collection
from jobs.results.selection import select
from jobs.store.record import EPOCH_METRICS
from jobs.store.store import Store
from jobs.sweep import Target
from tests.helpers import note
from tests.make_sweep import make_sweep

GRID = {"SGD": [{"lr": 0.01}, {"lr": 0.1}, {"lr": 100}], "Adam": [{"lr": 0.001}]}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """SGD at lr=100 always diverges in epoch 3; Adam's seed 43 in epoch 5."""

    def diverges(planned):
        if planned.run.hyperparameters["lr"] == 100:
            return 3
        return 5 if (planned.optimizer, planned.run.seed) == ("Adam", 43) else None

    return make_sweep(
        tmp_path_factory.mktemp("tables") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers=GRID,
        epochs=8,
        diverges=diverges,
    )


@pytest.fixture(scope="module")
def collection(store):
    return ledger.collect(store)


@pytest.fixture(scope="module")
def summary(collection):
    frame = tables.summary(collection.cells, collection.sweep.targets)
    return pd.read_csv(BytesIO(tables.to_csv(frame)))


def records(store: Store) -> list[dict]:
    return [
        json.loads(store.run(planned.run.id).record_file.read_text())
        for planned in store.sweep().runs
    ]


def at_best_valid(curves: Mapping[str, list[float]], metric: str) -> float:
    """The metric when the validation metric was best, by plain Python."""
    valid = curves.get("valid_accuracy") or [-loss for loss in curves["valid_loss"]]
    return curves[metric][valid.index(max(valid))]


def test_summary_agrees_with_plain_numpy(store, summary):
    for _, row in summary.iterrows():
        members = [
            record
            for record, planned in zip(records(store), store.sweep().runs, strict=True)
            if planned.run.cell == row["cell"] and record["outcome"] == "completed"
        ]
        assert row["n"] == len(members)
        for metric in EPOCH_METRICS:
            curves = [record["curves"][metric] for record in members if metric in record["curves"]]
            if not curves:
                assert np.isnan(row[f"final_{metric}_mean"])
                continue
            finals = np.array([curve[-1] for curve in curves])
            at_best = np.array([at_best_valid(one["curves"], metric) for one in members])
            for name, values in (("final", finals), ("at_best_valid", at_best)):
                prefix = f"{name}_{metric}"
                assert row[f"{prefix}_mean"] == pytest.approx(values.mean(), rel=1e-15)
                assert row[f"{prefix}_sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)
                assert row[f"{prefix}_min"] == values.min()
                assert row[f"{prefix}_max"] == values.max()


def test_a_diverged_run_is_counted_and_never_averaged(summary):
    rows = summary[summary.problem == "fmnist_2c2d"].set_index(["optimizer", "varied.lr"])

    exploded = rows.loc[("SGD", 100.0)]
    assert (exploded["n_expected"], exploded["n"], exploded["n_diverged"]) == (3, 0, 3)
    assert exploded["diverged_seeds"] == "42 43 44"
    averages = [c for c in summary if c.startswith(("final_", "at_best", "epochs_to"))]
    assert exploded[averages].isna().all()

    partly = rows.loc["Adam"].iloc[0]
    assert (partly["n"], partly["n_diverged"], partly["seeds"]) == (2, 1, "42 44")


def test_cells_stand_in_the_order_of_the_spec(summary):
    order = summary[["problem", "optimizer"]].drop_duplicates().to_numpy().tolist()

    assert order == [
        ["fmnist_2c2d", "SGD"],
        ["fmnist_2c2d", "Adam"],
        ["quadratic_deep", "SGD"],
        ["quadratic_deep", "Adam"],
    ]


def test_curves_hold_what_was_measured_and_nothing_else(store, collection):
    frame = tables.curves(collection.found).to_pandas()
    measured = [
        (record["id"], epoch, metric, value)
        for record in records(store)
        for metric in EPOCH_METRICS
        for epoch, value in enumerate(record["curves"].get(metric, []))
    ]

    assert list(frame.columns) == ["run", "epoch", "metric", "value"]
    assert list(frame.itertuples(index=False, name=None)) == measured


def test_a_missing_value_has_no_row_and_becomes_no_number(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=2)
    path = store.run(store.sweep().runs[0].run.id).record_file
    record = json.loads(path.read_text())
    record["curves"]["test_loss"][-1] = None
    path.write_text(json.dumps(record))

    collection = ledger.collect(store)
    curves = tables.curves(collection.found).to_pandas()
    runs = tables.runs(collection).to_pandas()
    cells = tables.summary(collection.cells, {})

    own = curves[(curves.run == record["id"]) & (curves.metric == "test_loss")]
    assert own.epoch.tolist() == [0, 1]
    assert np.isnan(runs.final_test_loss[0])
    assert np.isnan(cells.final_test_loss_mean[0])
    assert cells.final_test_accuracy_mean.notna().all()


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_a_number_beyond_floats_is_missing(tmp_path, text):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=2)
    path = store.run(store.sweep().runs[0].run.id).record_file
    record = json.loads(path.read_text())
    record["curves"]["test_loss"][-1] = "HUGE"
    path.write_text(json.dumps(record).replace('"HUGE"', text))

    collection = ledger.collect(store)

    assert tables.runs(collection)["final_test_loss"][0].as_py() is None


def test_runs_have_a_row_per_record_with_all_that_is_known(store, collection):
    frame = pd.read_parquet(BytesIO(tables.to_parquet(tables.runs(collection))))

    assert frame.run.tolist() == [planned.run.id for planned in store.sweep().runs]
    first = frame.iloc[0]
    assert first["hp.lr"] == 0.01
    assert first["provenance.torch"] == "2.13.0"
    assert first["cost.train.wall_s"] == records(store)[0]["cost"]["train"]["wall_s"]
    diverged = frame[frame.outcome == "diverged"].iloc[0]
    assert (diverged["stop.reason"], diverged["stop.epoch"]) == ("nonfinite_loss", 3)
    assert np.isnan(diverged["final_test_accuracy"])
    assert diverged["oracle_test_accuracy"] == max(
        next(r for r in records(store) if r["id"] == diverged["run"])["curves"]["test_accuracy"]
    )


def test_every_planned_run_has_a_row_that_says_what_became_of_it(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        seeds=range(6),
        optimizers={"SGD": [{"lr": 0.1}]},
        epochs=2,
        diverges=lambda planned: 1 if planned.run.seed == 1 else None,
        is_recorded=lambda planned: planned.run.seed < 2,
    )
    ids = [planned.run.id for planned in store.sweep().runs]
    for number in (2, 3, 4):  # failed, lost, about to go on after a preemption
        store.run(ids[number]).claim().release()
    end = {"fence": 1, "failure": "oom", "message": "over the limit"}
    note(store.run(ids[2]), "ended", **end)
    note(store.run(ids[4]), "ended", **(end | {"failure": "preempted"}))
    note(store.run(ids[4]), "requeued", fence=1)
    collection = ledger.collect(store)
    rows = tables.runs(collection).to_pylist()

    assert [row["run"] for row in rows] == ids
    assert [(row["outcome"], row["failure_class"]) for row in rows] == [
        ("completed", None),
        ("diverged", None),
        ("failed", "oom"),
        ("missing", "lost"),
        ("missing", None),
        ("missing", None),
    ]
    assert rows[2]["failure_message"] == "over the limit"
    assert [row["hp.lr"] for row in rows] == [0.1] * 6
    assert rows[5]["cost.train.wall_s"] is None
    cell = tables.summary(collection.cells, {}).iloc[0]
    names = ("n_expected", "n", "n_diverged", "n_failed", "n_missing")
    assert [int(cell[name]) for name in names] == [6, 1, 1, 1, 3]


def test_the_key_has_one_name_and_the_tables_join(collection):
    runs, curves = tables.runs(collection), tables.curves(collection.found)
    joined = curves.to_pandas().merge(runs.to_pandas(), on="run", validate="many_to_one")

    assert len(joined) == len(curves)


def test_types_of_columns_depend_on_their_names_alone(tmp_path):
    """Not on what a sweep's runs, or its hyperparameters, happen to be."""
    settings = [
        {
            "SGD": [
                {
                    "size": 1,
                    "mode": "fast",
                    "betas": [0.9, 0.99],
                    "nesterov": True,
                    "deep": {"a": 2},
                }
            ]
        },
        {"SGD": [{"size": 0.5, "mode": 3, "betas": 0.5, "nesterov": None, "deep": {"a": "x"}}]},
        {"SGD": [{"size": "auto", "mode": None, "betas": [1], "nesterov": 0.0, "deep": 10**400}]},
    ]
    found = [
        tables.runs(
            ledger.collect(
                make_sweep(
                    tmp_path / str(number),
                    problems=["digits_mlp"],
                    optimizers=setting,
                    epochs=1,
                    is_recorded=lambda planned, all_=number: planned.run.seed < 42 + all_,
                )
            )
        )
        for number, setting in enumerate(settings)
    ]
    types: dict[str, set] = {}
    for table in found:
        for field in table.schema:
            types.setdefault(field.name, set()).add(field.type)

    assert {name for name, kinds in types.items() if len(kinds) > 1} == set()
    assert pa.null() not in set().union(*types.values())
    assert [table["hp.size"][0].as_py() for table in found[:2]] == [1.0, 0.5]
    assert "hp.size" not in found[2].column_names
    first = found[0].to_pylist()[0]
    assert (first["hp.betas.0"], first["hp.betas.1"], first["hp.deep.a"]) == (0.9, 0.99, 2.0)
    assert first["hp.nesterov"] == 1.0
    assert json.loads(first["hyperparameters"]) == settings[0]["SGD"][0]
    assert found[2]["hp.deep"][0].as_py() is None  # beyond floats


def test_lists_are_lists_and_times_are_times(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=1)
    path = store.run(store.sweep().runs[0].run.id).record_file
    record = json.loads(path.read_text())
    record["provenance"] |= {
        "co_tenants": ["a", "b"],
        "started": 1_700_000_000.25,
        "ended": "yesterday",
        "own_code": {"my_opt": "1f"},
        "slurm": {"job_id": 7},
        "threads": 2.0,
        "dirty": "no",
        "unknown": [1],
    }
    path.write_text(json.dumps(record))
    table = tables.runs(ledger.collect(store))
    row = table.to_pylist()[0]

    assert row["provenance.co_tenants"] == ["a", "b"]
    assert row["provenance.started"].isoformat() == "2023-11-14T22:13:20.250000+00:00"
    assert row["provenance.ended"] is None
    assert dict(row["provenance.own_code"]) == {"my_opt": "1f"}
    assert (row["provenance.slurm.job_id"], row["provenance.threads"]) == ("7", 2)
    assert row["provenance.dirty"] is None
    frame = pd.read_parquet(BytesIO(tables.to_parquet(table)))
    assert str(frame["provenance.started"].dt.tz) == "UTC"


_WORDS = {
    columns.TEXT: "text",
    columns.INTEGER: "integer",
    pa.int32(): "integer",
    columns.FLOAT: "float",
    columns.BOOLEAN: "true or false",
    columns.TIME: "time (UTC)",
    columns.TEXTS: "list of texts",
    columns.MAP: "map of texts",
    columns.LABEL: "text",
}


@pytest.mark.parametrize("name", ["RUNS", "CURVES", "SUMMARY"])
def test_the_readme_lists_every_column(name):
    """Where it does not: the lines that should stand there are these."""
    lines = [
        f"| {', '.join(f'`{one}`' for one in group.names)} | {_WORDS[group.type]} | {group.meaning} |"
        for group in getattr(columns, name)
    ]
    readme = (Path(__file__).parent.parent / "README.md").read_text()

    assert "\n".join(lines) in readme


def test_the_dictionary_lists_every_column_that_there_is(collection, summary):
    def known(groups) -> list[str]:
        return [name for group in groups for name in group.expanded()]

    def fixed(names) -> list[str]:
        return [name for name in names if not name.startswith(("hp.", "varied."))]

    assert fixed(tables.runs(collection).column_names) == known(columns.RUNS)
    assert tables.curves(collection.found).schema.names == known(columns.CURVES)
    types = [group.type for group in columns.CURVES]
    assert tables.curves(collection.found).schema.types == types
    assert sorted(fixed(summary.columns)) == sorted(known(columns.SUMMARY))


def test_epochs_to_target_is_the_first_epoch_that_reaches_it(collection):
    result = collection.found[0]
    accuracy = result.curves["test_accuracy"]
    loss = result.curves["test_loss"]

    high = Target(metric="test_accuracy", value=float(accuracy[4]))
    assert result.epochs_to(high) == next(i for i, v in enumerate(accuracy) if v >= accuracy[4])
    low = Target(metric="test_loss", value=float(loss[4]))
    assert result.epochs_to(low) == next(i for i, v in enumerate(loss) if v <= loss[4])
    assert np.isnan(result.epochs_to(Target(metric="test_accuracy", value=1.1)))
    assert np.isnan(result.epochs_to(Target(metric="unknown", value=0.0)))


def test_a_run_is_at_its_target_on_validation_data_and_its_speed_is_of_test_data(tmp_path):
    """A diverged run is not, and of one without a record nobody knows."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": 0.1}]},
        epochs=12,
        diverges=lambda one: 11 if one.run.seed == 43 else None,
        is_recorded=lambda one: one.run.seed != 44,
    )
    collection = ledger.collect(store)
    first, second = collection.found
    value = float(first.curves["valid_accuracy"][5])
    target = Target(metric="test_accuracy", value=value)
    eased = dataclasses.replace(
        collection, sweep=dataclasses.replace(collection.sweep, targets={"fmnist_2c2d": target})
    )
    rows = tables.runs(eased).select(["epochs_to_target", "reached", "censored"]).to_pylist()
    (cell,) = tables.summary(eased.cells, eased.targets).to_dict("records")

    epoch = int(np.argmax(first.curves["valid_accuracy"] >= value))
    assert rows[0] == {"epochs_to_target": epoch, "reached": True, "censored": False}
    assert (rows[1]["reached"], rows[1]["censored"]) == (False, False)
    assert rows[2] == {"epochs_to_target": None, "reached": None, "censored": True}
    assert cell["target"] == f"valid_accuracy {value}"
    assert cell["n_reached_target"] == 1
    on_test = [one.curves["test_accuracy"] >= value for one in (first, second)]
    speeds = [float(np.argmax(one)) if one.any() else 13.0 for one in on_test]
    assert cell["deepobs_speed"] == np.mean(speeds)


def test_the_selected_cell_has_no_divergence_and_the_best_mean(collection):
    cells = collection.cells
    sgd = [cell for cell in cells if (cell.problem, cell.optimizer) == ("fmnist_2c2d", "SGD")]

    (found,) = select(sgd)

    means = {cell.setting: np.mean(cell.finals("valid_accuracy")) for cell in sgd if cell.completed}
    assert found.cell is not None
    assert found.cell.setting == max(means, key=means.__getitem__)
    (diverged,) = select([cell for cell in sgd if not cell.completed])
    assert diverged.cell is not None
    assert diverged.cell.setting == "lr=100"
    assert select([]) == ()


@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        min_size=1,
    )
)
def test_any_column_of_values_can_be_written(values):
    frame = pd.DataFrame({"x": tables._column(values)})

    assert pd.read_csv(BytesIO(tables.to_csv(frame)), skip_blank_lines=False).shape[1] == 1
    missing = frame.x.isna().tolist()
    assert missing == [value is None for value in values]


def test_collecting_twice_writes_the_same_bytes(store, capsys):
    def files() -> dict[str, bytes]:
        collect(store, strict=False, as_json=True)
        found = {path.name: path.read_bytes() for path in store.collected.iterdir()}
        assert {path.name for path in (store.known_records_file, store.known_tables_file)} < {
            *found
        }
        shutil.rmtree(store.collected)
        return {name: text for name, text in found.items() if not name.endswith(".cache")}

    assert files() == files()
    assert set(files()) == {"runs.parquet", "curves.parquet", "summary.csv", "ledger.json"}
    capsys.readouterr()


def test_json_is_one_object_on_stdout(store, capsys):
    code = collect(store, strict=False, as_json=True)

    out = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (out["schema"], out["expected"], out["completed"], out["diverged"]) == (1, 24, 16, 8)
    assert all(Path(path).is_file() for path in out["files"])


def test_exit_codes(tmp_path, capsys):
    whole = make_sweep(tmp_path / "whole", epochs=2)
    assert collect(whole, strict=True, as_json=False) == 0
    (whole.root / "notes.txt").write_text("mine")
    assert collect(whole, strict=False, as_json=False) == 0
    assert collect(whole, strict=True, as_json=False) == 1
    out = capsys.readouterr().out
    assert "! notes.txt does not belong here" in out
    assert f"next: probprec plot {whole.root}; probprec report {whole.root}" in out

    partial = make_sweep(tmp_path / "partial", epochs=2, is_recorded=lambda p: p.run.seed == 42)
    assert collect(partial, strict=False, as_json=False) == 1
    out = capsys.readouterr().out
    assert "missing 8 (8 pending)" in out
    assert f"probprec status {partial.root}" in out


def test_an_empty_sweep_is_collected_too(tmp_path, capsys):
    store = make_sweep(tmp_path / "empty", is_recorded=lambda _: False)

    assert collect(store, strict=False, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == 12
    assert len(pd.read_parquet(store.collected / "curves.parquet")) == 0


def test_what_is_missing_is_sent_by_the_command_that_is_shown(tmp_path, capsys):
    """With `--root`, here: the sweep lies in no usual place."""
    store = make_sweep(tmp_path / "part", epochs=2, is_recorded=lambda one: one.run.seed != 42)
    collect(store, strict=False, as_json=False)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: probprec status {store.root}"

    status(store, watch=False, as_json=False)
    last = capsys.readouterr().out.splitlines()[-1]
    assert " runs were never sent; next: probprec submit " in last
    assert last.endswith(f" --root {tmp_path}")


def small(tmp_path: Path, *, diverged: int = 0) -> Collection:
    """Ten runs of one cell, of which the first ones diverged; all that end reach some accuracy."""
    seeds = range(10)
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": 0.1}]},
        seeds=seeds,
        epochs=4,
        diverges=lambda planned: 2 if planned.run.seed < diverged else None,
    )
    return ledger.collect(store)


@pytest.mark.parametrize(("diverged", "is_known"), [(0, True), (4, True), (5, False), (7, False)])
def test_the_median_counts_a_diverged_run_as_the_worst(tmp_path, diverged, is_known):
    """The mean of three survivors of ten is not what the optimizer does."""
    collection = small(tmp_path, diverged=diverged)
    (cell,) = collection.cells
    row = tables.summary(collection.cells, collection.sweep.targets).iloc[0]

    worst = [0.0] * diverged
    expected = np.median([*worst, *cell.finals("test_accuracy")])
    found = row["final_test_accuracy_median"]
    assert (found == pytest.approx(expected)) if is_known else np.isnan(found)
    assert row["final_test_accuracy_mean"] == pytest.approx(cell.finals("test_accuracy").mean())


def test_epochs_to_target_are_those_of_all_runs(tmp_path):
    """One of ten that gets there is no time to target; a diverged run is one that did not."""
    collection = small(tmp_path, diverged=3)
    (cell,) = collection.cells
    highest = sorted(one.curves["valid_accuracy"].max() for one in cell.completed)

    def at(value: float) -> tuple[int, float]:
        target = Target(metric="test_accuracy", value=value)
        row = tables.summary(collection.cells, {"fmnist_2c2d": target}).iloc[0]
        return row["n_reached_target"], row["epochs_to_target_median"]

    count, median = at(highest[-1])
    assert (count, np.isnan(median)) == (1, True)
    count, median = at(float(min(one.curves["valid_accuracy"][3:].max() for one in cell.completed)))
    assert count == 7
    assert 3.0 <= median <= 4.0
    assert at(0.0) == (7, 0.0)  # the others were there, too, and did not stay


def test_the_best_of_test_data_is_called_an_oracle_and_not_shown(tmp_path):
    collection = small(tmp_path)
    result = collection.found[0]
    values = {"valid_accuracy": [0.1, 0.9, 0.5], "test_accuracy": [0.2, 0.6, 0.8]}
    curves = {name: np.array(value) for name, value in values.items()}
    found = dataclasses.replace(result, curves=curves)

    assert found.best("test_accuracy") == 0.8
    assert found.at_best_valid("test_accuracy") == 0.6
    assert np.isnan(dataclasses.replace(found, diverged=True).at_best_valid("test_accuracy"))
    names = tables.runs(collection).column_names
    assert {"oracle_test_accuracy", "at_best_valid_test_accuracy"} <= set(names)
    assert not any(name.startswith("best_test") for name in names)
    summary = tables.summary(collection.cells, {})
    assert not any("oracle" in name or name.startswith("best_") for name in summary)
