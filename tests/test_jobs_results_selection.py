"""The setting that stands for an optimizer: compared by validation, on seeds that all settings have.

`baseline_tuning.csv` has the published grids of DeepOBS' PyTorch baselines (2019): 20 step sizes for
each of 20 (problem, optimizer), on seed 42, with the final validation accuracy.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from jobs.results.cells import Cell
from jobs.results.reading import Result, Unsettled
from jobs.results.selection import Selection, baseline_of, select
from jobs.store.state import State
from tests.make_sweep import plan

TUNED = {
    "cifar100_allcnnc": (0.000695193, 0.0483293, 0.0483293, 0.263665),
    "cifar10_3c3d": (0.000297635, 0.00379269, 0.00379269, 0.0483293),
    "fmnist_2c2d": (0.000127427, 0.0206914, 0.0206914, 0.112884),
    "mnist_logreg": (0.000297635, 0.0206914, 0.0206914, 0.112884),
    "svhn_wrn164": (5.45559e-05, 0.00885867, 0.00885867, 0.0483293),
}
"""The step sizes that were then run on seeds 43 to 51, too: Adam, Momentum, Nesterov, SGD."""


def make_cell(
    setting: Mapping[str, float],
    values: Mapping[int, float | None],
    *,
    metric: str = "valid_accuracy",
    best: float | None = None,
    problem: str = "fmnist_2c2d",
    optimizer: str = "SGD",
    unrecorded: tuple[int, ...] = (),
) -> Cell:
    """A cell by its final values per seed; None: diverged. `best`: a better value in between."""
    planned = {
        seed: plan(problem, optimizer, setting, seed, 2, varied=True)
        for seed in (*values, *unrecorded)
    }
    results = [
        Result(
            planned=planned[seed],
            diverged=value is None,
            stop={"epoch": 2},
            curves={metric: np.array([0.1, best or value or 0.1, value or np.nan])},
            cost={},
            provenance={},
        )
        for seed, value in values.items()
    ]
    pending = State(state="pending", evidence="no record")
    return Cell(
        id=next(iter(planned.values())).run.cell,
        problem=problem,
        optimizer=optimizer,
        varied=setting,
        planned=tuple(planned.values()),
        results=tuple(results),
        unsettled=tuple(Unsettled(planned=planned[seed], state=pending) for seed in unrecorded),
    )


def lr(found: Selection) -> object:
    return found.cell.varied["lr"] if found.cell else None


def published() -> list[Cell]:
    """The grids on seed 42, and the tuned setting on nine more, which by luck are a little worse."""
    cells = []
    with (Path(__file__).parent / "baseline_tuning.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rate = float(row["lr"])
            value = None if row["diverged"] == "1" else float(row["valid_accuracy"])
            values = {42: value}
            index = ("Adam", "Momentum", "Nesterov", "SGD").index(row["optimizer"])
            if rate == TUNED[row["problem"]][index] and value is not None:
                values |= dict.fromkeys(range(43, 52), value - 0.02)
            names = {"problem": row["problem"], "optimizer": row["optimizer"]}
            cells.append(make_cell({"lr": rate}, values, **names))
    return cells


def test_the_published_baselines_are_selected_as_they_were_tuned():
    found = select(published())

    assert len(found) == 20
    for problem, rates in TUNED.items():
        own = {one.optimizer: lr(one) for one in found if one.problem == problem}
        assert own == dict(zip(("Adam", "Momentum", "Nesterov", "SGD"), rates, strict=True))
    assert all(one.settings == 20 and one.runs == 20 and one.seeds == (42,) for one in found)


def test_what_selected_is_not_reported_where_there_are_other_seeds():
    found = select(published())[0]

    assert found.cell is not None
    assert [one.planned.run.seed for one in found.cell.results] == list(range(43, 52))
    assert len(found.cell.planned) == 9
    assert found.is_reported_on_others
    assert str(found) == (
        "cifar100_allcnnc Adam: lr=0.0006952 of 20 settings (20 runs) by final valid accuracy"
        " on seed 42; reported on seeds 43..51"
    )


def test_without_other_seeds_the_same_ones_are_reported_and_that_is_said():
    found = select([make_cell({"lr": rate}, {1: rate, 2: rate}) for rate in (0.1, 0.2)])[0]

    assert lr(found) == 0.2
    assert not found.is_reported_on_others
    assert str(found).endswith("on seeds 1, 2; reported on the same seeds")


def test_a_seed_that_one_setting_lacks_selects_nothing_and_is_still_reported():
    whole = make_cell({"lr": 0.1}, {1: 0.8, 2: 0.8, 3: 0.2})
    lucky = make_cell({"lr": 0.2}, {1: 0.9, 2: 0.6}, unrecorded=(3,))

    found = select([whole, lucky])[0]

    assert lr(found) == 0.1
    assert found.seeds == (1, 2)
    assert found.cell is whole  # all three were planned for both: none is kept for the report


def test_without_a_common_seed_nothing_is_selected_and_it_says_what_is_missing():
    done = make_cell({"lr": 0.1}, {1: 0.8})
    others = [make_cell({"lr": rate}, {}, unrecorded=(1,)) for rate in (0.2, 0.3)]

    found = select([done, *others])[0]

    assert found.cell is None
    assert found.why == (
        "no seed has a record of all 3 settings; missing: lr=0.2 (seed 1), lr=0.3 (seed 1)"
    )


def test_settings_of_other_seeds_are_not_compared():
    found = select([make_cell({"lr": 0.1}, {1: 0.8}), make_cell({"lr": 0.2}, {2: 0.9})])[0]

    assert found.cell is None
    assert found.why == "no seed is planned for all 2 settings"


def test_test_data_select_nothing():
    cells = [make_cell({"lr": rate}, {1: rate}, metric="test_accuracy") for rate in (0.1, 0.2)]

    assert select(cells)[0].why == ("no run has a validation metric, and test data select nothing")


def test_of_losses_the_smallest_is_selected():
    cells = [make_cell({"lr": rate}, {1: rate}, metric="valid_loss") for rate in (0.1, 0.2)]

    assert lr(select(cells)[0]) == 0.1


def test_a_setting_that_diverged_comes_after_all_that_did_not():
    lucky = make_cell({"lr": 0.1}, {1: 0.99, 2: None})
    poor = make_cell({"lr": 0.2}, {1: 0.3, 2: 0.3})

    assert lr(select([lucky, poor])[0]) == 0.2


def test_of_equal_settings_the_smaller_step_size_is_selected():
    cells = [make_cell({"lr": rate}, {1: 0.5}) for rate in (0.2, 0.1, 0.3)]

    assert lr(select(cells)[0]) == 0.1


@pytest.mark.parametrize(("mode", "rate"), [("final", 0.1), ("best", 0.2), ("most", 0.3)])
def test_the_modes_are_those_of_deepobs(mode, rate):
    at_end = make_cell({"lr": 0.1}, {1: 0.8})
    at_best = make_cell({"lr": 0.2}, {1: 0.7}, best=0.9)
    with_most = make_cell({"lr": 0.3}, {1: 0.6, 2: 0.6})

    assert lr(select([at_end, at_best, with_most], mode)[0]) == rate


@pytest.mark.parametrize(
    ("best", "edges"),
    [(0.1, ("lr=0.1 is the smallest tried",)), (0.2, ()), (0.3, ("lr=0.3 is the largest tried",))],
)
def test_a_value_at_the_edge_of_its_grid_is_named(best, edges):
    cells = [
        make_cell({"lr": rate, "nesterov": True}, {1: 0.9 if rate == best else 0.5})
        for rate in (0.1, 0.2, 0.3)
    ]

    assert select(cells)[0].edges == edges


def test_an_only_setting_needs_no_selection():
    found = select([make_cell({"lr": 0.1}, {1: 0.5, 2: None})])[0]

    assert lr(found) == 0.1
    assert (found.settings, found.runs, found.by, found.edges) == (1, 0, "", ())


def test_the_baseline_is_sgd_or_the_first():
    def named(*labels: str) -> str:
        cells = [make_cell({"lr": 0.1}, {1: 0.5}, optimizer=label) for label in labels]
        return baseline_of(select(cells))

    assert named("Adam", "sgd") == "sgd"
    assert named("Adam", "Lion") == "Adam"
