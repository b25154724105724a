"""The share of runs that have reached their problem's target, over epochs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import style
from jobs.results.cells import Cell
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.statistics.time_to_target import Ending, Reach, Solved, reach, solved
from jobs.sweep import Target
from jobs.text import spelled

_REMARK = "share of all planned runs, band: 95 % interval · never: did not get there, or diverged"


def draw(results: Results, _: str | None) -> Figure:
    """Draw a panel per problem that has a target, and a step line per optimizer.

    Raises:
        FigureError: no problem has a target.
    """
    columns: dict[str, list[Selection]] = {}
    for one in results.selections:
        if one.problem in results.targets and one.cell is not None and one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    if not columns:
        raise FigureError("no problem has a target that its runs could reach")
    figure, axes = style.panels(1, len(columns), height=2.6 + 0.17 * len(results.optimizers))
    for (problem, column), panel in zip(columns.items(), axes[0], strict=True):
        target = results.targets[problem]
        panel.set_title(style.title(problem))
        panel.set_xlabel("epoch")
        panel.set_ylabel(f"share with {style.words(target.metric)} {spelled(target.value)}")
        panel.set_ylim(-0.03, 1.03)
        handles = [
            _draw_line(panel, results, one.cell, target, has_band=len(column) <= style.BANDS_MAX)
            for one in column
            if one.cell is not None
        ]
        style.add_legend(figure, panel, handles)
    style.add_footer(figure, results, results.reported, _REMARK)
    return figure


def solved_by(cell: Cell, target: Target) -> Solved:
    """The share of a cell's planned runs that reach the target by each epoch."""
    return solved(reaches(cell, target), float(max(one.run.epochs for one in cell.planned)))


def reaches(cell: Cell, target: Target) -> Sequence[Reach]:
    """When each planned run of a cell reached the target, in epochs; without a record it is unknown."""
    is_high = target.metric.endswith("accuracy")
    found = []
    for result in cell.results:
        values = result.curves.get(target.metric, np.empty(0))
        times = np.arange(len(values), dtype=np.float64)
        ending: Ending = "diverged" if result.diverged else "finished"
        found.append(
            reach(values, times, target=target.value, is_better_high=is_high, ending=ending)
        )
    return [*found, *(Reach(state="under_way", at=0.0) for _ in cell.unsettled)]


def _draw_line(
    panel: Axes, results: Results, cell: Cell, target: Target, *, has_band: bool
) -> Line2D:
    share = solved_by(cell, target)
    times = np.append(share.times, share.known_to)
    color = style.color(results, cell.optimizer)
    (line,) = panel.step(
        times,
        np.append(share.shares, share.shares[-1]),
        style.line(results, cell.optimizer),
        where="post",
        color=color,
        label=style.plain(f"{cell.optimizer} ({_median(share)})"),
    )
    if has_band:
        low, high = (np.append(one, one[-1]) for one in (share.low, share.high))
        panel.fill_between(times, low, high, step="post", color=color, alpha=0.12, linewidth=0)
    return line


def _median(share: Solved) -> str:
    """`3 of 10; median > 20`."""
    middle = f"> {share.known_to:g}" if share.median is None else f"{share.median:g}"
    return f"{share.reached} of {share.runs}; median {middle}"
