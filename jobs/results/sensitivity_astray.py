"""Settings of which runs completed astray, collapsed or exploded, have a mark in a sensitivity figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jobs.results import collapse
from jobs.results.cells import Cell

_COLOR = "#666666"
_SIZE_PT = 6.5
_PARTLY = 0.45  # opacity
_MARKS = {"exploded": "^", "collapsed": "v"}  # triangles around the point


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point is where a setting stands in a panel: its mean."""

    x: float
    y: float
    cell: Cell
    color: str


@dataclass(frozen=True, kw_only=True)
class Astray:
    """The completed runs (by id) without a result that means anything, by `jobs.results.collapse`."""

    runs: dict[str, frozenset[str]]  # by kind

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Self:
        """Those of the cells."""
        exploded = collapse.exploded(cells)
        return cls(
            runs={"exploded": exploded, "collapsed": collapse.collapsed(cells) - exploded},
        )

    def has_exploded(self, cell: Cell) -> bool:
        """Whether a run of the cell exploded: its mean says nothing, and would hide all others."""
        return bool(self._count(cell, "exploded"))

    def mark(self, panel: Axes, points: Sequence[Point]) -> None:
        """Mark the points whose runs went astray, light if some did; at the edge what is beyond."""
        for point in points:
            if not np.isfinite(point.y):
                continue
            for kind, alpha in self.kinds_of(point.cell).items():
                y = float(np.clip(point.y, *panel.get_ylim()))
                (mark,) = panel.plot(point.x, y, _MARKS[kind], scalex=False, scaley=False)
                mark.set(
                    color=point.color,
                    fillstyle="none",
                    markersize=_SIZE_PT,
                    markeredgewidth=0.7,
                    alpha=alpha,
                    clip_on=False,
                )

    def kinds_of(self, cell: Cell) -> dict[str, float]:
        """How the cell went astray, with the opacity of the mark: less if only some runs did."""
        counts = {kind: self._count(cell, kind) for kind in _MARKS}
        return {
            kind: 1.0 if count == len(cell.completed) else _PARTLY
            for kind, count in counts.items()
            if count
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that there are."""
        return tuple(kind for kind in _MARKS if self.runs[kind])

    def handles(self) -> list[Line2D]:
        """An entry of the legend for each kind that there is."""
        return [
            Line2D(
                [],
                [],
                color=_COLOR,
                marker=_MARKS[kind],
                fillstyle="none",
                markersize=_SIZE_PT,
                markeredgewidth=0.7,
                linestyle="none",
                label=kind,
            )
            for kind in self.kinds
        ]

    def words(self) -> list[str]:
        """Sentences of the caption."""
        found = []
        if count := len(self.runs["collapsed"]):
            found.append(
                f"Triangle down: completed, but no better than untrained ({count} runs in all); a"
                " light one: some of the setting's runs."
            )
        if count := len(self.runs["exploded"]):
            found.append(
                f"Triangle up: completed with an exploded loss ({count} runs in all); the axis is not"
                " scaled to it, and one beyond the axis stands at its edge."
            )
        return found

    def _count(self, cell: Cell, kind: str) -> int:
        return sum(one.planned.run.id in self.runs[kind] for one in cell.completed)
