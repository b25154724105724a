"""The figures `compare` and `target`: what is drawn is what the statistics say."""

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes

from jobs.errors import InputError
from jobs.results import ledger, targets
from jobs.results.comparisons import answers
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from jobs.results.question import Question
from jobs.results.reach_times import budget, cells_logrank, reaches, solved_by
from jobs.results.sentence import p_text
from jobs.results.style import FigureError
from jobs.results.tuning_figure import after_trials
from jobs.sweep import Target
from tests.make_sweep import make_sweep

LOW = {"fmnist_2c2d": Target(metric="test_accuracy", value=0.3)}


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    """Adam diverges on three of eight seeds; of Momentum one run has no record."""
    store = make_sweep(
        tmp_path_factory.mktemp("figures") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={name: [{"lr": 0.1}] for name in ("SGD", "Momentum", "Adam")},
        seeds=range(8),
        epochs=20,
        diverges=lambda one: 3 if one.optimizer == "Adam" and one.run.seed < 3 else None,
        is_recorded=lambda one: one.optimizer != "Momentum" or one.run.seed != 7,
    )
    return ledger.collect(store)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def panels(drawing: Drawing) -> list[Axes]:
    return [axes for figure in drawing.pages for axes in figure.axes if axes.axison]


def legend(drawing: Drawing) -> list[str]:
    return [text.get_text() for text in drawing.pages[0].legends[0].get_texts()]


def test_the_forest_has_the_intervals_of_the_comparisons(collection):
    found = answers(collection.selections, Question())
    momentum = found[0].compared.comparison.difference
    panel = panels(draw(collection, "compare"))[0]
    lines = [line for line in panel.get_lines() if len(line.get_xdata()) == 2][1:]

    assert panel.get_xlabel() == "final test accuracy,\nless that of SGD\nbetter →"
    assert list(lines[0].get_xdata()) == [momentum.interval().low, momentum.interval().high]
    assert texts(panel)[0] == f"p = {found[0].compared.p_adjusted:.2g}"
    assert texts(panel)[1].startswith("a run diverged\nP(better) = 0.")
    assert [label.get_text() for label in panel.get_yticklabels()] == ["Momentum", "Adam"]


def test_the_forest_takes_a_metric(collection):
    panel = panels(draw(collection, "compare", FigureOptions(metric="test_loss")))[0]

    assert panel.get_xlabel() == "final test loss,\nless that of SGD\n← better"


def test_the_forest_of_many_diverged_optimizers_has_pages_and_no_overlap(tmp_path):
    names = ["SGD", *(f"own{i}" for i in range(39))]
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={name: [{}] for name in names},
        seeds=range(3),
        epochs=2,
        diverges=lambda one: 1 if one.optimizer != "SGD" and one.run.seed == 0 else None,
    )
    drawing = draw(ledger.collect(store), "compare")
    rows = [label.get_text() for axes in panels(drawing) for label in axes.get_yticklabels()]

    assert rows == names[1:]
    assert len(drawing.pages) > 1
    for figure in drawing.pages:
        assert figure.get_figheight() <= 9
        (panel,) = figure.axes
        boxes = [text.get_window_extent() for text in panel.texts]
        assert len(boxes) == len(panel.get_yticklabels())
        assert not len(panel.get_xticks())  # there is no difference to read off
        for one, other in itertools.pairwise(boxes):
            assert not one.overlaps(other)


def test_the_share_at_the_target_is_of_all_planned_runs(collection):
    cell = next(one.cell for one in collection.selections if one.optimizer == "Adam")
    low = Target(metric="test_accuracy", value=0.3)
    share = solved_by(cell, low)

    assert (share.runs, share.reached, share.never) == (8, 5, 3)
    assert share.shares[-1] == 5 / 8
    missing = next(one.cell for one in collection.selections if one.optimizer == "Momentum")
    assert solved_by(missing, low).under_way == 1


def test_target_draws_a_step_line_per_optimizer_with_its_median(collection):
    drawing = draw(collection, "target")
    first, second = panels(drawing)

    assert first.get_ylabel() == "share with\nvalid accuracy 0.9198"
    assert second.get_ylabel() == "share with\nvalid loss 87.7"
    assert legend(drawing) == ["SGD", "Momentum", "Adam"]
    assert "- quadratic_deep Adam: 5 of 8 reached it; median epoch " in drawing.caption
    assert texts(first)[0] == "n=7 to 8; never: all"
    assert texts(second)[0] == "n=7 to 8"
    for line in first.get_lines():
        shares = np.asarray(line.get_ydata())
        assert (np.diff(shares) >= 0).all()
        assert 0 <= shares.min() <= shares.max() <= 1


def test_target_says_how_much_sooner_and_how_sure_that_is(collection):
    caption = draw(collection, "target").caption
    momentum, adam = (
        next(
            line
            for line in caption.splitlines()
            if f" quadratic_deep {name}: " in line and " reached " in line
        )
        for name in ("Momentum", "Adam")
    )
    cells = {one.name: one.cell for one in collection.selections}
    target = targets.on(collection.targets["quadratic_deep"])
    pair = cells["quadratic_deep Adam"], cells["quadratic_deep SGD"]
    test = cells_logrank(*pair, target)
    share = solved_by(pair[0], target)

    assert adam.endswith(
        f"; restricted mean {share.restricted_mean:.4g} of 20; log-rank p {p_text(test.p_value)}"
    )
    assert "; restricted mean not known" in momentum  # a run has no record
    assert "on validation data, over epochs" in caption
    assert "p: log-rank test against SGD alone, not adjusted." in caption


@pytest.mark.parametrize(("split", "data"), [("valid", "validation"), ("test", "test")])
def test_target_takes_the_data_and_the_unit(collection, split, data):
    """The time of every run grows evenly: only the scale is another."""
    own = dataclasses.replace(collection, sweep=dataclasses.replace(collection.sweep, targets=LOW))
    by_epoch, by_step, by_second = (
        draw(own, "target", FigureOptions(test=split == "test", x=unit))
        for unit in ("epochs", "steps", "seconds")
    )

    assert f"on {data} data, over steps:" in by_step.caption
    assert "of the seconds to the target" in by_second.caption
    labels = [panels(one)[0].get_xlabel() for one in (by_epoch, by_step, by_second)]
    assert labels == ["epoch", "step", "training time (s)"]
    assert panels(by_step)[0].get_ylabel() == f"share with\n{split} accuracy 0.3"
    first, second = (panels(one)[0].get_lines()[0].get_xdata() for one in (by_epoch, by_step))
    assert list(np.asarray(first) * 390) == list(second)


def test_a_target_on_other_data_is_reached_at_other_epochs(collection):
    cell = next(one.cell for one in collection.selections if one.optimizer == "SGD")
    (one, *_) = cell.results
    value = float(one.curves["valid_accuracy"][7])
    declared = Target(metric="test_accuracy", value=value)

    for split in ("valid", "test"):
        curve = one.curves[f"{split}_accuracy"]
        first = next((at for at, got in enumerate(curve) if got >= value), None)
        found = reaches(cell, targets.on(declared, split))[0]
        assert found.at == (np.inf if first is None else first)


def test_seconds_are_counted_up_to_those_of_the_quickest(collection):
    cell = next(one.cell for one in collection.selections if one.optimizer == "SGD")
    spent = [one.seconds[-1] for one in cell.results]

    assert budget(cell, "seconds") == min(spent)
    assert budget(cell, "steps") == 20 * 390


def test_a_record_without_steps_is_not_drawn_over_them(collection):
    old = dataclasses.replace(
        collection,
        ledger=dataclasses.replace(
            collection.ledger,
            selections=tuple(
                dataclasses.replace(
                    one,
                    cell=dataclasses.replace(
                        one.cell,
                        results=tuple(
                            dataclasses.replace(result, steps=None, seconds=None)
                            for result in one.cell.results
                        ),
                    ),
                )
                for one in collection.selections
            ),
        ),
    )

    with pytest.raises(FigureError, match="46 of 46 records are of an older version"):
        draw(old, "target", FigureOptions(x="steps"))
    assert draw(old, "target").caption == draw(collection, "target").caption


def test_tuning_draws_what_is_selected_after_so_many_settings(tmp_path):
    """After one of three that is the median setting, after all of them the selected one."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": lr} for lr in (0.01, 0.1, 100.0)], "Adam": [{"lr": 0.1}]},
        seeds=range(3),
        epochs=6,
        diverges=lambda one: 2 if one.run.hyperparameters["lr"] == 100 else None,
    )
    collection = ledger.collect(store)
    (sgd, adam) = collection.selections
    curve = after_trials(sgd, collection.cells)
    drawing = draw(collection, "tuning")
    (panel,) = panels(drawing)
    (line,) = panel.get_lines()

    assert after_trials(adam, collection.cells) == ()
    assert [one.trials for one in curve] == [1, 2, 3]
    assert curve[0].none_finished == pytest.approx(1 / 3)
    assert sgd.cell is not None
    assert line.get_ydata()[-1] == pytest.approx(sgd.cell.finals("test_accuracy").mean())
    assert panel.get_ylabel() == "final test accuracy"
    assert legend(drawing) == ["SGD"]
    assert "- fmnist_2c2d SGD: 3 settings on seeds 0..2\n" in drawing.caption


def test_profile_is_relative_to_the_fastest_of_the_set(tmp_path):
    problems = ["fmnist_2c2d", "cifar10_3c3d", "quadratic_deep"]
    store = make_sweep(
        tmp_path / "sweep",
        problems=problems,
        optimizers={name: [{"lr": 0.1}] for name in ("SGD", "Adam")},
        seeds=range(4),
        epochs=8,
    )
    collection = ledger.collect(store)
    low = {name: Target(metric="train_loss", value=1.2) for name in problems}
    eased = dataclasses.replace(
        collection, sweep=dataclasses.replace(collection.sweep, targets=low)
    )
    drawing = draw(eased, "profile")
    (panel,) = panels(drawing)

    assert panel.get_ylabel() == "share of 3 problems"
    assert legend(drawing) == ["SGD", "Adam"]
    assert drawing.caption.count(": score ") == 2
    for line in panel.get_lines():
        assert (np.diff(np.asarray(line.get_ydata())) >= 0).all()
    assert max(line.get_ydata()[-1] for line in panel.get_lines()) == 1


def test_profile_needs_three_problems(collection):
    with pytest.raises(InputError, match="at least 3 problems"):
        draw(collection, "profile")


def test_without_a_second_setting_there_is_no_tuning(collection):
    with pytest.raises(FigureError, match="no optimizer has several settings"):
        draw(collection, "tuning")


def test_without_a_target_there_is_nothing_to_draw(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["mnist_logreg"], epochs=2)
    collection = ledger.collect(store)

    assert not collection.targets
    with pytest.raises(FigureError, match="no problem has a target"):
        draw(collection, "target")


def test_a_single_run_is_not_said_to_have_diverged(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{}], "Adam": [{}]},
        seeds=[1],
        epochs=2,
    )
    drawing = draw(ledger.collect(store), "compare")

    assert texts(panels(drawing)[0])[0].startswith("only one run\nP(better) = ")
    assert "; one pair of seed 1; exact sign-flip p = 1.000" in drawing.caption


def test_what_counts_diverged_runs_does_not_leave_them_out(collection):
    for name in ("compare", "target"):
        assert "diverged, and are in no mean" not in draw(collection, name).caption
    assert "3 of 8 runs diverged, and are in no mean" in draw(collection, "final").caption


def test_an_optimizer_alone_is_told_what_to_compare_it_with(tmp_path):
    store = make_sweep(
        tmp_path / "sweep", problems=["fmnist_2c2d"], optimizers={"Adam": [{}]}, epochs=2
    )

    with pytest.raises(InputError, match="has the baseline Adam and another optimizer; a sweep"):
        draw(ledger.collect(store), "compare")


def test_axes_are_named_beside_each_other_also_by_a_long_baseline(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d", "cifar10_3c3d", "digits_mlp"],
        optimizers={"a baseline with a name of more than forty letters": [{}], "Adam": [{}]},
        epochs=2,
    )
    collection = ledger.collect(store)
    for name in ("compare", "runtime"):
        boxes = [axes.xaxis.label.get_window_extent() for axes in panels(draw(collection, name))]
        for one, other in itertools.pairwise(boxes):
            assert not one.overlaps(other)
