"""Optimizers are compared with a baseline, problem by problem, as one family that was declared before.

Each optimizer stands for itself with its selected setting (`jobs.results.selection`). What forbids a
comparison, as runs of different code do, forbids the claim: the numbers are shown, and nothing is claimed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from jobs.errors import InputError
from jobs.results import findings
from jobs.results.cells import Cell, metric_of, spell_seeds
from jobs.results.finding import Finding
from jobs.results.question import Question, Value
from jobs.results.reading import Result, is_better_high
from jobs.results.selection import Selection, baseline_of
from jobs.statistics.claims import Claim, Evidence, SeedsNeeded, evidence, seeds_needed
from jobs.statistics.comparison import Comparison, compare
from jobs.statistics.divergence import Arm, Diverged, Outcome
from jobs.statistics.multiplicity import ALPHA, Resolution, holm, resolution

_OF_VALUE = {"final": Result.final, "at_best_valid": Result.at_best_valid}


class NothingToCompareError(InputError):
    """No two optimizers share a problem."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The runs of both that were compared, and what they show."""

    runs: tuple[Cell, Cell]  # of A and of B
    comparison: Comparison
    evidence: Evidence
    p_adjusted: float  # by Holm, for the family
    needed: SeedsNeeded

    def to_json(self) -> dict[str, Any]:
        """The numbers of an entry of `compare --json`."""
        made = self.comparison
        interval = made.difference.interval() if made.difference else None
        return {
            "runs": [[one.planned.run.id for one in cell.results] for cell in self.runs],
            "n": list(made.n),
            "diverged": [one.count for one in made.diverged],
            "paired": made.paired,
            "difference": made.difference.estimate if made.difference else None,
            "interval": [interval.low, interval.high] if interval else None,
            "improvement": made.improvement.probability,
            "p": self.evidence.p_value,
            "p_adjusted": self.p_adjusted,
            "p_smallest": made.test.smallest_p,
            "p_welch": made.welch_p,
            "p_wilcoxon": made.wilcoxon_p,
            "correlation": made.correlation,
            "seeds_needed": {"observed": self.needed.observed, "margin": self.needed.margin},
        }


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the runs say of one optimizer and the baseline on one problem."""

    a: Selection
    b: Selection  # the baseline
    metric: str
    value: Value
    family: int  # comparisons that were declared
    findings: tuple[Finding, ...]
    compared: Compared | None
    refused: str | None  # why nothing was compared

    @property
    def claim(self) -> Claim:
        """What is shown, or that nothing is."""
        if self.compared is None or self.forbidden:
            return Claim.UNDECIDED
        return self.compared.evidence.verdict(self.compared.p_adjusted)

    @property
    def forbidden(self) -> tuple[Finding, ...]:
        """The findings for which nothing may be claimed."""
        return tuple(one for one in self.findings if one.forbids in ("mean", "comparison"))

    def to_json(self) -> dict[str, Any]:
        """An entry of `compare --json`."""
        content: dict[str, Any] = {
            "problem": self.problem,
            "optimizer": self.a.optimizer,
            "baseline": self.b.optimizer,
            "metric": self.metric,
            "value": self.value,
            "shown": self.claim.value,
            "better": self.winner.optimizer if self.winner else None,
            "refused": self.refused,
            "selections": [self.a.to_json(), self.b.to_json()],
            "findings": [one.to_json() for one in self.findings],
        }
        if self.compared is None:
            return content
        return (
            content
            | self.compared.to_json()
            | {"resolution": asdict(self.resolution) if self.resolution else None}
        )

    @property
    def smallest_p(self) -> float:
        """The smallest p that so many runs could give, adjusted; a t test can give any."""
        if self.compared is None or self.compared.evidence.claim is not Claim.SUPERIOR:
            return 0.0
        return min(1.0, self.compared.comparison.test.smallest_p * self.family)

    @property
    def resolution(self) -> Resolution | None:
        """What pairs of so many seeds can show in this family; None: there are no pairs."""
        if self.compared is None or not self.compared.comparison.paired:
            return None
        return resolution(self.compared.comparison.n[0], self.family)

    @property
    def problem(self) -> str:
        """The problem's label."""
        return self.a.problem

    @property
    def winner(self) -> Selection | None:
        """The one that is better in these runs; None: neither."""
        favours = self.compared.comparison.favours if self.compared else None
        return {"a": self.a, "b": self.b, None: None}[favours]


def answers(
    selections: Sequence[Selection], question: Question, on_files: Sequence[Finding] = ()
) -> tuple[Answer, ...]:
    """Compare each optimizer with the baseline on each problem that both have.

    Args:
        selections: the setting of each optimizer and problem.
        question: what is asked.
        on_files: what was found in the sweeps' folders; it counts where it is about these runs.

    Raises:
        InputError: there is no such optimizer or problem.
        NothingToCompareError: no problem has the baseline and another optimizer.
    """
    asked = list(_pairs(selections, question))
    if not asked:
        raise NothingToCompareError(
            f"nothing to compare: no problem has the baseline {question.baseline or baseline_of(selections)} and"
            " another optimizer; a sweep that has one can be named beside this one, and"
            " probprec compare --baseline NAME takes another baseline"
        )
    found = [_answer(a, b, question, len(asked), on_files) for a, b in asked]
    # What is refused stays in the family: it was declared, and a larger family is the safe side.
    adjusted = holm(
        np.array([one.compared.evidence.p_value if one.compared else 1.0 for one in found])
    )
    return tuple(_adjusted(one, float(p)) for one, p in zip(found, adjusted, strict=True))


def _adjusted(answer: Answer, p: float) -> Answer:
    if answer.compared is None:
        return answer
    return replace(answer, compared=replace(answer.compared, p_adjusted=p))


def _pairs(
    selections: Sequence[Selection], question: Question
) -> Iterator[tuple[Selection, Selection]]:
    optimizers = list(dict.fromkeys(one.optimizer for one in selections))
    problems = list(dict.fromkeys(one.problem for one in selections))
    wanted = [*question.optimizers, *([question.baseline] if question.baseline else [])]
    _require("optimizer", wanted, optimizers)
    _require("problem", question.problems, problems)
    base = question.baseline or baseline_of(selections)
    by_names = {(one.problem, one.optimizer): one for one in selections}
    for problem in question.problems or problems:
        for optimizer in question.optimizers or optimizers:
            pair = by_names.get((problem, optimizer)), by_names.get((problem, base))
            if optimizer != base and pair[0] is not None and pair[1] is not None:
                yield pair[0], pair[1]


def _require(noun: str, named: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in named if name not in there]
    if unknown:
        raise InputError(f"no {noun} {', '.join(unknown)}; there are: {', '.join(there)}")


def _answer(
    a: Selection, b: Selection, question: Question, family: int, on_files: Sequence[Finding]
) -> Answer:
    cells = [one.cell for one in (a, b) if one.cell is not None]
    metric = question.metric or metric_of(cells, "test")
    found = Answer(
        a=a,
        b=b,
        metric=metric,
        value=question.value,
        family=family,
        findings=(
            *_about(cells, on_files),
            *findings.of(cells, (a, b)),
            *_incomplete(cells),
            *_unequal(cells),
        ),
        compared=None,
        refused=next(filter(None, map(_why_not, (a, b))), None),
    )
    if found.refused:
        return found
    runs = _shared(cells)
    first, second = (_arm(cell, metric, question.value) for cell in runs)
    if isinstance(first, str) or isinstance(second, str):
        return replace(found, refused=first if isinstance(first, str) else str(second))
    made = compare(first, second, is_better_high=is_better_high(metric))
    shown = evidence(question.claim, made, question.margin)
    needed = seeds_needed(question.claim, made, question.margin, ALPHA / family)
    pair = runs[0], runs[1]
    compared = Compared(
        runs=pair, comparison=made, evidence=shown, p_adjusted=shown.p_value, needed=needed
    )
    return replace(found, compared=compared)


def _why_not(one: Selection) -> str | None:
    """Say why nothing stands for an optimizer yet; None: its setting does."""
    if one.cell is None:
        return f"{one.optimizer}: {one.why}"
    if one.cell.role == "tuning":
        return f"{one.optimizer}: nothing is chosen of what is tuned yet"
    return None


def _about(cells: Sequence[Cell], on_files: Sequence[Finding]) -> Iterator[Finding]:
    """The findings on files that forbid something of these runs."""
    runs = {one.run.id for cell in cells for one in cell.planned}
    yield from (one for one in on_files if one.forbids and runs & set(one.runs))


def _shared(cells: Sequence[Cell]) -> list[Cell]:
    """Of cells that plan the same seeds keep those with a record in both: they stay pairs."""
    planned = [{one.run.seed for one in cell.planned} for cell in cells]
    if len(cells) < 2 or planned[0] != planned[1]:
        return list(cells)
    recorded = [{one.planned.run.seed for one in cell.results} for cell in cells]
    both = recorded[0] & recorded[1]
    return [
        replace(cell, results=tuple(one for one in cell.results if one.planned.run.seed in both))
        for cell in cells
    ]


def _incomplete(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find planned runs without a record: they are in no arm."""
    for cell in cells:
        if cell.unsettled:
            seeds = spell_seeds(one.planned.run.seed for one in cell.unsettled)
            number = f"{len(cell.unsettled)} of {len(cell.planned)} runs"
            runs = tuple(one.planned.run.id for one in cell.unsettled)
            yield Finding("incomplete", f"{cell.name}: {number} have no record ({seeds})", runs)


def _unequal(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find what the runs of both are not trained alike in, beside optimizer and hyperparameters."""
    differing = []
    for name in ("epochs", "batch_size", "init", "protocol"):
        values = {cell.name: getattr(cell.planned[0].run, name) for cell in cells}
        if len(set(values.values())) > 1:
            which = ", ".join(f"{value} in {cell}" for cell, value in values.items())
            differing.append(f"{name} {which}")
    if differing:
        runs = tuple(one.planned.run.id for cell in cells for one in cell.results)
        text = f"not trained alike: {'; '.join(differing)}"
        yield Finding("unequal_training", text, runs)


def _arm(cell: Cell, metric: str, value: Value) -> Arm | str:
    """The runs of a cell with their outcomes; or why they cannot be compared."""
    outcomes: Mapping[int, Outcome] = {
        one.planned.run.seed: _outcome(one, metric, value) for one in cell.results
    }
    if not outcomes:
        return f"no run of {cell.name} has a record"
    holes = [seed for seed, one in outcomes.items() if isinstance(one, float) and math.isnan(one)]
    if holes:
        return f"{cell.name} has no {metric.replace('_', ' ')} ({spell_seeds(holes)})"
    return Arm(seeds=tuple(outcomes), outcomes=tuple(outcomes.values()))


def _outcome(result: Result, metric: str, value: Value) -> Outcome:
    if result.diverged:
        return Diverged(epoch=int(result.stop.get("epoch") or 0))
    return float(_OF_VALUE[value](result, metric))
