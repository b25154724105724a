"""Permutation tests: what a difference is worth if the names of the optimizers meant nothing."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from jobs.statistics.interval import FloatArray
from jobs.streams import stream

PAIRS_ENUMERATED_MAX = 16
ARRANGEMENTS_ENUMERATED_MAX = 2**PAIRS_ENUMERATED_MAX
DRAWS = 100_000
_DRAWS_PER_BLOCK = 10_000
_ROUNDING = 1e-9  # of the sum of magnitudes: what differs by less counts as equal


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """The p value of a two-sided test, and the smallest that so many runs could have given.

    `arrangements` is how many were looked at: all that there are if `exact`, else draws of a fixed stream.
    """

    p_value: float
    smallest_p: float
    arrangements: int
    exact: bool


def sign_flip_test(differences: FloatArray) -> PermutationTest:
    """Differences of pairs, shape (n,), are tested by giving each the other sign (Fisher 1935, section 21).

    It is exact if, without an effect, the two runs of a pair could as well bear each other's names. The
    statistic is the magnitude of the sum. All 2^n arrangements count up to `PAIRS_ENUMERATED_MAX` pairs.
    """
    n = len(differences)
    smallest = smallest_sign_flip_p(n)
    if n <= PAIRS_ENUMERATED_MAX:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return _exact(np.abs(_signed(flips, differences)), _bound(differences), smallest)
    generator = stream(0, "sign flips")
    extreme = 0
    for _ in range(DRAWS // _DRAWS_PER_BLOCK):
        flips = generator.integers(0, 2, (_DRAWS_PER_BLOCK, n))
        extreme += _count(np.abs(_signed(flips, differences)), _bound(differences))
    return _drawn(extreme, smallest)


def exchange_test(a: FloatArray, b: FloatArray) -> PermutationTest:
    """Values of independent runs, shapes (n,) and (m,), are tested by dealing them out anew (Pitman 1937).

    It is exact if, without an effect, both arms have one distribution. The statistic is the magnitude of the
    difference of means. All arrangements count where there are no more than `ARRANGEMENTS_ENUMERATED_MAX`.
    """
    pooled = np.concatenate([a, b])
    pooled = pooled - pooled.mean()  # so that a sum over one arm says what the other's is
    taken = min(len(a), len(b))
    observed = pooled[: len(a)] if len(a) == taken else pooled[len(a) :]
    bound = abs(observed.sum()) - _ROUNDING * np.abs(pooled).sum()
    arrangements = math.comb(len(pooled), taken)
    smallest = smallest_exchange_p(len(a), len(b))
    if arrangements <= ARRANGEMENTS_ENUMERATED_MAX:
        chosen = np.array(list(itertools.combinations(range(len(pooled)), taken)))
        return _exact(np.abs(pooled[chosen].sum(axis=1)), bound, smallest)
    generator = stream(0, "exchanges")
    extreme = 0
    for _ in range(DRAWS // _DRAWS_PER_BLOCK):
        dealt = generator.permuted(np.tile(pooled, (_DRAWS_PER_BLOCK, 1)), axis=1)[:, :taken]
        extreme += _count(np.abs(dealt.sum(axis=1)), bound)
    return _drawn(extreme, smallest)


def smallest_sign_flip_p(pairs: int) -> float:
    """The smallest p value of n pairs is 2 / 2^n: all differences have one sign, or all the other."""
    return 2.0 ** (1 - pairs)


def smallest_exchange_p(n: int, m: int) -> float:
    """The smallest p value of independent runs: one arrangement of all, or two if the arms are equal."""
    return (2 if n == m else 1) / math.comb(n + m, n)


def _signed(flips: np.ndarray, differences: FloatArray) -> FloatArray:
    sums: FloatArray = (1.0 - 2.0 * flips) @ differences
    return sums


def _bound(differences: FloatArray) -> float:
    return float(abs(differences.sum()) - _ROUNDING * np.abs(differences).sum())


def _count(statistics: FloatArray, bound: float) -> int:
    return int(np.count_nonzero(statistics >= bound))


def _exact(statistics: FloatArray, bound: float, smallest: float) -> PermutationTest:
    count = len(statistics)
    return PermutationTest(_count(statistics, bound) / count, smallest, count, exact=True)


def _drawn(extreme: int, smallest: float) -> PermutationTest:
    """The observed arrangement counts as one more draw (Phipson & Smyth 2010): p is never 0."""
    p = (extreme + 1) / (DRAWS + 1)
    return PermutationTest(p, max(smallest, 1 / (DRAWS + 1)), DRAWS, exact=False)
