"""What an optimizer's tuning gives after so many trials, so that equal budgets can be compared."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jobs.results import style
from jobs.results.cells import Cell, compared
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.statistics.tuning_curve import AfterTrials, tuning_curve

_REMARK = (
    "median over all draws of so many settings: test metric of the setting that validation selects"
    "\na line begins where half of the draws hold a setting that did not diverge"
)


def draw(results: Results, _: str | None) -> Figure:
    """Draw a panel per problem, and a line per optimizer of which several settings were tried.

    Raises:
        FigureError: no optimizer has several settings whose runs are all there.
    """
    columns: dict[str, list[tuple[Selection, Sequence[AfterTrials]]]] = {}
    for one in results.selections:
        if curve := after_trials(one, results.cells):
            columns.setdefault(one.problem, []).append((one, curve))
    if not columns:
        raise FigureError("no optimizer has several settings to select from, with all their runs")
    most = max(map(len, columns.values()))
    figure, axes = style.panels(1, len(columns), height=2.6 + style.LEGEND_LINE * most)
    for (problem, column), panel in zip(columns.items(), axes[0], strict=True):
        panel.set_title(style.title(problem))
        panel.set_xlabel("settings tried")
        kind = _kind(_tried(column[0][0], results.cells))
        panel.set_ylabel(f"final test {kind}")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        handles = [_draw_line(panel, results, *one) for one in column]
        style.add_legend(figure, panel, handles)
    style.add_footer(figure, results, compared(results.cells), *_REMARK.splitlines())
    return figure


def after_trials(one: Selection, cells: Sequence[Cell]) -> Sequence[AfterTrials]:
    """The tuning curve of a selection by final metrics; empty: there was nothing to select from.

    A setting of which a run diverged on the seeds that selected counts as diverged.
    """
    tried = _tried(one, cells)
    if len(tried) < 2 or one.cell is None:
        return ()
    kind = _kind(tried)
    values, diverged = [], 0
    for cell in tried:
        found = [result for result in cell.results if result.planned.run.seed in one.seeds]
        if len(found) < len(one.seeds):
            return ()
        diverged += any(result.diverged for result in found)
        if not any(result.diverged for result in found):
            values.append(
                [
                    [result.final(f"{split}_{kind}") for split in ("valid", "test")]
                    for result in found
                ]
            )
    means = np.array(values).mean(axis=1) if values else np.empty((0, 2))
    if not np.isfinite(means).all():
        return ()
    is_high = kind == "accuracy"
    return tuning_curve(means[:, 0], means[:, 1], diverged=diverged, is_better_high=is_high)


def _tried(one: Selection, cells: Sequence[Cell]) -> list[Cell]:
    own = (one.problem, one.optimizer)
    return [cell for cell in compared(cells) if (cell.problem, cell.optimizer) == own]


def _kind(tried: Sequence[Cell]) -> str:
    return "accuracy" if any(cell.measures("valid_accuracy") for cell in tried) else "loss"


def _draw_line(
    panel: Axes, results: Results, one: Selection, curve: Sequence[AfterTrials]
) -> Line2D:
    medians = [np.nan if after.test.median is None else after.test.median for after in curve]
    (line,) = panel.plot(
        [after.trials for after in curve],
        medians,
        style.line(results, one.optimizer),
        marker=".",
        color=style.color(results, one.optimizer),
        label=style.plain(f"{one.optimizer} ({len(curve)} settings)"),
    )
    return line
