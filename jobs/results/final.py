"""The last test metric of every seed: a box with its points per cell."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.results import style
from jobs.results.cells import Cell
from jobs.results.study import Results


def draw(collection: Results, metric: str | None) -> Figure:
    """A panel per problem, a box per optimizer, or per cell where an optimizer has several.

    Of what was tuned and chosen only the evaluation is shown. `metric` is the test accuracy (where a
    problem has none: the test loss) unless given. Diverged runs are counted beside their cell.
    """
    columns: dict[str, list[Cell]] = {}
    for cell in collection.reported:
        if cell.results:
            columns.setdefault(cell.problem, []).append(cell)
    tallest = max(map(len, columns.values()))
    figure, axes = style.panels(1, len(columns), height=1.0 + 0.32 * tallest)
    style.name_rows(axes[0], list(columns.values()))
    for (problem, cells), panel in zip(columns.items(), axes[0], strict=True):
        has_accuracy = any(cell.measures("test_accuracy") for cell in cells)
        shown = metric or ("test_accuracy" if has_accuracy else "test_loss")
        panel.set_title(style.title(problem))
        panel.set_xlabel(f"final {style.words(shown)}")
        for row, cell in enumerate(cells):
            _draw_cell(panel, row, cell, shown, style.color(collection, cell.optimizer))
            style.note_row(panel, row, len(cell.completed), len(cell.diverged))
    style.add_footer(figure, collection, collection.reported)
    return figure


def _draw_cell(panel: Axes, row: int, cell: Cell, metric: str, color: str) -> None:
    values = cell.finals(metric)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    thin = {"color": color, "linewidth": 0.8}
    panel.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        manage_ticks=False,
        medianprops={"color": color, "linewidth": 1.6},
        boxprops=thin,
        whiskerprops=thin,
        capprops=thin,
    )
    beside = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else 0.0
    panel.plot(values, row + beside, "o", color=color, alpha=0.5, markersize=2.5)
