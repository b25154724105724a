"""A verdict is what a comparison shows, in words and numbers, with a link to its runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.report.content import Level
from jobs.report.report import Report
from jobs.report.run_groups import RunGroups
from jobs.report.table_json import Column
from jobs.results.comparisons import Answer
from jobs.results.selection import Selection
from jobs.results.sentence import difference_text, headline, p_text, sentence, why_no_difference
from jobs.statistics.claims import Claim
from jobs.statistics.multiplicity import ALPHA


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A comparison as the page shows it: the sentence, and its numbers one by one."""

    headline: str
    rest: str  # of the sentence
    level: Level
    problem: str
    metric: str  # `final test accuracy`
    optimizer: str
    setting: str
    baseline: str
    baseline_setting: str
    n: str
    runs: str  # link; empty: no runs were compared
    difference: str
    chance: str
    p: str
    p_adjusted: str
    shown: str  # of A: `better`, `worse`, `equivalent`
    standing: str  # `shown`, `undecided`, `may not be claimed`, `not compared`


def verdicts(report: Report, groups: RunGroups) -> tuple[Verdict, ...]:
    """Say what each comparison shows."""
    return tuple(_verdict(one, report, groups) for one in report.answers)


def _verdict(one: Answer, report: Report, groups: RunGroups) -> Verdict:
    first, made = headline(one, report.question), one.compared
    numbers = {"n": "", "runs": "", "difference": "", "chance": "", "p": "", "p_adjusted": ""}
    if made is not None:
        n, m = made.comparison.n
        runs = [run.planned.run.id for cell in made.runs for run in cell.results]
        title = f"{one.a.optimizer} and {one.b.optimizer} on {one.problem}"
        text = difference_text(made.comparison).replace("95 % CI ", "")
        numbers = {
            "n": str(n) if n == m else f"{n}, {m}",
            "runs": groups.address(title, runs),
            "difference": text or why_no_difference(made.comparison),
            "chance": f"{made.comparison.improvement.probability:.2f}",
            "p": p_text(made.evidence.p_value).removeprefix("= "),
            "p_adjusted": p_text(made.p_adjusted).removeprefix("= "),
        }
    return Verdict(
        headline=first,
        rest=sentence(one, report.question).removeprefix(first).removeprefix(": "),
        level=_level(one),
        problem=one.problem,
        metric=f"{one.value} {one.metric}".replace("_", " ") if made else "",
        optimizer=one.a.optimizer,
        setting=_setting(one.a),
        baseline=one.b.optimizer,
        baseline_setting=_setting(one.b),
        shown=_shown(one),
        standing=_standing(one),
        **numbers,
    )


def _level(one: Answer) -> Level:
    if one.compared is None or one.forbidden:
        return Level.BAD
    return Level.CAUTION if one.claim is Claim.UNDECIDED else Level.GOOD


def _shown(one: Answer) -> str:
    if one.claim is Claim.SUPERIOR:
        return "better" if one.winner is one.a else "worse"
    return "not compared" if one.compared is None else one.claim.value


def _standing(one: Answer) -> str:
    if one.compared is None:
        return "not compared"
    if one.forbidden:
        return "may not be claimed"
    return "undecided" if one.claim is Claim.UNDECIDED else "shown"


def _setting(one: Selection) -> str:
    if one.cell is None:
        return ""
    tried = f" (of {one.settings})" if one.settings > 1 else ""
    return f"{one.cell.setting}{tried}".strip()


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The verdicts at a glance: a row per optimizer, a column per problem."""

    problems: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Verdict | None, ...]], ...]


def matrix(found: tuple[Verdict, ...]) -> Matrix:
    """Arrange the verdicts; None: an optimizer is not compared on a problem."""
    problems = tuple(dict.fromkeys(one.problem for one in found))
    by_names = {(one.optimizer, one.problem): one for one in found}
    optimizers = dict.fromkeys(one.optimizer for one in found)
    return Matrix(
        problems=problems,
        rows=tuple(
            (name, tuple(by_names.get((name, problem)) for problem in problems))
            for name in optimizers
        ),
    )


def declaration(report: Report) -> Iterator[tuple[str, str]]:
    """What was declared: names and values."""
    question, found = report.question, report.answers
    wanted = {
        Claim.SUPERIOR: "which of two is better",
        Claim.EQUIVALENT: f"that two differ by less than {question.margin}",
        Claim.NONINFERIOR: f"that none is worse than the baseline by {question.margin} or more",
    }
    bases = dict.fromkeys(one.b.optimizer for one in found)
    yield "to be shown", wanted[question.claim]
    yield "baseline", ", ".join(bases) or (question.baseline or "none")
    yield "optimizers", ", ".join(question.optimizers) or "all"
    yield "problems", ", ".join(question.problems) or "all"
    metrics = dict.fromkeys(one.metric for one in found if one.compared)
    names = [*metrics] or [question.metric or "test metric"]
    yield "by", f"{question.value} {' and '.join(names)}".replace("_", " ")
    yield "settings", f"selected by their {report.mode} validation metric"
    number = len(found)
    family = f"{number} comparisons, one family" if number != 1 else "one comparison"
    declared = f"{family}, alpha {ALPHA:g}" + (" (Holm)" if number > 1 else "")
    yield "declared", declared if number else "no comparison"


def columns(report: Report) -> Iterator[Column]:
    """The comparisons as a table for its CSV; of what was not compared there are no numbers."""
    rows = [_numbers(one, report) for one in report.answers]
    for name in rows[0] if rows else ():
        yield Column(name=name, values=[row[name] for row in rows])


def _numbers(one: Answer, report: Report) -> dict[str, object]:
    told = one.to_json()
    low, high = told.get("interval") or (None, None)
    n, m = told.get("n") or (None, None)
    return {
        "problem": one.problem,
        "optimizer": one.a.optimizer,
        "setting": one.a.cell and one.a.cell.setting,
        "baseline": one.b.optimizer,
        "baseline_setting": one.b.cell and one.b.cell.setting,
        "value": one.value,
        "metric": one.metric if one.compared else None,
        "n": n,
        "n_baseline": m,
        "paired": told.get("paired"),
        "difference": told.get("difference"),
        "low": low,
        "high": high,
        "p_better": told.get("improvement"),
        "p": told.get("p"),
        "p_adjusted": told.get("p_adjusted"),
        "shown": _shown(one),
        "standing": _standing(one),
        "sentence": sentence(one, report.question),
    }
