"""Curves over epochs, as DeepOBS shows them: a column per problem, a row per metric."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jobs.results import page, style
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.cells import Cell, name_some
from jobs.results.mean_curves import BAND_RUNS_MIN, band, extents, has_band
from jobs.results.page import Drawing
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.statistics.interval import LEVEL

_ROWS = ("test_loss", "train_loss", "test_accuracy", "train_accuracy")
_PANEL_IN = 1.5  # inches, with its title's share
_CROSS_PT = 4.0  # that it stands out at the top
_WHAT = f"""\
Line: mean over the seeds. Band: {LEVEL:.0%} Student t interval of the mean, from {BAND_RUNS_MIN} \
runs on; of fewer runs each has a thin line. Thin, light line: completed only, as other runs of the \
setting diverged; it has no band. Cross: the last evaluation of a run that diverged, at the end of \
its own line; the axis is not scaled to it."""

Columns = Mapping[str, Sequence[Selection]]  # by problem


def draw(collection: Results, _: str | None) -> Drawing:
    """Draw the mean of each optimizer's completed runs, with the t interval of that mean.

    An optimizer with several settings is drawn with the selected one (`jobs.results.selection`). A
    diverged run is drawn up to its last evaluation, with a cross there, and is in no mean.
    """
    columns: dict[str, list[Selection]] = {}
    for one in collection.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    shown = {one.optimizer for column in columns.values() for one in column}
    handles = page.lines_of(collection, shown)
    pages = page.split(list(columns), page.COLUMNS_MAX)
    footer = origin(collection, collection.reported)
    figures = []
    for number, problems in enumerate(pages, start=1):
        own = {problem: columns[problem] for problem in problems}
        text = page.numbered(footer, number, len(pages))
        figures.append(_draw_page(collection, own, handles, text))
    return Drawing(pages=tuple(figures), caption=caption_of(collection, columns))


def _draw_page(
    collection: Results, columns: Columns, handles: Sequence[Line2D], footer: str
) -> Figure:
    rows = measured(columns)
    figure, axes = page.page(len(rows), len(columns), _PANEL_IN, handles, footer)
    ends = []
    for index, (problem, column) in enumerate(columns.items()):
        panels = [row[index] for row in axes]
        page.entitle(panels[0], style.title(problem), _note(column), above_pt=_CROSS_PT)
        _draw_column(panels, collection, rows, _cells(column))
        ends.append([panel for panel in panels if panel.axison][-1])
    for metric, row in zip(rows, axes, strict=True):
        first = next((panel for panel in row if panel.axison), row[0])
        first.set_ylabel(style.words(metric))
    figure.align_ylabels()
    _name_epochs([end for end in ends if end in axes[-1]])
    page.lay_out(figure)
    _name_epochs(ends)  # a shorter column has room below, which no other is to make
    return figure


def _name_epochs(panels: Sequence[Axes]) -> None:
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.tick_params(labelbottom=True)


def measured(columns: Columns) -> list[str]:
    """The metrics that have a row; where every run diverged at once there is nothing to see."""
    cells = _cells(list(chain(*columns.values())))
    rows = [metric for metric in _ROWS if any(cell.measures(metric) for cell in cells)]
    return rows or [_ROWS[0]]


def _cells(column: Sequence[Selection]) -> list[Cell]:
    return [one.cell for one in column if one.cell is not None]


def _draw_column(
    panels: Sequence[Axes], collection: Results, rows: Sequence[str], cells: Sequence[Cell]
) -> None:
    for metric, panel in zip(rows, panels, strict=True):
        shown = [cell for cell in cells if cell.measures(metric)]
        panel.tick_params(labelbottom=False)
        if not shown:
            panel.axison = panel is panels[0]
            continue
        style.scale(panel, "y", metric, *extents(metric, shown))
        for cell in shown:
            _draw_cell(panel, collection, metric, cell)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        panel.margins(x=0.02)
        if panel.dataLim.width == 0:  # nothing but epoch 0
            panel.set_xlim(-0.5, 0.5)


def _draw_cell(panel: Axes, collection: Results, metric: str, cell: Cell) -> None:
    color = style.color(collection, cell.optimizer)
    dash = style.line(collection, cell.optimizer)
    curves = cell.curves(metric)  # (n, E)
    if len(curves):
        epochs = np.arange(curves.shape[1])
        (mean,) = panel.plot(epochs, curves.mean(axis=0), dash, color=color)
        if len(epochs) == 1:
            mean.set_marker(".")
        if cell.diverged:
            mean.set(linewidth=0.8, alpha=0.55)
        if has_band(cell, curves):
            panel.fill_between(epochs, *band(curves), color=color, alpha=0.2, linewidth=0)
        elif len(curves) > 1 and not cell.diverged:
            panel.plot(epochs, curves.T, dash, color=color, linewidth=0.4, alpha=0.5)
    bottom, top = panel.get_ylim()
    for result in cell.diverged:
        curve = result.curves.get(metric, np.empty(0))
        if len(curve):
            panel.plot(curve, color=color, linewidth=0.5, alpha=0.7, scaley=False)
            end = (len(curve) - 1, np.clip(curve[-1], bottom, top))
            panel.plot(*end, "x", color=color, clip_on=False, zorder=3, scaley=False)


def _note(column: Sequence[Selection]) -> str:
    """`n=5`, and by name who differs: `n=5; SGD 3 of 10 diverged`."""
    cells = _cells(column)
    parts = [spell_counts([len(cell.results) for cell in cells])] if cells else []
    if diverged := [
        f"{cell.optimizer} {len(cell.diverged)} of {len(cell.results)}"
        for cell in cells
        if cell.diverged
    ]:
        parts.append(f"{name_some(diverged)} diverged")
    if unselected := [one.optimizer for one in column if one.cell is None]:
        parts.append(f"{name_some(unselected)} not selected")
    return "; ".join(parts)


def caption_of(collection: Results, columns: Columns) -> str:
    """The caption of the curves of these problems."""
    curves = f"{', '.join(map(style.words, measured(columns)))} over epochs".capitalize()
    what = (f"{curves}, per problem and optimizer.", _WHAT)
    selections = list(chain(*columns.values()))
    return caption(collection, _cells(selections), what, selections=selections)
