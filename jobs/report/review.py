"""A review looks at results and at what was compared of them, and judges what was found of both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jobs.report.content import Check, Level
from jobs.results.comparisons import Answer
from jobs.results.finding import Finding
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.text import printable

_TEXTS_MAX = 2  # of more findings that answer one question, the first ones are quoted


@dataclass(frozen=True, kw_only=True)
class Review:
    """A review has the results, and the comparisons that were made of them."""

    results: Results
    answers: Sequence[Answer]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found of the folders, and of all results."""
        return tuple(dict.fromkeys(self.results.findings))

    @cached_property
    def findings_of_pairs(self) -> tuple[Finding, ...]:
        """What was found of single comparisons, besides."""
        found = dict.fromkeys(one for answer in self.answers for one in answer.findings)
        return tuple(one for one in found if one not in self.findings)

    @cached_property
    def selected(self) -> Sequence[Selection]:
        """The settings that stand for their optimizers; of what is tuned, once it is chosen."""
        return [one for one in self.results.selections if one.cell is not None]

    def about(self, *codes: str) -> tuple[Finding, ...]:
        """The findings of these codes: of all results, or where there is none, of single comparisons."""
        known = {one.code for one in self.findings}
        more = (one for one in self.findings_of_pairs if one.code not in known)
        return tuple(one for one in (*self.findings, *more) if one.code in codes)

    def judge(self, question: str, levels: Mapping[str, Level], otherwise: str) -> Check:
        """The worst of the findings of these codes is the answer, or `otherwise` that there is none.

        What forbids a comparison, but of runs that are in no comparison, is less bad.
        """
        found = self.about(*levels)
        if not found:
            return Check(question=question, level=Level.GOOD, answer=printable(otherwise))
        return Check(
            question=question,
            level=worst(self._level(one, levels[one.code]) for one in found),
            answer=quoted(found),
            runs=runs_of(found),
        )

    def _level(self, finding: Finding, level: Level) -> Level:
        compared = {one.code for answer in self.answers for one in answer.findings}
        is_elsewhere = bool(self.answers) and finding.forbids and finding.code not in compared
        return Level.CAUTION if is_elsewhere and level is Level.BAD else level


def worst(levels: Iterable[Level]) -> Level:
    """The worst of levels; of none it is good."""
    return max(levels, key=list(Level).index, default=Level.GOOD)


def quoted(found: Sequence[Finding]) -> str:
    """The first findings on one line, and how many more there are."""
    texts = [one.text for one in found]
    more = len(texts) - _TEXTS_MAX
    rest = [f"and {more} more"] if more > 0 else []
    return printable("; ".join(texts[:_TEXTS_MAX] + rest))


def runs_of(found: Iterable[Finding]) -> tuple[str, ...]:
    """The ids of the runs that the findings are about, each once."""
    return tuple(dict.fromkeys(run for one in found for run in one.runs))
