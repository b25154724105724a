"""What a reader of the numbers must know, by its code."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from jobs.results import findings
from jobs.results.cells import Cell
from jobs.results.finding import FORBIDS, Finding
from jobs.results.selection import select
from tests.test_jobs_results_selection import make_cell


def found(*cells: Cell) -> dict[str, Finding]:
    """The findings on some cells, by code."""
    return {one.code: one for one in findings.of(cells, select(cells))}


def with_curves(cell: Cell, curves: Mapping[str, list[float]]) -> Cell:
    arrays = {name: np.array(values) for name, values in curves.items()}
    results = tuple(dataclasses.replace(one, curves=arrays) for one in cell.results)
    return dataclasses.replace(cell, results=results)


def trained(*accuracies: float, optimizer: str = "SGD", seed: int = 1) -> Cell:
    cell = make_cell({"lr": 0.1}, {seed: accuracies[-1]}, optimizer=optimizer)
    return with_curves(cell, {"train_accuracy": list(accuracies)})


def test_every_code_says_what_it_forbids():
    assert set(FORBIDS.values()) == {None, "mean", "comparison", "time"}
    with pytest.raises(KeyError):
        _ = Finding("unheard_of", "").forbids


@pytest.mark.parametrize("end", [0.1, 0.098, 0.12])
def test_a_run_at_chance_level_is_named(end):
    """One that sits at one class in ten, from whatever the initial weights gave it."""
    good = trained(0.08, 0.5, 0.9, optimizer="Adam")
    stuck = trained(0.064, 0.1, end)

    one = found(good, stuck)["collapsed"]

    assert one.text == (
        "1 run completed and ended no better than untrained: fmnist_2c2d SGD lr=0.1 (seed 1)"
    )
    assert one.runs == (stuck.planned[0].run.id,)


@pytest.mark.parametrize(("start", "end"), [(0.1, 0.3), (0.5, 0.6), (0.98, 0.99)])
def test_a_run_that_learned_is_not(start, end):
    assert "collapsed" not in found(trained(start, end))


def test_a_run_that_only_began_is_not_called_collapsed():
    assert "collapsed" not in found(trained(0.1))


def test_a_loss_that_explodes_without_leaving_the_numbers_is_named():
    cell = make_cell({"lr": 0.1}, {1: 0.5, 2: 0.5})
    grown = with_curves(cell, {"train_loss": [2.0, 50.0, 2001.0]})

    assert found(grown)["exploded"].text == (
        "2 runs completed and ended at over 1000 times their first loss: "
        "fmnist_2c2d SGD lr=0.1 (seeds 1, 2)"
    )
    assert "exploded" not in found(with_curves(cell, {"train_loss": [2.0, 50.0, 1999.0]}))


def test_what_selects_and_is_reported_on_the_same_seeds_is_named():
    cells = [make_cell({"lr": rate}, {1: rate, 2: rate}) for rate in (0.1, 0.2)]

    assert found(*cells)["same_seeds"].text == (
        "selected and reported on the same seeds, which makes the best look better: "
        "fmnist_2c2d SGD (best of 2)"
    )


def test_the_edge_of_a_grid_is_named():
    cells = [make_cell({"lr": rate}, {1: rate}) for rate in (0.1, 0.2, 0.3)]

    assert found(*cells)["grid_edge"].text == (
        "the best setting is at the edge of what was tried, a better one may lie beyond: "
        "fmnist_2c2d SGD lr=0.3 is the largest tried"
    )


def test_unequal_budgets_are_named_per_problem():
    sgd = [make_cell({"lr": rate}, {1: rate, 2: rate}) for rate in (0.1, 0.2)]
    adam = make_cell({"lr": 0.1}, {1: 0.5}, optimizer="Adam")
    others = [
        make_cell({"lr": 0.1}, {1: 0.5}, optimizer=name, problem="mnist_logreg")
        for name in ("SGD", "Adam")
    ]

    assert found(*sgd, adam, *others)["unequal_budgets"].text == (
        "unequal budgets of tuning on fmnist_2c2d: SGD 2 settings (4 runs), Adam 1 setting"
    )
    assert "unequal_budgets" not in found(*others)


def test_where_nothing_can_be_selected_it_says_why():
    cells = [make_cell({"lr": 0.1}, {1: 0.8}), make_cell({"lr": 0.2}, {2: 0.9})]

    one = found(*cells)["nothing_selected"]

    assert one.forbids == "comparison"
    assert one.text == (
        "no setting stands for fmnist_2c2d SGD: no seed is planned for all 2 settings"
    )


def with_steps(cell: Cell, steps: list[int], batch_size: int = 100) -> Cell:
    results = tuple(
        dataclasses.replace(
            one,
            steps=np.array(steps),
            planned=dataclasses.replace(
                one.planned, run=dataclasses.replace(one.planned.run, batch_size=batch_size)
            ),
        )
        for one in cell.results
    )
    return dataclasses.replace(cell, results=results)


def test_training_sets_of_different_sizes_are_not_compared():
    sgd, adam = (make_cell({"lr": 0.1}, {1: 0.5, 2: 0.5}, optimizer=name) for name in "ab")
    mixed = with_steps(sgd, [0, 500, 1000]), with_steps(adam, [0, 450, 900])

    one = found(*mixed)["mixed_splits"]

    assert one.text == (
        "runs of fmnist_2c2d had training sets of different sizes, "
        "by their epochs of 450 steps of 100 (2 runs), 500 steps of 100 (2 runs)"
    )
    assert one.forbids == "comparison"
    assert len(one.runs) == 4


@pytest.mark.parametrize("steps", [[0, 390], [0, 391], [0]])
def test_an_incomplete_last_batch_is_no_other_training_set(steps):
    """Of 50,000 examples; a run that diverged in its first epoch tells nothing."""
    sgd, adam = (make_cell({"lr": 0.1}, {1: 0.5}, optimizer=name) for name in "ab")

    assert "mixed_splits" not in found(with_steps(sgd, [0, 500]), with_steps(adam, steps, 128))
    assert "mixed_splits" not in found(with_steps(sgd, [0, 500]), adam)  # an older record
