"""One optimizer against another on one problem: how much better, how sure, by one declared test.

The declared test is the permutation test; Welch's and Wilcoxon's stand beside it and are never chosen
afterwards. If any run of either diverged, means say nothing: there is no difference of means, and
the test and the probability of improvement look at worst ranks among the runs of both.
"""

from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import numpy as np
import scipy

from jobs.statistics.difference import Difference, paired_difference, welch_difference
from jobs.statistics.divergence import Arm, Proportion, proportion, worst_ranks
from jobs.statistics.improvement import Improvement, improvement
from jobs.statistics.interval import LEVEL, FloatArray
from jobs.statistics.permutation import PermutationTest, exchange_test, sign_flip_test

CORRELATION_PAIRS_MIN = 3  # two points always lie on a line


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the runs of A and B say of each other.

    Attributes:
        n: The runs of A and of B.
        diverged: The share of those of A and of B that diverged.
        is_better_high: The direction of the metric.
        paired: Both have the same seeds.
        difference: Of means, A less B; None if a run diverged, or an arm has one run.
        improvement: The probability that a run of A is better than one of B.
        test: The declared one: of sign flips if paired, else of exchanges; of worst ranks if a run diverged.
        favours: The arm that the statistic of the test is better for; None if it is 0.
        welch_p: Two-sided; None where there is no difference of means.
        wilcoxon_p: Two-sided: of signed ranks if paired, else of rank sums.
        correlation: Pearson's over seeds; None unless paired with at least 3 finished pairs that vary.
    """

    n: tuple[int, int]
    diverged: tuple[Proportion, Proportion]
    is_better_high: bool
    paired: bool
    difference: Difference | None
    improvement: Improvement
    test: PermutationTest
    favours: Literal["a", "b"] | None
    welch_p: float | None
    wilcoxon_p: float
    correlation: float | None


def compare(a: Arm, b: Arm, *, is_better_high: bool, level: float = LEVEL) -> Comparison:
    """Two arms are compared on one problem; the order of their runs does not matter.

    Args:
        a: The runs of A; all that were planned and were not lost.
        b: The runs of B. With the same seeds as A's, runs are compared pair by pair.
        is_better_high: The direction of the metric.
        level: Of all intervals.
    """
    a, b = _by_seed(a), _by_seed(b)
    paired = a.seeds == b.seeds
    ranks = worst_ranks(a.outcomes + b.outcomes, is_better_high=is_better_high)
    rank_a, rank_b = ranks[: len(a.seeds)], ranks[len(a.seeds) :]
    finished = not (a.diverged or b.diverged)
    sign = 1 if is_better_high else -1
    score_a, score_b = (sign * a.values, sign * b.values) if finished else (rank_a, rank_b)
    welch = welch_difference(a.values, b.values) if finished else None
    lead = float(score_a.mean() - score_b.mean())
    return Comparison(
        n=(len(a.seeds), len(b.seeds)),
        diverged=(
            proportion(a.diverged, len(a.seeds), level),
            proportion(b.diverged, len(b.seeds), level),
        ),
        is_better_high=is_better_high,
        paired=paired,
        difference=paired_difference(a.values, b.values) if finished and paired else welch,
        improvement=improvement(rank_a, rank_b, level),
        test=sign_flip_test(score_a - score_b) if paired else exchange_test(score_a, score_b),
        favours=("a" if lead > 0 else "b") if lead else None,
        welch_p=welch.p_value if welch else None,
        wilcoxon_p=_wilcoxon(score_a, score_b, paired=paired),
        correlation=correlation(a.values, b.values) if finished and paired else None,
    )


def correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Pearson's correlation of pairs; None of fewer than `CORRELATION_PAIRS_MIN`, or if all are equal."""
    if len(a) < CORRELATION_PAIRS_MIN or not (np.ptp(a) and np.ptp(b)):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _by_seed(arm: Arm) -> Arm:
    seeds, outcomes = zip(
        *sorted(zip(arm.seeds, arm.outcomes, strict=True), key=itemgetter(0)), strict=True
    )
    return Arm(seeds, outcomes)


def _wilcoxon(a: FloatArray, b: FloatArray, *, paired: bool) -> float:
    """Wilcoxon's tests (1945), exact with ties, too: permutations of signed ranks, or of ranks.

    Pairs without a difference are left out, as he did.
    """
    if not paired:
        ranks = scipy.stats.rankdata(np.concatenate([a, b]))
        return exchange_test(ranks[: len(a)], ranks[len(a) :]).p_value
    differences = (a - b)[a != b]
    if not len(differences):
        return 1.0
    sizes = np.abs(differences)
    rounded = np.round(sizes / sizes.max(), 9)  # equal but for rounding is equal
    ranks = scipy.stats.rankdata(rounded)
    return sign_flip_test(ranks * np.sign(differences)).p_value
