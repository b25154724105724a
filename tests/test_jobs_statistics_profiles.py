"""Performance profiles: by hand, against numeric integration, and against all draws of two seeds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import ExpectedError
from jobs.statistics.profiles import TooFewProblemsError, performance_profiles
from jobs.statistics.time_to_target import Reach

NEVER = math.inf


def run(at):
    return Reach(state="never" if at == NEVER else "reached", at=at)


def profiles(**times):
    """Of the times of each optimizer's runs, a list per problem, or one number."""
    return performance_profiles(
        {
            optimizer: {
                f"p{number}": [run(at) for at in (cell if isinstance(cell, list) else [cell])]
                for number, cell in enumerate(cells)
            }
            for optimizer, cells in times.items()
        }
    )


def at(found, optimizer, tau):
    """The share of an optimizer at one of the ratios, which are steps of 0.01."""
    (index,) = np.flatnonzero(np.isclose(found.taus, tau))
    return one(found, optimizer).shares[index]


def one(found, optimizer):
    return next(profile for profile in found.profiles if profile.optimizer == optimizer)


def test_a_small_profile_by_hand():
    """A: 1, 1, never; B: 2, 1, 1 times the fastest."""
    found = profiles(A=[10, 20, NEVER], B=[20, 20, 30])

    assert dict(one(found, "A").ratios) == {"p0": 1, "p1": 1, "p2": math.inf}
    assert dict(one(found, "B").ratios) == {"p0": 2, "p1": 1, "p2": 1}
    assert [at(found, "A", tau) for tau in (1, 1.99, 2, 4)] == pytest.approx([2 / 3] * 4)
    assert [at(found, "B", tau) for tau in (1, 1.99, 2, 4)] == pytest.approx([2 / 3, 2 / 3, 1, 1])
    assert one(found, "A").score == pytest.approx(2 / 3)
    assert one(found, "B").score == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found.relative_to == ("A", "B")
    assert found.problems == ("p0", "p1", "p2")


def test_beyond_four_times_the_fastest_is_unsolved():
    found = profiles(A=[1, 1, 1], B=[4, 4.01, NEVER])

    assert dict(one(found, "B").ratios) == {"p0": 4, "p1": math.inf, "p2": math.inf}
    assert at(found, "B", 4) == pytest.approx(1 / 3)
    assert one(found, "B").score == 0


def test_a_problem_that_nobody_solves_stays_in_the_denominator():
    found = profiles(A=[1, 1, NEVER, NEVER], B=[2, 2, NEVER, NEVER])

    assert one(found, "A").score == pytest.approx(1 / 2)
    assert at(found, "B", 4) == pytest.approx(1 / 2)


def test_the_time_of_an_optimizer_is_the_median_of_its_runs():
    """Of two of which one never does, it is never."""
    found = profiles(A=[[1, 9, 2], [1, NEVER], [3, NEVER, 5]], B=[[2, 2, 2], [7, 7], [5, 5, 5]])

    assert dict(one(found, "A").ratios) == {"p0": 1, "p1": math.inf, "p2": 1}


def test_the_order_of_two_can_change_with_a_third():
    a, b, third = [3, 4, 7], [2, 8, 7], [2, 1, 2]
    two, three = profiles(A=a, B=b), profiles(A=a, B=b, C=third)

    assert one(two, "A").score > one(two, "B").score
    assert one(three, "A").score < one(three, "B").score


TIMES = st.lists(st.one_of(st.integers(0, 30).map(float), st.just(NEVER)), min_size=4, max_size=4)


@given(TIMES, TIMES, TIMES)
def test_the_score_is_the_integral_of_the_profile(a, b, c):
    """By the rule of rectangles, in steps of a thousandth."""
    found = profiles(A=a, B=b, C=c)
    taus = np.arange(1, 4, 0.001) + 0.0005
    for profile in found.profiles:
        ratios = np.array(list(profile.ratios.values()))
        shares = (ratios[:, None] <= taus).mean(axis=0)
        assert profile.score == pytest.approx(shares.mean(), abs=1e-3)
        assert profile.shares == pytest.approx((ratios[:, None] <= found.taus).mean(axis=0))


@given(TIMES, TIMES, TIMES)
def test_the_ratio_is_to_the_fastest(a, b, c):
    """Somebody has the ratio 1 wherever anybody solves the problem."""
    found = profiles(A=a, B=b, C=c)
    for problem, cells in zip(found.problems, zip(a, b, c, strict=True), strict=True):
        ratios = [profile.ratios[problem] for profile in found.profiles]
        for time, ratio in zip(cells, ratios, strict=True):
            assert ratio == math.inf or time == pytest.approx(ratio * min(cells))
            assert (ratio == math.inf) == (time == NEVER or time > 4 * min(cells))
        assert min(cells) == NEVER or 1 in ratios


def test_a_target_that_is_reached_at_once_has_no_ratio_but_one():
    found = profiles(A=[0, 1, 1], B=[5, 1, 1])

    assert dict(one(found, "B").ratios) == {"p0": math.inf, "p1": 1, "p2": 1}
    assert one(found, "A").score == 1


@pytest.mark.parametrize("problems", [0, 1, 2])
def test_fewer_than_three_problems_are_refused(problems):
    with pytest.raises(TooFewProblemsError, match=f"at least 3 problems.* {problems}:") as error:
        profiles(A=[1] * problems, B=[2] * problems)

    assert isinstance(error.value, ExpectedError)


def test_each_optimizer_must_have_run_each_problem():
    with pytest.raises(ValueError, match="each problem"):
        profiles(A=[1, 1, 1], B=[1, 1])
    with pytest.raises(ValueError, match="each problem"):
        profiles(A=[1, 1, 1], B=[1, 1, []])


def test_a_run_under_way_is_counted_as_if_it_never_reached():
    runs = {f"p{number}": [run(1)] * 3 for number in range(3)}
    late = {**runs, "p0": [Reach(state="under_way", at=0.5)] * 2 + [run(1)]}

    found = performance_profiles({"A": runs, "B": late})

    assert found.under_way == 2
    assert one(found, "B").ratios["p0"] == math.inf


@pytest.mark.parametrize("seeds", [3, 7])
def test_the_band_is_that_of_all_draws_of_the_seeds(seeds):
    """Of 3 seeds each of the medians comes often; of 7 the extreme ones come in 1.1 % of draws each."""
    times = 10.0 + 3 * np.arange(seeds)
    draws = np.array(list(itertools.product(times, repeat=seeds)))
    scores = (4 - np.median(draws, axis=1) / 10 + 2 * 3) / 9
    ends = np.percentile(scores, [2.5, 97.5])

    found = profiles(A=[list(times), [1, 1], [1, 1]], B=[[10, 10], [1, 1], [1, 1]])
    band = one(found, "A").band

    assert [band.score_low, band.score_high] == pytest.approx(ends)
    assert one(found, "A").score == pytest.approx(np.median(scores))
    assert (band.low[0], band.high[0]) == pytest.approx((2 / 3, 1 if seeds == 3 else 2 / 3))
    assert one(found, "B").band.score_low == pytest.approx(1)


def test_a_single_run_has_no_band():
    """Nor has any other: its ratio is to that one, too."""
    found = profiles(A=[[1, 2], [1, 2], [1, 2]], B=[[1, 2], 5, [1, 2]])

    assert [profile.band for profile in found.profiles] == [None, None]


def test_the_same_runs_give_the_same_band_in_any_order():
    a, b = [[1, 2, 5]] * 3, [[2, 3, NEVER]] * 3
    first, again, swapped = profiles(A=a, B=b), profiles(A=a, B=b), profiles(B=b, A=a)

    for found in (again, swapped):
        for name in "AB":
            expected, band = one(first, name).band, one(found, name).band
            assert band.low.tobytes() == expected.low.tobytes()
            assert band.high.tobytes() == expected.high.tobytes()
            assert band.score_low == expected.score_low
            assert band.score_high == expected.score_high
