"""What an optimizer's epoch costs, as a multiple of the baseline's."""

from collections.abc import Sequence
from itertools import chain

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import style
from jobs.results.cells import Cell, name_some
from jobs.results.selection import baseline_of
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.results.times import HOW_TO_MEASURE, Pace, paces
from jobs.statistics.time_ratio import TimeRatio

_CLOCKS = (("wall clock", "o", -0.17), ("CPU time", "D", 0.17))  # marker, and place in the row
_REMARK = "geometric mean of pairs of equal seed, with its 95 % interval"


def draw(collection: Results, _: str | None) -> Figure:
    """Draw the wall clock and the CPU time of training without evaluation, per optimizer.

    Wall clock is drawn where it can be compared (`jobs.results.times`); the footer says where not.

    Raises:
        FigureError: no optimizer has a pair of runs with the baseline.
    """
    base = baseline_of(collection.optimizers)
    columns: dict[str, list[Pace]] = {}
    for one in paces(collection.selections, collection.found):
        columns.setdefault(one.selection.problem, []).append(one)
    if not columns:
        raise FigureError(
            f"nothing to compare with the baseline {base}: no completed run of another optimizer"
            " has the problem, seed, batch size and init of one of its own"
        )
    tallest = max(map(len, columns.values()))
    figure, axes = style.panels(1, len(columns), height=1.3 + 0.4 * tallest)
    style.name_rows(axes[0], [_cells(column) for column in columns.values()])
    for (problem, column), panel in zip(columns.items(), axes[0], strict=True):
        panel.set_title(style.title(problem))
        panel.set_xlabel(f"training time per epoch, {style.plain(base)} = 1")
        panel.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
        for row, pace in enumerate(column):
            _draw_row(panel, row, pace, style.color(collection, pace.selection.optimizer))
        panel.margins(x=0.12)
    figure.legend(
        handles=[
            Line2D([], [], color="#666666", marker=marker, linestyle="none", label=name)
            for name, marker, _ in _CLOCKS
        ],
        loc="outside upper right",
        ncols=2,
    )
    remarks = _remarks(collection.reported, list(chain(*columns.values())))
    style.add_footer(figure, collection, collection.reported, *remarks)
    return figure


def _cells(column: Sequence[Pace]) -> list[Cell]:
    return [one.selection.cell for one in column if one.selection.cell is not None]


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
        )


def _ends(found: TimeRatio) -> tuple[float, float]:
    interval = found.interval
    return (interval.low, interval.high) if interval else (found.ratio, found.ratio)


def _remarks(cells: Sequence[Cell], found: Sequence[Pace]) -> list[str]:
    results = chain(*(cell.results for cell in cells))
    hosts = sorted({str(result.provenance.get("host", "unknown")) for result in results})
    remarks = [f"{_REMARK} · hosts: {style.plain(name_some(hosts))}"]
    refused = [f"{one.selection.optimizer}: {one.refused}" for one in found if one.refused]
    if refused:
        remarks.append(style.plain(f"wall clock not compared: {name_some(refused)}"))
        remarks.append(style.plain(HOW_TO_MEASURE))
    return remarks
