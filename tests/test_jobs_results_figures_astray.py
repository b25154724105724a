"""Runs that completed astray, collapsed or exploded, are marked in the figure `sensitivity`."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jobs.results import ledger
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from jobs.results.reading import Result
from tests.make_sweep import make_sweep


def panels(drawing: Drawing) -> list[Axes]:
    return [axes for figure in drawing.pages for axes in figure.axes if axes.axison]


def marked(panel: Axes, marker: str) -> list[Line2D]:
    return [line for line in panel.get_lines() if line.get_marker() == marker]


LRS = [1e-3, 1e-2, 1e-1, 1.0]


def astray(collection: Collection, change: Callable[[Result], float]) -> Collection:
    """The collection with the train accuracy and loss of some runs times a factor at the end."""

    def changed(one: Result) -> Result:
        curves = dict(one.curves)
        factor = change(one)
        if factor > 1:
            for name in ("train_loss", "valid_loss"):
                curves[name] = curves[name] * np.linspace(1, factor, len(curves[name]))
        if factor < 1:
            for name in ("train_accuracy", "valid_accuracy"):
                curves[name] = np.full_like(curves[name], 0.1)
        return dataclasses.replace(one, curves=curves)

    return dataclasses.replace(collection, outcomes=tuple(map(changed, collection.outcomes)))


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> Collection:
    """At 0.001 all runs collapse, at 0.01 one of three; at 1 all explode."""
    store = make_sweep(
        tmp_path_factory.mktemp("astray") / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": lr} for lr in LRS]},
        epochs=4,
    )

    def change(one: Result) -> float:
        lr, seed = one.planned.varied["lr"], one.planned.run.seed
        if lr == 1e-3 or (lr == 1e-2 and seed == 42):
            return 0.0
        return 1e7 if lr == 1.0 else 1.0

    return astray(ledger.collect(store), change)


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_sensitivity_marks_what_collapsed_or_exploded(steps, metric):
    drawing = draw(steps, "sensitivity", FigureOptions(metric=metric))
    (panel,) = panels(drawing)
    collapsed, exploded = marked(panel, "v"), marked(panel, "^")
    low, high = panel.get_ylim()

    assert [line.get_xdata()[0] for line in collapsed] == LRS[:2]
    assert [line.get_alpha() for line in collapsed] == [1.0, 0.45]
    assert [line.get_xdata()[0] for line in exploded] == LRS[3:]
    assert all(low <= line.get_ydata()[0] <= high for line in collapsed + exploded)
    assert high < 100
    assert [text.get_text() for text in drawing.pages[0].legends[0].get_texts()] == [
        "SGD",
        "exploded",
        "collapsed",
    ]
    assert "no better than untrained (4 runs in all)" in drawing.caption
    assert "exploded loss (3 runs in all)" in drawing.caption


def test_sensitivity_of_sound_runs_has_no_such_marks(tmp_path):
    store = make_sweep(tmp_path / "sweep", optimizers={"SGD": [{"lr": lr} for lr in LRS]})
    drawing = draw(ledger.collect(store), "sensitivity")

    assert [text.get_text() for text in drawing.pages[0].legends[0].get_texts()] == ["SGD"]
    assert "Triangle" not in drawing.caption
