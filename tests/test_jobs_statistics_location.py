"""Mean, median, quartiles and interquartile mean, against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from jobs.statistics.interval import Interval
from jobs.statistics.location import BOOTSTRAP_RUNS_MIN, interquartile_mean, locate


def values_of(n, seed=0):
    return np.random.default_rng(seed).normal(0.82, 0.01, n)


@pytest.mark.parametrize("n", [2, 3, 9, 10, 31])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_mean_has_students_t_interval(n, level):
    values = values_of(n)
    found = locate(values, level)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)

    assert found.mean == pytest.approx(values.mean())
    assert found.mean_interval == Interval(pytest.approx(low), pytest.approx(high), level, "t")


def test_the_interval_of_three_runs_by_hand():
    """1, 2, 3: mean 2, s = 1, t(2, .975) = 4.303."""
    found = locate(np.array([3.0, 1.0, 2.0]))

    assert found.mean_interval.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert (found.median, found.quartiles, found.iqm) == (2.0, (1.5, 2.5), 2.0)


def test_one_run_has_no_interval():
    found = locate(np.array([0.8]))

    assert (found.n, found.mean, found.median, found.iqm) == (1, 0.8, 0.8, 0.8)
    assert (found.mean_interval, found.median_interval, found.iqm_interval) == (None, None, None)


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    """As rliable's, which is scipy's trimmed mean."""
    assert interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([9.0, 1, 2])) == pytest.approx(4)


def test_below_ten_runs_the_range_stands_for_what_a_bootstrap_would_make_too_narrow():
    values = values_of(BOOTSTRAP_RUNS_MIN - 1)
    found = locate(values)

    assert found.median_interval == Interval(values.min(), values.max(), None, "range")
    assert found.iqm_interval == found.median_interval


def test_from_ten_runs_on_it_is_scipys_bca():
    """Of another stream, so that it agrees to the noise of 9,999 resamples."""
    values = values_of(25)
    found = locate(values).iqm_interval
    wanted = stats.bootstrap(
        (values,), interquartile_mean, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval

    assert (found.level, found.method) == (0.95, "BCa")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=2e-4)


def test_the_same_runs_in_another_order_have_the_same_bytes():
    values = values_of(12)

    assert locate(values) == locate(values) == locate(values[::-1].copy())


@pytest.mark.parametrize(
    "values", [[0.1] * 12, [0.1] * 14 + [0.3] * 2], ids=["all equal", "all but two"]
)
def test_a_bootstrap_that_cannot_be_accelerated_is_replaced_by_the_range(values):
    """Runs that collapsed to chance are like that."""
    found = locate(np.array(values))

    assert found.median_interval == Interval(min(values), max(values), None, "range")


@pytest.mark.parametrize("values", [[], [0.5, np.nan], [np.inf]])
def test_what_is_no_value_is_refused(values):
    with pytest.raises(ValueError, match="all of them finite"):
        locate(np.array(values))
