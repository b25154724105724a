"""The look of all figures: small, colour-blind safe, the same bytes for the same data."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation

from jobs.errors import InputError
from jobs.problems.catalog import PROBLEMS
from jobs.results.cells import Cell, name_some
from jobs.results.study import Results
from jobs.text import printable

LineStyle = Literal["-", "--", ":", "-."]

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours that show on white; seven, then they repeat with another line style."""

LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")

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
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
}

COLUMN = 2.9
"""Width of a panel in inches: two of them fill a page, one a column."""

LEGEND_LINE = 0.17
"""Height of a line of a legend in inches."""


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


def panels(rows: int, columns: int, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of equal panels, and the panels by row and column."""
    width = COLUMN * max(columns, 1.2) + 0.3
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def color(collection: Results, optimizer: str) -> str:
    """An optimizer's colour: by its place in the spec, the same in every figure."""
    return _PALETTE[collection.optimizers.index(optimizer) % len(_PALETTE)]


def line(collection: Results, optimizer: str) -> LineStyle:
    """An optimizer's line style: solid until the colours repeat."""
    turn = collection.optimizers.index(optimizer) // len(_PALETTE)
    return LINES[turn % len(LINES)]


def plain(text: str) -> str:
    """Text of the user's on one line, for a figure: a dollar in it begins no formula."""
    return printable(text).replace("$", r"\$")


def title(problem: str) -> str:
    """A problem's name for people."""
    return PROBLEMS[problem].title if problem in PROBLEMS else plain(problem)


def words(metric: str) -> str:
    """A metric's name for people."""
    return metric.replace("_", " ")


def name_rows(axes: Sequence[Axes], columns: Sequence[Sequence[Cell]]) -> None:
    """Give each cell a row of its panel, the first on top; equal names stand once, at the left."""
    names = [[_row_name(cell, cells) for cell in cells] for cells in columns]
    for panel, own in zip(axes, names, strict=True):
        panel.set_yticks(range(len(own)), own)
        panel.set_ylim(len(own) - 0.5, -0.5)
        panel.tick_params(axis="y", length=0, labelleft=panel is axes[0] or own != names[0])
        panel.grid(visible=False, axis="y")


def note_row(panel: Axes, row: int, n: int, diverged: int = 0) -> None:
    """Say at the right of a cell's row how many runs it shows, and how many diverged."""
    text = f"n={n}" + (f"\n{diverged} of {n + diverged} diverged" if diverged else "")
    panel.text(1.02, row, text, fontsize=6, va="center", transform=panel.get_yaxis_transform())


def _row_name(cell: Cell, cells: Sequence[Cell]) -> str:
    is_alone = sum(other.optimizer == cell.optimizer for other in cells) == 1
    if not cell.label or (is_alone and cell.tuning is None):
        return plain(cell.optimizer)
    return f"{plain(cell.optimizer)}\n{plain(cell.label)}"


def add_legend(figure: Figure, panel: Axes, handles: Sequence[Artist]) -> Legend:
    """A legend below the panel and its axis' name."""
    down = ScaledTranslation(0, -29 / 72, figure.dpi_scale_trans)
    return panel.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=panel.transAxes + down,
        borderaxespad=0.0,
    )


def add_footer(figure: Figure, collection: Results, cells: Sequence[Cell], *remarks: str) -> None:
    """Say below the figure what it is drawn from: these cells, those without a result included."""
    found = [result for cell in cells for result in cell.results]
    expected = sum(len(cell.planned) for cell in cells)
    codes = sorted({str(result.provenance.get("code", "unknown")) for result in found})
    origin = f"{collection.name} · {len(found)} of {expected} runs · code "
    text = "\n".join((*remarks, plain(origin + name_some(codes))))
    figure.supxlabel(text, x=0.995, ha="right", fontsize=6, color="#555555")


def render(figure: Figure) -> dict[str, bytes]:
    """The figure's files by their suffix; nothing in them tells the time."""
    files = {}
    for suffix, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        buffer = BytesIO()
        with warnings.catch_warnings():  # a letter that the font lacks is a box in the figure
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
            figure.savefig(buffer, format=suffix, metadata=metadata)
        files[suffix] = buffer.getvalue()
    return files
