"""The share of runs that have reached their problem's target, over epochs, steps or seconds."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import curve_axis, line_ends, page, style, targets
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.cells import name_some
from jobs.results.figure_options import FigureOptions
from jobs.results.line_ends import LineEnds
from jobs.results.page import Drawing
from jobs.results.reach_times import cells_logrank, solved_by
from jobs.results.reading import Unit
from jobs.results.selection import Selection, baseline_of
from jobs.results.sentence import p_text
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.results.targets import Split
from jobs.statistics.time_to_target import Solved
from jobs.sweep import Target
from jobs.text import spelled

_PANEL_IN = 2.2
_MEDIANS: Mapping[Unit, str] = {"epochs": "epoch {}", "steps": "step {}", "seconds": "{} s"}
_WHAT = (
    "Share of all planned runs that have reached the problem's target on {data} data, over {unit}: a"
    " run that diverged, or did not get there, never has. Band: 95 % interval, of up to"
    f" {style.BANDS_MAX} optimizers in a panel. Restricted mean: of the {{unit}} to the target, where"
    " the budget stands for never. p: log-rank test against {base} alone, not adjusted."
)
_UNSETTLED = "Of a run without a record nothing is known: the line is the Kaplan-Meier estimate from the others."
_SECONDS = (
    "Seconds: of training by the wall clock, up to those that an optimizer's quickest run took; what"
    " others reach after that does not count, as nobody knows when the quickest would have."
)


def draw(results: Results, options: FigureOptions) -> Drawing:
    """Draw a panel per problem that has a target, and a step line per optimizer.

    Of each optimizer the setting that stands for it.

    Raises:
        FigureError: no problem has a target, or time cannot be counted so.
    """
    split: Split = "test" if options.test else "valid"
    columns: dict[str, list[Selection]] = {}
    for one in results.selections:
        if one.problem in results.targets and one.cell is not None and one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    if not columns:
        raise FigureError("no problem has a target that its runs could reach")
    cells = [one.cell for one in chain(*columns.values()) if one.cell is not None]
    curve_axis.check(results, cells, options.x)
    shown = {one.optimizer for column in columns.values() for one in column}
    own = {problem: targets.on(results.targets[problem], split) for problem in columns}

    def draw_pages(ends: LineEnds | None, handles: Sequence[Line2D]) -> Sequence[Figure]:
        def draw_panel(panel: Axes, problem: str) -> None:
            _draw_panel(panel, results, columns[problem], own[problem], options.x, ends)

        return page.tiles(
            list(columns),
            draw_panel,
            panel_in=_PANEL_IN,
            handles=handles,
            footer=origin(results, results.reported),
        )

    handles = page.lines_of(results, shown)
    figures = line_ends.named_or_legend(draw_pages, handles, list(shown), has_ends=True)
    text = caption_of(results, list(chain(*columns.values())), split, options.x)
    return Drawing(pages=figures, caption=text)


def _draw_panel(
    panel: Axes,
    results: Results,
    column: Sequence[Selection],
    target: Target,
    unit: Unit,
    ends: LineEnds | None,
) -> None:
    shares = {one.optimizer: solved_by(one.cell, target, unit) for one in column if one.cell}
    page.entitle(panel, style.title(column[0].problem), _note(column, shares))
    curve_axis.name(panel, unit)
    curve_axis.tick(panel, unit)
    panel.set_ylabel(f"share with\n{style.words(target.metric)} {spelled(target.value)}")
    panel.set_ylim(-0.03, 1.03)
    for one in column:
        if (share := shares.get(one.optimizer)) is not None:
            _draw_line(panel, results, one, share, has_band=len(column) <= style.BANDS_MAX)
            if ends is not None:
                end = (share.known_to, float(share.shares[-1]))
                ends.name(panel, end, one.optimizer, style.color(results, one.optimizer))


def _note(column: Sequence[Selection], shares: Mapping[str, Solved]) -> str:
    """`n=10; never: SGD`: at 0 lines lie on each other; `never: all` of several."""
    counts = spell_counts([len(one.cell.results) for one in column if one.cell is not None])
    never = [page.brief(optimizer) for optimizer, share in shares.items() if not share.reached]
    if len(never) == len(shares) > 1:
        return f"{counts}; never: all"
    return f"{counts}; never: {name_some(never)}" if never else counts


def _draw_line(
    panel: Axes, results: Results, one: Selection, share: Solved, *, has_band: bool
) -> None:
    times = np.append(share.times, share.known_to)
    color = style.color(results, one.optimizer)
    panel.step(
        times,
        np.append(share.shares, share.shares[-1]),
        style.line(results, one.optimizer),
        where="post",
        color=color,
    )
    if has_band:
        low, high = (np.append(ends, ends[-1]) for ends in (share.low, share.high))
        panel.fill_between(times, low, high, step="post", color=color, alpha=0.12, linewidth=0)


def caption_of(
    results: Results,
    column: Sequence[Selection],
    split: Split = "valid",
    unit: Unit = "epochs",
) -> str:
    """The caption of the shares of these selections, whose problems have a target."""
    base = baseline_of(results.selections)
    of_base = {one.problem: one.cell for one in column if one.optimizer == base}
    cells = [one.cell for one in column if one.cell is not None]
    runs = []
    for cell in cells:
        target, other = targets.on(results.targets[cell.problem], split), of_base.get(cell.problem)
        text = _spell(solved_by(cell, target, unit), unit)
        test = cells_logrank(cell, other, target, unit) if other and other is not cell else None
        tested = f"; log-rank p {p_text(test.p_value)}" if test else ""
        runs.append(f"{cell.problem} {cell.optimizer}: {text}{tested}")
    data = {"valid": "validation", "test": "test"}[split]
    what = [_WHAT.format(data=data, unit=unit, base=base)]
    if any(cell.unsettled for cell in cells):
        what.append(_UNSETTLED)
    if unit == "seconds":
        what.append(_SECONDS)
    return caption(results, cells, what, selections=column, runs=runs, is_of_all=True)


def _spell(share: Solved, unit: Unit) -> str:
    """`3 of 10 reached it; median epoch > 20; restricted mean 18.2 of 20`."""
    middle = f"> {share.known_to:.4g}" if share.median is None else f"{share.median:.4g}"
    text = f"{share.reached} of {share.runs} reached it; median {_MEDIANS[unit].format(middle)}"
    if share.restricted_mean is None:
        return f"{text}; restricted mean not known"
    return f"{text}; restricted mean {share.restricted_mean:.4g} of {share.budget:.4g}"
