"""What a Preconditioner says of itself, over epochs: its step size, curvatures, and estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.results import curve_axis, page, style
from jobs.results.captions import caption, origin, spell_counts
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.reading import Floats, Result
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.store import record
from jobs.store.store import Store

_PANEL_IN = 1.7
_WHAT = (
    "Step size: alpha of each parameter group, as estimated last. Curvatures: the eigenvalues of the"
    " estimated Hessian in the preconditioner, at the step of an estimate, and as lines their prior"
    " mean b0 = 1/alpha; they have no error bars, as a record does not hold their uncertainty."
    " Estimates: how many have begun. Thin line: a run."
)
Drawn = Literal["default", "steps-post"]

_ROWS = ("step size", "curvatures\n(lines: b0)", "estimates")


@dataclass(frozen=True, kw_only=True)
class _Log:
    """The optimizer's log in a run's record."""

    result: Result
    series: Mapping[str, Mapping[str, Sequence[Any]]]

    def epochs(self, name: str) -> Floats:
        """(n,) where the values of a series stand."""
        return np.array(self.series[name]["step"], dtype=np.float64) / self._per_epoch

    def columns(self, name: str) -> Floats:
        """(n, k) the values of a series, a list of numbers each; NaN where there is none."""
        values = [_listed(value) for value in self.series[name]["value"]]
        width = max(map(len, values), default=0)
        return np.array([[*value, *[np.nan] * (width - len(value))] for value in values])

    @property
    def _per_epoch(self) -> float:
        steps = self.result.steps
        if steps is not None and len(steps) > 1:
            return float(steps[1])
        taken: float = self.result.stop["step"] / max(self.result.stop["epoch"], 1)
        return max(taken, 1.0)


def draw(results: Results, _: FigureOptions) -> Drawing:
    """Draw a column per problem, and a row for each of step size, curvatures and estimates.

    Raises:
        FigureError: no run that is shown has such a log.
    """
    columns = _logs(results)
    if not columns:
        raise FigureError(
            "no selected run has the log of a Preconditioner (alpha, curvatures, steps_since_start)"
        )
    shown = {log.result.planned.optimizer for column in columns.values() for log in column}
    pages = page.split(list(columns), page.COLUMNS_MAX)
    footer = origin(results, results.reported)
    figures = []
    for number, problems in enumerate(pages, start=1):
        figure, axes = page.page(
            len(_ROWS),
            len(problems),
            _PANEL_IN,
            page.lines_of(results, shown),
            page.numbered(footer, number, len(pages)),
        )
        for index, problem in enumerate(problems):
            _draw_column([row[index] for row in axes], results, problem, columns[problem])
        for row, name in zip(axes, _ROWS, strict=True):
            row[0].set_ylabel(name)
        figure.align_ylabels()
        page.lay_out(figure)
        figures.append(figure)
    drawn = [one for one in _selected(results) if one.optimizer in shown]
    cells = [one.cell for one in drawn if one.cell is not None]
    return Drawing(
        pages=tuple(figures), caption=caption(results, cells, (_WHAT,), selections=drawn)
    )


def _selected(results: Results) -> list[Selection]:
    return [one for one in results.selections if one.cell is not None and one.cell.results]


def _logs(results: Results) -> dict[str, list[_Log]]:
    """The logs of the runs of the selected settings, by problem."""
    stores = {
        outcome.planned.run.id: results.stores[sweep]
        for outcome, sweep in zip(results.outcomes, results.sweeps, strict=True)
    }
    columns: dict[str, list[_Log]] = {}
    for one in _selected(results):
        for result in one.cell.results if one.cell is not None else ():
            log = _read(result, stores[result.planned.run.id])
            if log is not None:
                columns.setdefault(one.problem, []).append(log)
    return columns


def _read(result: Result, store: Store) -> _Log | None:
    run = result.planned.run.id
    series = record.read(store.run(run).record_file, run_id=run).curves.get("optimizer", {})
    if not {"alpha", "curvatures", "steps_since_start"} <= series.keys():
        return None
    if not series["steps_since_start"]["step"]:  # it diverged at once
        return None
    return _Log(result=result, series=series)


def _draw_column(
    panels: Sequence[Axes], results: Results, problem: str, logs: Sequence[_Log]
) -> None:
    counts: dict[str, int] = {}
    for log in logs:
        optimizer = log.result.planned.optimizer
        counts[optimizer] = counts.get(optimizer, 0) + 1
        _draw_log(panels, log, style.color(results, optimizer), style.line(results, optimizer))
    page.entitle(panels[0], style.title(problem), spell_counts(list(counts.values())))
    for panel in panels[:2]:
        heights = [np.asarray(line.get_ydata(), dtype=np.float64) for line in panel.get_lines()]
        every = np.concatenate([*heights, np.empty(0)])
        style.scale(panel, "y", "loss", every, every)  # as one: from 0 on, or on a log scale
    panels[2].yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    for panel in panels:
        panel.tick_params(labelbottom=panel is panels[2])
        curve_axis.tick(panel, "epochs")
    panels[2].margins(x=0.02)
    for panel in panels[:2]:  # nothing is estimated yet when a run begins
        panel.set_xlim(panels[2].get_xlim())
    panels[2].set_xlabel("epoch")


def _draw_log(panels: Sequence[Axes], log: _Log, color: str, dash: style.LineStyle) -> None:

    def draw_line(panel: Axes, x: Floats, y: Floats, how: Drawn) -> None:
        (thin,) = panel.plot(x, y, dash, color=color, drawstyle=how)
        thin.set(linewidth=0.6, alpha=0.6)

    since = log.columns("steps_since_start")[:, 0]
    at = log.epochs("steps_since_start")
    rows: tuple[tuple[str, Axes, Drawn], ...] = (
        ("alpha", panels[0], "default"),
        ("b0", panels[1], "steps-post"),  # it has gaps, where an estimate is under way
    )
    for name, panel, how in rows:
        if name in log.series and len(values := log.columns(name)):
            times = np.append(log.epochs(name), at[-1])  # only changes are kept
            for column in values.T:
                draw_line(panel, times, np.append(column, column[-1]), how)
    curvatures = log.columns("curvatures")
    times = log.epochs("curvatures")
    for column in curvatures.T:
        panels[1].plot(times, column, ".", color=color, markersize=3, alpha=0.7)
    estimates = 1 + np.cumsum(np.diff(since, prepend=since[0]) < 0)
    draw_line(panels[2], at, estimates.astype(np.float64), "steps-post")


def _listed(value: object) -> list[float]:
    """The numbers of a value of a log: one, or lists of them; NaN for what is none."""
    if isinstance(value, list):
        return list(chain(*map(_listed, value)))
    return [float(value) if isinstance(value, int | float) else np.nan]
