"""What an optimizer's tuning gives after so many trials."""

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import style, tuning_figure
from jobs.results.limits import limits
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.tuning_figure import Curve, after_trials
from jobs.statistics.tuning_curve import AfterTrials
from jobs.text import printable

_TICKS_MAX = 6  # numbers of settings on the axis


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem on which several settings of an optimizer were tried."""
    columns: dict[str, list[Curve]] = {}
    for one in results.selections:
        if curve := after_trials(one, results.cells):
            columns.setdefault(one.problem, []).append((one, curve))
    for problem, column in columns.items():
        yield Chart(
            name=f"tuning-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: tuning",
            caption=tuning_figure.caption_of(results, column),
            spec=_spec(results, column),
        )


def _spec(results: Results, column: Sequence[Curve]) -> Spec:
    shown = [one.optimizer for one, _ in column]
    channels = vega.optimizer_channels(results, shown, channels=("color", "strokeDash"))
    rows = [row for curve in column for row in _rows(*curve)]
    medians = np.array([row["median"] for row in rows])
    x = vega.position("trials", "settings tried", axis=_whole(max(len(one) for _, one in column)))
    measured = tuning_figure.measured(results, column)
    metric = measured.removeprefix("final ").replace(" ", "_")
    y = vega.position("median", "", limits(metric, medians, medians))
    y["title"] = None
    at = {"x": x, "y": y}
    words = vega.tooltip(
        optimizer="optimizer",
        trials="settings tried",
        of="of",
        median="median",
        expected="expected value",
    )
    return vega.chart(
        [
            {
                "mark": {"type": "line", "strokeWidth": 2, "clip": True},
                "encoding": {**at, **channels, "opacity": vega.pale(1.0)},
                "params": [vega.chosen(), vega.zoom()],
            },
            {
                "mark": {"type": "circle", "size": 40, "clip": True},
                "encoding": {
                    **at,
                    "color": channels["color"],
                    "opacity": vega.pale(1.0),
                    "tooltip": words,
                },
            },
        ],
        height=vega.HEIGHT,
        title=vega.heading(measured),
        data={"values": rows},
    )


def _whole(most: int) -> Spec:
    """An axis up to so many settings, with whole numbers."""
    return {"values": list(range(1, most + 1, -(-most // _TICKS_MAX))), "format": "d"}


def _rows(one: Selection, curve: Sequence[AfterTrials]) -> Iterator[Spec]:
    for after in curve:
        if after.test.median is not None:
            yield {
                "optimizer": printable(one.optimizer),
                "trials": after.trials,
                "of": len(curve),
                "median": vega.number(after.test.median),
                "expected": vega.number(after.test.expected),
            }
