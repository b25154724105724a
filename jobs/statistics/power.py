"""How many seeds per arm a claim needs, by the noncentral t distribution."""

from collections.abc import Callable

import numpy as np
import scipy

from jobs.statistics.interval import FloatArray
from jobs.statistics.multiplicity import ALPHA
from jobs.statistics.permutation import smallest_exchange_p, smallest_sign_flip_p

POWER = 0.8
SEEDS_MAX = 10_000
"""More seeds than these nobody runs: the answer is None."""

_NODES = 100  # errs by less than 1e-5 over 1 to 1,000 degrees of freedom

_STEPS_OF_P = 6
"""The declared test needs so many of its smallest p below alpha to have the power of t.

Measured at alpha = .05, power .8: sign flips lose 17 points at 6 pairs, 4 at 7, 1 to 2 at 8 to 10;
exchanges lose 15 at 4 runs per arm, 1 at 5. At alpha = .0025 to .01, 1 to 4 points remain lost.
"""


def detection_power(effect: float, seeds: int, *, paired: bool, alpha: float = ALPHA) -> float:
    """The two-sided t test finds a true difference with this probability: P(|T| > t), T noncentral.

    Args:
        effect: The difference over the standard deviation: of the differences of pairs if `paired`, else of
            the runs of an arm.
        seeds: Per arm, at least 2.
        paired: Runs of both arms share their seeds.
        alpha: The level of the test.
    """
    freedom, root = _design(seeds, paired=paired)
    bound = scipy.special.stdtrit(freedom, 1 - alpha / 2)
    shift = effect * root

    def beyond(scale: FloatArray) -> FloatArray:
        found: FloatArray = scipy.special.ndtr(shift - bound * scale) + scipy.special.ndtr(
            -shift - bound * scale
        )
        return found

    return _over_scales(beyond, freedom)


def equivalence_power(margin: float, seeds: int, *, paired: bool, alpha: float = ALPHA) -> float:
    """Two one-sided t tests (Schuirmann 1987) show so often that equal optimizers are equivalent.

    Args:
        margin: Over the standard deviation, as the effect of `detection_power`.
        seeds: Per arm, at least 2.
        paired: Runs of both arms share their seeds.
        alpha: The level of each of the two tests.
    """
    freedom, root = _design(seeds, paired=paired)
    bound = scipy.special.stdtrit(freedom, 1 - alpha)

    def within(scale: FloatArray) -> FloatArray:
        both: FloatArray = 2 * scipy.special.ndtr(margin * root - bound * scale) - 1
        return np.maximum(0, both)

    return _over_scales(within, freedom)


def seeds_to_detect(
    effect: float, *, paired: bool, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """The fewest seeds per arm with which a difference is found with that power.

    With an `effect` of the margin they are also the seeds to show that A is not inferior by it, if both
    are equal. No fewer than the declared test needs to keep what the t test promises.

    Returns:
        None if it takes more than `SEEDS_MAX`.
    """

    def enough(seeds: int) -> bool:
        smallest = smallest_sign_flip_p(seeds) if paired else smallest_exchange_p(seeds, seeds)
        resolved = _STEPS_OF_P * smallest <= alpha
        return resolved and detection_power(effect, seeds, paired=paired, alpha=alpha) >= power

    return _fewest(enough)


def seeds_for_equivalence(
    margin: float, *, paired: bool, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """The fewest seeds per arm with which equal optimizers are shown to be equivalent with that power."""

    def enough(seeds: int) -> bool:
        return equivalence_power(margin, seeds, paired=paired, alpha=alpha) >= power

    return _fewest(enough)


def _design(seeds: int, *, paired: bool) -> tuple[int, float]:
    """The degrees of freedom, and what turns an effect into the noncentrality."""
    return (seeds - 1, seeds**0.5) if paired else (2 * seeds - 2, (seeds / 2) ** 0.5)


def _over_scales(probability: Callable[[FloatArray], FloatArray], freedom: int) -> float:
    """The mean of a probability over the estimated standard deviation, in units of the true one.

    A noncentral t is (z + shift) / scale, with freedom * scale^2 of a chi-squared distribution: what is known
    given the scale is integrated over its quantiles. (scipy's `nctdtr` is nan for some large shifts.)
    """

    def at(share: FloatArray) -> FloatArray:
        return probability(np.sqrt(scipy.special.chdtri(freedom, share) / freedom))

    return float(scipy.integrate.fixed_quad(at, 0, 1, n=_NODES)[0])


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Power grows with the seeds, so that halving finds the fewest."""
    if not enough(SEEDS_MAX):
        return None
    low, high = 1, SEEDS_MAX
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
