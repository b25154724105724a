"""Each optimizer's difference to the baseline, with its interval: a forest plot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.results import page, style
from jobs.results.captions import caption, origin
from jobs.results.comparisons import Answer, answers
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.question import Question
from jobs.results.sentence import why_no_difference
from jobs.results.study import Results

_ROW_IN = 0.38
_AROUND_IN = 0.8  # a panel's title and axis
_NAME_CHARACTERS_MAX = 22  # of a line of an optimizer's name


def draw(results: Results, options: FigureOptions) -> Drawing:
    """Draw a panel per problem and a row per optimizer, as `probprec compare` compares them.

    Where a run diverged, or there is but one, there is no difference of means: the row says how
    probable it is that a run is better than one of the baseline.

    Raises:
        InputError: there is nothing to compare.
    """
    found = answers(results.selections, Question(metric=options.metric), results.on_files)
    columns: dict[str, list[Answer]] = {}
    for one in found:
        columns.setdefault(one.problem, []).append(one)
    rows = list(dict.fromkeys(one.a.optimizer for one in found))

    def draw_panel(panel: Axes, problem: str, own: Sequence[str]) -> None:
        _draw_panel(panel, results, own, columns[problem])

    return Drawing(
        pages=page.row_tiles(
            list(columns),
            rows,
            draw_panel,
            row_in=_ROW_IN,
            around_in=_AROUND_IN,
            handles=(),
            footer=origin(results, results.reported),
        ),
        caption=caption_of(results, found),
    )


def _draw_panel(
    panel: Axes, results: Results, rows: Sequence[str], column: Sequence[Answer]
) -> None:
    base = page.shortened(column[0].b.optimizer, lines=1)
    metric = style.words(column[0].metric)
    page.entitle(panel, style.title(column[0].problem))
    panel.set_xlabel(f"{column[0].value} {metric},\nless that of {base}")
    style.name_rows(panel, [page.shortened(name, _NAME_CHARACTERS_MAX) for name in rows])
    panel.axvline(0.0, color="black", linewidth=0.8, linestyle="--")
    for one in column:
        optimizer = one.a.optimizer
        if optimizer in rows:
            _draw_row(panel, rows.index(optimizer), one, style.color(results, optimizer))
    panel.margins(x=0.1)
    panel.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    if not any(one.compared and one.compared.comparison.difference for one in column):
        panel.set_xticks([])  # an axis of no value has no numbers


def _draw_row(panel: Axes, row: int, one: Answer, color: str) -> None:
    made = one.compared
    if made is None:
        text = "not compared"
    elif made.comparison.difference is None:
        chance = made.comparison.improvement.probability
        why = why_no_difference(made.comparison)
        text = f"{why}\nP(better) = {chance:.2f}\np = {made.p_adjusted:.2g}"
    else:
        interval = made.comparison.difference.interval()
        panel.plot([interval.low, interval.high], [row, row], color=color, linewidth=1.2)
        panel.plot(made.comparison.difference.estimate, row, "o", color=color)
        text = f"p = {made.p_adjusted:.2g}"
    style.note_row(panel, row, text)


def caption_of(results: Results, found: Sequence[Answer]) -> str:
    """The caption of the differences of these comparisons."""
    problems = {one.problem for one in found}
    selections = [one for one in results.selections if one.problem in problems]
    cells = [one.cell for one in selections if one.cell is not None]
    what = (
        f"Difference of means to {found[0].b.optimizer}, per problem and optimizer.",
        "Line: its 95 % t interval.",
        f"{found[0].family} comparisons, p adjusted by Holm."
        if found[0].family > 1
        else "One comparison: p is not adjusted.",
    )
    return caption(results, cells, what, selections=selections)
