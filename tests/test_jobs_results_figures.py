"""The figures: axes, labels, order, and that a divergence is marked and never refilled."""

import dataclasses
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

from cluster.commands.collect import plot
from jobs.results import ledger, sensitivity, style, times
from jobs.results.cells import group
from jobs.results.figures import FIGURES, draw
from jobs.results.ledger import Collection
from jobs.results.selection import select
from jobs.results.style import FigureError
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


def shown(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def legend(axes: Axes) -> list[str]:
    return [text.get_text().replace("\n ", "") for text in axes.get_legend().get_texts()]


def crosses(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_marker() == "x"]


def test_grid_has_a_column_per_problem_and_a_row_per_metric(collection):
    axes = shown(draw(collection, "grid"))

    assert len(axes) == 6  # the quadratic has no accuracy
    assert [a.get_title() for a in axes if a.get_title()] == ["F-MNIST 2c2d", "Quadratic Deep"]
    assert [a.get_ylabel() for a in axes if a.get_ylabel()] == [
        "test loss",
        "train loss",
        "test accuracy",
        "train accuracy",
    ]
    assert [a.get_xlabel() for a in axes if a.get_legend()] == ["epoch", "epoch"]


def test_grid_names_the_selected_cell_and_counts_the_diverged_in_the_specs_order(collection):
    texts = legend(next(a for a in shown(draw(collection, "grid")) if a.get_legend()))

    assert texts[0] == "Momentum (3 of 3 diverged)"
    assert texts[1] == "SGD lr=0.01, selected of 5 (n=3)"
    assert texts[2] == "Adam (n=3)"


def test_grid_draws_mean_and_sd_of_the_completed_seeds(collection):
    panel = shown(draw(collection, "grid"))[0]
    curves = np.array(
        [
            result.curves["test_loss"]
            for result in collection.found
            if (result.planned.problem, result.planned.optimizer) == ("fmnist_2c2d", "Adam")
        ]
    )
    drawn = [line for line in panel.get_lines() if len(line.get_xdata()) == 21]

    np.testing.assert_allclose(drawn[-1].get_ydata(), curves.mean(axis=0))
    band = panel.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].max(), (curves.mean(0) + curves.std(0, ddof=1)).max())


def test_grid_ends_a_diverged_curve_where_it_ended_with_a_cross(collection):
    panel = shown(draw(collection, "grid"))[0]
    thin = [line for line in panel.get_lines() if line.get_linewidth() == pytest.approx(0.7)]

    assert [len(line.get_xdata()) for line in thin] == [4, 4, 4]  # epochs 0 to 3
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


def test_grid_explains_its_lines_bands_and_crosses(collection):
    footer = draw(collection, "grid").get_supxlabel()

    for words in ("line: mean over seeds", "band: one standard deviation", "cross: a run diverged"):
        assert words in footer


def test_grid_of_a_sweep_in_which_everything_diverged_at_once(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], diverges=lambda _: 1)
    for planned in store.sweep().runs:
        path = store.run(planned.run.id).record_file
        record = json.loads(path.read_text())
        record |= {"curves": {}, "time": {"wall_s": [], "cpu_s": [], "steps": []}}
        path.write_text(json.dumps(record))

    axes = shown(draw(ledger.collect(store), "grid"))

    assert legend(axes[0]) == ["SGD (3 of 3 diverged)", "Adam (3 of 3 diverged)"]


def test_loss_over_more_than_two_decades_is_on_a_log_scale(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=100)
    for planned in store.sweep().runs:
        path = store.run(planned.run.id).record_file
        record = json.loads(path.read_text())
        record["curves"]["train_loss"] = np.logspace(1, -4, 101).tolist()
        path.write_text(json.dumps(record))

    axes = shown(draw(ledger.collect(store), "grid"))

    assert [a.get_yscale() for a in axes] == ["linear", "log", "linear", "linear"]


def test_final_has_a_row_per_cell_in_the_specs_order(collection):
    panel, quadratic = shown(draw(collection, "final"))

    rows = [label.get_text() for label in panel.get_yticklabels()]
    assert rows == ["Momentum", *(f"SGD\nlr={lr:.4g}" for lr in LRS), "Adam"]
    assert panel.yaxis_inverted()
    assert panel.get_xlabel() == "final test accuracy"
    assert quadratic.get_xlabel() == "final test loss"
    notes = [text.get_text() for text in panel.texts]
    assert notes[0] == "n=0\n3 of 3 diverged"
    assert notes[3] == "n=2\n1 of 3 diverged"
    assert notes[6] == "n=3"


def test_final_shows_every_completed_seed(collection):
    panel = shown(draw(collection, "final"))[0]
    points = [line for line in panel.get_lines() if line.get_marker() == "o"]
    adam = [
        result.final("test_accuracy")
        for result in collection.found
        if (result.planned.problem, result.planned.optimizer) == ("fmnist_2c2d", "Adam")
    ]

    assert points[-1].get_xdata().tolist() == adam
    assert [len(line.get_xdata()) for line in points] == [3, 3, 2, 3]


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
    figure = draw(collection, "runtime")
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert [point.get_xdata()[0] for point in points] == [adam.wall.ratio, slow.wall.ratio]
    assert "hosts: node1" in figure.get_supxlabel()
    assert "not compared" not in figure.get_supxlabel()
    assert figure.axes[0].get_xlabel() == "training time per epoch, SGD = 1"


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
    footer = draw(collection, "runtime").get_supxlabel()
    assert f"wall clock not compared: Adam: {why}" in footer
    assert "to measure it, one run at a time: probprec run SPEC" in footer


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


def test_sensitivity_has_a_line_per_optimizer_and_marks_the_divergence(collection):
    panel = shown(draw(collection, "sensitivity"))[0]

    assert (panel.get_xscale(), panel.get_xlabel()) == ("log", "lr")
    assert panel.get_ylabel() == "final valid accuracy"
    assert legend(panel) == ["Momentum (n=3, 3 diverged)", "SGD (n=3)", "Adam (n=3)"]
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
    assert [x for line in crosses(panel) for x in line.get_xdata()] == LRS[2:]
    assert len(panel.patches) == 2  # shaded where no run completed


@pytest.mark.parametrize("lines", [1, 4, 20])
@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_sensitivity_puts_the_diverged_at_the_bad_end_beyond_all_data(tmp_path, metric, lines):
    """At the bottom of accuracies and at the top of losses; else they would look like the best."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={f"own{i}": [{"lr": lr} for lr in LRS] for i in range(lines)},
        epochs=6,
        diverges=diverges,
    )
    panel = shown(draw(ledger.collect(store), "sensitivity", metric))[0]
    low, high = panel.get_ylim()
    heights = {y for line in crosses(panel) for y in line.get_ydata()}  # of the panel
    bars = np.concatenate(
        [part.vertices[:, 1] for bar in panel.collections for part in bar.get_paths()]
    )
    data = (bars - low) / (high - low)

    assert len(heights) == lines
    assert all(0 < height < 1 for height in heights)
    if metric == "valid_loss":
        assert min(heights) > np.nanmax(data)
    else:
        assert max(heights) < np.nanmin(data)


def test_sensitivity_draws_one_line_per_value_of_what_else_varies(tmp_path):
    grid = [{"lr": lr, "est_rank": rank} for rank in (2, 3) for lr in (0.1, 0.2, 0.3)]
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": grid})

    panel = shown(draw(ledger.collect(store), "sensitivity"))[0]

    assert (panel.get_xscale(), panel.get_xlabel()) == ("linear", "lr")
    assert legend(panel) == ["SGD est_rank=2 (n=3)", "SGD est_rank=3 (n=3)"]


def test_sensitivity_joins_no_settings_that_differ_in_their_last_digits(tmp_path):
    grid = [{"lr": lr, "momentum": m} for m in (0.9, 0.900001) for lr in (0.1, 0.2)]
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], optimizers={"SGD": grid})

    panel = shown(draw(ledger.collect(store), "sensitivity"))[0]

    assert legend(panel) == ["SGD momentum=0.9 (n=3)", "SGD momentum=0.900001 (n=3)"]


def test_sensitivity_gives_both_panels_the_same_room(tmp_path):
    """A panel in which nothing diverged has no crosses, and asks for no room for them."""
    settings = [{"lr": lr} for lr in (0.01, 0.1, 1.0)]
    store = make_sweep(tmp_path / "two", optimizers={"SGD": settings})
    figure = draw(ledger.collect(store), "sensitivity")
    style.render(figure)
    widths = [panel.get_position().width for panel in shown(figure)]

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
        ([0, 1e-2, 1e-1], False),
        ([0.1], False),
        (list(np.logspace(-5, 2, 20)) + list(np.logspace(-5, 2, 10)), True),
    ],
)
def test_log_spacing_is_recognised(values, is_log):
    assert sensitivity.is_log_spaced(values) is is_log


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_is_drawn_from(collection, name, tmp_path):
    if name == "runtime":
        collection = ledger.collect(make_sweep(tmp_path / "sweep"))
    if name == "profile":
        collection = ledger.collect(make_sweep(tmp_path / "sweep", problems=WITH_TARGET))
    n = len(collection.found)

    assert f"sweep · {n} of {n} runs · code 0123456789ab" in draw(collection, name).get_supxlabel()


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
    settings = dict.fromkeys(LABELS, values) | {"SGD": [{}]}
    store = make_sweep(
        tmp_path / "$1_2$ [x]",
        problems=WITH_TARGET if name == "profile" else WITH_TARGET[:1],
        optimizers=settings,
        seeds=[1, 2],
        epochs=2,
    )
    figure = draw(ledger.collect(store), name)
    with style.style():
        files = style.render(figure)
    texts = "\n".join(
        ("".join(text.get_text().split()).replace(r"\$", "$"))
        for text in figure.findobj(Text)
        if text.get_text()
    )

    assert files["png"].startswith(b"\x89PNG")
    for label in LABELS:
        assert "".join(printable(label).split()) in texts
    assert not any(cbook.is_math_text(text.get_text()) for text in _user_texts(figure))


def _user_texts(figure: Figure) -> list[Text]:
    """All texts but the numbers at a logarithmic axis, which matplotlib writes as formulas."""
    return [text for text in figure.findobj(Text) if "mathdefault" not in text.get_text()]


@pytest.mark.parametrize("name", ["grid", "final", "sensitivity"])
def test_plot_writes_the_same_png_and_pdf_every_time(store, name, capsys):
    def files() -> list[bytes]:
        assert plot(store, figure=name, as_json=True) == 0
        written = json.loads(capsys.readouterr().out)["files"]
        assert [Path(path).name for path in written] == [f"{name}.png", f"{name}.pdf"]
        return [Path(path).read_bytes() for path in written]

    first = files()
    assert first == files()
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")


def test_plot_of_an_unfinished_sweep_says_so(tmp_path, capsys):
    store = make_sweep(tmp_path / "sweep", epochs=3, is_recorded=lambda p: p.run.seed == 42)

    assert plot(store, figure="final", metric="valid_loss", as_json=False) == 0
    out = capsys.readouterr().out
    assert "4 of 12 runs have a record" in out
    assert "final_valid_loss.pdf" in out


@pytest.mark.parametrize(
    ("name", "metric", "says"),
    [
        (
            "pie",
            None,
            "no figure 'pie'; there are: grid, final, compare, target, profile, tuning, runtime, sensitivity",
        ),
        ("grid", "test_loss", "takes no metric; final, compare, sensitivity do"),
        ("final", "test_los", "no metric 'test_los'"),
    ],
)
def test_a_wrong_wish_is_the_users_mistake(collection, name, metric, says):
    with pytest.raises(FigureError, match=says):
        draw(collection, name, metric)


def test_nothing_is_drawn_from_nothing(tmp_path):
    store = make_sweep(tmp_path / "sweep", is_recorded=lambda _: False)

    with pytest.raises(FigureError, match="no records yet"):
        draw(ledger.collect(store), "grid")
