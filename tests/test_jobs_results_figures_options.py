"""What is wanted of a figure: validation data, the last half, other axes, every setting; names at lines."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from cluster.commands.collect import plot
from jobs.results import figures, ledger, line_ends
from jobs.results.cells import group
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from jobs.results.reading import Result
from jobs.results.selection import select
from jobs.results.style import FigureError
from tests.make_sweep import make_sweep

SGD_DIVERGES = {0: 4, 1: 15}  # seeds and epochs


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    """Two of SGD's six seeds diverge: one in the first half of the epochs, one in the second."""
    store = make_sweep(
        tmp_path_factory.mktemp("wanted") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={"SGD": [{}], "PreconditionedSGD": [{}]},
        seeds=range(6),
        diverges=lambda one: SGD_DIVERGES.get(one.run.seed) if one.optimizer == "SGD" else None,
    )
    return ledger.collect(store)


def shown(drawing: Drawing) -> list[Axes]:
    return [axes for figure in drawing.pages for axes in figure.axes if axes.axison]


def means(panel: Axes) -> list[Line2D]:
    return [line for line in panel.get_lines() if line.get_linewidth() >= 0.8]


def ends(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts if text.get_gid() == line_ends.GID]


def of(collection: Collection, optimizer: str, problem: str = "fmnist_2c2d") -> list[Result]:
    return [
        one
        for one in collection.found
        if (one.planned.problem, one.planned.optimizer) == (problem, optimizer) and not one.diverged
    ]


def changed(collection: Collection, change: Callable[[Result], Result]) -> Collection:
    """The collection with other results."""
    found = [change(one) for one in collection.found]
    sweep = collection.sweep
    selections = select(group(found, sweep.problems, sweep.optimizers, sweep.tunings))
    return dataclasses.replace(
        collection,
        outcomes=tuple(found),
        ledger=dataclasses.replace(collection.ledger, selections=selections),
    )


def test_grid_of_validation_data(collection):
    drawing = draw(collection, "grid", FigureOptions(valid=True))
    labels = [axes.get_ylabel() for axes in shown(drawing) if axes.get_ylabel()]
    line = means(shown(drawing)[0])[1]
    curves = np.array([one.curves["valid_loss"] for one in of(collection, "PreconditionedSGD")])

    assert labels == ["valid loss", "train loss", "valid accuracy", "train accuracy"]
    np.testing.assert_allclose(line.get_ydata(), curves.mean(axis=0))
    assert drawing.caption.startswith("Valid loss, train loss, valid accuracy, train accuracy over")


def test_zoom_shows_the_last_half_and_fits_the_axis_to_it(collection):
    drawing = draw(collection, "grid", FigureOptions(zoom=True))
    panel = shown(drawing)[0]
    curves = [
        one.curves["test_loss"][10:]
        for name in ("SGD", "PreconditionedSGD")
        for one in of(collection, name)
    ]
    crosses = [line for line in panel.get_lines() if line.get_marker() == "x"]

    for line in means(panel):
        if line.get_marker() != "x":
            assert list(line.get_xdata()) == list(range(10, 21))
    assert panel.get_xlim()[0] > 9
    assert panel.get_ylim()[1] < np.max(curves) * 1.2
    assert [line.get_xdata()[0] for line in crosses] == [14]  # the other one was before
    assert "last half of the epochs" in drawing.caption


@pytest.mark.parametrize(("unit", "name"), [("steps", "step"), ("seconds", "training time (s)")])
def test_grid_over_steps_or_seconds_stands_at_the_mean_of_each_epoch(collection, unit, name):
    alone = draw(collection, "grid", FigureOptions(x=unit))
    panel = shown(alone)[0]
    own = of(collection, "PreconditionedSGD")
    times = np.array([one.steps if unit == "steps" else one.seconds for one in own])
    line = means(panel)[-1]
    (cross, _) = [line for line in panel.get_lines() if line.get_marker() == "x"]
    first = next(one for one in collection.found if one.diverged)

    wanted = next(
        line for line in means(panel) if len(line.get_xdata()) == 21 and not line.get_alpha()
    )
    np.testing.assert_allclose(wanted.get_xdata(), times.mean(axis=0))
    assert cross.get_xdata()[0] == (first.steps if unit == "steps" else first.seconds)[-1]
    assert line is not None
    assert name in [axes.get_xlabel() for axes in shown(alone)]
    assert f"over {unit}, per problem" in alone.caption


def test_seconds_that_cannot_be_compared_are_not_drawn(collection):
    """Who sees lines beside each other compares them."""

    def overlapping(one: Result) -> Result:
        times = {"started": 0.0, "ended": 60.0} if one.planned.problem == "fmnist_2c2d" else {}
        return dataclasses.replace(one, provenance={**one.provenance, **times})

    def elsewhere(one: Result) -> Result:
        cpu = f"CPU of {one.planned.optimizer}"
        return dataclasses.replace(one, provenance={**one.provenance, "cpu": cpu})

    why = (
        r"fmnist_2c2d: other runs were trained on the same host at the same time \(12 of 12 runs\)"
    )
    with pytest.raises(FigureError, match=f"{why}. Draw over epochs or steps, or, to measure it"):
        draw(changed(collection, overlapping), "grid", FigureOptions(x="seconds"))
    with pytest.raises(FigureError, match="different cpu; quadratic_deep: different cpu"):
        draw(changed(collection, elsewhere), "grid", FigureOptions(x="seconds"))
    assert draw(changed(collection, elsewhere), "grid", FigureOptions(x="steps")).pages


@pytest.mark.parametrize("unit", ["steps", "seconds"])
def test_records_without_times_are_named(collection, unit):
    def old(one: Result) -> Result:
        if one.planned.run.seed:
            return one
        return dataclasses.replace(one, seconds=None, cpu_seconds=None, steps=None)

    says = (
        f"4 of 24 records are of an older version, which kept no {unit} of training,"
        " e.g. that of fmnist_2c2d SGD seed 0: draw over epochs, or train again"
    )
    with pytest.raises(FigureError, match=says):
        draw(changed(collection, old), "grid", FigureOptions(x=unit))


@pytest.mark.parametrize(
    ("name", "wanted", "option"),
    [
        ("final", FigureOptions(zoom=True), "zoom; those that do: grid"),
        ("target", FigureOptions(valid=True), "valid; those that do: grid"),
        ("compare", FigureOptions(x="seconds"), "x; those that do: grid"),
        ("grid", FigureOptions(every=True), "all; those that do: final"),
    ],
)
def test_an_option_that_a_figure_does_not_take_is_refused(collection, name, wanted, option):
    with pytest.raises(FigureError, match=f"figure '{name}' takes no --{option}"):
        draw(collection, name, wanted)


def test_options_are_in_the_names_of_the_files(collection, tmp_path):
    for wanted, stem in (
        (FigureOptions(), "grid"),
        (FigureOptions(valid=True, zoom=True), "grid_valid_zoom"),
        (FigureOptions(x="steps"), "grid_steps"),
    ):
        written = figures.save(tmp_path, collection, "grid", wanted)
        assert [path.name for path in written] == [
            f"{stem}{end}" for end in (".png", ".pdf", ".txt")
        ]
    assert len(list(tmp_path.iterdir())) == 9


def test_plot_passes_the_options_on(tmp_path, capsys):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], seeds=[1], epochs=2)

    assert (
        plot(
            store,
            figure="grid",
            options=FigureOptions(valid=True, zoom=True, x="seconds"),
            as_json=True,
        )
        == 0
    )
    first = json.loads(capsys.readouterr().out)["files"][0]
    assert (
        plot(
            store,
            figure="final",
            options=FigureOptions(metric="test_loss", every=True),
            as_json=True,
        )
        == 0
    )
    second = json.loads(capsys.readouterr().out)["files"][0]

    assert Path(first).name == "grid_valid_zoom_seconds.png"
    assert Path(second).name == "final_test_loss_all.png"


def test_final_of_all_settings_has_a_row_for_each_and_one_axis(tmp_path):
    lrs = [float(lr) for lr in np.logspace(-4, 1, 20)]
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={name: [{"lr": lr} for lr in lrs] for name in ("SGD", "Momentum", "Adam")},
        seeds=[1, 2],
        epochs=2,
        diverges=lambda one: 1 if one.run.hyperparameters["lr"] == lrs[-1] else None,
    )
    collection = ledger.collect(store)
    drawing = draw(collection, "final", FigureOptions(every=True))
    first = [figure.axes[0] for figure in drawing.pages]
    rows = [label.get_text() for panel in first for label in panel.get_yticklabels()]

    assert rows[:2] == ["SGD lr=0.0001", "SGD lr=0.0001833"]
    assert rows[-1] == "Adam lr=10"
    assert len(rows) == 60
    assert len(drawing.pages) > 1
    assert len({panel.get_xlim() for panel in first}) == 1
    assert [text.get_text() for text in first[-1].texts][-1] == "n=0\n2 diverged"
    assert "- fmnist_2c2d Adam lr=10: n=0, 2 of 2 diverged\n" in drawing.caption
    assert [axes.get_title() for axes in drawing.pages[0].axes] == [
        "F-MNIST 2c2d",
        "Quadratic Deep",
    ]


def test_final_of_all_settings_tells_those_of_a_long_name_apart(tmp_path):
    name = "an optimizer with a name of more than forty letters"
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={name: [{"lr": 0.1}, {"lr": 0.2}]},
        epochs=1,
    )
    (panel,) = shown(draw(ledger.collect(store), "final", FigureOptions(every=True)))

    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "an optimizer with a name …\nlr=0.1",
        "an optimizer with a name …\nlr=0.2",
    ]


def apart(one: Result, gap: float) -> Result:
    """The result with curves of every optimizer in another place."""
    shift = gap * ("SGD", "Momentum", "Adam").index(one.planned.optimizer)
    curves = {name: np.full_like(curve, 0.1 + shift) for name, curve in one.curves.items()}
    return dataclasses.replace(one, curves=curves)


@pytest.mark.parametrize(("gap", "is_named"), [(0.3, True), (0.001, True), (0.0, False)])
def test_lines_whose_ends_are_apart_are_named_there(tmp_path, gap, is_named):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={name: [{}] for name in ("SGD", "Momentum", "Adam")},
        epochs=4,
    )
    drawing = draw(changed(ledger.collect(store), lambda one: apart(one, gap)), "grid")
    (figure,) = drawing.pages

    assert bool(figure.legends) != is_named
    for panel in shown(drawing):
        assert ends(panel) == (["SGD", "Momentum", "Adam"] if is_named else [])
        boxes = [text.get_window_extent() for text in panel.texts if text.get_gid()]
        inside = panel.get_window_extent()
        for index, box in enumerate(boxes):
            assert box.x0 >= inside.x1
            assert box.x1 <= figure.bbox.x1
            assert inside.y0 < (box.y0 + box.y1) / 2 < inside.y1
            assert not any(box.overlaps(other) for other in boxes[:index])


def test_one_panel_without_room_gives_all_of_them_a_legend(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d", "digits_mlp"],
        optimizers={name: [{}] for name in ("SGD", "Momentum", "Adam")},
        epochs=4,
    )

    def one_close(one: Result) -> Result:
        return apart(one, 0.3 if one.planned.problem == "fmnist_2c2d" else 0.0)

    drawing = draw(changed(ledger.collect(store), one_close), "grid")

    assert len(drawing.pages[0].legends) == 1
    assert not any(ends(panel) for panel in shown(drawing))


def test_a_line_that_ends_early_is_not_named_at_the_edge(tmp_path):
    """Over seconds lines end in different places."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={name: [{}] for name in ("SGD", "Momentum", "Adam")},
        epochs=4,
    )
    collection = changed(ledger.collect(store), lambda one: apart(one, 0.3))

    assert len(draw(collection, "grid", FigureOptions(x="seconds")).pages[0].legends) == 1
