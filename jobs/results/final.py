"""The last test metric of every seed: points, and their mean, in a row per optimizer."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.cells import Cell, metric_of
from jobs.results.located import located
from jobs.results.page import Drawing
from jobs.results.reading import Floats
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.statistics.interval import LEVEL
from jobs.statistics.location import mean_interval

_ROW_IN = 0.26
_NAME_CHARACTERS_MAX = 22  # of a line of an optimizer's name
_AROUND_IN = 0.75  # a panel's title and axis

BOX_RUNS_MIN = 8
"""Of fewer runs quartiles say less than the points."""


def draw(collection: Results, metric: str | None) -> Drawing:
    """Draw a panel per problem with a row per optimizer: its selected setting.

    `metric` is the test accuracy (where a problem has none: the test loss) unless given. Diverged
    runs are counted beside their row.
    """
    columns: dict[str, dict[str, Selection]] = {}
    for one in collection.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, {})[one.optimizer] = one
    shown = {optimizer for column in columns.values() for optimizer in column}
    rows = [optimizer for optimizer in collection.optimizers if optimizer in shown]

    def draw_panel(panel: Axes, problem: str) -> None:
        _draw_panel(panel, collection, rows, columns[problem], _metric(columns[problem], metric))

    return Drawing(
        pages=page.tiles(
            list(columns),
            draw_panel,
            panel_in=_AROUND_IN + _ROW_IN * len(rows),
            handles=(),
            footer=origin(collection, collection.reported),
        ),
        caption=caption_of(collection, columns, metric),
    )


def _metric(column: Mapping[str, Selection], metric: str | None) -> str:
    cells = [one.cell for one in column.values() if one.cell is not None]
    return metric or metric_of(cells, "test")


def _draw_panel(
    panel: Axes,
    collection: Results,
    rows: Sequence[str],
    column: Mapping[str, Selection],
    metric: str,
) -> None:
    page.entitle(panel, style.title(next(iter(column.values())).problem))
    panel.set_xlabel(f"final {style.words(metric)}")
    style.name_rows(panel, [page.shortened(name, _NAME_CHARACTERS_MAX) for name in rows])
    inner: list[float] = []
    outer: list[float] = []
    for row, optimizer in enumerate(rows):
        one = column.get(optimizer)
        if one is None:
            continue
        if one.cell is None:
            style.note_row(panel, row, "not selected")
            continue
        values = one.cell.finals(metric)
        values = values[np.isfinite(values)]
        inner += values.tolist()
        outer += _draw_row(panel, row, one.cell, values, style.color(collection, optimizer))
        style.note_row(panel, row, _count(one.cell))
    style.scale(panel, "x", metric, np.array(inner), np.array(inner + outer))


def _draw_row(panel: Axes, row: int, cell: Cell, values: Floats, color: str) -> list[float]:
    """Draw the cell's values; returns the ends of their mean's interval, if it has one."""
    if not len(values):
        return []
    if len(values) >= BOX_RUNS_MIN:
        _draw_box(panel, row, values, color)
    beside = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else 0.0
    panel.plot(
        values, row + beside, "o", color=color, alpha=0.45, markersize=2.2, markeredgewidth=0
    )
    alpha = 0.5 if cell.diverged else 1.0
    (mean,) = panel.plot(values.mean(), row, "D", color=color, alpha=alpha)
    mean.set(markersize=3.2, markeredgecolor="white", markeredgewidth=0.5, zorder=3)
    interval = mean_interval(values)
    if interval is None:
        return []
    ends = [interval.low, interval.high]
    panel.plot(ends, [row, row], color=color, linewidth=1.4, alpha=alpha)
    return ends


def _draw_box(panel: Axes, row: int, values: Floats, color: str) -> None:
    thin = {"color": color, "linewidth": 0.6, "alpha": 0.6}
    panel.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=0.7,
        showfliers=False,
        manage_ticks=False,
        medianprops=thin,
        boxprops=thin,
        whiskerprops=thin,
        capprops=thin,
    )


def _count(cell: Cell) -> str:
    diverged = f"\n{len(cell.diverged)} diverged" if cell.diverged else ""
    return f"n={len(cell.completed)}{diverged}"


def caption_of(
    collection: Results, columns: Mapping[str, Mapping[str, Selection]], metric: str | None
) -> str:
    """The caption of the last values of these problems' optimizers."""
    shown = dict.fromkeys(style.words(_metric(column, metric)) for column in columns.values())
    what = (
        f"Final {', '.join(shown)}, per problem and optimizer.",
        "Point: a completed run.",
        f"Diamond and line: their mean with its {LEVEL:.0%} Student t interval, from 2 runs on.",
        "Light: completed only, as other runs of the setting diverged.",
        f"Box: median, quartiles and whiskers to 1.5 of their range, from {BOX_RUNS_MIN} runs on.",
        "n: completed runs.",
    )
    selections = list(chain(*(column.values() for column in columns.values())))
    cells = [one.cell for one in selections if one.cell is not None]
    runs = [
        f"{one.name}: {text}"
        for one in selections
        if one.cell is not None
        and (text := located(one.cell, _metric(columns[one.problem], metric)))
    ]
    return caption(collection, cells, what, selections=selections, runs=runs)
