"""The last test metric of every seed: points, and their mean, in a row per optimizer or setting."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.cells import Cell, metric_of
from jobs.results.figure_options import FigureOptions
from jobs.results.location_text import location_text
from jobs.results.page import Drawing
from jobs.results.reading import Floats
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.statistics.interval import LEVEL
from jobs.statistics.location import mean_interval
from jobs.text import described

_ROW_IN = 0.26
_NAME_CHARACTERS_MAX = 22  # of a line of an optimizer's name
_SETTING_CHARACTERS_MAX = 28  # of a line of an optimizer's name with its setting
_AROUND_IN = 0.75  # a panel's title and axis

_WHISKER = 1.5  # of the quartiles' range, at most
_BOX_HALF = 0.35  # height of a half, in rows

BOX_GID = "box"
"""The group of artists in which the boxes are."""

BOX_RUNS_MIN = 8
"""Of fewer runs quartiles say less than the points."""

Column = Mapping[str, Cell | None]  # by row; None: nothing is selected


def draw(collection: Results, options: FigureOptions) -> Drawing:
    """Draw a panel per problem with a row per optimizer, its selected setting; or with every cell.

    The metric is the test accuracy (where a problem has none: the test loss) unless another is
    wanted. Diverged runs are counted beside their row.
    """
    selected = _selected(collection)
    columns = _every(collection) if options.every else _of_selected(selected)
    rows = _rows(collection, columns)

    def draw_panel(panel: Axes, problem: str, own: Sequence[str]) -> None:
        page.entitle(panel, style.title(problem))
        style.name_rows(panel, [rows[row] for row in own])
        metric = _metric(columns[problem], options.metric)
        _draw_panel(panel, collection, own, columns[problem], metric)

    return Drawing(
        pages=page.row_tiles(
            list(columns),
            list(rows),
            draw_panel,
            row_in=_ROW_IN,
            around_in=_AROUND_IN,
            handles=(),
            footer=origin(collection, collection.cells if options.every else collection.reported),
        ),
        caption=_caption_of_every(collection, columns, options.metric)
        if options.every
        else caption_of(collection, selected, options.metric),
    )


def _selected(collection: Results) -> Mapping[str, Mapping[str, Selection]]:
    """The selections by problem and optimizer."""
    columns: dict[str, dict[str, Selection]] = {}
    for one in collection.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, {})[one.optimizer] = one
    return columns


def _of_selected(columns: Mapping[str, Mapping[str, Selection]]) -> Mapping[str, Column]:
    return {
        problem: {name: one.cell for name, one in column.items()}
        for problem, column in columns.items()
    }


def _every(collection: Results) -> Mapping[str, Column]:
    """The cells with a record by problem, and by optimizer, setting and role."""
    columns: dict[str, dict[str, Cell | None]] = {}
    for cell in collection.cells:
        if cell.results:
            setting = described(cell.varied, exact=True)
            row = f"{cell.optimizer}\0{setting} {cell.role}"
            columns.setdefault(cell.problem, {})[row] = cell
    return columns


def _rows(collection: Results, columns: Mapping[str, Column]) -> Mapping[str, str]:
    """The rows of all problems, by optimizer, and how each is called."""
    found: dict[str, str] = {}
    for row, cell in chain(*(column.items() for column in columns.values())):
        if row in collection.optimizers or cell is None:
            found[row] = page.shortened(row, _NAME_CHARACTERS_MAX)
        else:
            found[row] = _named(cell)
    order = collection.optimizers
    return {row: found[row] for row in sorted(found, key=lambda row: order.index(_optimizer(row)))}


def _named(cell: Cell) -> str:
    """The optimizer and its setting; on a line each if one would leave no room for the other."""
    name = f"{cell.optimizer} {cell.label}".strip()
    if len(cell.optimizer) <= _SETTING_CHARACTERS_MAX:
        return page.shortened(name, _SETTING_CHARACTERS_MAX)
    parts = filter(None, (cell.optimizer, cell.label))
    return "\n".join(page.shortened(part, _SETTING_CHARACTERS_MAX, lines=1) for part in parts)


def _optimizer(row: str) -> str:
    return row.rpartition("\0")[0] or row


def _cells(columns: Mapping[str, Column]) -> list[Cell]:
    return [cell for column in columns.values() for cell in column.values() if cell is not None]


def _metric(column: Column, metric: str | None) -> str:
    return metric or metric_of([cell for cell in column.values() if cell is not None], "test")


def _finite(cell: Cell, metric: str) -> Floats:
    values = cell.finals(metric)
    return values[np.isfinite(values)]


def _draw_panel(
    panel: Axes, collection: Results, rows: Sequence[str], column: Column, metric: str
) -> None:
    """Draw some rows of a column; the axis is that of all of them."""
    panel.set_xlabel(f"final {style.words(metric)}")
    for row, name in enumerate(rows):
        cell = column.get(name)
        if cell is not None:
            color = style.color(collection, cell.optimizer)
            _draw_row(panel, row, cell, _finite(cell, metric), color)
            style.note_row(panel, row, _count(cell))
        elif name in column:
            style.note_row(panel, row, "not selected")
    every = [_finite(cell, metric) for cell in column.values() if cell is not None]
    inner = np.array([*chain(*every)])
    style.scale(panel, "x", metric, inner, np.array([*inner, *chain(*map(_ends, every))]))


def _ends(values: Floats) -> Iterable[float]:
    """The ends of their mean's interval, if it has one."""
    interval = mean_interval(values) if len(values) else None
    return (interval.low, interval.high) if interval is not None else ()


def _draw_row(panel: Axes, row: int, cell: Cell, values: Floats, color: str) -> None:
    if not len(values):
        return
    if len(values) >= BOX_RUNS_MIN:
        _draw_box(panel, row, values, color)
    beside = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else 0.0
    panel.plot(
        values, row + beside, "o", color=color, alpha=0.45, markersize=2.2, markeredgewidth=0
    )
    alpha = 0.5 if cell.diverged else 1.0
    (mean,) = panel.plot(values.mean(), row, "D", color=color, alpha=alpha)
    mean.set(markersize=3.2, markeredgecolor="white", markeredgewidth=0.5, zorder=3)
    if ends := list(_ends(values)):
        panel.plot(ends, [row, row], color=color, linewidth=1.4, alpha=alpha)


def _draw_box(panel: Axes, row: int, values: Floats, color: str) -> None:
    """Draw box and whiskers with one pen: as lines of their own they would take most of the time."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = _WHISKER * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    least, most = min(inside.min(), low), max(inside.max(), high)
    x = [low, high, high, low, low, np.nan, middle, middle]
    y = [-1.0, -1.0, 1.0, 1.0, -1.0, np.nan, -1.0, 1.0]
    for end, edge in ((least, low), (most, high)):
        x += [np.nan, edge, end, np.nan, end, end]
        y += [np.nan, 0.0, 0.0, np.nan, -0.5, 0.5]
    heights = row + _BOX_HALF * np.array(y)
    panel.plot(x, heights, color=color, linewidth=0.6, alpha=0.6, gid=BOX_GID)


def _count(cell: Cell) -> str:
    diverged = f"\n{len(cell.diverged)} diverged" if cell.diverged else ""
    return f"n={len(cell.completed)}{diverged}"


def caption_of(
    collection: Results, columns: Mapping[str, Mapping[str, Selection]], metric: str | None
) -> str:
    """The caption of the last values of these problems' optimizers."""
    selections = list(chain(*(column.values() for column in columns.values())))
    shown = _of_selected(columns)
    what = _what(shown, metric, "optimizer")
    runs = [
        f"{one.name}: {text}"
        for one in selections
        if one.cell is not None
        and (text := location_text(one.cell, _metric(shown[one.problem], metric)))
    ]
    return caption(collection, _cells(shown), what, selections=selections, runs=runs)


def _caption_of_every(
    collection: Results, columns: Mapping[str, Column], metric: str | None
) -> str:
    cells = _cells(columns)
    what = _what(columns, metric, "setting")
    return caption(collection, cells, what, runs=[_counted(cell) for cell in cells])


def _what(columns: Mapping[str, Column], metric: str | None, row: str) -> Sequence[str]:
    shown = dict.fromkeys(style.words(_metric(column, metric)) for column in columns.values())
    light = "Light: completed only, as other runs of the setting diverged."
    has_diverged = any(cell.diverged for cell in _cells(columns))
    return (
        f"Final {', '.join(shown)}, per problem and {row}.",
        "Point: a completed run.",
        f"Diamond and line: their mean with its {LEVEL:.0%} Student t interval, from 2 runs on.",
        *([light] if has_diverged else []),
        f"Box: median, quartiles and whiskers to 1.5 of their range, from {BOX_RUNS_MIN} runs on.",
        "n: completed runs.",
    )


def _counted(cell: Cell) -> str:
    """`digits_mlp SGD lr=0.1: n=3, 1 of 4 diverged`."""
    diverged = f", {len(cell.diverged)} of {len(cell.results)} diverged" if cell.diverged else ""
    return f"{cell.name}: n={len(cell.completed)}{diverged}"
