"""The share of runs that have reached their problem's target, over epochs."""

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import style, target_time, targets
from jobs.results.cells import Cell
from jobs.results.reach_times import solved_by
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.sweep import Target
from jobs.text import printable, spelled

_WORDS = vega.tooltip(
    optimizer="optimizer",
    reached="reached",
    epoch="from epoch",
    share="share",
    low="interval from",
    high="to",
)


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem that has a target, with a step line per optimizer."""
    columns: dict[str, list[Selection]] = {}
    for one in results.selections:
        if one.problem in results.targets and one.cell is not None and one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    for problem, column in columns.items():
        cells = [one.cell for one in column if one.cell is not None]
        yield Chart(
            name=f"target-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: time to target",
            caption=target_time.caption_of(results, column),
            spec=_spec(results, cells, targets.on(results.targets[problem])),
        )


def _spec(results: Results, cells: Sequence[Cell], target: Target) -> Spec:
    shown = [cell.optimizer for cell in cells]
    channels = vega.optimizer_channels(results, shown, channels=("color", "strokeDash"))
    has_bands = len(cells) <= style.BANDS_MAX
    x = vega.position("epoch", "epoch", axis={"tickMinStep": 1, "tickCount": 6})
    domain = {"scale": {"domain": [0, 1]}, "axis": {"format": "%", "tickCount": 5}}
    y = {"field": "share", "type": "quantitative", "title": None, **domain}
    steps = {"interpolate": "step-after", "clip": True}
    band = {
        "mark": {"type": "area", **steps},
        "encoding": {
            "x": x,
            "y": {**y, "field": "low"},
            "y2": {"field": "high"},
            "color": channels["color"],
            "opacity": vega.pale(0.12),
        },
    }
    at = {"x": x, "y": y}
    return vega.chart(
        [
            *([band] if has_bands else []),
            {
                "mark": {"type": "line", "strokeWidth": 2, **steps},
                "encoding": {**at, **channels, "opacity": vega.pale(1.0)},
                "params": [vega.chosen(), vega.zoom()],
            },
            {
                "mark": {"type": "point", "size": 90, "opacity": 0, "filled": True},
                "encoding": {**at, "tooltip": _WORDS},
            },
        ],
        height=vega.HEIGHT,
        title=vega.heading(
            f"share of runs with {style.words(target.metric)} {spelled(target.value)}"
        ),
        data={"values": [row for cell in cells for row in _rows(cell, target)]},
    )


def _rows(cell: Cell, target: Target) -> Iterator[Spec]:
    """A step's beginnings, and the end of the last one."""
    found = solved_by(cell, target)
    for_each = (found.shares, found.low, found.high)
    shares, low, high = (vega.numbers(np.append(one, one[-1]).round(9)) for one in for_each)
    times = vega.numbers(np.append(found.times, found.known_to))
    for step in zip(times, shares, low, high, strict=True):
        yield {
            "optimizer": printable(cell.optimizer),
            "reached": f"{found.reached} of {found.runs} runs",
            **dict(zip(("epoch", "share", "low", "high"), step, strict=True)),
        }
