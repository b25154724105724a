"""Sensitivity: plateaus by hand, and what always holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.statistics.sensitivity import sensitivity


def of(values, diverged=(), *, is_accuracy=True):
    """Of what each rate gave."""
    return sensitivity(
        np.array(list(values), dtype=float),
        np.array(list(values.values()), dtype=float),
        np.array(diverged, dtype=float),
        is_accuracy=is_accuracy,
    )


def test_a_plateau_of_accuracies_by_hand():
    found = of({1e-3: 0.5, 1e-2: 0.905, 3e-2: 0.91, 1e-1: 0.9, 1: 0.7})

    assert found.plateau.best_rate == 3e-2
    assert found.plateau.best_value == 0.91
    assert (found.plateau.low, found.plateau.high) == (1e-2, 1e-1)
    assert found.plateau.decades == pytest.approx(1)
    assert found.plateau.decades_at_most == pytest.approx(3)
    assert not found.plateau.is_best_smallest
    assert not found.plateau.is_best_largest


def test_just_one_point_less_is_within_one_point():
    """Whatever 0.93 - 0.92 is in binary."""
    for best in (0.93, 0.91, 0.5, 0.9999):
        found = of({0.1: best, 1: best - 0.01, 10: best - 0.0101, 0.01: 0.1})
        assert found.plateau.high == 1


def test_a_plateau_of_losses_is_a_share_of_the_best():
    found = of({0.01: 3.0, 0.1: 2.1, 1: 2.0, 10: 2.11}, is_accuracy=False)

    assert (found.plateau.low, found.plateau.high) == (0.1, 1)
    assert found.plateau.best_value == 2.0


def test_a_loss_below_zero_has_a_plateau_above_it():
    found = of({0.1: -95.0, 1: -100.0, 10: -94.0}, is_accuracy=False)

    assert (found.plateau.low, found.plateau.high) == (0.1, 1)


def test_a_worse_rate_between_ends_the_plateau():
    found = of({0.01: 0.9, 0.1: 0.5, 1: 0.905, 10: 0.9, 100: 0.1})

    assert (found.plateau.low, found.plateau.high) == (1, 10)


def test_a_diverged_rate_ends_the_plateau():
    found = of({0.1: 0.9, 1: 0.9, 100: 0.9, 0.01: 0.2}, diverged=[10])

    assert (found.plateau.low, found.plateau.high) == (0.1, 1)
    assert found.plateau.decades_at_most == pytest.approx(3)
    assert (found.settings, found.diverged, found.diverged_share) == (5, 1, 1 / 5)


def test_a_plateau_at_the_end_of_the_grid_has_no_most():
    found = of({0.1: 0.9, 1: 0.895, 10: 0.2})

    assert found.plateau.decades == pytest.approx(1)
    assert found.plateau.decades_at_most is None
    assert found.plateau.is_best_smallest
    assert of({0.1: 0.2, 1: 0.9}).plateau.is_best_largest


def test_a_rate_that_diverged_above_the_best_is_tried_too():
    found = of({0.1: 0.2, 1: 0.9}, diverged=[10])

    assert not found.plateau.is_best_largest
    assert found.plateau.decades == 0
    assert found.plateau.decades_at_most == pytest.approx(2)


def test_one_rate_is_both_ends():
    plateau = of({0.1: 0.9}).plateau

    assert plateau.is_best_smallest
    assert plateau.is_best_largest
    assert plateau.decades == 0


def test_of_equal_values_the_smallest_rate_is_the_best():
    assert of({10: 0.9, 0.1: 0.9, 1: 0.5}).plateau.best_rate == 0.1


def test_where_all_diverged_there_is_no_plateau():
    found = of({}, diverged=[0.1, 1])

    assert found.plateau is None
    assert found.diverged_share == 1


@pytest.mark.parametrize(
    ("values", "diverged"),
    [({}, []), ({0.1: np.nan}, []), ({0: 0.5}, []), ({-1: 0.5}, []), ({0.1: 0.5}, [0.1])],
)
def test_what_is_no_grid_of_rates_is_a_mistake(values, diverged):
    with pytest.raises(ValueError, match="rate"):
        of(values, diverged)


EXPONENTS = st.lists(st.integers(-6, 3), min_size=1, max_size=8, unique=True)


@given(EXPONENTS, st.data())
def test_the_plateau_is_the_longest_stretch_around_the_best(exponents, data):
    """By looking at each stretch of the grid."""
    outcome = st.one_of(st.none(), st.integers(0, 6))
    points = {e: data.draw(outcome) for e in exponents}
    found = of(
        {10.0**e: points[e] / 200 for e in exponents if points[e] is not None},
        [10.0**e for e in exponents if points[e] is None],
    )
    finished = [e for e in exponents if points[e] is not None]
    if not finished:
        assert found.plateau is None
        return
    grid = sorted(exponents)
    top = max(points[e] for e in finished)
    best = min(e for e in finished if points[e] == top)
    good = [
        (grid[i], grid[j])
        for i in range(len(grid))
        for j in range(i, len(grid))
        if grid[i] <= best <= grid[j]
        and all(points[e] is not None and points[e] >= top - 2 for e in grid[i : j + 1])
    ]
    low, high = max(good, key=lambda ends: ends[1] - ends[0])
    assert found.plateau.decades == pytest.approx(high - low)
    assert np.log10([found.plateau.low, found.plateau.high]) == pytest.approx([low, high])
    if found.plateau.decades_at_most is None:
        assert low == grid[0] or high == grid[-1]
    else:
        assert found.plateau.decades_at_most >= found.plateau.decades + 2
