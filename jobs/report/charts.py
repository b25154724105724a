"""The charts of a report, kind by kind, each with a panel per problem."""

from collections.abc import Sequence

from jobs.report import (
    curves_chart,
    final_chart,
    forest_chart,
    profile_chart,
    sensitivity_chart,
    target_chart,
    time_chart,
    tuning_chart,
)
from jobs.report.content import Chart
from jobs.results.comparisons import Answer
from jobs.results.study import Results


def charts(results: Results, found: Sequence[Answer]) -> tuple[Chart, ...]:
    """All charts that have something to show.

    A chart's name is its kind and the number of its problem: `curves-1`; `profile` is of all.

    Args:
        results: of one sweep or several.
        found: what was compared; empty: there was nothing to compare.
    """
    return (
        *forest_chart.draw(results, found),
        *final_chart.draw(results),
        *curves_chart.draw(results),
        *target_chart.draw(results),
        *profile_chart.draw(results),
        *tuning_chart.draw(results),
        *sensitivity_chart.draw(results),
        *time_chart.draw(results),
    )
