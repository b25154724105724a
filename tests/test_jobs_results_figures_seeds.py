"""The figures `seeds` and `trace`."""

import itertools
import json

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jobs.results import ledger, study
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from jobs.results.style import FigureError
from tests.make_sweep import make_sweep

NAMES = ("SGD", "Momentum", "Adam")


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    """Adam diverges on two of eight seeds; of Momentum one run has no record."""
    store = make_sweep(
        tmp_path_factory.mktemp("seeds") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={name: [{}] for name in NAMES},
        seeds=range(8),
        epochs=4,
        diverges=lambda one: 3 if one.optimizer == "Adam" and one.run.seed < 2 else None,
        is_recorded=lambda one: one.optimizer != "Momentum" or one.run.seed != 7,
    )
    return ledger.collect(store)


def panels(drawing: Drawing) -> list[Axes]:
    return [axes for figure in drawing.pages for axes in figure.axes if axes.axison]


def marked(panel: Axes, marker: str) -> list[Line2D]:
    return [line for line in panel.get_lines() if line.get_marker() == marker]


def finals(collection: Collection, optimizer: str, problem: str, metric: str) -> dict[int, float]:
    return {
        one.planned.run.seed: one.final(metric)
        for one in collection.found
        if (one.planned.problem, one.planned.optimizer) == (problem, optimizer)
    }


def test_seeds_joins_a_seed_that_all_have_and_breaks_where_it_diverged(collection):
    drawing = draw(collection, "seeds")
    panel = panels(drawing)[0]
    lines = [line for line in panel.get_lines() if len(line.get_xdata()) == 3]
    by_optimizer = [finals(collection, n, "fmnist_2c2d", "test_accuracy") for n in NAMES]

    assert [text.get_text() for text in panel.get_xticklabels()] == list(NAMES)
    assert panel.get_ylabel() == "final test accuracy"
    assert len(lines) == 7  # seed 7 has no record of Momentum
    for seed, line in enumerate(lines):
        np.testing.assert_equal(line.get_ydata(), [values[seed] for values in by_optimizer])
    assert np.isnan(lines[0].get_ydata()[2])
    assert [len(line.get_xdata()) for line in marked(panel, "o")] == [8, 7, 6]


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_seeds_marks_the_diverged_at_the_bad_end_outside_the_axis(collection, metric):
    panel = panels(draw(collection, "seeds", FigureOptions(metric=metric)))[0]
    (marks,) = marked(panel, "x")
    inside = panel.get_window_extent()
    places = marks.get_transform().transform(marks.get_xydata())
    labels = [text.get_window_extent() for text in panel.get_xticklabels()]

    assert np.round(marks.get_xdata()).tolist() == [2, 2]
    if metric == "test_loss":
        assert places[:, 1].min() > inside.y1
    else:
        assert places[:, 1].max() < inside.y0
        assert max(label.y1 for label in labels) < places[:, 1].min()


def test_seeds_tells_the_correlation_with_the_baseline(collection):
    drawing = draw(collection, "seeds")
    sgd, momentum, adam = (
        finals(collection, name, "fmnist_2c2d", "test_accuracy") for name in NAMES
    )
    pairs = {
        "Momentum": [(momentum[seed], sgd[seed]) for seed in range(7)],
        "Adam": [(adam[seed], sgd[seed]) for seed in range(2, 8)],
    }
    found = {name: np.corrcoef(np.array(own).T)[0, 1] for name, own in pairs.items()}
    span = f"{min(found.values()):.2f} to {max(found.values()):.2f}"

    note = panels(drawing)[0].texts[0].get_text().replace("\n", " ")
    assert note == f"n=7 to 8; r with SGD {span}; Adam 2 of 8 diverged"
    for name, value in found.items():
        assert (
            f"- fmnist_2c2d {name}: r with SGD {value:.2f} over {len(pairs[name])} seeds\n"
            in drawing.caption
        )


def test_the_legend_of_seeds_has_the_marks_that_are_drawn(collection, tmp_path):
    alone = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], optimizers={"Adam": [{}]}, epochs=1
    )
    drawing = draw(ledger.collect(alone), "seeds")

    assert [len(figure.legends) for figure in drawing.pages] == [0]
    assert "Line:" not in drawing.caption
    assert "r: " not in drawing.caption
    (legend,) = draw(collection, "seeds").pages[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["the same seed", "diverged"]


def test_seeds_of_many_optimizers_has_panels_that_begin_with_the_baseline(tmp_path):
    names = [*(f"own{i}" for i in range(29)), "SGD"]
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={name: [{}] for name in names},
        seeds=[1, 2],
        epochs=1,
    )
    drawing = draw(ledger.collect(store), "seeds")
    labels = [axes.get_xticklabels() for axes in panels(drawing)]
    shown = [[label.get_text() for label in of_panel] for of_panel in labels]

    assert [own[0] for own in shown] == ["SGD"] * 3
    assert [name for own in shown for name in own[1:]] == names[:-1]
    assert len({axes.get_ylim() for axes in panels(drawing)}) == 1
    for of_panel in labels:
        boxes = [label.get_window_extent() for label in of_panel]
        for one, other in itertools.pairwise(boxes):
            assert not one.overlaps(other)


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> Collection:
    store = make_sweep(
        tmp_path_factory.mktemp("trace") / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{}], "PreconditionedSGD": [{}]},
        seeds=range(3),
        epochs=4,
        diverges=lambda one: 3 if one.run.seed == 2 else None,
    )
    return ledger.collect(store)


def test_trace_draws_what_the_record_holds(traced):
    drawing = draw(traced, "trace")
    alpha, curvatures, estimates = panels(drawing)
    run = next(one for one in traced.found if one.planned.optimizer == "PreconditionedSGD")
    path = traced.store.run(run.planned.run.id).record_file
    log = json.loads(path.read_text())["curves"]["optimizer"]

    assert [panel.get_ylabel() for panel in (alpha, curvatures, estimates)] == [
        "step size",
        "curvatures\n(lines: b0)",
        "estimates",
    ]
    line = alpha.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata()[1:5] * 390, [20, 410, 800, 1190])  # in epochs
    assert line.get_ydata()[1:5].tolist() == [one for one, _ in log["alpha"]["value"][1:]]
    assert alpha.get_xlim() == curvatures.get_xlim() == estimates.get_xlim()
    points = marked(curvatures, ".")
    assert [point.get_ydata()[1] for point in points[:2]] == log["curvatures"]["value"][1][0]
    (b0, *_) = (line for line in curvatures.get_lines() if line.get_drawstyle() == "steps-post")
    assert b0.get_ydata()[1] == 1 / line.get_ydata()[1]  # from there to the next estimate
    assert np.isnan(b0.get_ydata()[[0, 2]]).all()
    assert estimates.get_lines()[0].get_ydata()[-1] == 4
    assert [len(line.get_xdata()) for line in estimates.get_lines()][2] < 4 * 39  # it diverged
    assert [text.get_text() for text in drawing.pages[0].legends[0].get_texts()] == [
        "PreconditionedSGD"
    ]
    assert "do not hold" in drawing.caption or "does not hold" in drawing.caption


def test_trace_reads_the_records_of_each_sweep_of_a_study(tmp_path):
    stores = [
        make_sweep(
            tmp_path / name,
            problems=["digits_mlp"],
            optimizers={"PreconditionedSGD": [{}]},
            seeds=[seed],
            epochs=2,
        )
        for seed, name in enumerate(("one", "two"))
    ]
    drawing = draw(study.collect(stores), "trace")

    assert len(panels(drawing)[2].get_lines()) == 2


def test_trace_without_a_log_is_refused(collection):
    with pytest.raises(FigureError, match="no selected run has the log of a Preconditioner"):
        draw(collection, "trace")
