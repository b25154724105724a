"""Curves are drawn over epochs, or over the steps or seconds of training up to each evaluation."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from jobs.results.cells import Cell, name_of
from jobs.results.reading import Result, Unit
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.results.times import HOW_TO_MEASURE, why_not_comparable

_NAMES: Mapping[Unit, str] = {"epochs": "epoch", "steps": "step", "seconds": "training time (s)"}
_TICKS_MAX: Mapping[Unit, int] = {"epochs": 5, "steps": 4, "seconds": 4}  # and one more
_STEPS: Mapping[Unit, list[float]] = {
    "epochs": [1, 2, 5, 10],
    "steps": [1, 2, 2.5, 5, 10],
    "seconds": [1, 2, 2.5, 5, 10],
}


def check(results: Results, cells: Sequence[Cell], unit: Unit) -> None:
    """Check that the cells' curves can be drawn over that.

    Seconds of runs that cannot be compared are not drawn in one panel: whoever sees lines beside each
    other compares them, whatever the caption says.

    Raises:
        FigureError: a record does not have it, or times of runs on one problem cannot be compared.
    """
    if unit == "epochs":
        return
    found = [result for cell in cells for result in cell.results]
    lacking = [result for result in found if result.along(unit) is None]
    if lacking:
        which = name_of(lacking[0].planned)
        raise FigureError(
            f"{len(lacking)} of {len(found)} records are of an older version, which kept no {unit} of"
            f" training, e.g. that of {which}: draw over epochs, or train again (probprec redo)"
        )
    if unit == "seconds":
        refused = {
            problem: why
            for problem in dict.fromkeys(cell.problem for cell in cells)
            if (why := why_not_comparable(_results_of(cells, problem), results.found))
        }
        if refused:
            reasons = "; ".join(f"{problem}: {why}" for problem, why in refused.items())
            raise FigureError(
                f"seconds cannot be compared: {reasons}. Draw over epochs or steps, or,"
                f" {HOW_TO_MEASURE}"
            )


def name(panel: Axes, unit: Unit) -> None:
    """Name the panel's axis."""
    panel.set_xlabel(_NAMES[unit])


def tick(panel: Axes, unit: Unit) -> None:
    """Give the panel's axis its ticks: round numbers, as few as have room in a narrow panel."""
    panel.xaxis.set_major_locator(
        MaxNLocator(_TICKS_MAX[unit], steps=_STEPS[unit], integer=unit != "seconds", min_n_ticks=1)
    )
    if unit == "steps":
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def dress(panel: Axes, unit: Unit) -> None:
    """Give the panel's axis its ticks and margins."""
    tick(panel, unit)
    panel.margins(x=0.02)
    if panel.dataLim.width == 0:  # a single evaluation
        middle = panel.dataLim.x0
        panel.set_xlim(middle - 0.5, middle + 0.5)


def _results_of(cells: Sequence[Cell], problem: str) -> list[Result]:
    return [result for cell in cells if cell.problem == problem for result in cell.results]
