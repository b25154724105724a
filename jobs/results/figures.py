"""The figures by name: drawn, rendered, written with their captions."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from jobs import files
from jobs.results import (
    final,
    forest,
    grid,
    page,
    profile_figure,
    runtime,
    seeds,
    sensitivity,
    style,
    target_time,
    trace,
    tuning_figure,
)
from jobs.results.figure_options import DEFAULTS, FigureOptions
from jobs.results.page import Drawing
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.store.record import EPOCH_METRICS

FIGURES: Mapping[str, Callable[[Results, FigureOptions], Drawing]] = {
    "grid": grid.draw,
    "final": final.draw,
    "compare": forest.draw,
    "seeds": seeds.draw,
    "target": target_time.draw,
    "profile": profile_figure.draw,
    "tuning": tuning_figure.draw,
    "runtime": runtime.draw,
    "sensitivity": sensitivity.draw,
    "trace": trace.draw,
}
"""What `draw` can draw; each is given the options."""

_TAKEN_BY = {
    "metric": ("final", "compare", "seeds", "sensitivity"),
    "valid": ("grid",),
    "test": ("target",),
    "zoom": ("grid",),
    "x": ("grid", "target"),
    "all": ("final",),
}
"""Each option of `FigureOptions`, and the figures that take it."""

_OF_TUNING = ("sensitivity", "tuning")
"""Of what is tuned they show the tuning; the others show the evaluation, once it is chosen."""


def draw(collection: Results, name: str, options: FigureOptions = DEFAULTS) -> Drawing:
    """The figure of that name.

    Raises:
        FigureError: there is no such figure, it does not take an option, or there is nothing to draw.
    """
    _check(name, options)
    if not collection.found:
        raise FigureError(f"sweep {collection.name!r} has no records yet: nothing to draw")
    is_of_tuning = name in _OF_TUNING or options.every
    if not is_of_tuning and not any(cell.results for cell in collection.reported):
        raise FigureError(
            "nothing to draw yet: no run on evaluation seeds has a record; "
            f"{' and '.join(_OF_TUNING)} show the tuning"
        )
    with style.style():
        return FIGURES[name](collection, options)


def save(
    folder: Path,
    collection: Results,
    name: str,
    options: FigureOptions = DEFAULTS,
    *,
    for_latex: bool = False,
) -> tuple[Path, ...]:
    """Draw the figure and write it into the folder: a PNG per page, a PDF of all, its caption.

    Pages of an earlier drawing that had more of them are removed.

    Args:
        folder: it is made.
        collection: what is drawn.
        name: of the figure.
        options: what it is to show.
        for_latex: a PGF per page, too.

    Raises:
        FigureError: as `draw`; there is no LaTeX here, or it cannot set a text.
    """
    drawing = draw(collection, name, options)
    stem = options.stem(name)
    with style.style():
        rendered = page.render(drawing, for_latex=for_latex)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, content in rendered.items():
        path = folder / f"{stem}{ending}"
        files.write_atomically(path, content)
        written.append(path)
    endings = "png|pgf" if for_latex else "png"
    for path in folder.iterdir():
        is_page = re.fullmatch(rf"{re.escape(stem)}-\d+\.({endings})", path.name)
        if is_page and path not in written:
            path.unlink(missing_ok=True)
    return tuple(written)


def _check(name: str, options: FigureOptions) -> None:
    if name not in FIGURES:
        raise FigureError(f"there is no figure {name!r}; there are: {', '.join(FIGURES)}")
    for option in options.given:
        if name not in (taken := _TAKEN_BY[option]):
            raise FigureError(
                f"figure {name!r} takes no --{option}; those that do: {', '.join(taken)}"
            )
    if options.metric is not None and options.metric not in EPOCH_METRICS:
        raise FigureError(
            f"there is no metric {options.metric!r}; there are: {', '.join(EPOCH_METRICS)}"
        )
