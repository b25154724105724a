"""A drawing is the pages of a figure, as wide as a paper's page or column, and their caption."""

import re
import textwrap
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from jobs.results import pgf
from jobs.results.study import Results
from jobs.results.style import color, line, plain
from jobs.text import printable

PAGE_WIDTH_IN = 6.75
COLUMN_WIDTH_IN = 3.25
PAGE_HEIGHT_MAX_IN = 9.0
COLUMNS_MAX = 3
"""Of panels on a page."""

_LEGEND_COLUMNS_MAX = 6
_LEGEND_CHARACTERS_MAX = 42  # of a line of a name
_BRIEF_CHARACTERS_MAX = 24
_BREAK = "\v"  # a place where a line may end; no printable text has one
_FOOTER_IN = 0.16
_FOOT_IN = 0.8  # with a legend of usual height
_TITLE_IN = 0.075  # a letter's width
_NOTE_IN = 0.048  # as this
_DIGITS = 4  # of a place, as a share of the page: less than a pixel
_NOTE_PT = 6.0  # size of its letters
_LINE = 1.25  # a line's height, of its letters' size

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A figure has pages, and a caption for all of them."""

    pages: tuple[Figure, ...]
    caption: str


def split(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Split into as few parts of `most` items as there must be, all about as long."""
    parts = -(-len(items) // most)
    return [
        items[len(items) * part // parts : len(items) * (part + 1) // parts]
        for part in range(parts)
    ]


def page(
    rows: int, columns: int, panel_in: float, handles: Sequence[Artist], footer: str
) -> tuple[Figure, list[list[Axes]]]:
    """A page with equal panels, by row and column; below them a legend, and a line.

    Args:
        rows: Of panels.
        columns: Of panels; a single one makes a page as wide as a paper's column.
        panel_in: A panel's height with all that is around it, in inches, unless they are too many
            for a page.
        handles: What the legend shows; it has as many columns as have room.
        footer: One line.
    """
    width = COLUMN_WIDTH_IN if columns == 1 else PAGE_WIDTH_IN
    figure = Figure(figsize=(width, PAGE_HEIGHT_MAX_IN))
    foot = _FOOTER_IN + _add_legend(figure, handles, width)
    height = min(rows * panel_in + foot, PAGE_HEIGHT_MAX_IN)
    figure.set_size_inches(width, height)
    text = shortened(footer, int((width - 0.1) / _NOTE_IN), lines=1)
    inch = figure.dpi_scale_trans
    figure.text(
        width - 0.04, 0.04, text, transform=inch, ha="right", fontsize=_NOTE_PT, color="#555555"
    )
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, foot / height, 1, 1 - foot / height)))
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def tiles(
    names: Sequence[T],
    draw_panel: Callable[[Axes, T], None],
    *,
    panel_in: float,
    handles: Sequence[Artist],
    footer: str,
) -> tuple[Figure, ...]:
    """Pages with a panel per name, row by row; see `page` for the rest."""
    return row_tiles(
        names,
        ("",),
        lambda panel, name, _: draw_panel(panel, name),
        row_in=panel_in,
        around_in=0.0,
        handles=handles,
        footer=footer,
    )


def row_tiles(
    names: Sequence[T],
    rows: Sequence[str],
    draw_panel: Callable[[Axes, T, Sequence[str]], None],
    *,
    row_in: float,
    around_in: float,
    handles: Sequence[Artist],
    footer: str,
) -> tuple[Figure, ...]:
    """Pages with a panel per name, of equal rows; of too many rows for a page each has a part.

    Args:
        names: Of panels.
        rows: Of each panel.
        draw_panel: Draws the panel of a name with some of the rows.
        row_in: A row's height, in inches.
        around_in: The height of what is around a panel's rows, in inches.
        handles: See `page`.
        footer: See `page`.
    """
    room = PAGE_HEIGHT_MAX_IN - _FOOT_IN
    parts = split(rows, max(1, int((room - around_in) // row_in)))
    panel_in = around_in + row_in * max(map(len, parts))
    columns = -(-len(names) // -(-len(names) // COLUMNS_MAX))
    fitting = max(1, int(room // panel_in))
    sheets = [(own, part) for own in split(names, columns * fitting) for part in parts]
    figures = []
    for number, (own, part) in enumerate(sheets, start=1):
        text = numbered(footer, number, len(sheets))
        figure, axes = page(-(-len(own) // columns), columns, panel_in, handles, text)
        panels = list(chain(*axes))
        for name, panel in zip(own, panels, strict=False):
            draw_panel(panel, name, part)
        for panel in panels[len(own) :]:
            panel.set_axis_off()
        lay_out(figure)
        figures.append(figure)
    return tuple(figures)


def numbered(footer: str, number: int, pages: int) -> str:
    """The footer of one of several pages."""
    return f"{footer} · page {number} of {pages}" if pages > 1 else footer


def entitle(panel: Axes, title: str, note: str = "", *, above_pt: float = 0.0) -> None:
    """Set a panel's title, and a smaller note below it, both on as many lines as they need.

    `above_pt` is room between the panel and the note, in points.
    """
    figure = panel.get_figure(root=True)
    spec = panel.get_subplotspec()
    columns = spec.get_gridspec().ncols if spec is not None else 1
    room = (figure.get_figwidth() if figure is not None else PAGE_WIDTH_IN) / columns - 0.5
    lines = _wrapped(note, room / _NOTE_IN)
    height = _NOTE_PT * _LINE * len(lines)
    panel.set_title("\n".join(_wrapped(title, room / _TITLE_IN)), pad=3 + above_pt + height)
    if lines:
        panel.annotate(
            "\n".join(lines),
            (0.5, 1),
            xytext=(0, 2 + above_pt),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=_NOTE_PT,
            color="#555555",
            annotation_clip=False,
        )


def lay_out(figure: Figure) -> None:
    """Place everything, once: what is drawn afterwards moves nothing."""
    with _any_letters():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:  # the solver's last digits depend on where in memory its variables lie
        left, bottom, width, height = (round(float(x), _DIGITS) for x in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def shortened(text: str, most: int = _LEGEND_CHARACTERS_MAX, lines: int = 2) -> str:
    """The user's text on so many lines of so many characters, for a figure; the rest is left out."""
    return "\n".join(map(plain, _cut(text, most, lines)))


def brief(name: str) -> str:
    """The user's name in the middle of a note, which `entitle` makes safe."""
    return _cut(name, _BRIEF_CHARACTERS_MAX, lines=1)[0].replace(" …", "…")


def lines_of(collection: Results, shown: Container[str]) -> list[Line2D]:
    """What a legend shows: the lines of those optimizers, in the order of the spec."""
    return [
        Line2D(
            [],
            [],
            color=color(collection, optimizer),
            linestyle=line(collection, optimizer),
            label=shortened(optimizer),
        )
        for optimizer in collection.optimizers
        if optimizer in shown
    ]


def render(drawing: Drawing, *, for_latex: bool = False) -> dict[str, bytes]:
    """The figure's files by the end of their names; nothing in them tells the time.

    Each page is a PNG, the second is `-2.png`; for LaTeX it is also a PGF. One PDF has them all.

    Raises:
        FigureError: there is no LaTeX here, or it cannot set a text.
    """
    files = {}
    for number, figure in enumerate(drawing.pages, start=1):
        place = "" if number == 1 else f"-{number}"
        if for_latex:
            files[f"{place}.pgf"] = pgf.render(figure)
        buffer = BytesIO()
        with _any_letters():
            figure.savefig(buffer, format="png", metadata={"Software": None})
        files[f"{place}.png"] = buffer.getvalue()
    buffer = BytesIO()
    with _any_letters(), PdfPages(buffer, metadata={"CreationDate": None}) as pdf:
        for figure in drawing.pages:
            pdf.savefig(figure)
    return files | {".pdf": buffer.getvalue(), ".txt": drawing.caption.encode()}


def _add_legend(figure: Figure, handles: Sequence[Artist], width: float) -> float:
    """Add the legend above the footer; returns its height in inches."""
    if not handles:
        return 0.0
    for columns in range(min(len(handles), _LEGEND_COLUMNS_MAX), 0, -1):
        legend = figure.legend(
            handles=handles,
            ncols=columns,
            loc="lower center",
            bbox_to_anchor=(width / 2, _FOOTER_IN),
            bbox_transform=figure.dpi_scale_trans,
            borderaxespad=0.0,
        )
        with _any_letters():
            extent = legend.get_window_extent()
        if extent.width <= (width - 0.1) * figure.dpi or columns == 1:
            return float(extent.height / figure.dpi)
        legend.remove()
    return 0.0


def _wrapped(text: str, most: float) -> list[str]:
    return list(map(plain, _lines(text, int(most))))


def _cut(text: str, most: int, lines: int) -> list[str]:
    found = _lines(text, most) or [""]
    if len(found) <= lines:
        return found
    last = found[lines - 1][: most - 2]
    if last != found[lines - 1]:
        whole = re.split(r"[\s,_]+[^\s,_]*$", last)[0]
        last = whole if len(whole) >= most // 3 else last
    return [*found[: lines - 1], f"{last} …"]


def _lines(text: str, most: int) -> list[str]:
    """Lines of a text, broken at a space or after an underscore where there is one."""
    breakable = printable(text).replace("_", f"_{_BREAK}")
    found = textwrap.wrap(breakable, most, expand_tabs=False, replace_whitespace=False)
    return [one.replace(_BREAK, "") for one in found]


@contextmanager
def _any_letters() -> Iterator[None]:
    """Draw a box for a letter that the font lacks, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield
