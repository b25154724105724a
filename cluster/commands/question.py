"""A request is a question about optimizers as it is typed, for `compare` and `report`."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.results.question import Question, Value
from jobs.results.selection import Mode
from jobs.statistics.claims import Claim


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    baseline: str | None
    optimizers: Sequence[str]
    problems: Sequence[str]
    metric: str | None
    value: Value
    select: Mode
    claim: str
    margin: float | None

    def question(self) -> Question:
        """The part of the request that is asked of the results.

        Raises:
            InputError: the question is not whole.
        """
        return Question(
            baseline=self.baseline,
            optimizers=tuple(dict.fromkeys(self.optimizers)),
            problems=tuple(dict.fromkeys(self.problems)),
            metric=self.metric,
            value=self.value,
            claim=Claim(self.claim),
            margin=self.margin,
        )
