"""The charts show what the figures show, in numbers that JSON has; a label is never more than a text."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert

from jobs.report import vega
from jobs.report.charts import charts
from jobs.report.content import Chart
from jobs.report.methods import methods
from jobs.results import ledger, style
from jobs.results.comparisons import Answer, answers
from jobs.results.mean_curves import band
from jobs.results.profile_figure import profiles_of
from jobs.results.question import Question
from jobs.results.study import Results
from jobs.results.times import paces
from jobs.results.tuning_figure import after_trials
from jobs.store.store import Store
from tests.make_sweep import make_sweep

GRID = [{"lr": lr} for lr in (0.01, 0.03, 0.1, 0.3)]
ODD = ['<script>alert("x")</script>', "a.b[0]['c']", "datum.value \\ $x$ {y}", "line\nbreak"]


def found_in(store: Store) -> tuple[Results, tuple[Answer, ...]]:
    own = ledger.collect(store, keep=False)
    return own, answers(own.selections, Question(), own.on_files)


def drawn(store: Store) -> dict[str, Chart]:
    return {one.name: one for one in charts(*found_in(store))}


def data(chart: Chart, **wanted: object) -> list[dict[str, Any]]:
    rows = chart.spec["data"]["values"]
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def walk(part: object) -> Iterator[tuple[str, object]]:
    """The keys and values of a spec, at any depth, but for its data."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key != "data":
                yield key, value
                yield from walk(value)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from walk(one)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three seeds, two settings of SGD."""
    return make_sweep(
        tmp_path_factory.mktemp("sweeps") / "few",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": GRID, "Adam": [{"lr": 0.001}]},
        epochs=6,
    )


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Of ten runs of SGD seven diverge; two problems, one without accuracy."""
    return make_sweep(
        tmp_path_factory.mktemp("sweeps") / "diverged",
        problems=["fmnist_2c2d", "quadratic_deep"],
        seeds=range(10),
        epochs=6,
        diverges=lambda one: 3 if one.optimizer == "SGD" and one.run.seed < 7 else None,
    )


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Labels that are something else in HTML, in a field's name, in an expression."""
    return make_sweep(
        tmp_path_factory.mktemp("sweeps") / "odd",
        problems=["mnist_mlp"],
        optimizers=dict.fromkeys(ODD, GRID),
        seeds=range(2),
        epochs=3,
        diverges=lambda one: 1 if one.run.hyperparameters["lr"] == 0.3 else None,
    )


def test_each_problem_has_its_charts_and_what_is_empty_is_left_out(few, diverged):
    kinds = ("compare", "final", "curves", "target", "tuning", "sensitivity", "time")

    assert list(drawn(few)) == [f"{kind}-1" for kind in kinds]
    assert list(drawn(diverged)) == [
        f"{kind}-{number}"
        for kind in ("compare", "final", "curves", "target", "time")
        for number in (1, 2)
    ]


@pytest.mark.parametrize("name", ["few", "diverged", "odd"])
def test_every_chart_compiles_with_the_version_that_is_bundled(name, request):
    major = vl_convert.get_vegalite_versions()[-1].partition(".")[0]
    for one in drawn(request.getfixturevalue(name)).values():
        spec = json.loads(json.dumps(one.spec, allow_nan=False))
        compiled = vl_convert.vegalite_to_vega(spec)

        assert spec["$schema"].endswith(f"/v{major}.json")
        assert compiled["marks"]
        assert spec["width"] == "container"
        assert one.title
        assert one.caption


def test_labels_are_texts_and_nothing_else(odd):
    found = drawn(odd)

    assert len(found) == 6  # the problem has no target
    for one in found.values():
        fields = {str(value) for key, value in walk(one.spec) if key == "field"}
        assert all(re.fullmatch("[a-z_]+", field) for field in fields)
        expressions = [str(v) for k, v in walk(one.spec) if k in ("expr", "filter", "calculate")]
        assert not any(label in text for label in ODD for text in expressions)
        svg = vl_convert.vegalite_to_svg({**one.spec, "width": 300})
        assert "<script" not in svg


def test_colours_are_those_of_the_figures(few):
    own, _ = found_in(few)
    for name, one in drawn(few).items():
        scales = [value for key, value in walk(one.spec) if key == "color"]
        ranges = [v["scale"] for v in scales if isinstance(v, dict) and "scale" in v]
        assert ranges, name
        for scale in ranges:
            assert scale["range"] == [style.color(own, label) for label in scale["domain"]]


def test_curves_of_few_runs_have_a_line_each_that_leads_to_the_run(few):
    own, _ = found_in(few)
    chart = drawn(few)["curves-1"]
    cell = next(one.cell for one in own.selections if one.optimizer == "SGD")
    assert cell
    (mean,) = data(chart, kind="mean", optimizer="SGD", metric="test accuracy")

    assert np.allclose(mean["value"], cell.curves("test_accuracy").mean(axis=0), rtol=1e-5)
    assert mean["epoch"] == list(range(7))
    assert mean["what"] == "mean of 3"
    assert set(mean["low"]) == {None}
    lines = data(chart, kind="run", optimizer="SGD", metric="test accuracy")
    assert {one["href"] for one in lines} == {f"#run-{one.planned.run.id}" for one in cell.results}
    assert len({one["setting"] for one in data(chart, optimizer="SGD")}) == 1


def test_five_runs_have_the_band_of_the_figures(tmp_path: Path):
    store = make_sweep(tmp_path / "five", problems=["mnist_mlp"], seeds=range(5), epochs=4)
    own, _ = found_in(store)
    chart = drawn(store)["curves-1"]
    cell = own.selections[0].cell
    assert cell
    (mean,) = data(chart, kind="mean", optimizer="SGD", metric="test accuracy")
    low, high = band(cell.curves("test_accuracy"))

    assert np.allclose(mean["low"], low, rtol=1e-5)
    assert np.allclose(mean["high"], high, rtol=1e-5)
    assert data(chart, kind="run") == []


def test_diverged_runs_end_in_a_cross_and_leave_no_band(diverged):
    chart = drawn(diverged)["curves-1"]
    ends = data(chart, kind="end", metric="test accuracy")

    assert len(ends) == 7
    assert {tuple(one["epoch"]) for one in ends} == {(2,)}
    assert {one["what"] for one in ends} == {f"seed {seed}, diverged" for seed in range(7)}
    (few_runs,) = data(chart, kind="few", metric="test accuracy")
    assert few_runs["what"] == "mean of 3 that completed"
    assert set(few_runs["low"]) == {None}
    (whole,) = data(chart, kind="mean", metric="test accuracy", optimizer="Adam")
    assert None not in whole["low"]


def test_the_metric_is_chosen_and_the_axis_with_it(diverged):
    params = {one["name"]: one for one in drawn(diverged)["curves-1"].spec["params"]}
    losses = {one["name"]: one for one in drawn(diverged)["curves-2"].spec["params"]}

    assert params["metric"]["value"] == "test accuracy"
    assert losses["metric"]["bind"]["options"] == ["test loss", "train loss"]
    ends = json.loads(params["ends"]["expr"].removeprefix("(").removesuffix(")[metric]"))
    assert set(ends) == {"test accuracy", "test loss", "train loss", "train accuracy"}
    assert all(low < high for low, high in ends.values())


@pytest.mark.parametrize("length", [0, 1, 2, 200, 201, 398, 399, 400, 1000, 100_001])
def test_long_lines_are_thinned_by_equal_steps_with_both_ends(length):
    kept = vega.thinned(length)

    assert len(kept) <= vega.POINTS_MAX
    assert list(kept[:1]) == [0][:length]
    assert list(kept[-1:]) == [length - 1][:length]
    assert length > vega.POINTS_MAX or len(kept) == length
    assert len(set(np.diff(kept)[:-1])) <= 1


def test_the_last_values_lead_to_their_runs_and_have_the_interval_of_their_mean(few, diverged):
    own, _ = found_in(few)
    cell = next(one.cell for one in own.selections if one.optimizer == "SGD")
    assert cell
    chart = drawn(few)["final-1"]
    values = cell.finals("test_accuracy")
    (mean,) = data(chart, kind="mean", optimizer="SGD")

    assert [row["value"] for row in data(chart, kind="run", optimizer="SGD")] == [
        pytest.approx(one, rel=1e-5) for one in values
    ]
    assert math.isclose(mean["value"], values.mean(), rel_tol=1e-5)
    half = 4.302653 * values.std(ddof=1) / math.sqrt(3)
    assert math.isclose(mean["high"], values.mean() + half, rel_tol=1e-4)
    assert data(chart, kind="box") == []
    (note,) = data(drawn(diverged)["final-1"], kind="note", optimizer="SGD")
    assert note["n"] == "n=3\n7 diverged"
    assert len(data(drawn(diverged)["final-1"], kind="box")) == 1


def test_differences_are_those_that_were_compared(few, diverged):
    _, (answer,) = found_in(few)
    (row,) = data(drawn(few)["compare-1"])
    assert answer.compared
    difference = answer.compared.comparison.difference
    assert difference

    assert math.isclose(row["difference"], difference.estimate, rel_tol=1e-5)
    assert math.isclose(row["low"], difference.interval().low, rel_tol=1e-5)
    assert row["note"] == "p = 0.250"
    (lost,) = data(drawn(diverged)["compare-1"])
    assert "difference" not in lost
    assert lost["note"].startswith("a run diverged\nP(better) ")


def test_shares_of_runs_at_the_target_begin_at_none_and_end_with_the_budget(diverged):
    rows = data(drawn(diverged)["target-1"], optimizer="SGD")

    assert rows[0] == {
        "optimizer": "SGD",
        "reached": "0 of 10 runs",
        "epoch": 0.0,
        "share": 0.0,
        "low": 0.0,
        "high": pytest.approx(0.277533, rel=1e-4),
    }
    assert rows[-1]["epoch"] == 6


def test_tuning_curves_are_those_of_the_figure(few):
    own, _ = found_in(few)
    curve = after_trials(own.selections[0], own.cells)
    rows = data(drawn(few)["tuning-1"])

    assert [row["trials"] for row in rows] == [1, 2, 3, 4]
    for row, after in zip(rows, curve, strict=True):
        assert after.test.median is not None
        assert math.isclose(row["median"], after.test.median, rel_tol=1e-5)


def test_numbers_of_settings_are_whole_and_one_value_has_its_place(tmp_path: Path):
    settings = [{"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.95}]
    store = make_sweep(
        tmp_path / "same", problems=["fmnist_2c2d"], optimizers={"SGD": settings}, epochs=3
    )
    own = ledger.collect(store, keep=False)
    (chart,) = (one for one in charts(own, ()) if one.name == "tuning-1")
    encoding = chart.spec["layer"][0]["encoding"]
    low, high = encoding["y"]["scale"]["domain"]

    assert encoding["x"]["axis"]["values"] == [1, 2]
    assert all(low < row["median"] < high for row in data(chart))


def test_each_setting_is_one_point_and_divergence_has_crosses(few, odd):
    own, _ = found_in(few)
    rows = data(drawn(few)["sensitivity-1"], kind="line")

    assert [row["at"] for row in rows] == [0.01, 0.03, 0.1, 0.3]
    for row, cell in zip(rows, own.cells, strict=False):
        values = cell.finals("valid_accuracy")
        assert math.isclose(row["mean"], values.mean(), rel_tol=1e-5)
        assert math.isclose(row["high"], values.mean() + values.std(ddof=1), rel_tol=1e-5)
    assert len(data(drawn(few)["sensitivity-1"], kind="level", optimizer="Adam")) == 1
    crosses = data(drawn(odd)["sensitivity-1"], kind="cross")
    assert {(one["at"], one["opacity"]) for one in crosses} == {(0.3, 1.0)}
    assert len({one["y"] for one in crosses}) == len(ODD)


def test_what_is_no_number_has_its_own_tick(tmp_path: Path):
    store = make_sweep(
        tmp_path / "zero",
        problems=["mnist_mlp"],
        optimizers={"SGD": [{"lr": lr} for lr in (0.0, 0.01, 0.1, 1.0)]},
        epochs=2,
    )
    own = ledger.collect(store, keep=False)
    chart = next(one for one in charts(own, ()) if one.name == "sensitivity-1")
    (tick,) = data(chart, kind="tick")

    assert tick["word"] == "0"
    assert [row["is_on"] for row in data(chart, kind="line")] == [False, True, True, True]


def test_profiles_step_where_those_of_the_figure_do(tmp_path: Path):
    store = make_sweep(
        tmp_path / "three",
        problems=["fmnist_2c2d", "cifar10_3c3d", "quadratic_deep"],
        epochs=60,
    )
    own, _ = found_in(store)
    found = profiles_of(own)
    chart = drawn(store)["profile"]
    assert found

    assert vl_convert.vegalite_to_vega(json.loads(json.dumps(chart.spec, allow_nan=False)))
    for one in found.profiles:
        rows = data(chart, optimizer=one.optimizer)
        last = [[row for row in rows if row["ratio"] <= tau + 1e-5][-1] for tau in found.taus]
        assert np.allclose([row["share"] for row in last], one.shares, rtol=1e-5)
        assert rows[-1]["ratio"] == found.taus[-1]
        assert len(rows) < len(found.taus)
    assert "Dolan and Moré, 2002" in " ".join(methods(own, (), Question()).paragraphs)


def test_times_are_ratios_of_pairs(few):
    own, _ = found_in(few)
    (pace,) = paces(own.selections, own.found)
    rows = data(drawn(few)["time-1"])

    assert pace.wall
    assert [row["clock"] for row in rows] == ["wall clock", "CPU time"]
    assert math.isclose(rows[0]["ratio"], pace.wall.ratio, rel_tol=1e-5)
    assert rows[0]["pairs"] == 3


@pytest.mark.parametrize(
    "lacks", [lambda _: True, lambda one: one.optimizer == "SGD"], ids=["all", "the baseline"]
)
def test_where_records_are_lacking_there_is_what_can_be_shown(tmp_path: Path, lacks: Callable):
    store = make_sweep(tmp_path / "lacks", is_recorded=lambda one: not lacks(one), epochs=3)
    found: Sequence[Chart] = list(drawn(store).values())

    assert all(vl_convert.vegalite_to_vega(one.spec) for one in found)
    assert {one.name.partition("-")[0] for one in found} <= {"compare", "final", "curves", "target"}


def test_numbers_that_json_has_not_are_null():
    assert vega.numbers([0.123456789, math.nan, math.inf, 1e30]) == [0.123457, None, None, 1e30]
    assert vega.number(None) is None
