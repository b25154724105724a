"""What an optimizer's tuning gives after so many trials, so that equal budgets can be compared."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.cells import Cell, compared, metric_of, spell_seeds
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.statistics.tuning_curve import AfterTrials, tuning_curve

_PANEL_IN = 2.2
_WHAT = (
    "{metrics} of the setting that validation selects, over the number of settings tried: median over"
    " all draws of so many. A setting of which a run diverged is never selected; a line begins where"
    " half of the draws hold another."
)

Curve = tuple[Selection, Sequence[AfterTrials]]


def draw(results: Results, _: FigureOptions) -> Drawing:
    """Draw a panel per problem, and a line per optimizer of which several settings were tried.

    Raises:
        FigureError: no optimizer has several settings whose runs are all there.
    """
    columns: dict[str, list[Curve]] = {}
    for one in results.selections:
        if curve := after_trials(one, results.cells):
            columns.setdefault(one.problem, []).append((one, curve))
    if not columns:
        raise FigureError("no optimizer has several settings to select from, with all their runs")
    shown = {one.optimizer for column in columns.values() for one, _ in column}

    def draw_panel(panel: Axes, problem: str) -> None:
        _draw_panel(panel, results, columns[problem])

    return Drawing(
        pages=page.tiles(
            list(columns),
            draw_panel,
            panel_in=_PANEL_IN,
            handles=page.lines_of(results, shown),
            footer=origin(results, compared(results.cells)),
        ),
        caption=caption_of(results, list(chain(*columns.values()))),
    )


def _draw_panel(panel: Axes, results: Results, column: Sequence[Curve]) -> None:
    page.entitle(panel, style.title(column[0][0].problem))
    panel.set_xlabel("settings tried")
    panel.set_ylabel(measured(results, column))
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for one in column:
        _draw_line(panel, results, *one)


def measured(results: Results, column: Sequence[Curve]) -> str:
    """What the curves of a problem are of: `final test accuracy`."""
    return f"final test {_kind(_tried(column[0][0], results.cells))}"


def caption_of(results: Results, column: Sequence[Curve]) -> str:
    """The caption of these tuning curves."""
    tried = [cell for one, _ in column for cell in _tried(one, results.cells)]
    runs = [
        f"{one.name}: {len(curve)} settings on {spell_seeds(one.seeds)}" for one, curve in column
    ]
    metrics = ", ".join(dict.fromkeys(measured(results, [one]) for one in column)).capitalize()
    what = _WHAT.format(metrics=metrics)
    return caption(results, tried, (what,), runs=runs, is_of_all=True)


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
    return metric_of(tried, "valid").removeprefix("valid_")


def _draw_line(panel: Axes, results: Results, one: Selection, curve: Sequence[AfterTrials]) -> None:
    medians = [np.nan if after.test.median is None else after.test.median for after in curve]
    panel.plot(
        [after.trials for after in curve],
        medians,
        style.line(results, one.optimizer),
        marker=".",
        color=style.color(results, one.optimizer),
    )
