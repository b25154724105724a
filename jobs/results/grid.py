"""Curves, as DeepOBS shows them: a column per problem, a row per metric."""

from collections.abc import Mapping, Sequence
from itertools import chain

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import curve_axis, line_ends, page, style
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.cells import Cell, name_some
from jobs.results.figure_options import DEFAULTS, FigureOptions
from jobs.results.grid_panel import GridPanel
from jobs.results.line_ends import LineEnds
from jobs.results.mean_curves import BAND_RUNS_MIN
from jobs.results.page import Drawing
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.statistics.interval import LEVEL

_PANEL_IN = 1.5  # inches, with its title's share
_CROSS_PT = 4.0  # that it stands out at the top
_WHAT = f"""\
Line: mean over the seeds. Band: {LEVEL:.0%} Student t interval of the mean, from {BAND_RUNS_MIN} \
runs on; of fewer runs each has a thin line. Thin, light line: completed only, as other runs of the \
setting diverged; it has no band. Cross: the last evaluation of a run that diverged, at the end of \
its own line; the axis is not scaled to it. Nor is it to epoch 0 and the first tenth of the epochs: \
what was there may leave the panel."""
_ZOOM = (
    "The last half of the epochs; a run that diverged before has no cross, and is counted above its"
    " panel."
)
_SECONDS = (
    "Seconds: of training by the wall clock, without evaluation; a mean over seeds stands at the mean"
    " time of its epoch. Within a problem all runs had equal hardware, and each its host to itself."
)

Columns = Mapping[str, Sequence[Selection]]  # by problem


def draw(collection: Results, options: FigureOptions) -> Drawing:
    """Draw the mean of each optimizer's completed runs, with the t interval of that mean.

    An optimizer with several settings is drawn with the selected one (`jobs.results.selection`). A
    diverged run is drawn up to its last evaluation, with a cross there, and is in no mean.

    Raises:
        FigureError: the records have no times to draw over, or none that can be compared.
    """
    columns: dict[str, list[Selection]] = {}
    for one in collection.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    cells = _cells(list(chain(*columns.values())))
    curve_axis.check(collection, cells, options.x)
    shown = {one.optimizer for column in columns.values() for one in column}

    def draw_pages(ends: LineEnds | None, handles: Sequence[Line2D]) -> list[Figure]:
        return _draw_pages(collection, options, columns, ends, handles)

    figures = line_ends.named_or_legend(
        draw_pages,
        page.lines_of(collection, shown),
        list(shown),
        has_ends=options.x != "seconds" and all(cell.completed for cell in cells),
    )
    return Drawing(pages=figures, caption=caption_of(collection, columns, options))


def _draw_pages(
    collection: Results,
    options: FigureOptions,
    columns: Columns,
    ends: LineEnds | None,
    handles: Sequence[Line2D],
) -> list[Figure]:
    pages = page.split(list(columns), page.COLUMNS_MAX)
    footer = origin(collection, collection.reported)
    figures = []
    for number, problems in enumerate(pages, start=1):
        own = {problem: columns[problem] for problem in problems}
        text = page.numbered(footer, number, len(pages))
        rows = _measured(own, options)
        figure, axes = page.page(len(rows), len(own), _PANEL_IN, handles, text)
        _draw_page(collection, options, own, axes, ends)
        figure.align_ylabels()
        _lay_out(figure, axes, options)
        figures.append(figure)
    return figures


def _draw_page(
    collection: Results,
    options: FigureOptions,
    columns: Columns,
    axes: Sequence[Sequence[Axes]],
    ends: LineEnds | None,
) -> None:
    rows = _measured(columns, options)
    for index, (problem, column) in enumerate(columns.items()):
        panels = [row[index] for row in axes]
        page.entitle(panels[0], style.title(problem), _note(column), above_pt=_CROSS_PT)
        for metric, panel in zip(rows, panels, strict=True):
            panel.tick_params(labelbottom=False)
            own = GridPanel(
                axes=panel, metric=metric, collection=collection, options=options, ends=ends
            )
            if not own.draw(_cells(column)):
                panel.axison = panel is panels[0]
    for metric, row in zip(rows, axes, strict=True):
        first = next((panel for panel in row if panel.axison), row[0])
        first.set_ylabel(style.words(metric))


def _lay_out(figure: Figure, axes: Sequence[Sequence[Axes]], options: FigureOptions) -> None:
    columns = zip(*axes, strict=True)
    lowest = [[panel for panel in column if panel.axison][-1] for column in columns]
    _name_axis([panel for panel in lowest if panel in axes[-1]], options)
    page.lay_out(figure)
    _name_axis(lowest, options)  # a shorter column has room below, which no other is to make


def _name_axis(panels: Sequence[Axes], options: FigureOptions) -> None:
    for panel in panels:
        curve_axis.name(panel, options.x)
        panel.tick_params(labelbottom=True)


def _measured(columns: Columns, options: FigureOptions) -> list[str]:
    """The metrics that have a row; where every run diverged at once there is nothing to see."""
    split = "valid" if options.valid else "test"
    metrics = (f"{split}_loss", "train_loss", f"{split}_accuracy", "train_accuracy")
    cells = _cells(list(chain(*columns.values())))
    rows = [metric for metric in metrics if any(cell.measures(metric) for cell in cells)]
    return rows or [metrics[0]]


def _cells(column: Sequence[Selection]) -> list[Cell]:
    return [one.cell for one in column if one.cell is not None]


def _note(column: Sequence[Selection]) -> str:
    """`n=5`, and by name who differs: `n=5; SGD 3 of 10 diverged`."""
    cells = _cells(column)
    parts = [spell_counts([len(cell.results) for cell in cells])] if cells else []
    if diverged := [
        f"{page.brief(cell.optimizer)} {len(cell.diverged)} of {len(cell.results)}"
        for cell in cells
        if cell.diverged
    ]:
        parts.append(f"{name_some(diverged)} diverged")
    if unselected := [page.brief(one.optimizer) for one in column if one.cell is None]:
        parts.append(f"{name_some(unselected)} not selected")
    return "; ".join(parts)


def caption_of(collection: Results, columns: Columns, options: FigureOptions = DEFAULTS) -> str:
    """The caption of the curves of these problems."""
    metrics = ", ".join(map(style.words, _measured(columns, options)))
    curves = f"{metrics} over {options.x}".capitalize()
    what = [f"{curves}, per problem and optimizer.", _WHAT]
    if options.zoom:
        what.append(_ZOOM)
    if options.x == "seconds":
        what.append(_SECONDS)
    selections = list(chain(*columns.values()))
    return caption(collection, _cells(selections), what, selections=selections)
