"""A panel of a grid: one problem's curves of one metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from jobs.results import curve_axis, style
from jobs.results.cells import Cell
from jobs.results.figure_options import FigureOptions
from jobs.results.line_ends import LineEnds
from jobs.results.mean_curves import band, extents, has_band
from jobs.results.reading import Floats, Result
from jobs.results.study import Results


@dataclass(frozen=True, kw_only=True)
class GridPanel:
    """Where the curves of a metric are drawn on one problem."""

    axes: Axes
    metric: str
    collection: Results
    options: FigureOptions
    ends: LineEnds | None  # of lines, that are to be named there

    def draw(self, cells: Sequence[Cell]) -> bool:
        """Draw the cells that measure the metric; returns whether there are any."""
        measured = [cell for cell in cells if cell.measures(self.metric)]
        if not measured:
            return False
        budget = max(planned.run.epochs for cell in measured for planned in cell.planned)
        first = budget // 2 if self.options.zoom else 0
        style.scale(self.axes, "y", self.metric, *extents(self.metric, measured, first))
        for cell in measured:
            self._draw_completed(cell, first)
        for cell in measured:
            for result in cell.diverged:
                self._draw_diverged(result, first, cell.optimizer)
        curve_axis.dress(self.axes, self.options.x)
        return True

    def _draw_completed(self, cell: Cell, first: int) -> None:
        """Draw the completed runs of a cell, from an epoch on."""
        color, dash = self._look(cell.optimizer)
        own = [one for one in cell.completed if self.metric in one.curves]
        curves = np.array([one.curves[self.metric][first:] for one in own])  # (n, E)
        if not curves.size:
            return
        times = np.array([self._along(one)[first:] for one in own])  # (n, E)
        at, middle = times.mean(axis=0), curves.mean(axis=0)
        (mean,) = self.axes.plot(at, middle, dash, color=color)
        if len(at) == 1:
            mean.set_marker(".")
        if cell.diverged:
            mean.set(linewidth=0.8, alpha=0.55)
        if has_band(cell, curves):
            self.axes.fill_between(at, *band(curves), color=color, alpha=0.2, linewidth=0)
        elif len(curves) > 1 and not cell.diverged:
            self.axes.plot(times.T, curves.T, dash, color=color, linewidth=0.4, alpha=0.5)
        if self.ends is not None:
            end = (float(at[-1]), float(middle[-1]))
            self.ends.name(self.axes, end, cell.optimizer, color)

    def _draw_diverged(self, result: Result, first: int, optimizer: str) -> None:
        """Draw a run up to where it diverged, with a cross there."""
        color, _ = self._look(optimizer)
        curve = result.curves.get(self.metric, np.empty(0))[first:]
        if not len(curve):
            return
        at = self._along(result)[first:]
        bottom, top = self.axes.get_ylim()
        self.axes.plot(at, curve, color=color, linewidth=0.5, alpha=0.7, scaley=False)
        end = (at[-1], np.clip(curve[-1], bottom, top))
        self.axes.plot(*end, "x", color=color, clip_on=False, zorder=3, scaley=False)

    def _look(self, optimizer: str) -> tuple[str, style.LineStyle]:
        return style.color(self.collection, optimizer), style.line(self.collection, optimizer)

    def _along(self, result: Result) -> Floats:
        evaluations, found = len(result.curves[self.metric]), result.along(self.options.x)
        return np.arange(evaluations, dtype=np.float64) if found is None else found[:evaluations]
