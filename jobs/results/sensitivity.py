"""The final validation metric against the hyperparameter that the sweep varies."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jobs.results import page, sensitivity_axis, sensitivity_series, style
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.cells import Cell, compared, metric_of, name_some
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.sensitivity_astray import Astray
from jobs.results.sensitivity_panel import Panel, marks_pt
from jobs.results.sensitivity_plateau import plateau_text
from jobs.results.sensitivity_series import Layout
from jobs.results.study import Results
from jobs.statistics.sensitivity import ACCURACY_POINTS, LOSS_SHARE

_PANEL_IN = 2.2  # with its title and axis
_NEUTRAL = "#666666"
_WHAT = {
    "line": "Line: mean of a setting's completed runs, bar: one standard deviation.",
    "scatter": "Points without a line: settings that differ in more than this, each a mean; step:"
    " the best of all settings from the left up to there.",
    "level": "Dashed level: the best setting of an optimizer that does not vary it.",
}
_CROSS = (
    "Cross beyond the axis, at the bad end, a row per optimizer: all runs at this value"
    " diverged; a light one: some did."
)

_NEARLY = (
    f"Nearly as good: within {100 * ACCURACY_POINTS:g} point of accuracy, or {LOSS_SHARE:.0%} of loss; the"
    " range at least, and up to the next settings that are not."
)


def draw(collection: Results, options: FigureOptions) -> Drawing:
    """Draw a line per optimizer (and value of one more axis), or a scatter, against an axis.

    Of what is tuned the tuning runs are shown, and what was chosen has a ring. An optimizer that does
    not vary the hyperparameter is a dashed level.

    Raises:
        FigureError: no hyperparameter has two numbers in the sweep.
    """
    every = compared(collection.cells)
    cells = [cell for cell in every if cell.results]
    name = sensitivity_axis.varied_axis(cells)
    layout = sensitivity_series.lay(name, cells)
    axis = sensitivity_axis.axis_of(
        name, [cell for cell in cells if cell.optimizer not in layout.levels]
    )
    marked = {cell.optimizer for cell in cells if cell.diverged} - layout.levels
    astray = Astray.of(every)

    def draw_panel(panel: Axes, problem: str) -> None:
        own = [cell for cell in cells if cell.problem == problem]
        metric = _metric(own, options.metric)
        room = Panel(panel, axis, layout, metric, collection, astray).draw(own)
        page.entitle(panel, style.title(problem), _note(own, layout), above_pt=room)

    return Drawing(
        pages=page.tiles(
            list(dict.fromkeys(cell.problem for cell in cells)),
            draw_panel,
            panel_in=_PANEL_IN + marks_pt(len(marked)) / 72,
            handles=_handles(collection, cells, layout) + astray.handles(),
            footer=origin(collection, every),
        ),
        caption=caption_of(collection, every, layout, options.metric, astray),
    )


def _metric(cells: Sequence[Cell], metric: str | None) -> str:
    return metric or metric_of(cells, "valid")


def _handles(collection: Results, cells: Sequence[Cell], layout: Layout) -> list[Line2D]:
    """An entry per optimizer, and per value of the second axis."""
    shown = {cell.optimizer for cell in cells}
    handles = [
        Line2D(
            [],
            [],
            color=style.color(collection, optimizer),
            marker="none" if optimizer in layout.levels else style.marker(collection, optimizer),
            markersize=3,
            linestyle=_dash(collection, optimizer, layout),
            label=page.shortened(optimizer),
        )
        for optimizer in collection.optimizers
        if optimizer in shown
    ]
    return handles + [
        Line2D(
            [],
            [],
            color=_NEUTRAL,
            linestyle=layout.dash(value),
            label=page.shortened(f"{layout.second}={words}"),
        )
        for value, words in layout.values.items()
    ]


def _dash(collection: Results, optimizer: str, layout: Layout) -> style.LineStyle:
    if optimizer in layout.levels:
        return "--"
    is_line = optimizer not in layout.scattered and layout.second is None
    return style.line(collection, optimizer) if is_line else "-"


def _note(cells: Sequence[Cell], layout: Layout) -> str:
    """How many runs a setting has, and how many of a level, which has no place for a cross."""
    levels = [
        f"{page.brief(cell.optimizer)} {len(cell.diverged)} of {len(cell.results)}"
        for cell in cells
        if cell.optimizer in layout.levels and cell.diverged
    ]
    counts = spell_counts([len(cell.results) for cell in cells])
    return f"{counts}; {name_some(levels)} diverged" if levels else counts


def caption_of(
    collection: Results,
    cells: Sequence[Cell],
    layout: Layout,
    metric: str | None,
    astray: Astray | None = None,
) -> str:
    """The caption of these cells, laid out so; `astray`: those that are marked."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    shown: dict[str, None] = {}
    for cell in cells:
        groups.setdefault((cell.problem, cell.optimizer), []).append(cell)
    for problem in {cell.problem: None for cell in cells}:
        own = [cell for cell in cells if cell.problem == problem]
        shown[style.words(_metric(own, metric))] = None
    kinds = dict.fromkeys(one.kind for one in layout.series(cells))
    what = [
        f"Final {', '.join(shown)} against {layout.axis}, per problem and optimizer.",
        *(_WHAT[kind] for kind in kinds),
    ]
    if layout.second is not None:
        what.append(f"Dashes: {layout.second}.")
    if any(cell.diverged for cell in cells):
        what.append(_CROSS)
    if any(cell.chosen for cell in cells):
        what.append("Ring: the chosen setting.")
    runs = list(_counts(groups, layout, metric))
    if any(" decades" in line for line in runs):
        what.append(_NEARLY)
    if astray is not None:
        what += astray.words()
    return caption(collection, cells, what, runs=runs)


def _counts(
    groups: Mapping[tuple[str, str], Sequence[Cell]], layout: Layout, metric: str | None
) -> Iterator[str]:
    """A line per problem and optimizer; of one that does not vary the axis without a range of it."""
    for names, own in groups.items():
        of_problem = [
            cell for (problem, _), ones in groups.items() for cell in ones if problem == names[0]
        ]
        text = _counted(names, own)
        is_level = names[1] in layout.levels or not any(cell.results for cell in own)
        yield (
            text
            if is_level
            else f"{text}; {plateau_text(own, layout.axis, _metric(of_problem, metric))}"
        )


def _counted(names: tuple[str, str], cells: Sequence[Cell]) -> str:
    settings = "1 setting" if len(cells) == 1 else f"{len(cells)} settings"
    role = " of the tuning" if any(cell.role == "tuning" for cell in cells) else ""
    counts = spell_counts([len(cell.results) for cell in cells])
    return f"{' '.join(names)}: {settings}, {counts}{role}"
