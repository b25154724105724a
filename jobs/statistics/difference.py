"""The difference of two means, over pairs of runs of one seed or between independent runs."""

from dataclasses import dataclass

import scipy

from jobs.statistics.interval import LEVEL, FloatArray, Interval, t_interval


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of A less that of B, in the units of the metric, and what a t interval needs.

    `deviation` is the standard deviation of the differences if paired; else the root mean square of those
    of both arms. `error` is the standard error, `freedom` its degrees of freedom.
    """

    estimate: float
    error: float
    freedom: float
    deviation: float
    paired: bool

    def interval(self, level: float = LEVEL) -> Interval:
        """Student's t interval over pairs, or Welch's."""
        return t_interval(
            self.estimate, self.error, self.freedom, level, "t" if self.paired else "Welch t"
        )

    def p_above(self, bound: float = 0) -> float:
        """The one-sided p value against "the true difference is `bound` or less"."""
        return self._upper_tail(self.estimate - bound)

    def p_below(self, bound: float = 0) -> float:
        """The one-sided p value against "the true difference is `bound` or more"."""
        return self._upper_tail(bound - self.estimate)

    @property
    def p_value(self) -> float:
        """The two-sided p value of the t test against "no difference"."""
        return min(1.0, 2 * min(self.p_above(), self.p_below()))

    def _upper_tail(self, excess: float) -> float:
        if self.error == 0:  # runs that do not vary at all: the limit of the formula
            return 0.0 if excess > 0 else 1.0
        return float(scipy.special.stdtr(self.freedom, -excess / self.error))


def paired_difference(a: FloatArray, b: FloatArray) -> Difference | None:
    """The values of two arms, shape (n,) each, in one order of seeds (Student 1908); none for one pair."""
    n = len(a)
    if n == 1:
        return None
    differences = a - b
    deviation = float(differences.std(ddof=1))
    return Difference(float(differences.mean()), deviation / n**0.5, n - 1, deviation, paired=True)


def welch_difference(a: FloatArray, b: FloatArray) -> Difference | None:
    """The values of two arms, shapes (n,) and (m,), as independent (Welch 1947); none for a single run.

    With v = s^2 / n of each arm, the degrees of freedom are those of Satterthwaite (1946),
    (v_a + v_b)^2 / (v_a^2 / (n - 1) + v_b^2 / (m - 1)).
    """
    if min(len(a), len(b)) == 1:
        return None
    deviations = float(a.var(ddof=1)), float(b.var(ddof=1))
    parts = deviations[0] / len(a), deviations[1] / len(b)
    total = sum(parts)
    weights = parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1)
    return Difference(
        estimate=float(a.mean() - b.mean()),
        error=total**0.5,
        freedom=total**2 / weights if weights else len(a) + len(b) - 2,
        deviation=(sum(deviations) / 2) ** 0.5,
        paired=False,
    )
