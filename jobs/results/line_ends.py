"""Names at the ends of lines tell optimizers apart without a legend, where there is room for all."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from jobs.results import page

GID = "line end"
"""The group of artists in which the names are."""

_LINES_MAX = 5  # in a panel; the ends of more are never apart
_CHARACTERS_MAX = 18  # of a name
_NAME_PT = 6.0


@dataclass
class LineEnds:
    """The names at the ends of a figure's lines."""

    _named: dict[Axes, list[tuple[float, Annotation]]] = field(default_factory=dict)

    def name(self, panel: Axes, end: tuple[float, float], name: str, color: str) -> None:
        """Write the name beside the panel, at the height of its line's end (x, y)."""
        text = panel.annotate(
            page.shortened(name, lines=1),
            (1, end[1]),
            xycoords=("axes fraction", "data"),
            xytext=(2, 0),
            textcoords="offset points",
            va="center",
            fontsize=_NAME_PT,
            color=color,
            annotation_clip=False,
            gid=GID,
        )
        self._named.setdefault(panel, []).append((end[0], text))

    def fit(self) -> bool:
        """Whether each name stands beside its line and its panel, and no two touch."""
        boxes: dict[object, list[Bbox]] = {}
        for panel, named in self._named.items():
            if len({x for x, _ in named}) > 1:  # a name would stand far from its line
                return False
            inside = panel.get_window_extent()
            own = [text.get_window_extent() for _, text in named]
            if any(not inside.y0 <= (box.y0 + box.y1) / 2 <= inside.y1 for box in own):
                return False
            boxes.setdefault(panel.figure, []).extend(own)
        return not any(
            one.overlaps(other)
            for own in boxes.values()
            for one, other in itertools.combinations(own, 2)
        )


def named_or_legend(
    draw: Callable[[LineEnds | None, Sequence[Line2D]], Sequence[Figure]],
    handles: Sequence[Line2D],
    names: Sequence[str],
    *,
    has_ends: bool,
) -> tuple[Figure, ...]:
    """The pages with names at all lines' ends if they fit in all panels, and else with a legend.

    Args:
        draw: Draws the pages: with names at the ends of lines, or with a legend of the handles.
        handles: Of the legend.
        names: That lines may have.
        has_ends: Whether every line has an end to be named at.
    """
    are_short = max(map(len, names), default=0) <= _CHARACTERS_MAX
    if has_ends and are_short and len(names) <= _LINES_MAX:
        ends = LineEnds()
        figures = draw(ends, ())
        if ends.fit():
            return tuple(figures)
    return tuple(draw(None, handles))
