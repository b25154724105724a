"""A panel of a sensitivity figure: one problem's series, and where runs diverged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from jobs.results import style
from jobs.results.cells import Cell
from jobs.results.reading import Floats, is_better_high
from jobs.results.sensitivity_astray import Astray, Point
from jobs.results.sensitivity_axis import Axis
from jobs.results.sensitivity_points import best, diverged_at, moments, running_best
from jobs.results.sensitivity_series import Layout, Series
from jobs.results.study import Results

_MARK_PT = 5.0  # a row of crosses
_MARKS_PT_MAX = 40.0  # all of them
_TICK_PAD_PT = 3.5

Truths = npt.NDArray[np.bool_]


def marks_pt(rows: int) -> float:
    """The height of so many rows of crosses, in points."""
    return (rows + 0.6) * _step(rows) if rows else 0.0


def _step(rows: int) -> float:
    return min(_MARK_PT, _MARKS_PT_MAX / rows)


@dataclass(frozen=True)
class Panel:
    """Where one problem's series are drawn."""

    axes: Axes
    axis: Axis
    layout: Layout
    metric: str
    collection: Results
    astray: Astray

    def draw(self, cells: Sequence[Cell]) -> float:
        """Draw the cells of a problem; returns the room that is taken above the panel, in points."""
        self.axis.dress(self.axes)
        self.axes.set_ylabel(f"final {style.words(self.metric)}")
        drawn: list[tuple[Floats, Floats, Truths]] = []
        diverged: dict[str, list[Cell]] = {}
        points: list[Point] = []
        for one in self.layout.series(cells):
            drawn.append(self._draw_one(one, points))
            if one.kind != "level" and any(cell.diverged for cell in one.cells):
                diverged.setdefault(one.optimizer, []).extend(one.cells)
        means, sds, is_tame = (np.concatenate(part) for part in zip(*drawn, strict=True))
        if np.isfinite(means[is_tame]).any():
            means, sds = means[is_tame], sds[is_tame]
        style.scale(
            self.axes, "y", self.metric, means, np.concatenate([means, means - sds, means + sds])
        )
        self.astray.mark(self.axes, points)
        return self._draw_crosses(diverged)

    def _draw_one(self, one: Series, points: list[Point]) -> tuple[Floats, Floats, Truths]:
        """Draw a series, and add its points.

        Returns mean and sd of each of its cells, or of what is seen of them, and whether the axis is
        scaled to it.
        """
        color = style.color(self.collection, one.optimizer)
        cells = sorted(one.cells, key=self.axis.at) if one.kind != "level" else one.cells
        means, sds = moments(cells, self.metric)
        if one.kind == "level":
            level = best(means, self.metric)
            self.axes.axhline(level, color=color, linestyle="--", linewidth=0.9)
            return np.array([level]), np.zeros(1), np.ones(1, dtype=bool)
        at = np.array([self.axis.at(cell) for cell in cells])
        is_apart = np.array([self.axis.is_apart(cell) for cell in cells])
        if one.kind == "scatter":
            self._draw_scatter(one, at, means, is_apart)
            sds = np.zeros_like(means)
        else:
            self._draw_line(one, at, means, sds, is_apart)
        for x, y in ((x, y) for x, y, cell in zip(at, means, cells, strict=True) if cell.chosen):
            (ring,) = self.axes.plot(x, y, "o", color=color)
            ring.set(fillstyle="none", markersize=8, markeredgewidth=0.9)
        points += [
            Point(x=x, y=y, cell=cell, color=color)
            for x, y, cell in zip(at, means, cells, strict=True)
        ]
        return means, sds, np.array([not self.astray.has_exploded(cell) for cell in cells])

    def _draw_scatter(self, one: Series, at: Floats, means: Floats, is_apart: Truths) -> None:
        color = style.color(self.collection, one.optimizer)
        marker = style.marker(self.collection, one.optimizer)
        self.axes.plot(at, means, marker, color=color, markersize=3, alpha=0.5, markeredgewidth=0)
        running = running_best(means[~is_apart], self.metric)
        self.axes.plot(at[~is_apart], running, color=color, drawstyle="steps-post", linewidth=1.0)

    def _draw_line(
        self, one: Series, at: Floats, means: Floats, sds: Floats, is_apart: Truths
    ) -> None:
        """Mean and sd; no line leads to what is not on the scale."""
        for own, dash in ((~is_apart, self._dash(one)), (is_apart, "none")):
            if own.any():
                self.axes.errorbar(
                    at[own],
                    means[own],
                    sds[own],
                    color=style.color(self.collection, one.optimizer),
                    linestyle=dash,
                    marker=style.marker(self.collection, one.optimizer),
                    markersize=3,
                    elinewidth=0.7,
                )

    def _dash(self, one: Series) -> style.LineStyle:
        """By the second axis' value; where there is none, by optimizer, as in the other figures."""
        if self.layout.second is None:
            return style.line(self.collection, one.optimizer)
        return self.layout.dash(one.value)

    def _draw_crosses(self, rows: dict[str, list[Cell]]) -> float:
        """Mark where runs diverged, beyond the axis, a row per optimizer."""
        if not rows:
            return 0.0
        is_top = not is_better_high(self.metric)
        step = _step(len(rows))
        figure = self.axes.figure
        for row, (optimizer, cells) in enumerate(rows.items()):
            away = (row + 0.8) * step / 72 * (1 if is_top else -1)
            at = diverged_at(cells, self.axis)
            for is_partly, alpha in ((True, 0.45), (False, 1.0)):
                marked = [x for x, has_completed in at.items() if has_completed == is_partly]
                (marks,) = self.axes.plot(
                    marked, [float(is_top)] * len(marked), "x", scalex=False, scaley=False
                )
                marks.set(
                    color=style.color(self.collection, optimizer),
                    alpha=alpha,
                    markersize=0.7 * step,
                    markeredgewidth=0.8,
                    transform=self.axes.get_xaxis_transform()
                    + ScaledTranslation(0, away, figure.dpi_scale_trans),
                    clip_on=False,
                    in_layout=False,  # the ticks' and the title's distance is their room
                )
        room = marks_pt(len(rows))
        if not is_top:
            self.axes.tick_params(axis="x", which="both", length=0, pad=_TICK_PAD_PT + room)
        return room if is_top else 0.0
