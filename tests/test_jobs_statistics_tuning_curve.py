"""Tuning curve: against all draws of k settings, random draws, and the choice that a sweep makes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.statistics.tuning_curve import Chosen, tuning_curve
from jobs.tuning import Candidate, Criterion, best


def curve(valid, test, diverged=0, *, is_better_high=True):
    return tuning_curve(
        np.array(valid, dtype=float),
        np.array(test, dtype=float),
        diverged=diverged,
        is_better_high=is_better_high,
    )


def chosen_of_all_draws(valid, diverged, trials, *, is_better_high):
    """The index of the setting that each draw chooses; None: all in it diverged."""
    sign = -1 if is_better_high else 1
    for drawn in itertools.combinations(range(len(valid) + diverged), trials):
        finished = [index for index in drawn if index < len(valid)]
        yield min(finished, key=lambda index: (sign * valid[index], index), default=None)


def median_of(values, *, is_better_high):
    """The value that half of the draws are at or better; those without one are the worst."""
    ranked = sorted((v for v in values if v is not None), reverse=is_better_high)
    ranked += [None] * (len(values) - len(ranked))
    return ranked[(len(ranked) - 1) // 2]


PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=6)


@given(PAIRS, st.integers(0, 3), st.booleans())
def test_the_curve_is_that_of_all_draws(pairs, diverged, is_better_high):
    """With ties, diverged settings, and either direction."""
    valid, test = [list(column) for column in zip(*pairs, strict=True)] or ([], [])
    found = curve(valid, test, diverged, is_better_high=is_better_high)

    assert [one.trials for one in found] == list(range(1, len(pairs) + diverged + 1))
    for one in found:
        chosen = [*chosen_of_all_draws(valid, diverged, one.trials, is_better_high=is_better_high)]
        assert one.none_finished == pytest.approx(chosen.count(None) / len(chosen))
        for values, after in ((valid, one.valid), (test, one.test)):
            results = [None if index is None else values[index] for index in chosen]
            assert after.median == median_of(results, is_better_high=is_better_high)
            if None in results:
                assert after.expected is None
            else:
                assert after.expected == pytest.approx(np.mean(results))


def test_the_formula_of_order_statistics():
    """Tang et al.'s estimator: C(i - 1, k - 1) / C(K, k) of the i-th smallest of K."""
    rng = np.random.default_rng(3)
    valid = rng.normal(size=40)
    found = curve(valid, valid)
    for one in found:
        k, total = one.trials, len(valid)
        expected = sum(
            math.comb(i, k - 1) / math.comb(total, k) * value
            for i, value in enumerate(sorted(valid))
        )
        assert one.valid.expected == pytest.approx(expected)


def test_the_curve_is_what_random_draws_come_to():
    """A search of 30 of which 6 diverged, 20,000 times."""
    rng = np.random.default_rng(11)
    valid, diverged = rng.uniform(0.5, 0.9, size=24), 6
    test = valid - rng.uniform(0, 0.1, size=24)
    ranks = np.append(valid, np.full(diverged, -np.inf))
    found = curve(valid, test, diverged)
    for trials in (7, 12, 25):
        draws = rng.permuted(np.tile(np.arange(30), (20_000, 1)), axis=1)[:, :trials]
        chosen = draws[np.arange(20_000), np.argmax(ranks[draws], axis=1)]
        for mean, values in (
            (found[trials - 1].valid.expected, valid),
            (found[trials - 1].test.expected, test),
        ):
            error = values[chosen].std() / math.sqrt(20_000)
            assert abs(mean - values[chosen].mean()) < 4 * error + 1e-12


def test_all_trials_are_the_choice_that_a_sweep_makes():
    """Of equal values the smallest step size, which is the first."""
    valid, test, lrs = [0.7, 0.9, 0.9, 0.8], [0.6, 0.5, 0.8, 0.7], [0.01, 0.1, 1.0, 10.0]
    winner = best(
        [
            Candidate(cell=str(lr), setting={}, lr=lr, value=value, diverged=0, records={})
            for lr, value in zip(lrs, valid, strict=True)
        ],
        Criterion(metric="valid_accuracy", at="final"),
    )
    last = curve(valid, test)[-1]

    assert last.valid.expected == winner.value
    assert last.test.expected == test[lrs.index(winner.lr)]


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=7, unique=True),
    st.integers(0, 3),
    st.data(),
)
def test_a_diverged_setting_is_never_better_than_a_finished_one(valid, diverged, data):
    """Had one that finished diverged instead, the curve would be lower, or not there."""
    before = curve(valid, valid, diverged)
    valid.pop(data.draw(st.integers(0, len(valid) - 1)))
    after = curve(valid, valid, diverged + 1)

    for one, other in zip(before, after, strict=True):
        assert other.valid.expected is None or other.valid.expected <= one.valid.expected + 1e-9
        assert other.valid.median is None or other.valid.median <= one.valid.median
        assert other.none_finished >= one.none_finished


def test_one_that_finished_among_many_that_diverged_is_no_flat_line():
    found = curve([0.9], [0.8], diverged=3)

    assert [one.valid.expected for one in found] == [None, None, None, 0.9]
    assert [one.valid.median for one in found] == [None, 0.9, 0.9, 0.9]
    assert [one.none_finished for one in found] == pytest.approx([3 / 4, 1 / 2, 1 / 4, 0])


def test_all_diverged_choose_nothing():
    found = curve([], [], diverged=2)

    assert [one.none_finished for one in found] == [1, 1]
    assert {one.test for one in found} == {Chosen(expected=None, median=None)}


def test_no_number_is_hidden_among_the_values():
    with pytest.raises(ValueError, match="finished"):
        curve([0.5, math.nan], [0.5, 0.5])
    with pytest.raises(ValueError, match="finished"):
        curve([0.5, 0.6], [0.5])


def test_a_search_of_a_thousand_settings_is_exact():
    """One C(1000, 500) has 300 digits."""
    valid = np.arange(1000.0)
    found = tuning_curve(valid, valid, diverged=0, is_better_high=True)

    # the expected maximum of k of 0 .. K - 1 without replacement
    assert [one.valid.expected for one in found] == pytest.approx(
        [k * 1001 / (k + 1) - 1 for k in range(1, 1001)]
    )


def test_of_many_equal_settings_the_first_is_chosen():
    assert curve([0.5] * 100, range(100))[-1].test.expected == 0
