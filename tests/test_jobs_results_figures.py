"""The figures: axes, labels, order, and that a divergence is marked and never refilled."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy import stats

from cluster.cli.parser import parser
from cluster.commands.collect import plot
from cluster.profile.profile_file import read_profile
from jobs.results import final, ledger, page, sensitivity_axis, style, times
from jobs.results.cells import group
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import FIGURES, draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from jobs.results.selection import select
from jobs.results.sentence import interval_text
from jobs.results.style import FigureError
from jobs.statistics.interval import Interval
from jobs.store.store import Store
from jobs.text import printable
from tests.make_sweep import make_sweep

LRS = [float(lr) for lr in np.logspace(-3, 1, 5)]


def diverges(planned):
    """Every run at lr >= 1 in epoch 4; of those at 0.1 seed 43 in epoch 6."""
    lr = planned.run.hyperparameters["lr"]
    if lr >= 1:
        return 4
    return 6 if lr == 0.1 and planned.run.seed == 43 else None


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_sweep(
        tmp_path_factory.mktemp("figures") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={"Momentum": [{"lr": 100}], "SGD": [{"lr": lr} for lr in LRS], "Adam": [{}]},
        epochs=20,
        diverges=lambda p: diverges(p) if "lr" in p.run.hyperparameters else None,
    )


@pytest.fixture(scope="module")
def collection(store) -> Collection:
    return ledger.collect(store)


def shown(drawing: Drawing) -> list[Axes]:
    return [axes for figure in drawing.pages for axes in figure.axes if axes.axison]


def legend(drawing: Drawing) -> list[str]:
    return [text.get_text() for text in drawing.pages[0].legends[0].get_texts()]


def note(axes: Axes) -> str:
    """What stands below the title."""
    return axes.texts[0].get_text()


def crosses(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_marker() == "x"]


def test_grid_has_a_column_per_problem_and_a_row_per_metric(collection):
    drawing = draw(collection, "grid")
    axes = shown(drawing)

    assert len(axes) == 6  # the quadratic has no accuracy
    assert [a.get_title() for a in axes if a.get_title()] == ["F-MNIST 2c2d", "Quadratic Deep"]
    assert [a.get_ylabel() for a in axes if a.get_ylabel()] == [
        "test loss",
        "train loss",
        "test accuracy",
        "train accuracy",
    ]
    assert [a.get_xlabel() for a in axes] == ["", "", "", "epoch", "", "epoch"]


def test_grid_rows_stay_together_where_a_problem_has_no_accuracy(collection):
    (figure,) = draw(collection, "grid").pages
    boxes = [axes.get_position() for axes in figure.axes[::2]]
    gaps = [over.y0 - under.y1 for over, under in itertools.pairwise(boxes)]

    assert max(gaps) == pytest.approx(min(gaps), abs=0.01)


def test_grid_has_one_legend_of_the_optimizers_in_the_specs_order(collection):
    drawing = draw(collection, "grid")

    assert legend(drawing) == ["Momentum", "SGD", "Adam"]
    assert not any(axes.get_legend() for axes in drawing.pages[0].axes)
    assert note(shown(drawing)[0]) == "n=3; Momentum 3 of 3 diverged"


def test_the_caption_names_the_selected_cell_and_counts_the_diverged(collection):
    caption = draw(collection, "grid").caption
    (selected,) = [one for one in collection.selections if one.name == "fmnist_2c2d SGD"]

    assert f"- {selected}; n=3\n" in caption
    assert "lr=0.01 of 5 settings" in caption
    assert "- fmnist_2c2d Momentum: its only setting; n=0, 3 of 3 diverged\n" in caption


def curves_of(collection: Collection, optimizer: str, metric: str) -> np.ndarray:
    return np.array(
        [
            result.curves[metric]
            for result in collection.found
            if (result.planned.problem, result.planned.optimizer) == ("fmnist_2c2d", optimizer)
            and not result.diverged
        ]
    )


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9])
def test_grid_draws_mean_and_t_band_or_the_runs_where_they_are_few(tmp_path, n):
    store = make_sweep(
        tmp_path / "sweep", problems=["fmnist_2c2d"], optimizers={"SGD": [{}]}, seeds=range(n)
    )
    collection = ledger.collect(store)
    panel = shown(draw(collection, "grid"))[0]
    curves = curves_of(collection, "SGD", "test_loss")
    mean, *runs = (line.get_ydata() for line in panel.get_lines())

    np.testing.assert_allclose(mean, curves.mean(axis=0))
    if n >= 5:
        assert not runs
        ends = stats.t.interval(0.95, n - 1, curves.mean(0), stats.sem(curves))
        (band,) = panel.collections
        path = band.get_paths()[0].vertices
        np.testing.assert_allclose(path[1:22, 1], ends[0])
        np.testing.assert_allclose(path[-2:-23:-1, 1], ends[1])
    else:
        assert not panel.collections
        assert len(runs) == (n if n > 1 else 0)
        np.testing.assert_allclose(runs, curves if n > 1 else [])
        assert all(line.get_linewidth() < 0.6 for line in panel.get_lines()[1:])


def test_grid_draws_the_mean_of_survivors_lighter_and_without_a_band(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        seeds=range(12),
        diverges=lambda p: 4 if p.optimizer == "SGD" and p.run.seed < 5 else None,
    )
    drawing = draw(ledger.collect(store), "grid")
    panel = shown(drawing)[0]
    survivors, adam = (line for line in panel.get_lines() if len(line.get_xdata()) == 21)

    assert survivors.get_linewidth() < adam.get_linewidth()
    assert (survivors.get_alpha() or 1) < (adam.get_alpha() or 1)
    assert survivors.get_linestyle() == "-"
    assert len(panel.collections) == 1  # the band of Adam
    assert len(crosses(panel)) == 5
    assert note(panel) == "n=12; SGD 5 of 12 diverged"
    assert "completed only" in drawing.caption


def test_grid_ends_a_diverged_curve_where_it_ended_with_a_cross(collection):
    panel = shown(draw(collection, "grid"))[0]
    short = [line for line in panel.get_lines() if 1 < len(line.get_xdata()) < 21]

    assert [len(line.get_xdata()) for line in short] == [4, 4, 4]  # epochs 0 to 3
    assert [line.get_xdata()[0] for line in crosses(panel)] == [3, 3, 3]
    low, high = panel.get_ylim()
    assert all(low <= line.get_ydata()[0] <= high for line in crosses(panel))


def test_grid_is_not_scaled_by_what_explodes(collection):
    panel = shown(draw(collection, "grid"))[0]
    completed = [r for r in collection.found if not r.diverged]

    assert panel.get_ylim()[1] < 1.1 * max(r.curves["test_loss"].max() for r in completed)


@pytest.mark.parametrize("epochs", [1, 4])
def test_grid_of_few_epochs_shows_what_comes_after_the_first(tmp_path, epochs):
    """Before any training all optimizers are alike: scaled by that they could not be told apart."""
    store = make_sweep(tmp_path / "sweep", problems=["fmnist_2c2d"], epochs=epochs)
    collection = ledger.collect(store)
    panel = shown(draw(collection, "grid"))[0]
    losses = np.array([result.curves["test_loss"] for result in collection.found])

    assert panel.get_ylabel() == "test loss"
    assert losses[:, 1:].max() < panel.get_ylim()[1] < losses[:, 0].min()


def test_grid_of_a_sweep_in_which_everything_diverged_at_once(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], diverges=lambda _: 1)
    for planned in store.sweep().runs:
        path = store.run(planned.run.id).record_file
        record = json.loads(path.read_text())
        record |= {"curves": {}, "time": {"wall_s": [], "cpu_s": [], "steps": []}}
        path.write_text(json.dumps(record))

    drawing = draw(ledger.collect(store), "grid")

    assert legend(drawing) == ["SGD", "Adam"]
    assert note(shown(drawing)[0]) == "n=3; SGD 3 of 3, Adam 3 of 3 diverged"


def test_loss_over_more_than_two_decades_is_on_a_log_scale(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=100)
    for planned in store.sweep().runs:
        path = store.run(planned.run.id).record_file
        record = json.loads(path.read_text())
        record["curves"]["train_loss"] = np.logspace(1, -4, 101).tolist()
        path.write_text(json.dumps(record))

    axes = shown(draw(ledger.collect(store), "grid"))

    assert [a.get_yscale() for a in axes] == ["linear", "log", "linear", "linear"]


def test_final_has_a_row_per_optimizer_in_the_specs_order(collection):
    panel, quadratic = shown(draw(collection, "final"))

    assert [text.get_text() for text in panel.get_yticklabels()] == ["Momentum", "SGD", "Adam"]
    assert panel.yaxis_inverted()
    assert panel.get_xlabel() == "final test accuracy"
    assert quadratic.get_xlabel() == "final test loss"
    notes = [text.get_text() for text in panel.texts]
    assert notes == ["n=0\n3 diverged", "n=3", "n=3"]


@pytest.mark.parametrize("n", [1, 2, 7, 8, 10])
def test_final_shows_every_run_their_mean_and_its_interval(tmp_path, n):
    store = make_sweep(
        tmp_path / "sweep", problems=["fmnist_2c2d"], optimizers={"Adam": [{}]}, seeds=range(n)
    )
    collection = ledger.collect(store)
    panel = shown(draw(collection, "final"))[0]
    finals = curves_of(collection, "Adam", "test_accuracy")[:, -1]
    by_marker = {line.get_marker(): line for line in panel.get_lines()}

    np.testing.assert_allclose(by_marker["o"].get_xdata(), finals)
    assert by_marker["D"].get_xdata()[0] == pytest.approx(finals.mean())
    lines = [line for line in panel.get_lines() if line.get_linewidth() == pytest.approx(1.4)]
    assert len(lines) == (n > 1)
    if n > 1:
        ends = stats.t.interval(0.95, n - 1, finals.mean(), stats.sem(finals))
        np.testing.assert_allclose(lines[0].get_xdata(), ends)
    boxes = [line for line in panel.get_lines() if line.get_gid() == final.BOX_GID]
    assert len(boxes) == (n >= 8)
    for box in boxes:
        found = cbook.boxplot_stats(finals)[0]
        ends = [found[name] for name in ("q1", "q3", "med", "whislo", "whishi")]
        shown_ends = np.asarray(box.get_xdata())
        assert set(shown_ends[np.isfinite(shown_ends)]) == set(ends)


def test_final_says_where_nothing_is_selected(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": 0.1}, {"lr": 1.0}], "Adam": [{}]},
        is_recorded=lambda p: p.run.hyperparameters.get("lr") != 1.0,
    )
    drawing = draw(ledger.collect(store), "final")

    assert [text.get_text() for text in shown(drawing)[0].texts] == ["not selected", "n=3"]
    assert "- fmnist_2c2d SGD: nothing selected\n" in drawing.caption


def test_the_caption_of_final_tells_where_the_runs_lie(tmp_path):
    """A diverged run is the worst quartile, and in no mean."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": 0.1}]},
        seeds=range(5),
        diverges=lambda one: 2 if one.run.seed < 2 else None,
    )
    collection = ledger.collect(store)
    (cell,) = collection.reported
    values = cell.finals("test_accuracy")
    (line,) = (
        line
        for line in draw(collection, "final").caption.splitlines()
        if line.startswith("- fmnist_2c2d SGD: mean ")
    )

    assert f": mean {values.mean():.4g} (95 % CI " in line
    low, middle = sorted(values)[:2]
    assert f"; median {low:.4g} (quartiles diverged, {middle:.4g}); " in line
    spread = interval_text(Interval(values.min(), values.max(), None, "range"))
    assert line.endswith(f"interquartile mean {values.mean():.4g} ({spread})")


def test_runtime_is_the_geometric_mean_of_paired_ratios(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"Adam": [{}], "SGD": [{}], "PreconditionedSGD": [{}]},
    )
    collection = ledger.collect(store)

    def seconds(optimizer: str, clock: str) -> np.ndarray:
        return np.array(
            [
                sum(result.cost[phase][clock] for phase in ("train", "estimate", "apply"))
                for result in collection.found
                if result.planned.optimizer == optimizer
            ]
        )

    adam, slow = times.paces(collection.selections, collection.found)
    for found, clock in ((slow.wall, "wall_s"), (slow.cpu, "cpu_s")):
        logs = np.log(seconds("PreconditionedSGD", clock) / seconds("SGD", clock))
        assert found.ratio == pytest.approx(np.exp(logs.mean()))
    assert (adam.selection.optimizer, slow.selection.optimizer) == ("Adam", "PreconditionedSGD")
    assert (adam.refused, slow.refused) == (None, None)
    drawing = draw(collection, "runtime")
    panel = drawing.pages[0].axes[0]
    points = [line for line in panel.get_lines() if line.get_marker() == "o"]
    assert [point.get_xdata()[0] for point in points] == [adam.wall.ratio, slow.wall.ratio]
    assert "Hosts: node1." in drawing.caption
    assert "not compared" not in drawing.caption
    assert panel.get_xlabel() == "time per epoch,\nSGD = 1"


def with_provenance(store: Store, change: Callable[[int], Mapping[str, object]]) -> Collection:
    """The sweep's results, with what `change` says of the run at each place."""
    collection = ledger.collect(store)
    found = [
        dataclasses.replace(one, provenance={**one.provenance, **change(index)})
        for index, one in enumerate(collection.found)
    ]
    sweep = collection.sweep
    selections = select(group(found, sweep.problems, sweep.optimizers, sweep.tunings))
    return dataclasses.replace(
        collection,
        outcomes=tuple(found),
        ledger=dataclasses.replace(collection.ledger, selections=selections),
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda i: {"started": 10.0 * i, "ended": 10.0 * i + 11},
            "other runs were trained on the same host at the same time (3 of 3 pairs)",
        ),
        (
            lambda i: {"started": 0.0 if i else 1.0, "ended": 100.0},
            "other runs were trained on the same host at the same time (3 of 3 pairs)",
        ),
        (
            lambda i: {"co_tenants": ["0123456789ab"] if i == 0 else []},
            "runs of the same task were trained at the same time (1 of 3 pairs)",
        ),
        (lambda _: {"started": None}, "a record does not say when its run was trained (3 of 3 p"),
        (lambda i: {"cpu": f"CPU {i < 3}"}, "different cpu (3 of 3 pairs)"),
        (
            lambda i: {"threads": 1 + (i == 5), "gpu": f"GPU {i == 4}"},
            "different gpu (1 of 3 pairs); different threads (1 of 3 pairs)",
        ),
    ],
    ids=["one by one", "one outlasts all", "task", "unknown", "cpu", "gpu"],
)
def test_wall_clock_is_compared_only_between_runs_that_had_their_host_alone(tmp_path, change, why):
    store = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": [{}], "Adam": [{}]}
    )
    collection = with_provenance(store, change)
    (found,) = times.paces(collection.selections, collection.found)

    assert found.refused is not None
    assert found.refused.startswith(why)
    assert (found.wall is None) == ("3 of 3" in why)
    assert found.cpu is not None
    assert found.cpu.pairs == 3
    drawing = draw(collection, "runtime")
    caption = drawing.caption
    labels = [text.get_text() for text in drawing.pages[0].legends[0].get_texts()]
    assert ("wall clock: not compared, see the caption" in labels) == (found.wall is None)
    assert f"Wall clock not compared: digits_mlp Adam: {why}" in caption
    assert "to measure it, one run at a time: probprec run SPEC" in caption


def test_the_way_to_measure_it_is_one_that_works(tmp_path):
    """Its options are the command's, and its line is one of a profile."""
    words = times.HOW_TO_MEASURE.partition("probprec ")[2].partition(",")[0].split()
    options = parser(("run",)).parse_args(words)
    assert (options.spec, options.overrides) == (Path("SPEC"), ['name="NAME"'])
    assert options.workers == 1

    line = times.HOW_TO_MEASURE.split("`")[1]
    profile = tmp_path / "cluster.yaml"
    profile.write_text(f"engine: slurm\n{line}\n")
    assert read_profile(profile).options == {"exclusive": True}


def test_runs_on_other_hosts_or_one_after_the_other_share_nothing(tmp_path):
    store = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": [{}], "Adam": [{}]}
    )
    for change in (
        lambda i: {"started": 10.0 * i, "ended": 10.0 * i + 10},
        lambda i: {"started": 0.0, "ended": 10.0, "host": f"node{i}"},
    ):
        assert times.shared_hosts(with_provenance(store, change).found) == {}


@pytest.mark.parametrize(
    ("optimizers", "diverging", "says"),
    [
        ({"SGD": [{}], "Adam": [{}]}, "SGD", "nothing to compare with the baseline SGD"),
        ({"SGD": [{}], "Adam": [{}]}, "Adam", "nothing to compare with the baseline SGD"),
        ({"Adam": [{}]}, None, "nothing to compare with the baseline Adam"),
    ],
)
def test_runtime_refuses_without_a_pair(tmp_path, optimizers, diverging, says):
    store = make_sweep(
        tmp_path / "sweep",
        optimizers=optimizers,
        diverges=lambda planned: 2 if planned.optimizer == diverging else None,
    )

    with pytest.raises(FigureError, match=says):
        draw(ledger.collect(store), "runtime")


def test_the_caption_of_sensitivity_tells_how_wide_the_good_range_is(tmp_path):
    """Nobody knows of a random search, nor of settings with a diverged run."""
    rates = [{"lr": lr} for lr in (0.001, 0.01, 0.1, 1.0, 10.0)]
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={
            "SGD": rates,
            "Adam": [{"lr": lr, "eps": lr * lr} for lr in (0.1, 0.2)],
            "Momentum": [{"lr": 0.1}],
        },
        diverges=lambda one: 2 if one.run.hyperparameters["lr"] == 10 else None,
    )
    collection = ledger.collect(store)
    means = {
        cell.number("lr"): float(np.mean(cell.finals("valid_accuracy")))
        for cell in collection.cells
        if cell.optimizer == "SGD" and not cell.diverged
    }
    good = [lr for lr, mean in means.items() if mean >= max(means.values()) - 0.01]
    caption = draw(collection, "sensitivity").caption
    sgd, adam = (
        next(line for line in caption.splitlines() if line.startswith(f"- fmnist_2c2d {name}: "))
        for name in ("SGD", "Adam")
    )

    decades = np.log10(max(good) / min(good))
    where = f"{min(good):.4g} to {max(good):.4g}"
    assert f"; nearly as good as the best for lr {where}, over {decades:.1f} to " in sgd
    assert sgd.endswith(" decades; 1 of 5 settings diverged")
    assert adam.endswith("; 0 of 2 settings diverged")
    assert "within 1 point of accuracy, or 5% of loss" in caption


def test_sensitivity_has_a_line_per_optimizer_and_marks_the_divergence(collection):
    drawing = draw(collection, "sensitivity")
    panel = shown(drawing)[0]

    assert (panel.get_xscale(), panel.get_xlabel()) == ("log", "lr")
    assert panel.get_ylabel() == "final valid accuracy"
    assert legend(drawing) == ["Momentum", "SGD", "Adam"]
    assert note(panel) == "n=3; Momentum 3 of 3 diverged"  # which is at no place of the axis
    sgd = next(line for line in panel.get_lines() if len(line.get_xdata()) == 5)
    means = [
        np.mean(
            [
                r.final("valid_accuracy")
                for r in collection.found
                if not r.diverged
                and (r.planned.problem, r.planned.varied.get("lr")) == ("fmnist_2c2d", lr)
            ]
        )
        for lr in LRS[:3]
    ]
    np.testing.assert_allclose(sgd.get_ydata(orig=False)[:3], means)
    assert np.isnan(sgd.get_ydata(orig=False)[3:]).all()
    partly, wholly = (list(line.get_xdata()) for line in crosses(panel))
    assert (partly, wholly) == ([LRS[2]], LRS[3:])
    assert not panel.patches  # no shades, that of several optimizers would mix


@pytest.mark.parametrize("optimizers", [1, 4, 20])
@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_sensitivity_puts_the_diverged_at_the_bad_end_outside_the_axes(
    tmp_path, metric, optimizers
):
    """Below accuracies and above losses; else they would look like the best."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={f"own{i}": [{"lr": lr} for lr in LRS] for i in range(optimizers)},
        epochs=6,
        diverges=diverges,
    )
    panel = shown(draw(ledger.collect(store), "sensitivity", FigureOptions(metric=metric)))[0]
    inside = panel.get_window_extent()
    marks = [line for line in crosses(panel) if len(line.get_xdata())]
    boxes = [line.get_transform().transform(line.get_xydata()) for line in marks]
    heights = sorted({round(box[0, 1], 3) for box in boxes})

    assert len(heights) == optimizers
    assert heights[-1] - heights[0] < 41 / 72 * 200  # 40 points
    if metric == "valid_loss":
        assert heights[0] > inside.y1
    else:
        assert heights[-1] < inside.y0
        labels = [text.get_window_extent() for text in panel.get_xticklabels()]
        assert max(label.y1 for label in labels) < heights[0]


def test_sensitivity_draws_one_line_per_value_of_what_else_varies(tmp_path):
    grid = [{"lr": lr, "est_rank": rank} for rank in (2, 3) for lr in (0.1, 0.2, 0.3)]
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": grid})
    drawing = draw(ledger.collect(store), "sensitivity")
    panel = shown(drawing)[0]

    assert (panel.get_xscale(), panel.get_xlabel()) == ("linear", "lr")
    assert legend(drawing) == ["SGD", "est_rank=2", "est_rank=3"]
    assert [line.get_linestyle() for line in panel.get_lines()] == ["-", "--"]


def test_sensitivity_joins_no_settings_that_differ_in_their_last_digits(tmp_path):
    grid = [{"lr": lr, "momentum": m} for m in (0.9, 0.900001) for lr in (0.1, 0.2)]
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": grid})

    drawing = draw(ledger.collect(store), "sensitivity")

    assert legend(drawing) == ["SGD", "momentum=0.9", "momentum=0.900001"]


def test_sensitivity_of_a_random_search_is_a_scatter_with_the_running_best(tmp_path):
    rng = np.random.default_rng(0)
    search = {
        name: [
            {"lr": float(10 ** rng.uniform(-4, 1)), "momentum": float(rng.uniform(0, 0.99))}
            for _ in range(20)
        ]
        for name in ("SGD", "Momentum")
    }
    store = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], optimizers=search, seeds=[42], epochs=4
    )
    collection = ledger.collect(store)
    drawing = draw(collection, "sensitivity")
    points, best, *_ = shown(drawing)[0].get_lines()
    sgd = sorted(
        (r.planned.varied["lr"], r.final("valid_accuracy"))
        for r in collection.found
        if r.planned.optimizer == "SGD"
    )

    assert legend(drawing) == ["SGD", "Momentum"]
    assert points.get_linestyle() == "None"
    np.testing.assert_allclose(points.get_xydata(), sgd)
    assert best.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(best.get_ydata(), np.maximum.accumulate([y for _, y in sgd]))
    assert "nearly as good" not in drawing.caption  # the settings differ in more than lr


@pytest.mark.parametrize(
    ("beside", "second"),
    [
        ({"SGD": [(m, 0.0) for m in (0, 0.5, 0.9, 0.99)]}, "momentum"),
        ({"SGD": [(m, 0.0) for m in (0, 0.5, 0.9, 0.95, 0.99)]}, None),  # too many dashes
        ({"SGD": [(m, w) for m in (0, 0.9) for w in (0.0, 0.1)]}, None),
        ({"SGD": [(m, 0.0) for m in (0, 0.9)], "Adam": [(0, w) for w in (0.0, 0.1)]}, "momentum"),
    ],
)
def test_the_legend_of_sensitivity_has_the_values_of_one_more_axis_at_most(
    tmp_path, beside, second
):
    grids = {
        optimizer: [
            {"lr": float(lr), "momentum": m, "weight_decay": w}
            for m, w in own
            for lr in np.logspace(-4, 1, 6)
        ]
        for optimizer, own in beside.items()
    }
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers=grids, epochs=2)
    names = legend(draw(ledger.collect(store), "sensitivity"))

    values = [f"{second}={m:.4g}" for m, _ in beside["SGD"]] if second else []
    assert names == [*beside, *values]


def test_sensitivity_has_ticks_for_zero_and_none_beside_a_log_axis(tmp_path):
    grids = {"SGD": [{"lr": lr} for lr in (None, 0.0, *LRS)], "Adam": [{"lr": lr} for lr in LRS]}
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers=grids, epochs=2)
    panel = shown(draw(ledger.collect(store), "sensitivity"))[0]
    apart = dict(
        zip(
            [text.get_text() for text in panel.get_xticklabels(minor=True)],
            panel.get_xticks(minor=True),
            strict=True,
        )
    )

    assert panel.get_xscale() == "log"
    assert panel.get_xlim()[0] < apart["none"] < apart["0"] < LRS[0]
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
    ]
    scale, beside = panel.get_lines()[0], panel.get_lines()[1]
    assert list(scale.get_xdata()) == LRS
    assert list(beside.get_xdata()) == [apart["none"], apart["0"]]
    assert beside.get_linestyle() == "None"


def test_sensitivity_gives_both_panels_the_same_room(tmp_path):
    """A panel in which nothing diverged has no crosses, and asks for no room for them."""
    settings = [{"lr": lr} for lr in (0.01, 0.1, 1.0)]
    store = make_sweep(tmp_path / "two", optimizers={"SGD": settings})
    drawing = draw(ledger.collect(store), "sensitivity")
    widths = [panel.get_position().width for panel in shown(drawing)]

    assert min(widths) > 0.35


def test_sensitivity_of_a_sweep_in_which_everything_diverged(tmp_path):
    store = make_sweep(
        tmp_path / "sweep", optimizers={"SGD": [{"lr": lr} for lr in LRS]}, diverges=lambda _: 2
    )

    panel = shown(draw(ledger.collect(store), "sensitivity"))[0]

    assert [x for line in crosses(panel) for x in line.get_xdata()] == LRS


def test_sensitivity_needs_a_varied_number(tmp_path):
    store = make_sweep(tmp_path / "sweep")

    with pytest.raises(FigureError, match="no hyperparameter"):
        draw(ledger.collect(store), "sensitivity")


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([1e-3, 1e-2, 1e-1], True),
        ([0.1, 0.2, 0.3], False),
        ([0.1, 0.2], False),
        ([0.1, 1.0], True),
        ([0, 1e-2, 1e-1], True),  # 0 has a tick of its own
        ([0, 0.9, 0.99], False),
        ([-1.0, 1e-2, 1e-1], False),
        ([0.1], False),
        (list(np.logspace(-5, 2, 20)) + list(np.logspace(-5, 2, 10)), True),
    ],
)
def test_log_spacing_is_recognised(values, is_log):
    assert sensitivity_axis.is_log_spaced(values) is is_log


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_is_drawn_from(collection, name, tmp_path):
    if name == "runtime":
        collection = ledger.collect(make_sweep(tmp_path / "sweep"))
    if name == "profile":
        collection = ledger.collect(make_sweep(tmp_path / "sweep", problems=WITH_TARGET))
    if name == "trace":
        settings = {"PreconditionedSGD": [{}], "SGD": [{}]}
        collection = ledger.collect(make_sweep(tmp_path / "sweep", optimizers=settings))
    n = len(collection.found)

    drawing = draw(collection, name)
    assert [figure.texts[0].get_text() for figure in drawing.pages] == [f"sweep · {n} of {n} runs"]
    assert drawing.caption.endswith("Source: sweep; code 0123456789ab.\n")


WITH_TARGET = ["fmnist_2c2d", "cifar10_3c3d", "quadratic_deep"]

LABELS = [
    "SGD [ours]",
    "x[/y]",
    r"$\frac{1}{2$",
    "$a_b$",
    r"a\$b$",
    "<b>a|b</b>",
    "#1 100%",
    "two\nlines\x1b[31m",
    "_hidden",
    ":smile: {x}",
    "優化器",
]


@pytest.mark.parametrize("name", FIGURES)
def test_users_text_is_no_markup_in_figures(tmp_path, name):
    """Nothing in it is a formula, an escape sequence or a reason to leave it out."""
    values = [{"lr": lr, "$x_y$": text} for lr, text in ((0.1, "$"), (1.0, "$$"))]
    if name == "trace":
        values = [{"est_rank": 2}]  # they have a Preconditioner's log
    settings = dict.fromkeys(LABELS, values) | {"SGD": [{}]}
    store = make_sweep(
        tmp_path / "$1_2$ [x]",
        problems=WITH_TARGET if name == "profile" else WITH_TARGET[:1],
        optimizers=settings,
        seeds=[1, 2],
        epochs=2,
    )
    drawing = draw(ledger.collect(store), name)
    with style.style():
        files = page.render(drawing)
    (figure,) = drawing.pages
    texts = "\n".join(
        ("".join(text.get_text().split()).replace(r"\$", "$"))
        for text in figure.findobj(Text)
        if text.get_text()
    )

    assert files[".png"].startswith(b"\x89PNG")
    for label in LABELS:
        assert "".join(printable(label).split()) in texts
        assert printable(label) in drawing.caption
    assert all(line.isprintable() for line in drawing.caption.splitlines())
    assert not any(cbook.is_math_text(text.get_text()) for text in _user_texts(figure))


def _user_texts(figure: Figure) -> list[Text]:
    """All texts but the numbers at a logarithmic axis, which matplotlib writes as formulas."""
    return [text for text in figure.findobj(Text) if "mathdefault" not in text.get_text()]


@pytest.mark.parametrize("name", ["grid", "final", "sensitivity"])
def test_plot_writes_the_same_files_every_time(store, name, capsys):
    def files() -> list[bytes]:
        assert plot(store, figure=name, as_json=True) == 0
        written = json.loads(capsys.readouterr().out)["files"]
        assert [Path(path).name for path in written] == [
            f"{name}{end}" for end in (".png", ".pdf", ".txt")
        ]
        return [Path(path).read_bytes() for path in written]

    first = files()
    assert first == files()
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")


def test_plot_of_an_unfinished_sweep_says_so(tmp_path, capsys):
    store = make_sweep(tmp_path / "sweep", epochs=3, is_recorded=lambda p: p.run.seed == 42)

    assert (
        plot(store, figure="final", options=FigureOptions(metric="valid_loss"), as_json=False) == 0
    )
    out = capsys.readouterr().out
    assert "4 of 12 runs have a record" in out
    assert "final_valid_loss.pdf" in out


@pytest.mark.parametrize(
    ("name", "metric", "says"),
    [
        (
            "pie",
            None,
            "no figure 'pie'; there are: grid, final, compare, seeds, target, .*sensitivity, trace",
        ),
        ("grid", "test_loss", "takes no --metric; those that do: final, compare, seeds, sensit"),
        ("final", "test_los", "no metric 'test_los'"),
    ],
)
def test_a_wrong_wish_is_the_users_mistake(collection, name, metric, says):
    with pytest.raises(FigureError, match=says):
        draw(collection, name, FigureOptions(metric=metric))


def test_nothing_is_drawn_from_nothing(tmp_path):
    store = make_sweep(tmp_path / "sweep", is_recorded=lambda _: False)

    with pytest.raises(FigureError, match="no records yet"):
        draw(ledger.collect(store), "grid")
