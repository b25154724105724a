"""Settings that collapsed or exploded have triangles in the chart, as in the figure."""

import json
from typing import Any

import pytest

from jobs.report.charts import charts
from jobs.report.content import Chart
from jobs.results import ledger
from tests.make_sweep import make_sweep

LRS = (0.001, 0.01, 0.1, 1.0)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Of SGD at 0.001 all runs collapse, at 0.01 one of three; at 1 all explode."""
    store = make_sweep(
        tmp_path_factory.mktemp("astray") / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={name: [{"lr": lr} for lr in LRS] for name in ("SGD", "Adam")},
        epochs=4,
    )
    for planned in store.sweep().runs:
        lr, file = planned.varied["lr"], store.run(planned.run.id).record_file
        record = json.loads(file.read_text())
        if planned.optimizer == "SGD" and (lr == 0.001 or (lr == 0.01 and planned.run.seed == 42)):
            record["curves"] |= dict.fromkeys(["train_accuracy", "valid_accuracy"], [0.1] * 5)
        if planned.optimizer == "SGD" and lr == 1.0:
            record["curves"]["train_loss"][-1] = 1e9
            record["curves"]["valid_accuracy"][-1] = 0.01
        file.write_text(json.dumps(record))
    return next(
        one for one in charts(ledger.collect(store, keep=False), ()) if one.name == "sensitivity-1"
    )


def marks(chart: Chart) -> list[dict[str, Any]]:
    return [row for row in chart.spec["data"]["values"] if row["kind"] == "astray"]


def test_what_collapsed_or_exploded_has_a_triangle_light_if_only_some_did(chart):
    found = [(one["optimizer"], one["of"], one["at"], one["opacity"]) for one in marks(chart)]

    assert found == [
        ("collapsed", "SGD", 0.001, 1.0),
        ("collapsed", "SGD", 0.01, 0.45),
        ("exploded", "SGD", 1.0, 1.0),
    ]
    assert [one["shape"] for one in marks(chart)] == ["triangle-down"] * 2 + ["triangle-up"]


def test_the_axis_is_not_scaled_to_what_exploded(chart):
    low, _ = next(
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in chart.spec["layer"]
        if "kind === 'scatter'" in layer["transform"][0]["filter"]
    )

    assert low > 0.01
    assert marks(chart)[-1]["mean"] == low


def test_legend_and_caption_tell_the_triangles(chart):
    scales = [
        layer["encoding"]["shape"]["scale"]
        for layer in chart.spec["layer"]
        if (layer["encoding"].get("shape") or {}).get("scale")
    ]

    assert [scale["domain"] for scale in scales] == [["SGD", "Adam", "exploded", "collapsed"]]
    assert scales[0]["range"][2:] == ["triangle-up", "triangle-down"]
    assert "no better than untrained (4 runs in all)" in chart.caption
    assert "exploded loss (3 runs in all)" in chart.caption
