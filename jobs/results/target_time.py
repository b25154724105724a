"""The share of runs that have reached their problem's target, over epochs."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.cells import Cell
from jobs.results.page import Drawing
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.statistics.time_to_target import Ending, Reach, Solved, reach, solved
from jobs.sweep import Target
from jobs.text import spelled

_PANEL_IN = 2.2
_WHAT = (
    "Share of all planned runs that have reached the problem's target, over epochs: a run that"
    f" diverged, or did not get there, never has. Band: 95 % interval, of up to {style.BANDS_MAX}"
    " optimizers in a panel."
)


def draw(results: Results, _: str | None) -> Drawing:
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
    shown = {one.optimizer for column in columns.values() for one in column}

    def draw_panel(panel: Axes, problem: str) -> None:
        _draw_panel(panel, results, columns[problem], results.targets[problem])

    return Drawing(
        pages=page.tiles(
            list(columns),
            draw_panel,
            panel_in=_PANEL_IN,
            handles=page.lines_of(results, shown),
            footer=origin(results, results.reported),
        ),
        caption=caption_of(results, list(chain(*columns.values()))),
    )


def _draw_panel(panel: Axes, results: Results, column: Sequence[Selection], target: Target) -> None:
    page.entitle(panel, style.title(column[0].problem))
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.set_ylabel(f"share with\n{style.words(target.metric)} {spelled(target.value)}")
    panel.set_ylim(-0.03, 1.03)
    for one in column:
        if one.cell is not None:
            _draw_line(panel, results, one.cell, target, has_band=len(column) <= style.BANDS_MAX)


def caption_of(results: Results, column: Sequence[Selection]) -> str:
    """The caption of the shares of these selections."""
    cells = [one.cell for one in column if one.cell is not None]
    runs = [
        f"{cell.problem} {cell.optimizer}: {_median(solved_by(cell, results.targets[cell.problem]))}"
        for cell in cells
    ]
    return caption(results, cells, (_WHAT,), selections=column, runs=runs)


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
) -> None:
    share = solved_by(cell, target)
    times = np.append(share.times, share.known_to)
    color = style.color(results, cell.optimizer)
    panel.step(
        times,
        np.append(share.shares, share.shares[-1]),
        style.line(results, cell.optimizer),
        where="post",
        color=color,
    )
    if has_band:
        low, high = (np.append(one, one[-1]) for one in (share.low, share.high))
        panel.fill_between(times, low, high, step="post", color=color, alpha=0.12, linewidth=0)


def _median(share: Solved) -> str:
    """`3 of 10 reached it; median epoch > 20`."""
    middle = f"> {share.known_to:g}" if share.median is None else f"{share.median:g}"
    return f"{share.reached} of {share.runs} reached it; median epoch {middle}"
