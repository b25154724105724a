"""The look of all figures: small, colour-blind safe, the same bytes for the same data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from jobs.errors import InputError
from jobs.problems.catalog import PROBLEMS
from jobs.results.limits import limits
from jobs.results.reading import Floats
from jobs.results.study import Results
from jobs.text import printable

LineStyle = Literal["-", "--", ":", "-."]

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours that show on white; seven, then they repeat with another line style."""

LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")

_MARKERS = ("o", "s", "^", "D")

_STYLE: Any = {  # matplotlib types the keys, one by one
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "xtick.minor.width": 0.6,  # those of what is no number
    "xtick.minor.size": 3.5,
    "xtick.minor.pad": 3.5,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.dpi": 200,  # as that of the files, or the layout would be of another text
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
}

_TICKS = {"x": 4, "y": 5}  # at most, and one more
_STEPS = {"x": [1, 2, 5, 10], "y": [1, 2, 2.5, 5, 10]}

BANDS_MAX = 3
"""Optimizers whose bands are drawn in one panel; those of more only hide each other."""


class FigureError(InputError):
    """There is no such figure, or nothing to draw it from."""


@contextmanager
def style() -> Iterator[None]:
    """Draw with this look, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def scale(panel: Axes, which: Literal["x", "y"], metric: str, inner: Floats, outer: Floats) -> None:
    """Fit an axis to the values of a metric, and to nothing that the metric cannot be.

    A loss over two decades is on a log scale. An axis without a value has no ticks.

    Args:
        panel: Whose axis it is.
        which: Axis.
        metric: Of all values.
        inner: Measured values or means, any shape.
        outer: These, and the ends of their intervals.
    """
    found = limits(metric, inner, outer)
    if found is None:
        panel.set(**{f"{which}lim": (0, 1), f"{which}ticks": []})
        return
    name = "log" if found.is_log else "linear"
    panel.set(**{f"{which}scale": name, f"{which}lim": (found.low, found.high)})
    axis = panel.xaxis if which == "x" else panel.yaxis
    if found.is_log:
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(_TICKS[which], steps=_STEPS[which]))


def color(collection: Results, optimizer: str) -> str:
    """An optimizer's colour: by its place in the spec, the same in every figure."""
    return _PALETTE[collection.optimizers.index(optimizer) % len(_PALETTE)]


def line(collection: Results, optimizer: str) -> LineStyle:
    """An optimizer's line style: solid until the colours repeat."""
    turn = collection.optimizers.index(optimizer) // len(_PALETTE)
    return LINES[turn % len(LINES)]


def marker(collection: Results, optimizer: str) -> str:
    """An optimizer's marker: a dot until the colours repeat."""
    turn = collection.optimizers.index(optimizer) // len(_PALETTE)
    return _MARKERS[turn % len(_MARKERS)]


def plain(text: str) -> str:
    """Text of the user's on one line, for a figure: a dollar in it begins no formula."""
    return printable(text).replace("$", r"\$")


def problem_name(problem: str) -> str:
    """A problem's name for people, as text."""
    return PROBLEMS[problem].title if problem in PROBLEMS else printable(problem)


def title(problem: str) -> str:
    """A problem's name for people, in a figure."""
    return plain(problem_name(problem))


def words(metric: str) -> str:
    """A metric's name for people."""
    return metric.replace("_", " ")


def name_rows(panel: Axes, names: Sequence[str]) -> None:
    """Give each name a row of the panel, the first on top; the names stand once, at the left."""
    spec = panel.get_subplotspec()
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0, labelleft=spec is None or spec.is_first_col())
    panel.grid(visible=False, axis="y")


def note_row(panel: Axes, row: int, text: str) -> None:
    """Say something of a row at its right."""
    panel.text(1.02, row, text, fontsize=6, va="center", transform=panel.get_yaxis_transform())
