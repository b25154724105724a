"""Time to target: by hand, against a published table of survival times, and against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs.statistics.time_to_target import Reach, logrank, reach, solved

NEVER = Reach(state="never", at=math.inf)


def reached(at):
    return Reach(state="reached", at=at)


def under_way(at):
    return Reach(state="under_way", at=at)


def found(values, ending="finished", times=None, target=0.9, is_better_high=True):
    values = np.array(values, dtype=float)
    times = np.arange(len(values), dtype=float) if times is None else np.array(times)
    return reach(values, times, target=target, is_better_high=is_better_high, ending=ending)


# Remission times in weeks of 21 patients each with 6-mercaptopurine and placebo (Freireich et al.
# 1963); those of the second list were still in remission when they were last seen.
TREATED = [
    *map(reached, [6, 6, 6, 7, 10, 13, 16, 22, 23]),
    *map(under_way, [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]),
]
PLACEBO = list(
    map(reached, [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23])
)


def test_the_first_time_at_the_target_counts():
    assert found([0.1, 0.9, 0.8, 0.95]) == reached(1)
    assert found([0.1, 0.5, 0.95], times=[0.0, 12.5, 30.0]) == reached(30)
    assert found([3.0, 1.0, 0.9], is_better_high=False) == reached(2)
    assert found([0.95, 0.1]) == reached(0)
    assert found([0.1, 0.9, 0.95], ending="under_way") == reached(1)
    assert found([0.1, 0.9, 0.95], times=[0.0, 0.0, 1.0]) == reached(0)  # a clock may stand still


def test_a_run_that_ended_below_its_target_never_reaches_it():
    assert found([0.1, 0.5]) == NEVER
    assert found([0.1, math.nan]) == NEVER


def test_a_diverged_run_never_reaches_its_target_also_if_it_was_there():
    assert found([0.1, 0.95, math.nan], ending="diverged") == NEVER
    assert found([0.1, 0.2], ending="diverged") == NEVER


def test_only_a_run_under_way_is_censored():
    assert found([0.1, 0.5, 0.6], ending="under_way") == under_way(2)
    assert found([], ending="under_way") == under_way(0)


@pytest.mark.parametrize("times", [[1.0, 0.0], [-1.0, 0.0], [0.0]])
def test_times_that_are_none_are_a_mistake(times):
    with pytest.raises(ValueError, match="times"):
        found([0.1, 0.2], times=times)


def test_the_share_solved_by_hand():
    """At 2, one of five; one leaves at 3; at 4, one of the three that are left."""
    share = solved([reached(2), under_way(3), reached(4), NEVER, NEVER], budget=10)

    assert share.times.tolist() == [0, 2, 3, 4, 10]
    assert share.shares == pytest.approx([0, 1 / 5, 1 / 5, 7 / 15, 7 / 15])
    assert (share.runs, share.reached, share.never, share.under_way) == (5, 2, 2, 1)
    assert share.known_to == 10
    assert share.median is None
    assert share.restricted_mean == pytest.approx(2 + 2 * 4 / 5 + 6 * 8 / 15)


def test_the_share_solved_of_a_published_example():
    """Kaplan & Meier's estimate as textbooks print it."""
    share = solved(TREATED, budget=35)
    by_week = dict(zip(share.times, 1 - share.shares, strict=True))

    assert [round(by_week[t], 3) for t in (6, 7, 10, 13, 16, 22, 23)] == [
        *(0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448)
    ]
    assert share.median == 23
    assert solved(PLACEBO, budget=35).median == 8


def test_a_diverged_run_stays_in_the_denominator_to_the_end():
    """Ended where it diverged, it would leave two of three solved by 5."""
    share = solved([reached(4), reached(5), found([0.1, 0.2], ending="diverged")], budget=9)

    assert share.shares[-1] == pytest.approx(2 / 3)
    assert share.never == 1


def test_what_is_reached_after_the_budget_is_not_reached():
    share = solved([reached(4), reached(11)], budget=10)

    assert (share.reached, share.never) == (1, 1)
    assert share.shares[-1] == pytest.approx(1 / 2)
    assert solved([reached(10)], budget=10).shares[-1] == 1


def test_all_that_is_left_under_way_leaves_the_end_unknown():
    share = solved([reached(2), under_way(3), under_way(5)], budget=10)

    assert share.known_to == 5
    assert share.median is None
    assert share.restricted_mean is None


def test_nobody_and_everybody_solve_with_an_interval():
    none, every = solved([NEVER] * 5, budget=10), solved([reached(1)] * 5, budget=10)

    assert none.shares[-1] == 0
    assert none.high[-1] == pytest.approx(wilson(0, 5).high)
    assert none.median is None
    assert none.restricted_mean == 10
    assert every.shares[-1] == 1
    assert every.low[-1] == pytest.approx(wilson(5, 5).low)
    assert every.restricted_mean == 1
    assert every.known_to == 10


def test_half_of_ten_is_the_median_whatever_the_rounding():
    runs = [*map(reached, [1, 2, 3, 4, 5]), *[NEVER] * 5]

    assert solved(runs, budget=10).median == 5


def test_a_run_that_has_not_begun_tells_nothing():
    """It widens nothing, and moves nothing."""
    runs = [reached(1), reached(3), NEVER]
    without, with_it = solved(runs, budget=5), solved([*runs, under_way(0)], budget=5)

    assert with_it.shares == pytest.approx(without.shares)
    assert with_it.low == pytest.approx(without.low)
    assert with_it.high == pytest.approx(without.high)


def test_the_share_needs_runs_and_a_budget():
    with pytest.raises(ValueError, match="a run"):
        solved([], budget=1)
    with pytest.raises(ValueError, match="budget"):
        solved([NEVER], budget=math.inf)


def wilson(successes, n):
    return stats.binomtest(successes, n).proportion_ci(method="wilson")


SETTLED = st.lists(
    st.one_of(st.integers(0, 20).map(float).map(reached), st.just(NEVER)), min_size=1, max_size=12
)


@given(SETTLED)
def test_without_runs_under_way_the_share_is_a_proportion(runs):
    """With Wilson's interval at each time, and the plain mean of times up to the budget."""
    share = solved(runs, budget=20)

    for time, value, low, high in zip(
        share.times, share.shares, share.low, share.high, strict=True
    ):
        by_then = sum(run.at <= time for run in runs)
        expected = wilson(by_then, len(runs))
        assert value == pytest.approx(by_then / len(runs))
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert share.restricted_mean == pytest.approx(np.mean([min(run.at, 20) for run in runs]))
    assert share.known_to == 20
    middle = sorted(run.at for run in runs)[(len(runs) - 1) // 2]
    assert share.median == (middle if middle <= 20 else None)


RUNS = st.lists(
    st.one_of(
        st.integers(0, 20).map(float).map(reached),
        st.integers(0, 20).map(float).map(under_way),
        st.just(NEVER),
    ),
    min_size=1,
    max_size=12,
)


@given(RUNS)
def test_the_share_and_its_interval_are_in_order(runs):
    share = solved(runs, budget=20)

    assert share.times[0] == 0
    assert np.all(np.diff(share.times) > 0)
    assert np.all(np.diff(share.shares) >= -1e-12)
    assert np.all((share.low >= 0) & (share.high <= 1))
    assert np.all((share.low <= share.shares + 1e-9) & (share.shares <= share.high + 1e-9))
    assert share.reached + share.never + share.under_way == share.runs


@given(RUNS, st.data())
def test_never_reaching_is_no_better_than_reaching(runs, data):
    """However a run is worse, the share falls and the restricted mean grows."""
    one = data.draw(st.integers(0, len(runs) - 1))
    before, after = (
        solved([*runs[:one], of_one, *runs[one + 1 :], NEVER], budget=20)
        for of_one in (reached(data.draw(st.integers(0, 20))), NEVER)
    )

    assert after.shares[-1] <= before.shares[-1] + 1e-12
    assert after.restricted_mean >= before.restricted_mean - 1e-12


def test_the_interval_is_worth_greenwoods_variance():
    """Scipy's linear interval has Greenwood's standard error times 1.96 on each side."""
    share = solved(TREATED, budget=35)
    survival = stats.ecdf(
        stats.CensoredData(
            uncensored=[run.at for run in TREATED if run.state == "reached"],
            right=[run.at for run in TREATED if run.state != "reached"],
        )
    ).sf
    linear = survival.confidence_interval(method="linear")
    z = stats.norm.ppf(0.975)
    error = (survival.probabilities - linear.low.probabilities) / z
    for low, high, p, se in zip(
        share.low[1:], share.high[1:], survival.probabilities, error, strict=True
    ):
        n = p * (1 - p) / se**2
        # the ends of Wilson's interval are where the score test just rejects
        for end in (1 - low, 1 - high):
            assert abs(p - end) / math.sqrt(end * (1 - end) / n) == pytest.approx(z)


def test_the_interval_covers_the_share_where_runs_are_few():
    """800 data sets each; Wilson's own covers as much."""
    rng = np.random.default_rng(7)
    for n, true in ((3, 0.3), (5, 0.5), (10, 0.8)):
        hits = 0
        for _ in range(800):
            times = rng.exponential(-1 / np.log1p(-true), size=n)
            ends = rng.exponential(4, size=n)
            runs = [
                under_way(end) if end < min(time, 1) else reached(time)
                for time, end in zip(times, ends, strict=True)
            ]
            share = solved(runs, budget=1)
            hits += share.low[-1] <= true <= share.high[-1]
        assert hits / 800 > 0.92, n


def test_the_log_rank_test_of_a_published_example():
    """Chi-squared 16.79 with one degree of freedom."""
    test = logrank(PLACEBO, TREATED, budget=35)

    assert test.statistic**2 == pytest.approx(16.79, abs=0.005)
    assert test.statistic > 0
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic**2, 1))
    assert logrank(TREATED, PLACEBO, budget=35).statistic == pytest.approx(-test.statistic)


def test_the_log_rank_test_by_hand():
    """At 1, A's run of two and two; at 2, one of B's two against A's one that never does."""
    test = logrank([reached(1), NEVER], [reached(2), NEVER], budget=5)

    expected = 1 / 2 + 1 / 3
    variance = 1 / 4 + 2 / 9
    assert test.statistic == pytest.approx((1 - expected) / math.sqrt(variance))


def test_times_that_tell_nothing_have_no_test():
    assert logrank([NEVER, NEVER], [NEVER], budget=5) is None
    assert logrank([reached(1)], [reached(1)], budget=5) is None
    assert logrank([reached(9)], [reached(8)], budget=5) is None
