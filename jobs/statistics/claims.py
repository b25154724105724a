"""What may be said of two optimizers: a claim that was declared before, or that nothing is decided."""

from dataclasses import dataclass
from enum import StrEnum

from jobs.statistics import power
from jobs.statistics.comparison import Comparison
from jobs.statistics.multiplicity import ALPHA


class Claim(StrEnum):
    """A claim about A and B says what is to be shown; the last one, that it was not."""

    SUPERIOR = "superior"
    EQUIVALENT = "equivalent"
    NONINFERIOR = "noninferior"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A comparison's p value for a claim, which a family may yet adjust.

    Attributes:
        claim: What is to be shown.
        p_value: Against alpha; 1 where nothing could be shown.
        obstacle: Why nothing could, in words; None if something could.
    """

    claim: Claim
    p_value: float
    obstacle: str | None = None

    def verdict(self, p_adjusted: float, alpha: float = ALPHA) -> Claim:
        """The claim if the p value, adjusted for the family it is of, is at most alpha; else undecided."""
        shown = self.obstacle is None and p_adjusted <= alpha
        return self.claim if shown else Claim.UNDECIDED


def evidence(claim: Claim, comparison: Comparison, margin: float | None = None) -> Evidence:
    """A comparison speaks for a claim with this p value.

    - `superior`: one of both is better, `Comparison.favours` says which: the declared test, two-sided.
    - `equivalent`: the means differ by less than the margin: two one-sided t tests (Schuirmann 1987), the
      larger p; at most .05 where the 90 % interval lies within the margins.
    - `noninferior`: A is worse by less than the margin: a one-sided t test at half of alpha (ICH E9, 1998,
      section 5.5), hence twice its p; at most .05 where the 95 % interval lies on the right side of the margin.

    Args:
        claim: Declared before the runs were looked at.
        comparison: Of A with B.
        margin: In the units of the metric, above 0; only `superior` needs none.

    Raises:
        ValueError: The claim needs a margin that is above 0, or is none that can be declared.
    """
    if claim is Claim.UNDECIDED:
        raise ValueError("nobody sets out to show that nothing is decided")
    if claim is Claim.SUPERIOR:
        return Evidence(claim, comparison.test.p_value)
    if margin is None or margin <= 0:
        raise ValueError(f"{claim} needs a margin above 0")
    if any(one.count for one in comparison.diverged):
        return Evidence(claim, 1.0, "a run diverged, so that means cannot be compared")
    difference = comparison.difference
    if difference is None:
        return Evidence(claim, 1.0, "one run of an arm says nothing of its spread")
    if claim is Claim.EQUIVALENT:
        return Evidence(claim, max(difference.p_above(-margin), difference.p_below(margin)))
    above = comparison.is_better_high
    worse = difference.p_above(-margin) if above else difference.p_below(margin)
    return Evidence(claim, min(1.0, 2 * worse))


@dataclass(frozen=True, slots=True)
class SeedsNeeded:
    """The seeds per arm that would give a power of 80 %; None: too many, or nothing to go by.

    Attributes:
        observed: To find a difference as large as the observed one, if that is the true one.
        margin: For the claim, at the margin: to find a difference as large (`superior`), or to show that
            equal optimizers are equivalent or not inferior.
    """

    observed: int | None
    margin: int | None


def seeds_needed(
    claim: Claim, comparison: Comparison, margin: float | None = None, alpha: float = ALPHA
) -> SeedsNeeded:
    """A new experiment with the spread of this one would need so many seeds.

    Args:
        claim: What is to be shown.
        comparison: With the spread, and whether seeds are shared.
        margin: In the units of the metric; None if none was declared.
        alpha: What one comparison of the family has: the family's level over its size is the safe choice.
    """
    difference = comparison.difference
    if difference is None or difference.deviation == 0:
        return SeedsNeeded(None, None)
    paired, deviation = difference.paired, difference.deviation
    wanted = power.seeds_for_equivalence if claim is Claim.EQUIVALENT else power.seeds_to_detect
    return SeedsNeeded(
        observed=power.seeds_to_detect(difference.estimate / deviation, paired=paired, alpha=alpha),
        margin=None if margin is None else wanted(margin / deviation, paired=paired, alpha=alpha),
    )
