"""Curves over epochs, as DeepOBS shows them: a column per problem, a row per metric."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jobs.results import style
from jobs.results.cells import Cell
from jobs.results.reading import Floats
from jobs.results.selection import Selection
from jobs.results.study import Results

_ROWS = ("test_loss", "train_loss", "test_accuracy", "train_accuracy")
_LEGEND_WIDTH = 48  # characters
_REMARK = "line: mean over seeds · band: one standard deviation · cross: a run diverged"


def draw(collection: Results, _: str | None) -> Figure:
    """Draw mean and band of one standard deviation over the completed seeds of each optimizer.

    An optimizer with several settings is drawn with the selected one (`jobs.results.selection`), and
    the legend says of how many. A diverged run is drawn up to its last evaluation, with a cross
    there, and is in no mean.
    """
    columns: dict[str, list[Selection]] = {}
    for one in collection.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    drawn = {problem: _cells(column) for problem, column in columns.items()}
    rows = [
        metric
        for metric in _ROWS
        if any(cell.measures(metric) for column in drawn.values() for cell in column)
    ] or [_ROWS[0]]  # where every run diverged at once there is only the legend to see
    legends = [_handles(collection, column) for column in columns.values()]
    lines = max(sum(str(handle.get_label()).count("\n") + 1 for handle in own) for own in legends)
    height = 1.25 * len(rows) + style.LEGEND_LINE * lines + 0.9
    figure, axes = style.panels(len(rows), len(columns), height)
    for index, problem in enumerate(columns):
        panels = [row[index] for row in axes]
        panels[0].set_title(style.title(problem))
        _draw_column(panels, collection, rows, drawn[problem])
        last = [panel for panel in panels if panel.axison][-1]
        last.set_xlabel("epoch")
        last.tick_params(labelbottom=True)
        legend = style.add_legend(figure, last, legends[index])
        legend.set_in_layout(last is panels[-1])  # else there is room below, where no metric is
    for metric, panel in zip(rows, (row[0] for row in axes), strict=True):
        panel.set_ylabel(style.words(metric))
    figure.align_ylabels()
    style.add_footer(figure, collection, collection.reported, _REMARK)
    return figure


def _cells(column: Sequence[Selection]) -> list[Cell]:
    return [one.cell for one in column if one.cell is not None]


def _draw_column(
    panels: Sequence[Axes], collection: Results, rows: Sequence[str], cells: Sequence[Cell]
) -> None:
    for metric, panel in zip(rows, panels, strict=True):
        measured = [cell for cell in cells if cell.measures(metric)]
        if not measured:
            panel.axison = panel is panels[0]
            continue
        _scale(panel, metric, measured)
        for cell in measured:
            _draw_cell(panel, collection, metric, cell)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.tick_params(labelbottom=False)
        panel.margins(x=0.02)


def _draw_cell(panel: Axes, collection: Results, metric: str, cell: Cell) -> None:
    color = style.color(collection, cell.optimizer)
    curves = cell.curves(metric)  # (n, E)
    if len(curves):
        low, mean, high = _band(curves)
        epochs = np.arange(len(mean))
        panel.plot(epochs, mean, style.line(collection, cell.optimizer), color=color)
        panel.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
    bottom, top = panel.get_ylim()
    for result in cell.diverged:
        curve = result.curves.get(metric, np.empty(0))
        if len(curve):
            panel.plot(curve, color=color, linewidth=0.7, alpha=0.7, scaley=False)
            end = (len(curve) - 1, np.clip(curve[-1], bottom, top))
            panel.plot(*end, "x", color=color, clip_on=False, zorder=3, scaley=False)


def _band(curves: Floats) -> tuple[Floats, Floats, Floats]:
    mean = curves.mean(axis=0)
    sd = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)
    return mean - sd, mean, mean + sd


def _scale(panel: Axes, metric: str, cells: Sequence[Cell]) -> None:
    """Fit the axis to what matters: the completed runs from epoch 1, or the first tenth, on.

    What was before, and what explodes, may leave the panel. Losses over two decades are on a log
    scale.
    """
    bands = [_band(curves) for cell in cells if len(curves := cell.curves(metric))]
    if not bands:
        bands = [
            _band(result.curves[metric][np.newaxis])
            for cell in cells
            for result in cell.results
            if len(result.curves.get(metric, ()))
        ]
    values = np.concatenate([_late(part) for band in bands for part in band])
    means = np.concatenate([_late(mean) for _, mean, _ in bands])
    if not np.isfinite(means).any():
        return
    low, high = np.nanmin(values), np.nanmax(values)
    if (
        metric.endswith("loss")
        and np.nanmin(means) > 0
        and np.nanmax(means) > 100 * np.nanmin(means)
    ):
        panel.set_yscale("log")
        panel.set_ylim(max(low, np.nanmin(means) / 2) / 1.2, high * 1.2)
    else:
        margin = 0.05 * (high - low) or 0.05
        panel.set_ylim(low - margin, high + margin)


def _late(curve: Floats) -> Floats:
    """The curve without its beginning, next to which all optimizers look alike."""
    first = max(1, len(curve) // 10)
    return curve[first:] if len(curve) > first else curve


def _handles(collection: Results, column: Sequence[Selection]) -> list[Line2D]:
    return [_handle(collection, one) for one in column]


def _handle(collection: Results, one: Selection) -> Line2D:
    is_line, is_cross = (one.cell.completed, one.cell.diverged) if one.cell else ([], [])
    return Line2D(
        [],
        [],
        color=style.color(collection, one.optimizer),
        linestyle=style.line(collection, one.optimizer) if is_line else "None",
        marker="x" if is_cross else "none",
        label=textwrap.fill(_label(one), _LEGEND_WIDTH, subsequent_indent="  "),
    )


def _label(one: Selection) -> str:
    """`SGD lr=0.1, selected of 20 (n=9, 1 of 10 diverged)`."""
    if one.cell is None:
        return style.plain(f"{one.optimizer}: nothing selected: {one.why}")
    name = f"{one.optimizer} {one.cell.label}".strip()
    name += f", selected of {one.settings}" if one.settings > 1 else ""
    n = f"n={len(one.cell.completed)}" if one.cell.completed else ""
    diverged = len(one.cell.diverged)
    share = f"{diverged} of {len(one.cell.results)} diverged" if diverged else ""
    return style.plain(f"{name} ({', '.join(filter(None, (n, share)))})")
