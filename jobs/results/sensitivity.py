"""The final validation metric against the hyperparameter that the sweep varies."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import style
from jobs.results.cells import Cell, compared
from jobs.results.reading import is_better_high
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.text import described

_ROW = 0.05  # of the panel's height, for a line's crosses
_MOST = 0.4  # of the panel's height, for all of them


def draw(collection: Results, metric: str | None) -> Figure:
    """A line per optimizer (and per value of what else it varies), mean and sd over seeds.

    Of what is tuned the tuning runs are shown, and what was chosen has a ring. Crosses mark values at
    which a run diverged, at the bad end of the panel and beyond all data: a row per line that has
    any. Where no run completed, the line's region is shaded. An optimizer that does not vary the
    hyperparameter is a dashed level.

    Raises:
        FigureError: no hyperparameter has two numbers in the sweep.
    """
    every = compared(collection.cells)
    cells = [cell for cell in every if cell.results]
    axis = varied_axis(cells)
    problems = list(dict.fromkeys(cell.problem for cell in cells))
    figure, axes = style.panels(
        1, len(problems), height=2.8 + style.LEGEND_LINE * _most_lines(cells, axis)
    )
    for problem, panel in zip(problems, axes[0], strict=True):
        own = [cell for cell in cells if cell.problem == problem]
        has_accuracy = any(cell.measures("valid_accuracy") for cell in own)
        shown = metric or ("valid_accuracy" if has_accuracy else "valid_loss")
        panel.set_title(style.title(problem))
        panel.set_xlabel(style.plain(axis))
        panel.set_ylabel(f"final {style.words(shown)}")
        handles = _draw_panel(panel, collection, own, axis, shown)
        style.add_legend(figure, panel, handles)
    remark = "mean and sd over seeds · cross: a run diverged · shaded: no run completed"
    if any(cell.chosen for cell in cells):
        remark += "\nring: the chosen setting"
    style.add_footer(figure, collection, every, remark)
    return figure


def varied_axis(cells: Sequence[Cell]) -> str:
    """The hyperparameter with the most different numbers, the first of equals."""
    values: dict[str, set[float]] = {}
    for cell in cells:
        for name in cell.varied:
            if (number := _number(cell, name)) is not None:
                values.setdefault(name, set()).add(number)
    axis = max(values, key=lambda name: len(values[name]), default=None)
    if axis is None or len(values[axis]) < 2:
        raise FigureError("no hyperparameter has two different numbers in this sweep")
    return axis


def is_log_spaced(values: Sequence[float]) -> bool:
    """Whether the ratios of neighbours are more alike than their distances; of two: a decade."""
    numbers = np.array(sorted(set(values)))
    if len(numbers) < 2 or numbers[0] <= 0:
        return False
    if len(numbers) == 2:
        return bool(numbers[1] >= 10 * numbers[0])
    distances, ratios = np.diff(numbers), np.diff(np.log(numbers))
    return bool(ratios.std() / ratios.mean() < distances.std() / distances.mean())


def _draw_panel(
    panel: Axes, collection: Results, cells: Sequence[Cell], axis: str, metric: str
) -> list[Line2D]:
    """Draw all lines; returns what the legend shows, in the order of the spec."""
    if is_log_spaced([x for cell in cells if (x := _number(cell, axis)) is not None]):
        panel.set_xscale("log")
        panel.minorticks_off()
    lines = _lines(cells, axis)
    drawn: Counter[str] = Counter()
    handles = []
    crosses: list[tuple[list[Cell], str]] = []  # and their colour
    for (optimizer, others), line in lines.items():
        color = style.color(collection, optimizer)
        dash = style.LINES[drawn[optimizer] % len(style.LINES)]
        drawn[optimizer] += 1
        label = style.plain(f"{optimizer} {others}".strip() + f" ({_counts(line, axis)})")
        if _number(line[0], axis) is None:
            _draw_level(panel, line[0], metric, color)
            handles.append(Line2D([], [], color=color, linestyle="--", linewidth=0.9, label=label))
        else:
            _draw_line(panel, line, axis, metric, color=color, dash=dash)
            _shade(panel, line, axis, color)
            _ring(panel, line, axis, metric, color)
            if diverged := [cell for cell in line if cell.diverged]:
                crosses.append((diverged, color))
            handles.append(
                Line2D([], [], color=color, linestyle=dash, marker="o", markersize=3, label=label)
            )
    _draw_crosses(panel, crosses, axis, is_top=not is_better_high(metric))
    return handles


def _counts(line: Sequence[Cell], axis: str) -> str:
    """How many runs there are per value, and of which role; of a level also how many diverged."""
    counts = sorted({len(cell.results) for cell in line})
    n = f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
    n += ", tuning" if line[0].role == "tuning" else ""
    diverged = len(line[0].diverged)
    is_level = _number(line[0], axis) is None
    return f"{n}, {diverged} diverged" if is_level and diverged else n


def _draw_line(
    panel: Axes, line: Sequence[Cell], axis: str, metric: str, *, color: str, dash: style.LineStyle
) -> None:
    """Mean and sd of the cells with completed runs; a cell without breaks the line."""
    finals = [cell.finals(metric) for cell in line]
    means = [values.mean() if len(values) else np.nan for values in finals]
    sds = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in finals]
    panel.errorbar(
        [_at(cell, axis) for cell in line],
        means,
        sds,
        color=color,
        linestyle=dash,
        marker="o",
        markersize=3,
        elinewidth=0.7,
    )


def _ring(panel: Axes, line: Sequence[Cell], axis: str, metric: str, color: str) -> None:
    """A ring around the value that was chosen."""
    for cell in line:
        finals = cell.finals(metric)
        if cell.chosen and len(finals):
            panel.plot(
                _at(cell, axis),
                finals.mean(),
                "o",
                color=color,
                fillstyle="none",
                markersize=8,
                markeredgewidth=0.9,
            )


def _draw_level(panel: Axes, cell: Cell, metric: str, color: str) -> None:
    values = cell.finals(metric)
    if len(values):
        panel.axhline(float(values.mean()), color=color, linestyle="--", linewidth=0.9)


def _draw_crosses(
    panel: Axes, rows: Sequence[tuple[Sequence[Cell], str]], axis: str, *, is_top: bool
) -> None:
    """A cross at every value at which a run diverged, in a strip of the panel of their own."""
    if not rows:
        return
    step = min(_ROW, _MOST / (len(rows) + 1))
    strip = step * (len(rows) + 1)
    low, high = panel.get_ylim()  # room for all data
    room = (high - low) * strip / (1 - strip)
    panel.set_ylim(low - (0 if is_top else room), high + (room if is_top else 0))
    for row, (cells, color) in enumerate(rows):
        height = 1 - strip + step * (row + 1) if is_top else strip - step * (row + 1)
        panel.plot(
            [_at(cell, axis) for cell in cells],
            [height] * len(cells),
            "x",
            color=color,
            transform=panel.get_xaxis_transform(),
            clip_on=False,
        )


def _shade(panel: Axes, line: Sequence[Cell], axis: str, color: str) -> None:
    """A shade around every value at which no run completed."""
    for cell, before, after in zip(line, [None, *line], [*line[1:], None], strict=False):
        if not cell.completed:
            sides = [_at(near or cell, axis) for near in (before, after)]
            panel.axvspan(*_halfway(panel, _at(cell, axis), sides), color=color, alpha=0.1, lw=0)


def _halfway(panel: Axes, x: float, sides: Sequence[float]) -> list[float]:
    """The middles between x and its neighbours, on the panel's scale."""
    if panel.get_xscale() == "log":
        return [float(np.sqrt(x * side)) for side in sides]
    return [(x + side) / 2 for side in sides]


def _most_lines(cells: Sequence[Cell], axis: str) -> int:
    """The number of lines in the fullest panel."""
    problems = {cell.problem for cell in cells}
    return max(len(_lines([c for c in cells if c.problem == p], axis)) for p in problems)


def _lines(cells: Sequence[Cell], axis: str) -> Mapping[tuple[str, str], list[Cell]]:
    """The cells of each line from left to right, by optimizer and by what else is varied."""
    exact: dict[tuple[str, str], tuple[str, list[Cell]]] = {}
    for cell in cells:
        others = {name: value for name, value in cell.varied.items() if name != axis}
        key = cell.optimizer, described(others, exact=True)
        exact.setdefault(key, (described(others), []))[1].append(cell)
    labels = Counter((optimizer, label) for (optimizer, _), (label, _) in exact.items())
    lines: dict[tuple[str, str], list[Cell]] = {}
    for (optimizer, setting), (label, line) in exact.items():
        is_told_apart = labels[optimizer, label] == 1  # else the digits that are left out tell
        lines[optimizer, label if is_told_apart else setting] = sorted(
            line, key=lambda cell: _at(cell, axis)
        )
    return lines


def _number(cell: Cell, axis: str) -> float | None:
    value = cell.varied.get(axis)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _at(cell: Cell, axis: str) -> float:
    """Where on the axis the cell stands; NaN if nowhere."""
    number = _number(cell, axis)
    return float("nan") if number is None else number
