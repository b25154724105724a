"""The final metric of each seed, joined across optimizers: how much of a result is the seed's."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from jobs.results import page, style
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.cells import Cell, metric_of, name_some
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.reading import Result, is_better_high
from jobs.results.selection import Selection, baseline_of
from jobs.results.study import Results
from jobs.statistics.comparison import correlation

_PANEL_IN = 2.1  # with its title, without the optimizers' names
_NAME_CHARACTERS_MAX = 18
_PLACES_MAX = 12  # in a panel; the names of more would overlap
_LETTER_IN = 0.056  # an optimizer's name
_BESIDE_IN = 0.8  # a panel's axis with all that is left of it
_CROSS_PT = 8.0  # the row of crosses
_TICK_PAD_PT = 3.5
_BESIDE = 0.22  # of the way to the next optimizer, for crosses that would lie on each other
_LINE = "#888888"
_PAIRS_MIN = 5  # a correlation of fewer is chance
_R = (
    "r: correlation (Pearson) with {base} over seeds that both finished, where they are"
    f" {_PAIRS_MIN} or more; where it is near 0, pairing by seed gains nothing."
)

Column = Sequence[Selection]


def draw(results: Results, options: FigureOptions) -> Drawing:
    """Draw a panel per problem: a place for each optimizer, a line for each seed that all have.

    Many optimizers have several panels, with the baseline in each.
    """
    columns: dict[str, list[Selection]] = {}
    for one in results.selections:
        if one.cell is not None and one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    base = baseline_of(results.selections)
    parts = [part for column in columns.values() for part in _parts(column, base)]
    longest = max(len(_shortened(one)) for part in parts for one in part) * _LETTER_IN
    width = page.COLUMN_WIDTH_IN if len(parts) == 1 else page.PAGE_WIDTH_IN
    room = width / min(len(parts), page.COLUMNS_MAX) - _BESIDE_IN
    is_upright = longest * max(map(len, parts)) > room

    def draw_panel(panel: Axes, part: Column) -> None:
        column = columns[part[0].problem]
        _draw_panel(panel, results, column, part, _metric(column, options), is_upright=is_upright)

    return Drawing(
        pages=page.tiles(
            parts,
            draw_panel,
            panel_in=_PANEL_IN + (longest if is_upright else 0.0),
            handles=_handles(list(columns.values())),
            footer=origin(results, results.reported),
        ),
        caption=_caption(results, columns, options),
    )


def _handles(columns: Sequence[Column]) -> list[Line2D]:
    """The marks that are drawn."""
    handles = []
    if any(len(column) > 1 and _shared(_cells(column)) for column in columns):
        handles.append(Line2D([], [], color=_LINE, linewidth=0.6, label="the same seed"))
    if any(cell.diverged for column in columns for cell in _cells(column)):
        handles.append(Line2D([], [], color=_LINE, marker="x", linestyle="none", label="diverged"))
    return handles


def _parts(column: Column, base: str) -> list[Column]:
    """The optimizers of each panel of a problem; if there are several, each begins with the baseline."""
    if len(column) <= _PLACES_MAX:
        return [column]
    first = [one for one in column if one.optimizer == base]
    others = [one for one in column if one.optimizer != base]
    return [[*first, *part] for part in page.split(others, _PLACES_MAX - len(first))]


def _shortened(one: Selection) -> str:
    return page.shortened(one.optimizer, _NAME_CHARACTERS_MAX, lines=1)


def _metric(column: Column, options: FigureOptions) -> str:
    return options.metric or metric_of(_cells(column), "test")


def _cells(column: Column) -> list[Cell]:
    return [one.cell for one in column if one.cell is not None]


def _by_seed(cell: Cell) -> Mapping[int, Result]:
    return {result.planned.run.seed: result for result in cell.results}


def _shared(cells: Sequence[Cell]) -> list[int]:
    """The seeds of which every cell has a record."""
    return sorted(set.intersection(*(set(_by_seed(cell)) for cell in cells)))


def _draw_panel(
    panel: Axes,
    results: Results,
    column: Column,
    part: Column,
    metric: str,
    *,
    is_upright: bool,
) -> None:
    """Draw some optimizers of a problem's column; the axis is that of all of them."""
    cells = _cells(part)
    is_top = not is_better_high(metric)
    room = _CROSS_PT if any(cell.diverged for cell in cells) else 0.0
    title, note = style.title(part[0].problem), _note(results, part, metric)
    page.entitle(panel, title, note, above_pt=room * is_top)
    panel.set_ylabel(f"final {style.words(metric)}")
    for seed in _shared(_cells(column)):
        heights = [_by_seed(cell)[seed].final(metric) for cell in cells]
        panel.plot(range(len(cells)), heights, color=_LINE, linewidth=0.6, alpha=0.7)
    for place, cell in enumerate(cells):
        color = style.color(results, cell.optimizer)
        values = cell.finals(metric)
        panel.plot([place] * len(values), values, "o", color=color, markersize=3, alpha=0.8)
        if cell.diverged:
            _draw_crosses(panel, place, len(cell.diverged), color, is_top=is_top)
    every = np.concatenate([cell.finals(metric) for cell in _cells(column)])
    style.scale(panel, "y", metric, every, every)
    rotation = 90 if is_upright else 0
    panel.set_xticks(range(len(part)), list(map(_shortened, part)), rotation=rotation)
    panel.set_xlim(-0.5, len(part) - 0.5)
    panel.tick_params(axis="x", length=0, pad=_TICK_PAD_PT + room * (not is_top))
    panel.grid(visible=False, axis="x")


def _draw_crosses(panel: Axes, place: int, count: int, color: str, *, is_top: bool) -> None:
    """Mark the diverged runs beyond the axis, at its bad end."""
    beside = np.linspace(-_BESIDE, _BESIDE, count) if count > 1 else np.zeros(1)
    away = _CROSS_PT / 2 / 72 * (1 if is_top else -1)
    shift = ScaledTranslation(0, away, panel.figure.dpi_scale_trans)
    (marks,) = panel.plot(
        place + beside, [float(is_top)] * count, "x", color=color, scalex=False, scaley=False
    )
    marks.set(
        markersize=3,
        markeredgewidth=0.8,
        transform=panel.get_xaxis_transform() + shift,
        clip_on=False,
        in_layout=False,  # the ticks' and the title's distance is their room
    )


def _correlations(
    results: Results, column: Column, metric: str
) -> Iterator[tuple[str, float, int]]:
    """Of each optimizer with the baseline, over the seeds that both finished, and how many these are."""
    base = baseline_of(results.selections)
    by_optimizer = {cell.optimizer: _by_seed(cell) for cell in _cells(column)}
    others = by_optimizer.pop(base, {})
    for optimizer, own in by_optimizer.items():
        pairs = np.array(
            [(own[x].final(metric), others[x].final(metric)) for x in own if x in others]
        )
        pairs = pairs.reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        found = correlation(pairs[:, 0], pairs[:, 1])
        if found is not None and len(pairs) >= _PAIRS_MIN:
            yield optimizer, found, len(pairs)


def _note(results: Results, column: Column, metric: str) -> str:
    """`n=10; r with SGD -0.64 to 0.50; Adam 3 of 10 diverged`."""
    cells = _cells(column)
    parts = [spell_counts([len(cell.results) for cell in cells])]
    found = [value for _, value, _ in _correlations(results, column, metric)]
    if found:
        span = f"{found[0]:.2f}" if len(found) == 1 else f"{min(found):.2f} to {max(found):.2f}"
        parts.append(f"r with {page.brief(baseline_of(results.selections))} {span}")
    if diverged := [
        f"{page.brief(cell.optimizer)} {len(cell.diverged)} of {len(cell.results)}"
        for cell in cells
        if cell.diverged
    ]:
        parts.append(f"{name_some(diverged)} diverged")
    return "; ".join(parts)


def _caption(results: Results, columns: Mapping[str, Column], options: FigureOptions) -> str:
    base = baseline_of(results.selections)
    shown = dict.fromkeys(style.words(_metric(column, options)) for column in columns.values())
    cells = _cells(list(chain(*columns.values())))
    runs = [
        f"{problem} {optimizer}: r with {base} {value:.2f} over {count} seeds"
        for problem, column in columns.items()
        for optimizer, value, count in _correlations(results, column, _metric(column, options))
    ]
    what = [f"Final {', '.join(shown)}, per problem and optimizer. Point: a completed run."]
    if any(cell.diverged for cell in cells):
        what.append("Cross beyond the axis, at the bad end: a diverged one.")
    if any(len(column) > 1 for column in columns.values()):
        what.append("Line: a seed that all optimizers have a record of, broken where it diverged.")
    if runs:
        what.append(_R.format(base=base))
    selections = list(chain(*columns.values()))
    return caption(results, cells, what, selections=selections, runs=runs)
