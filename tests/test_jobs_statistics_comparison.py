"""A against B: difference of means, permutation tests, probability of improvement, and all of them together."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import special, stats

from jobs.statistics.comparison import compare
from jobs.statistics.difference import Difference, paired_difference, welch_difference
from jobs.statistics.divergence import Arm, Diverged
from jobs.statistics.improvement import improvement
from jobs.statistics.interval import Interval
from jobs.statistics.permutation import DRAWS, exchange_test, sign_flip_test


def normal(n, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, n)


def arm(values, first=42):
    return Arm(tuple(range(first, first + len(values))), tuple(values))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_a_paired_difference_is_scipys(n):
    a, b = normal(n, 1, 0.5), normal(n, 2)
    found, wanted = paired_difference(a, b), stats.ttest_rel(a, b)
    low, high = wanted.confidence_interval(0.9)

    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.interval(0.9) == Interval(pytest.approx(low), pytest.approx(high), 0.9, "t")
    assert found.deviation == pytest.approx((a - b).std(ddof=1))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 8), (10, 10)])
def test_welchs_difference_is_scipys(n, m):
    a, b = normal(n, 1, 0.5), 3 * normal(m, 2)
    found, wanted = welch_difference(a, b), stats.ttest_ind(a, b, equal_var=False)
    low, high = wanted.confidence_interval(0.95)

    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.freedom == pytest.approx(wanted.df)
    near = Interval(pytest.approx(low), pytest.approx(high), 0.95, "Welch t")
    assert found.interval() == near


@pytest.mark.parametrize("bound", [-0.3, 0, 0.7])
def test_one_sided_p_values_are_scipys(bound):
    a, b = normal(8, 1), normal(8, 2)
    found = paired_difference(a, b)
    wanted = [
        stats.ttest_1samp(a - b, bound, alternative=side).pvalue for side in ("greater", "less")
    ]

    assert [found.p_above(bound), found.p_below(bound)] == pytest.approx(wanted)


def test_a_single_run_has_no_spread():
    one, more = np.array([1.0]), np.array([2.0, 3.0])

    assert paired_difference(one, one) is None
    assert welch_difference(one, more) is None
    assert welch_difference(more, one) is None


def test_runs_that_do_not_vary_are_the_limit_of_the_formula():
    same, more = np.array([0.5, 0.5, 0.5]), np.array([0.75, 0.75, 0.75])

    assert welch_difference(more, same) == Difference(0.25, 0.0, 4, 0.0, paired=False)
    assert welch_difference(more, same).p_value == 0
    assert paired_difference(same, same).p_value == 1
    assert paired_difference(same, same).p_below(0.01) == 0


@pytest.mark.parametrize("n", [2, 5, 10])
def test_sign_flips_are_scipys_permutations_within_pairs(n):
    differences = normal(n, 3, 0.4)
    found = sign_flip_test(differences)
    wanted = stats.permutation_test(
        (differences, np.zeros(n)),
        lambda a, b, axis: np.sum(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )

    assert found.p_value == pytest.approx(wanted.pvalue)
    assert (found.exact, found.arrangements) == (True, 2**n)


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (10, 2 / 1024)])
def test_if_all_pairs_agree_p_is_the_smallest_possible(n, smallest):
    found = sign_flip_test(np.abs(normal(n, 3)))

    assert found.p_value == found.smallest_p == smallest


def test_differences_that_are_equal_but_for_rounding_are_equal():
    """Two gains and a loss of .1, the loss spelled otherwise: no arrangement is less extreme."""
    differences = np.array([0.1, 0.1, 0.2 - 0.3])

    assert differences[2] != -0.1
    assert sign_flip_test(differences).p_value == 1


def test_beyond_16_pairs_p_is_drawn_from_a_fixed_stream_and_never_zero():
    differences = normal(17, 5, 0.3)
    found, far = sign_flip_test(differences), sign_flip_test(np.ones(40))
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()

    assert (found.exact, found.arrangements) == (False, DRAWS)
    assert found == sign_flip_test(differences)
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / DRAWS))
    assert far.p_value == far.smallest_p == 1 / (DRAWS + 1)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (6, 6)])
def test_exchanges_are_scipys_permutations_between_equal_arms(n, m):
    a, b = normal(n, 3, 0.8), normal(m, 4)
    found = exchange_test(a, b)
    wanted = stats.permutation_test(
        (a, b),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        vectorized=True,
        n_resamples=np.inf,
    )

    assert found.p_value == pytest.approx(wanted.pvalue)
    assert (found.exact, found.arrangements) == (True, math.comb(n + m, n))
    assert found.smallest_p == 2 / math.comb(n + m, n)


def test_exchanges_between_unequal_arms_by_hand():
    """3 against 0, 1, 2: of four deals two, 3 and 0, are as far from the mean."""
    one, three = np.array([3.0]), np.array([0.0, 1.0, 2.0])

    assert exchange_test(one, three).p_value == exchange_test(three, one).p_value == 0.5
    assert (
        exchange_test(np.array([9.0]), three).p_value
        == exchange_test(one, three).smallest_p
        == 0.25
    )


def test_many_exchanges_are_drawn_from_a_fixed_stream():
    a, b = normal(12, 6, 0.7), normal(12, 7)
    found = exchange_test(a, b)

    assert (found.exact, found.arrangements) == (False, DRAWS)
    assert found == exchange_test(a, b)
    assert found.p_value == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.01)


@pytest.mark.parametrize(("n", "m"), [(1, 3), (3, 3), (10, 7)])
def test_the_probability_of_improvement_is_mann_and_whitneys(n, m):
    a, b = normal(n, 3, 0.8).round(1), normal(m, 4).round(1)
    found = improvement(a, b)

    assert found.probability == pytest.approx(stats.mannwhitneyu(a, b).statistic / (n * m))
    assert 0 <= found.interval.low < found.probability <= found.interval.high <= 1


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_its_interval_ends_where_the_score_equals_students_quantile(level):
    """At P, the variance of Hanley and McNeil with both sizes replaced by their mean."""
    n, m = 6, 9
    found = improvement(normal(n, 3, 0.8), normal(m, 4), level)
    quantile = special.stdtrit(n + m - 2, (1 + level) / 2)
    for p in (found.interval.low, found.interval.high):
        pairs = (n + m) / 2 - 1
        first, second = p / (2 - p), 2 * p**2 / (1 + p)
        variance = p * (1 - p) + pairs * (first - p**2) + pairs * (second - p**2)
        assert (p - found.probability) ** 2 == pytest.approx(quantile**2 * variance / (n * m))


def test_if_all_runs_are_better_the_interval_is_not_a_point():
    found = improvement(np.array([4.0, 5, 6]), np.array([1.0, 2, 3]))
    mirrored = improvement(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]))

    assert (found.probability, found.interval.high) == (1, 1)
    assert 0.2 < found.interval.low < 0.5
    assert mirrored.interval.high == pytest.approx(1 - found.interval.low)
    assert improvement(np.array([2.0]), np.array([1.0])).interval is None


def test_equal_seeds_are_compared_pair_by_pair():
    a, b = normal(9, 1, 0.9), normal(9, 2)
    found = compare(arm(a), arm(b), is_better_high=True)

    assert found.paired
    assert found.difference == paired_difference(a, b)
    assert found.test == sign_flip_test(a - b)
    assert found.favours == "a"
    assert found.welch_p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.correlation == pytest.approx(stats.pearsonr(a, b).statistic)


@pytest.mark.parametrize("first", [100, 43], ids=["other seeds", "some in common"])
def test_other_seeds_are_compared_as_independent(first):
    a, b = normal(7, 1, 0.9), normal(7, 2)
    found = compare(arm(a), arm(b, first), is_better_high=True)

    assert not found.paired
    assert found.difference == welch_difference(a, b)
    assert found.test == exchange_test(a, b)
    assert found.wilcoxon_p == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    assert found.correlation is None


@pytest.mark.parametrize("digits", [8, 1], ids=["no ties", "ties and zeros"])
def test_wilcoxons_tests_are_scipys_exact_ones(digits):
    a, b = normal(9, 1, 0.6).round(digits), normal(9, 2).round(digits)
    paired = compare(arm(a), arm(b), is_better_high=True).wilcoxon_p
    independent = compare(arm(a[:6]), arm(b[:6], 100), is_better_high=True).wilcoxon_p
    signed = stats.wilcoxon((a - b).round(8), method=stats.PermutationMethod())
    exact = stats.PermutationMethod(n_resamples=np.inf)

    assert paired == pytest.approx(signed.pvalue)
    assert independent == pytest.approx(stats.mannwhitneyu(a[:6], b[:6], method=exact).pvalue)


def test_the_order_of_runs_does_not_matter():
    a, b = arm(normal(9, 1, 0.9)), arm(normal(9, 2))
    turned = Arm(a.seeds[::-1], a.outcomes[::-1])

    assert compare(turned, b, is_better_high=True) == compare(a, b, is_better_high=True)


def test_of_a_loss_the_lower_is_better():
    a, b = arm(normal(9, 1, 0.9)), arm(normal(9, 2))
    loss = compare(a, b, is_better_high=False)
    gain = compare(a, b, is_better_high=True)

    assert (loss.favours, gain.favours) == ("b", "a")
    assert loss.improvement.probability == pytest.approx(1 - gain.improvement.probability)
    assert (loss.difference, loss.test) == (gain.difference, gain.test)


def test_if_a_run_diverged_means_say_nothing_and_the_rest_is_by_rank():
    """Of ranks 1 (diverged), 2, 3 (B) and 4, 5, 6: the differences of the pairs are 2, 2, 5."""
    a, b = arm([0.7, 0.8, 0.9]), arm([0.5, 0.6, Diverged(2)])
    found = compare(a, b, is_better_high=True)

    assert (found.difference, found.welch_p, found.correlation) == (None, None, None)
    assert [one.count for one in found.diverged] == [0, 1]
    assert found.improvement.probability == 1
    assert found.test.p_value == found.wilcoxon_p == 0.25
    assert found.favours == "a"


def test_independent_runs_that_diverged_are_ranked_too():
    a, b = arm([0.7, Diverged(9), 0.9, 0.8]), arm([0.5, 0.6, Diverged(2)], 100)
    found = compare(a, b, is_better_high=True)

    assert found.improvement.probability == (3 * 3 + 1) / 12
    assert found.test == exchange_test(np.array([5.0, 2, 7, 6]), np.array([3.0, 4, 1]))


def test_one_run_each_and_equal_runs_are_no_special_case():
    single = compare(arm([0.5]), arm([0.4]), is_better_high=True)
    same = compare(arm([0.5, 0.5, 0.5]), arm([0.5, 0.5, 0.5]), is_better_high=True)

    assert (single.difference, single.improvement.interval, single.test.p_value) == (None, None, 1)
    assert (same.favours, same.test.p_value, same.welch_p, same.wilcoxon_p) == (None, 1, 1, 1)
    assert (same.correlation, same.improvement.probability) == (None, 0.5)


def test_a_comparison_is_a_plain_value():
    found = compare(arm(normal(4, 1)), arm(normal(4, 2)), is_better_high=True)

    assert dataclasses.asdict(found)["test"]["arrangements"] == 16
