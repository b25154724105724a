"""What an optimizer's epoch costs, as a multiple of the baseline's."""

from collections.abc import Sequence
from itertools import chain

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.cells import name_some
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.selection import baseline_of
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.results.times import HOW_TO_MEASURE, Pace, paces
from jobs.statistics.time_ratio import TimeRatio

_CLOCKS = (("wall clock", "o", -0.17), ("CPU time", "D", 0.17))  # marker, and place in the row
_ROW_IN = 0.36
_AROUND_IN = 0.98  # a panel's title and axis
_NAME_CHARACTERS_MAX = 22  # of a line of an optimizer's name
_MARKS = "Mark and line: geometric mean of pairs of equal seed, with its 95 % interval; n: pairs."


def draw(collection: Results, _: FigureOptions) -> Drawing:
    """Draw the wall clock and the CPU time of training without evaluation, per optimizer.

    Wall clock is drawn where it can be compared (`jobs.results.times`); the caption says where not.

    Raises:
        FigureError: no optimizer has a pair of runs with the baseline.
    """
    base = baseline_of(collection.selections)
    columns: dict[str, list[Pace]] = {}
    for one in paces(collection.selections, collection.found):
        columns.setdefault(one.selection.problem, []).append(one)
    if not columns:
        raise FigureError(
            f"nothing to compare with the baseline {base}: no completed run of another optimizer"
            " has the problem, seed, batch size and init of one of its own"
        )
    shown = {one.selection.optimizer for column in columns.values() for one in column}
    rows = [optimizer for optimizer in collection.optimizers if optimizer in shown]

    def draw_panel(panel: Axes, problem: str, own: Sequence[str]) -> None:
        _draw_panel(panel, collection, own, columns[problem])

    return Drawing(
        pages=page.row_tiles(
            list(columns),
            rows,
            draw_panel,
            row_in=_ROW_IN,
            around_in=_AROUND_IN,
            handles=_handles([pace for column in columns.values() for pace in column]),
            footer=origin(collection, collection.reported),
        ),
        caption=caption_of(collection, list(chain(*columns.values())), base),
    )


def _handles(found: Sequence[Pace]) -> list[Line2D]:
    """The marks of the clocks; a clock that is compared nowhere says so."""
    compared = any(one.wall for one in found), any(one.cpu for one in found)
    return [
        Line2D(
            [],
            [],
            color="#666666",
            marker=marker if is_compared else "none",
            linestyle="none",
            label=name if is_compared else f"{name}: not compared, see the caption",
        )
        for (name, marker, _), is_compared in zip(_CLOCKS, compared, strict=True)
    ]


def _draw_panel(
    panel: Axes, collection: Results, rows: Sequence[str], column: Sequence[Pace]
) -> None:
    base = baseline_of(collection.selections)
    page.entitle(panel, style.title(column[0].selection.problem))
    panel.set_xlabel(f"time per epoch,\n{page.shortened(base, _NAME_CHARACTERS_MAX, lines=1)} = 1")
    style.name_rows(panel, [page.shortened(name, _NAME_CHARACTERS_MAX) for name in rows])
    panel.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
    for pace in column:
        optimizer = pace.selection.optimizer
        if optimizer in rows:
            _draw_row(panel, rows.index(optimizer), pace, style.color(collection, optimizer))
    panel.margins(x=0.12)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))


def _draw_row(panel: Axes, row: int, pace: Pace, color: str) -> None:
    for found, (_, marker, shift) in zip((pace.wall, pace.cpu), _CLOCKS, strict=True):
        if found is None:
            continue
        low, high = _ends(found)
        panel.plot([low, high], [row + shift] * 2, color=color, linewidth=1.0)
        panel.plot(found.ratio, row + shift, marker, color=color)
        panel.annotate(
            f"{found.ratio:.2f} (n={found.pairs})",
            (high, row + shift),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
            bbox={
                "facecolor": "white",
                "edgecolor": "none",
                "pad": 0.3,
            },  # over the baseline's line
        )


def _ends(found: TimeRatio) -> tuple[float, float]:
    interval = found.interval
    return (interval.low, interval.high) if interval else (found.ratio, found.ratio)


def caption_of(collection: Results, found: Sequence[Pace], base: str) -> str:
    """The caption of these times."""
    refused = [f"{one.selection.name}: {one.refused}" for one in found if one.refused]
    problems = {one.selection.problem for one in found}
    selections = [one for one in collection.selections if one.problem in problems]
    cells = [one.cell for one in selections if one.cell is not None]
    results = chain(*(cell.results for cell in cells))
    hosts = sorted({str(result.provenance.get("host", "unknown")) for result in results})
    what = [
        f"Training time per epoch without evaluation, as a multiple of that of {base}.",
        f"{_MARKS} Hosts: {name_some(hosts)}.",
    ]
    if refused:
        what.append(f"Wall clock not compared: {'; '.join(refused)} ({HOW_TO_MEASURE}).")
    return caption(collection, cells, what, selections=selections)
