"""Ratio of times: against scipy, by hand, and how often its interval covers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs.statistics.time_ratio import time_ratio

TIMES = st.floats(1e-3, 1e6)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=2, max_size=10))
def test_the_ratio_is_scipys(pairs):
    """The geometric mean, with the interval of the paired t test of the logs."""
    times, baseline = (np.array(column) for column in zip(*pairs, strict=True))
    found = time_ratio(times, baseline)

    assert found.pairs == len(pairs)
    assert found.ratio == pytest.approx(stats.gmean(times) / stats.gmean(baseline))
    # of times that differ by one factor the t test is undefined, and the interval a point
    if np.ptp(np.log(times / baseline)) > 1e-9:
        test = stats.ttest_rel(np.log(times), np.log(baseline)).confidence_interval(0.95)
        assert np.log([found.interval.low, found.interval.high]) == pytest.approx(
            [test.low, test.high], rel=1e-6, abs=1e-9
        )


def test_a_ratio_by_hand():
    """Logs of 2 and 8 lie log 2 from that of 4; t is 12.706 with one degree of freedom."""
    found = time_ratio(np.array([2.0, 24.0]), np.array([1.0, 3.0]))

    assert found.ratio == pytest.approx(4)
    assert found.interval.low == pytest.approx(4 / 2**12.706, rel=1e-3)
    assert found.interval.high == pytest.approx(4 * 2**12.706, rel=1e-3)


def test_swapped_it_is_one_over_it():
    times, baseline = np.array([2.0, 3.0, 5.0]), np.array([1.0, 4.0, 2.0])
    found, swapped = time_ratio(times, baseline), time_ratio(baseline, times)

    assert swapped.ratio == pytest.approx(1 / found.ratio)
    assert swapped.interval.low == pytest.approx(1 / found.interval.high)


def test_one_pair_has_no_interval():
    found = time_ratio(np.array([3.0]), np.array([2.0]))

    assert (found.pairs, found.ratio, found.interval) == (1, pytest.approx(1.5), None)


@pytest.mark.parametrize(
    ("times", "baseline"),
    [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [np.nan]), ([np.inf], [1.0])],
)
def test_what_is_no_time_is_a_mistake(times, baseline):
    with pytest.raises(ValueError, match=r"times|pair"):
        time_ratio(np.array(times), np.array(baseline))


def test_the_interval_covers_the_ratio():
    """Of 2,000 data sets with errors of 10 %, as many as it says."""
    rng = np.random.default_rng(5)
    for n in (3, 10):
        hits = 0
        for _ in range(2000):
            times, baseline = rng.lognormal(np.log([[2.0], [1.0]]), 0.1, size=(2, n))
            interval = time_ratio(times, baseline).interval
            hits += interval.low <= 2 <= interval.high
        assert 0.93 < hits / 2000 < 0.97, n
