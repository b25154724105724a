"""Curves over epochs, as DeepOBS shows them: a column per problem, a row per metric."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jobs.results import style
from jobs.results.cells import Cell, best
from jobs.results.ledger import Collection
from jobs.results.reading import Floats

_ROWS = ("test_loss", "train_loss", "test_accuracy", "train_accuracy")
_LEGEND_WIDTH = 48  # characters
_REMARK = "line: mean over seeds · band: one standard deviation · cross: a run diverged"


def draw(collection: Collection, _: str | None) -> Figure:
    """Mean and band of one standard deviation over the completed seeds of each optimizer.

    Of an optimizer with several cells the best one is drawn, and the legend says which; of one that
    was tuned that is the evaluation of the chosen one. A diverged run is drawn up to its last
    evaluation, with a cross there, and is in no mean.
    """
    columns = {
        problem: column
        for problem in collection.sweep.problems
        if (column := _choose(collection, problem))
    }
    rows = [
        metric
        for metric in _ROWS
        if any(cell.measures(metric) for column in columns.values() for cell in column)
    ] or [_ROWS[0]]  # where every run diverged at once there is only the legend to see
    legends = [_handles(collection, column) for column in columns.values()]
    lines = max(sum(str(handle.get_label()).count("\n") + 1 for handle in own) for own in legends)
    height = 1.25 * len(rows) + style.LEGEND_LINE * lines + 0.9
    figure, axes = style.panels(len(rows), len(columns), height)
    for index, (problem, column) in enumerate(columns.items()):
        panels = [row[index] for row in axes]
        panels[0].set_title(style.title(problem))
        _draw_column(panels, collection, rows, list(column))
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


def _choose(collection: Collection, problem: str) -> dict[Cell, int]:
    """Each optimizer's best cell, and of how many, in the order of the spec."""
    cells = collection.reported
    column = {}
    for optimizer in collection.sweep.optimizers:
        own = [cell for cell in cells if (cell.problem, cell.optimizer) == (problem, optimizer)]
        evaluated = [cell for cell in own if cell.role == "evaluation"]
        if any(cell.results for cell in evaluated):
            own = evaluated
        drawn = best(own)
        if drawn is not None:
            column[drawn] = len(own)
    return column


def _draw_column(
    panels: Sequence[Axes], collection: Collection, rows: Sequence[str], cells: Sequence[Cell]
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


def _draw_cell(panel: Axes, collection: Collection, metric: str, cell: Cell) -> None:
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


def _handles(collection: Collection, column: dict[Cell, int]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=style.color(collection, cell.optimizer),
            linestyle=style.line(collection, cell.optimizer) if cell.completed else "None",
            marker="x" if cell.diverged else "none",
            label=textwrap.fill(_label(cell, of), _LEGEND_WIDTH, subsequent_indent="  "),
        )
        for cell, of in column.items()
    ]


def _label(cell: Cell, of: int) -> str:
    """`SGD lr=0.1, best of 20 (n=9, 1 of 10 diverged)`."""
    name = f"{cell.optimizer} {cell.label}".strip()
    if cell.tuning is not None and cell.role == "evaluation":
        name += f", chosen of {len(cell.tuning.cells)}"
    name += f", best of {of}" if of > 1 else ""
    n = f"n={len(cell.completed)}" if cell.completed else ""
    diverged = f"{len(cell.diverged)} of {len(cell.results)} diverged" if cell.diverged else ""
    return style.plain(f"{name} ({', '.join(filter(None, (n, diverged)))})")
