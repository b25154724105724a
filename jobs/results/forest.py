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
from jobs.results.reading import is_better_high
from jobs.results.sentence import difference_text, runs_text, test_text, why_no_difference
from jobs.results.study import Results

_ROW_IN = 0.38
_AROUND_IN = 0.93  # a panel's title and axis
_NAME_CHARACTERS_MAX = 22  # of a line of an optimizer's name

_WHAT = (
    "Difference of means to {base}, per problem and optimizer; more accuracy is better, and less loss."
    " Line: its 95 % t interval. p: by permutation of the runs, or of the signs where seeds are paired;"
    " {adjusted}."
)
_CHANCE = (
    "Where a run diverged, or an optimizer has a single one, there is no such difference. P(better): that"
    " a run is better than one of {base}; one that diverged is worse than any other."
)


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
    page.entitle(panel, style.title(column[0].problem))
    panel.set_xlabel(_axis_name(column[0]))
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


def _axis_name(one: Answer) -> str:
    """The difference, and on which side it is good."""
    base = page.shortened(one.b.optimizer, _NAME_CHARACTERS_MAX, lines=1)
    better = "better →" if is_better_high(one.metric) else "← better"
    return f"{one.value} {style.words(one.metric)},\nless that of {base}\n{better}"


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
    base = found[0].b.optimizer
    family = found[0].family
    adjusted = "not adjusted" if family == 1 else f"adjusted by Holm over {family} comparisons"
    what = [_WHAT.format(base=base, adjusted=adjusted)]
    if any(one.compared and one.compared.comparison.difference is None for one in found):
        what.append(_CHANCE.format(base=base))
    runs = [f"{one.problem} {one.a.optimizer}: {_in_numbers(one)}" for one in found]
    return caption(results, cells, what, selections=selections, runs=runs, is_of_all=True)


def _in_numbers(one: Answer) -> str:
    """`+0.0121 (95 % CI 0.0027 to 0.0215); 9 pairs of seeds 43..51; exact sign-flip p = 0.020`."""
    made = one.compared
    if made is None:
        return f"not compared: {one.refused}"
    found = made.comparison
    effect = difference_text(found) or f"P(better) {found.improvement.probability:.2f}"
    return "; ".join((effect, runs_text(made), test_text(one, made)))
