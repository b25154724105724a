"""A report has results, a question and its answers, and what a page needs to lead from them to files and commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from jobs.report.content import Chart, Check, Methods
from jobs.results import findings
from jobs.results.comparisons import Answer
from jobs.results.finding import Finding
from jobs.results.question import Question
from jobs.results.selection import Mode, Selection
from jobs.results.study import Results


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """A text about a run, such as a command, has the run's id in it, once."""

    before: str
    after: str

    @classmethod
    def around(cls, text: str, run: str) -> Self:
        """The text around the last place where the run's id is."""
        before, _, after = text.rpartition(run)
        return cls(before=before, after=after)

    def to_json(self) -> list[str]:
        """What the page puts an id between."""
        return [self.before, self.after]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of runs is a sweep: where their records lie, what to type about them, and the spec."""

    sweep: str
    record: OfRun  # a relative URL
    why: OfRun  # the command that explains a run
    send: OfRun  # the command that sends a run that has no record
    redo: OfRun  # the command that runs it again
    sources: Mapping[str, str]  # the spec's files: name -> text


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is on the page."""

    results: Results
    question: Question
    mode: Mode  # by which settings were selected
    selections: Sequence[Selection]
    found: Sequence[Answer]
    nothing: str | None  # why nothing was compared; None: something was
    origins: Sequence[Origin]  # one for each sweep
    logs: Mapping[str, Sequence[str]]  # the last lines, by the ids of runs that failed
    checks: Sequence[Check]
    charts: Sequence[Chart]
    methods: Methods

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say of the folders, and of all results."""
        found = findings.of(self.results.cells, self.selections)
        return tuple(dict.fromkeys([*self.results.on_files, *found]))

    @cached_property
    def findings_of_pairs(self) -> tuple[Finding, ...]:
        """What there is to say of single comparisons, besides."""
        found = dict.fromkeys(one for answer in self.found for one in answer.findings)
        return tuple(one for one in found if one not in self.findings)
