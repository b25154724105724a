"""Many comparisons at once: adjusted p values, and what so many seeds can show at all."""

import math
from dataclasses import dataclass

import numpy as np

from jobs.statistics.interval import FloatArray
from jobs.statistics.permutation import smallest_sign_flip_p

ALPHA = 0.05
_COUNTED_PAIRS_MAX = 50  # more can show more comparisons than anybody makes


def holm(p: FloatArray) -> FloatArray:
    """The p values of a family, shape (m,), are adjusted by Holm (1979), in their order.

    Each is the smallest level at which Holm's step-down procedure rejects its hypothesis; with them, the
    probability of one or more false rejections in the family is at most that level.
    """
    m = len(p)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


@dataclass(frozen=True, slots=True)
class Resolution:
    """What sign flips of n pairs can show in a family of m comparisons.

    Attributes:
        smallest_p: The smallest p of one comparison, 2 / 2^n.
        smallest_adjusted_p: The smallest that Holm makes of it, 2 m / 2^n, at most 1.
        comparisons_max: The most comparisons in whose family one can be shown, counted up to 50 pairs.
        pairs_needed: The fewest pairs with which one of m can be shown.
    """

    smallest_p: float
    smallest_adjusted_p: float
    comparisons_max: int
    pairs_needed: int


def resolution(pairs: int, comparisons: int, alpha: float = ALPHA) -> Resolution:
    """A family of comparisons over so many pairs of seeds can be resolved if 2 m / 2^n <= alpha."""
    smallest = smallest_sign_flip_p(pairs)
    return Resolution(
        smallest_p=smallest,
        smallest_adjusted_p=min(1.0, comparisons * smallest),
        comparisons_max=math.floor(alpha * 2 ** (min(pairs, _COUNTED_PAIRS_MAX) - 1)),
        pairs_needed=math.ceil(1 + math.log2(comparisons / alpha)),
    )
