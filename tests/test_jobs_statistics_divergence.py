"""Divergence: its share, worst ranks, quartiles that fall on it."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from jobs.statistics.divergence import (
    Arm,
    Diverged,
    Proportion,
    Quartiles,
    proportion,
    quartiles,
    worst_ranks,
)
from jobs.statistics.interval import Interval


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (7, 200)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_share_has_wilsons_interval(count, n, level):
    low, high = proportion_confint(count, n, 1 - level, method="wilson")
    found = proportion(count, n, level)
    near = Interval(pytest.approx(low, abs=1e-12), pytest.approx(high), level, "Wilson")

    assert found == Proportion(count, n, near)
    assert found.share == count / n


def test_none_of_ten_by_hand():
    """z^2 / (n + z^2)."""
    assert proportion(0, 10).interval.high == pytest.approx(1.959964**2 / (10 + 1.959964**2))


def test_a_diverged_run_is_worse_than_the_worst_value_and_the_later_one_is_better():
    outcomes = [0.1, Diverged(3), 0.9, Diverged(7), 0.1, Diverged(3)]

    assert worst_ranks(outcomes, is_better_high=True).tolist() == [4.5, 1.5, 6, 3, 4.5, 1.5]
    assert worst_ranks(outcomes, is_better_high=False).tolist() == [5.5, 1.5, 4, 3, 5.5, 1.5]


def test_even_an_exploded_loss_is_better_than_divergence():
    assert worst_ranks([Diverged(100), 1e23], is_better_high=False).tolist() == [1, 2]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 10, 11])
@pytest.mark.parametrize("higher", [True, False])
def test_quartiles_of_finished_runs_are_numpys(n, higher):
    values = np.random.default_rng(n).normal(size=n)
    found = quartiles(tuple(values.tolist()), is_better_high=higher)

    assert [found.first, found.median, found.third] == pytest.approx(
        np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    )


def test_divergence_lies_below_an_accuracy_and_above_a_loss():
    lost = (Diverged(2), Diverged(5))
    finished = (0.1, 0.3, 0.2)

    assert quartiles(lost + finished, is_better_high=True) == Quartiles(Diverged(5), 0.1, 0.2)
    assert quartiles(lost + finished, is_better_high=False) == Quartiles(0.2, 0.3, Diverged(5))


def test_between_a_value_and_a_divergence_there_is_no_value():
    outcomes = (0.5, Diverged(4), Diverged(9), 0.6)

    assert quartiles(outcomes, is_better_high=True).median == Diverged(9)
    assert quartiles(outcomes, is_better_high=True).first == Diverged(4)  # the worse of two
    assert quartiles(outcomes, is_better_high=True).third == pytest.approx(0.525)


def test_an_arm_knows_its_survivors():
    arm = Arm((1, 2, 3), (0.5, Diverged(4), 0.7))

    assert arm.values.tolist() == [0.5, 0.7]
    assert arm.diverged == 1


@pytest.mark.parametrize(
    ("seeds", "outcomes", "reason"),
    [
        ((), (), "needs runs"),
        ((1, 2), (0.5,), "needs runs"),
        ((1, 1), (0.5, 0.6), "one run per seed"),
        ((1, 2), (0.5, float("nan")), "needs its epoch"),
    ],
)
def test_what_is_no_arm_is_refused(seeds, outcomes, reason):
    with pytest.raises(ValueError, match=reason):
        Arm(seeds, outcomes)
