"""Each optimizer's difference to the baseline, with its interval: a forest plot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.results import style
from jobs.results.cells import Cell
from jobs.results.comparisons import Answer, Question, answers
from jobs.results.selection import baseline_of
from jobs.results.study import Results

_REMARK = "difference of means, 95 % t interval"


def draw(results: Results, metric: str | None) -> Figure:
    """Draw a panel per problem and a row per optimizer, as `probprec compare` compares them.

    Where a run diverged there is no difference of means: the row says how probable it is that a run
    is better than one of the baseline.

    Raises:
        InputError: there is nothing to compare.
    """
    found = answers(results.selections, Question(metric=metric))
    columns: dict[str, list[Answer]] = {}
    for one in found:
        columns.setdefault(one.problem, []).append(one)
    tallest = max(map(len, columns.values()))
    figure, axes = style.panels(1, len(columns), height=1.3 + 0.3 * tallest)
    style.name_rows(axes[0], [_cells(column) for column in columns.values()])
    base = style.plain(baseline_of(results.optimizers))
    for (problem, column), panel in zip(columns.items(), axes[0], strict=True):
        panel.set_title(style.title(problem))
        panel.set_xlabel(f"{column[0].value} {style.words(column[0].metric)}, less that of {base}")
        panel.axvline(0.0, color="black", linewidth=0.8, linestyle="--")
        for row, one in enumerate(column):
            _draw_row(panel, row, one, style.color(results, one.a.optimizer))
        panel.margins(x=0.1)
        panel.xaxis.set_major_locator(MaxNLocator(4))
    family = f"{found[0].family} comparisons, p adjusted by Holm"
    style.add_footer(figure, results, results.reported, f"{_REMARK} · {family}")
    return figure


def _cells(column: Sequence[Answer]) -> list[Cell]:
    return [one.a.cell for one in column if one.a.cell is not None]


def _draw_row(panel: Axes, row: int, one: Answer, color: str) -> None:
    made = one.compared
    if made is None:
        text = "not compared"
    elif made.comparison.difference is None:
        chance = made.comparison.improvement.probability
        text = f"a run diverged\nP(better) = {chance:.2f}\np = {made.p_adjusted:.2g}"
    else:
        interval = made.comparison.difference.interval()
        panel.plot([interval.low, interval.high], [row, row], color=color, linewidth=1.2)
        panel.plot(made.comparison.difference.estimate, row, "o", color=color)
        text = f"p = {made.p_adjusted:.2g}"
    panel.text(1.02, row, text, fontsize=6, va="center", transform=panel.get_yaxis_transform())
