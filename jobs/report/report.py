"""A report has results, a question and its answers, and what a page needs to lead from them to files and commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from jobs.report.content import Chart, Check, Methods
from jobs.report.review import Review
from jobs.results.comparisons import Answer
from jobs.results.question import Question
from jobs.results.selection import Mode
from jobs.results.study import Results


@dataclass(frozen=True, kw_only=True)
class RunText:
    """A text about any run, such as a command, has the run's id in it, once."""

    before: str
    after: str

    @classmethod
    def around(cls, text: str, run: str) -> Self:
        """The text around the last place where the run's id is."""
        before, _, after = text.rpartition(run)
        return cls(before=before, after=after)

    def to_json(self) -> list[str]:
        """The texts that the page puts an id between."""
        return [self.before, self.after]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of runs is a sweep: where their records lie, what to type about them, and the spec."""

    sweep: str
    record: RunText  # a relative URL
    why: RunText  # the command that explains a run
    send: RunText  # the command that sends a run that has no record
    redo: RunText  # the command that runs it again
    sources: Mapping[str, str]  # the spec's files: name -> text

    def to_json(self) -> dict[str, list[str]]:
        """What the page says of a run of this sweep."""
        texts = {"record": self.record, "why": self.why, "send": self.send, "redo": self.redo}
        return {name: text.to_json() for name, text in texts.items()}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is on the page."""

    results: Results
    question: Question
    mode: Mode  # by which settings were selected
    answers: Sequence[Answer]
    why_not_compared: str | None  # None: something was compared
    origins: Sequence[Origin]  # one for each sweep
    logs: Mapping[str, Sequence[str]]  # the last lines, by the ids of runs that failed
    checks: Sequence[Check]
    charts: Sequence[Chart]
    methods: Methods

    @cached_property
    def review(self) -> Review:
        """The results and comparisons, with what was found of them."""
        return Review(results=self.results, answers=self.answers)
