"""What intervals, tests and verdicts promise holds in simulated experiments, 2,000 of each kind."""

import numpy as np
import pytest
from scipy import stats

from jobs.statistics import location
from jobs.statistics.claims import Claim, evidence
from jobs.statistics.comparison import compare
from jobs.statistics.difference import paired_difference, welch_difference
from jobs.statistics.divergence import Arm, Diverged, proportion, worst_ranks
from jobs.statistics.improvement import improvement
from jobs.statistics.location import mean_interval
from jobs.statistics.multiplicity import holm
from jobs.statistics.permutation import exchange_test, sign_flip_test
from jobs.statistics.power import (
    detection_power,
    equivalence_power,
    seeds_for_equivalence,
    seeds_to_detect,
)

EXPERIMENTS = 2_000


def drawn(n, *, skewed=False, correlation=0.0, seed=0):
    """The runs of two optimizers without an effect, shape (experiments, 2, n), mean 0 and variance 1."""
    generator = np.random.default_rng([seed, n])
    first, second = generator.standard_normal((2, EXPERIMENTS, n))
    second = correlation * first + (1 - correlation**2) ** 0.5 * second
    runs = np.stack([first, second], axis=1)
    if not skewed:
        return runs
    return (stats.gamma.ppf(stats.norm.cdf(runs), 3) - 3) / 3**0.5


def outcomes_of(dead, epochs, values):
    """The outcomes of runs: the epoch of those that are dead, else the value."""
    return tuple(
        Diverged(int(epoch)) if gone else float(value)
        for gone, epoch, value in zip(dead, epochs, values, strict=True)
    )


def share_holding(intervals, truth):
    return np.mean([one.low <= truth <= one.high for one in intervals])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_intervals_hold_the_truth_of_normal_runs(n):
    """The seed matters for both optimizers, as it did in 2019 for some: correlation .4."""
    runs = drawn(n, correlation=0.4)
    means = [mean_interval(one) for one in runs[:, 0]]
    paired = [paired_difference(a, b).interval() for a, b in runs]
    independent = [welch_difference(a, b).interval() for a, b in drawn(n, seed=1)]

    assert 0.93 <= share_holding(means, 0) <= 0.97
    assert 0.93 <= share_holding(paired, 0) <= 0.97
    assert 0.93 <= share_holding(independent, 0) <= 0.97 + 0.01 * (n == 3)  # Welch errs wide there


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_intervals_hold_the_truth_of_skewed_runs_a_little_less_often(n):
    """Gamma of shape 3, skewness 1.15. Of exponential runs, 2.0, they hold it in 88 to 90 % of 200,000 experiments."""
    runs = drawn(n, skewed=True)

    assert share_holding([mean_interval(one) for one in runs[:, 0]], 0) >= 0.91
    assert share_holding([paired_difference(a, b).interval() for a, b in runs], 0) >= 0.91


def test_wilsons_interval_holds_a_share_of_one_in_five():
    counts = np.random.default_rng(2).binomial(10, 0.2, EXPERIMENTS)
    intervals = [proportion(count, 10).interval for count in range(11)]

    assert 0.93 <= share_holding([intervals[count] for count in counts], 0.2) <= 0.98


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_of_the_probability_of_improvement_holds_it(n, shift):
    """P is .5, .76, .92; the interval is never narrow where all runs of A are better."""
    truth = stats.norm.cdf(shift / 2**0.5)
    found = [improvement(a + shift, b).interval for a, b in drawn(n)]

    assert share_holding(found, truth) >= 0.94


def test_the_bootstrap_of_ten_runs_holds_the_median_and_the_interquartile_mean(monkeypatch):
    """Both are 0 in normal runs. With all 9,999 resamples they do in 94 and 93 %."""
    monkeypatch.setattr(location, "RESAMPLES", 399)
    found = [location.locate(one) for one in drawn(10)[:, 0]]

    assert share_holding([one.median_interval for one in found], 0) >= 0.9
    assert share_holding([one.iqm_interval for one in found], 0) >= 0.9


@pytest.mark.parametrize("skewed", [False, True], ids=["normal", "skewed"])
@pytest.mark.parametrize("n", [6, 8, 10])
def test_sign_flips_reject_no_more_than_they_may(n, skewed):
    p = np.array(
        [sign_flip_test(a - b).p_value for a, b in drawn(n, skewed=skewed, correlation=0.4)]
    )

    assert 0.02 <= (p <= 0.05).mean() <= 0.055


def test_sign_flips_of_worst_ranks_reject_no_more_than_they_may():
    """Three of ten runs of either optimizer diverge, in one of five epochs."""
    generator = np.random.default_rng(4)
    lost = generator.random((EXPERIMENTS, 20)) < 0.3
    epochs = generator.integers(1, 6, lost.shape)
    p = []
    for dead, epoch, value in zip(lost, epochs, drawn(10).reshape(-1, 20), strict=True):
        ranks = worst_ranks(outcomes_of(dead, epoch, value), is_better_high=True)
        p.append(sign_flip_test(ranks[:10] - ranks[10:]).p_value)

    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.055


def test_exchanges_reject_no_more_than_they_may():
    p = np.array([exchange_test(a, b).p_value for a, b in drawn(5)])

    assert 0.03 <= (p <= 0.05).mean() <= 0.055


@pytest.mark.parametrize("n", [8, 10])
def test_a_family_of_five_is_wrong_no_more_often_than_one_comparison(n):
    """Five optimizers without an effect against one baseline: the comparisons share its runs."""
    base = drawn(n)[:, 0]
    rivals = [drawn(n, seed=seed)[:, 1] for seed in range(1, 6)]
    p = np.array(
        [[sign_flip_test(a - b).p_value for a, b in zip(one, base, strict=True)] for one in rivals]
    )
    wrong = [(holm(family) <= 0.05).any() for family in p.T]

    assert 0 < np.mean(wrong) <= 0.055
    assert (p <= 0.05).any(axis=0).mean() > 0.1  # what it would be without


@pytest.mark.parametrize("effect", [1.3, 1.1, 0.95])
def test_the_seeds_for_a_difference_give_the_power_that_was_promised(effect):
    """To the test that is declared, as well as to the t test."""
    n = seeds_to_detect(effect, paired=True)
    promised = detection_power(effect, n, paired=True)
    differences = drawn(n)[:, 0] + effect
    t = [paired_difference(one, np.zeros(n)).p_value <= 0.05 for one in differences]
    flips = [sign_flip_test(one).p_value <= 0.05 for one in differences]

    assert promised >= 0.8
    assert np.mean(t) == pytest.approx(promised, abs=0.03)
    assert np.mean(flips) == pytest.approx(promised, abs=0.03)


@pytest.mark.parametrize("effect", [2.1, 1.9])
def test_the_seeds_of_independent_arms_give_the_power_that_was_promised(effect):
    n = seeds_to_detect(effect, paired=False)
    promised = detection_power(effect, n, paired=False)
    found = [exchange_test(a + effect, b).p_value <= 0.05 for a, b in drawn(n)]

    assert promised >= 0.8
    assert np.mean(found) == pytest.approx(promised, abs=0.03)


@pytest.mark.parametrize(("margin", "paired"), [(1.0, True), (1.2, False)])
def test_the_seeds_for_equivalence_give_the_power_that_was_promised(margin, paired):
    n = seeds_for_equivalence(margin, paired=paired)
    promised = equivalence_power(margin, n, paired=paired)
    scale = 0.5**0.5 if paired else 1  # so that the margin is in units of what spreads
    shown = []
    for a, b in drawn(n) * scale:
        found = (paired_difference if paired else welch_difference)(a, b)
        shown.append(max(found.p_above(-margin), found.p_below(margin)) <= 0.05)

    assert promised >= 0.8
    assert np.mean(shown) == pytest.approx(promised, abs=0.03)


def test_survivors_never_win_against_those_who_finish():
    """30 % of all runs diverge: most of A's, few of B's; A's survivors are better by two deviations."""
    generator = np.random.default_rng(9)
    seeds = tuple(range(10))
    lost = generator.random((EXPERIMENTS, 2, 10)) < np.array([0.55, 0.05])[:, None]
    epochs = generator.integers(1, 20, lost.shape)
    values = drawn(10) + np.array([2.0, 0.0])[:, None]
    judged, tempting = 0, 0
    for dead, epoch, value in zip(lost, epochs, values, strict=True):
        if dead[0].sum() <= 5 or dead[1].sum() > 1:  # most of A's died, and hardly any of B's
            continue
        a, b = (Arm(seeds, outcomes_of(*one)) for one in zip(dead, epoch, value, strict=True))
        found = compare(a, b, is_better_high=True)
        judged += 1
        tempting += bool(a.values.size and a.values.mean() > b.values.mean())
        assert found.difference is None
        assert found.improvement.probability < 0.5
        assert found.favours == "b"
        assert evidence(Claim.NONINFERIOR, found, 1.0).p_value == 1

    assert judged > 500
    assert tempting > 0.95 * judged
