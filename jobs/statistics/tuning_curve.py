"""The tuning curve: what is chosen after k of K trials, so that budgets of tuning can be compared.

The k settings are drawn without replacement from the K that were tried, each set of k with equal
probability, and the best of them by validation is chosen. All is exact: nothing is simulated.

A diverged setting is one of the K, and is worse than each finished one. It has no value, so an
expected value is there only where each draw of k holds a finished setting (k > number of diverged
ones); the medians are there wherever more than half of the draws, or just half, hold one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jobs.statistics.interval import FloatArray

_HALF = 0.5 - 1e-9
"""A half, less the rounding of a sum of probabilities."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A value of the setting that is chosen, over all draws of k settings."""

    expected: float | None  # None: in some draws none finished
    median: float | None  # the draws in which none finished are the worst; None: it is one of them


@dataclass(frozen=True, kw_only=True)
class AfterTrials:
    """What is chosen after k trials."""

    trials: int  # k
    valid: Chosen  # its validation value
    test: Chosen  # the test value of the same setting
    none_finished: float  # probability that all k diverged, and nothing is chosen


def tuning_curve(
    valid: FloatArray, test: FloatArray, *, diverged: int, is_better_high: bool
) -> tuple[AfterTrials, ...]:
    """The expected values of the chosen setting for k = 1 .. K trials.

    The best of k is the setting of rank i, from the worst on, with probability
    C(i - 1, k - 1) / C(K, k): the estimator of Dodge et al. (2019), "Show Your Work", with draws
    without replacement, where theirs with replacement is biased (Tang et al. 2020, "Showing Your
    Work Doesn't Always Work").

    Args:
        valid: (F,), the validation value of each finished setting; of equal ones the first is
            chosen, so the settings stand in the order in which a choice prefers them.
        test: (F,), the test value of each of them.
        diverged: the number of settings that diverged; K = F + diverged.
        is_better_high: whether more is better, of both values.
    """
    if valid.shape != test.shape or not np.isfinite([valid, test]).all():
        raise ValueError("each finished setting must have a validation and a test value")
    order = np.argsort(-valid if is_better_high else valid, kind="stable")
    weights, none_finished = _chances(len(valid), diverged)
    valids, tests = (
        _chosen(one[order], weights, diverged, is_better_high=is_better_high)
        for one in (valid, test)
    )
    return tuple(
        AfterTrials(trials=k, valid=of_valid, test=of_test, none_finished=float(none))
        for k, (of_valid, of_test, none) in enumerate(
            zip(valids, tests, none_finished, strict=True), start=1
        )
    )


def _chances(finished: int, diverged: int) -> tuple[FloatArray, FloatArray]:
    """The probability after each k that a finished setting is chosen (K, F), best first; that none is (K,)."""
    total = finished + diverged
    others = np.arange(total, diverged - 1, -1)[:, None]  # that are no better than each; diverged
    drawn = np.arange(total)
    ratios = np.maximum(others - drawn, 0) / (total - drawn)
    among = np.cumprod(ratios, axis=1)  # C(others, k) / C(K, k): all k are among those
    return (among[:-1] - among[1:]).T, among[-1]


def _chosen(
    values: FloatArray, weights: FloatArray, diverged: int, *, is_better_high: bool
) -> Iterator[Chosen]:
    """The chosen value after each k, of values (F,) that are chosen with probabilities (K, F)."""
    order = np.argsort(-values if is_better_high else values)
    for k, chances in enumerate(weights, start=1):
        is_enough = np.cumsum(chances[order]) >= _HALF
        yield Chosen(
            expected=float(chances @ values) if k > diverged else None,
            median=float(values[order][np.argmax(is_enough)]) if is_enough.any() else None,
        )
