"""The figures by name: drawn, rendered, written with their captions."""

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
    sensitivity,
    style,
    target_time,
    tuning_figure,
)
from jobs.results.page import Drawing
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.store.record import EPOCH_METRICS

FIGURES: Mapping[str, Callable[[Results, str | None], Drawing]] = {
    "grid": grid.draw,
    "final": final.draw,
    "compare": forest.draw,
    "target": target_time.draw,
    "profile": profile_figure.draw,
    "tuning": tuning_figure.draw,
    "runtime": runtime.draw,
    "sensitivity": sensitivity.draw,
}
"""What `draw` can draw; each takes a metric, or None for the problem's own."""

_WITH_METRIC = ("final", "compare", "sensitivity")

_OF_TUNING = ("sensitivity", "tuning")
"""Of what is tuned they show the tuning; the others show the evaluation, once it is chosen."""


def draw(collection: Results, name: str, metric: str | None = None) -> Drawing:
    """The figure of that name.

    Raises:
        FigureError: there is no such figure, or nothing to draw it from.
    """
    if name not in FIGURES:
        raise FigureError(f"there is no figure {name!r}; there are: {', '.join(FIGURES)}")
    if metric is not None and name not in _WITH_METRIC:
        raise FigureError(f"figure {name!r} takes no metric; {', '.join(_WITH_METRIC)} do")
    if metric is not None and metric not in EPOCH_METRICS:
        raise FigureError(f"there is no metric {metric!r}; there are: {', '.join(EPOCH_METRICS)}")
    if not collection.found:
        raise FigureError(f"sweep {collection.name!r} has no records yet: nothing to draw")
    if name not in _OF_TUNING and not any(cell.results for cell in collection.reported):
        raise FigureError(
            "nothing to draw yet: no run on evaluation seeds has a record; "
            f"{' and '.join(_OF_TUNING)} show the tuning"
        )
    with style.style():
        return FIGURES[name](collection, metric)


def save(
    folder: Path, collection: Results, name: str, metric: str | None = None
) -> tuple[Path, ...]:
    """Draw the figure and write it into the folder: a PNG per page, a PDF of all, its caption."""
    drawing = draw(collection, name, metric)
    stem = name if metric is None else f"{name}_{metric}"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with style.style():
        for ending, content in page.render(drawing).items():
            path = folder / f"{stem}{ending}"
            files.write_atomically(path, content)
            written.append(path)
    return tuple(written)
