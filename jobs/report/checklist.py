"""A reviewer's checklist: what is asked of results before they are believed, with the answers in numbers."""

from collections.abc import Callable, Sequence

from jobs.report import compared_checks, origin_checks, run_checks, selection_checks
from jobs.report.content import Check
from jobs.report.review import Review
from jobs.results.comparisons import Answer
from jobs.results.study import Results

_LINES: Sequence[Callable[[Review], Check]] = (
    run_checks.complete,
    run_checks.counted_once,
    run_checks.diverged,
    run_checks.learned,
    selection_checks.equal_seeds,
    selection_checks.equal_budgets,
    selection_checks.selected_apart,
    selection_checks.inside_the_grid,
    origin_checks.trained_alike,
    origin_checks.same_code,
    origin_checks.same_software,
    origin_checks.same_data,
    origin_checks.same_hardware,
    origin_checks.equal_means,
    compared_checks.comparable_time,
    compared_checks.multiplicity,
    compared_checks.enough_seeds,
)
"""In the order in which they are asked; each finding is judged by one of them at least."""


def checklist(results: Results, found: Sequence[Answer]) -> tuple[Check, ...]:
    """A line per question.

    Args:
        results: of one sweep or several.
        found: what was compared; empty: there was nothing to compare.
    """
    review = Review(results=results, answers=found)
    return tuple(line(review) for line in _LINES)
