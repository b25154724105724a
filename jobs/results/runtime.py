"""What an optimizer's epoch costs, as a multiple of the baseline's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jobs.results import style
from jobs.results.cells import Cell, name_some
from jobs.results.ledger import Collection
from jobs.results.reading import Floats, Result
from jobs.results.style import FigureError

_PHASES = ("train", "estimate", "apply")
_CLOCKS = {"wall_s": ("wall clock", 0.9), "cpu_s": ("CPU time", 0.45)}  # name, opacity


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """A cell's seconds per epoch over the baseline's, one per pair of runs."""

    cell: Cell
    by_clock: Mapping[str, Floats]  # (n,) each
    apart: int  # pairs whose runs were on different hosts


def draw(collection: Collection, _: str | None) -> Figure:
    """Two bars per cell, wall clock and CPU time of training without evaluation, with one sd.

    Raises:
        FigureError: no completed run of the baseline, or no other to compare with it.
    """
    base = baseline(collection)
    columns: dict[str, list[Ratios]] = {}
    for ratios in compare(collection):
        columns.setdefault(ratios.cell.problem, []).append(ratios)
    tallest = max(map(len, columns.values()))
    figure, axes = style.panels(1, len(columns), height=1.3 + 0.4 * tallest)
    style.name_rows(axes[0], [[one.cell for one in column] for column in columns.values()])
    for (problem, column), panel in zip(columns.items(), axes[0], strict=True):
        panel.set_title(style.title(problem))
        panel.set_xlabel(f"training time per epoch, {style.plain(base)} = 1")
        panel.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
        for row, ratios in enumerate(column):
            _draw_row(panel, row, ratios, style.color(collection, ratios.cell.optimizer))
        panel.set_xlim(0, 1.12 * panel.get_xlim()[1])
    figure.legend(
        handles=[
            Patch(color="#666666", alpha=alpha, label=name) for name, alpha in _CLOCKS.values()
        ],
        loc="outside upper right",
        ncols=2,
    )
    remark = _where(collection.reported, list(chain(*columns.values())))
    style.add_footer(figure, collection, collection.reported, remark)
    return figure


def baseline(collection: Collection) -> str:
    """The optimizer labelled SGD, or else the first."""
    optimizers = collection.sweep.optimizers
    return next((label for label in optimizers if label.lower() == "sgd"), optimizers[0])


def compare(collection: Collection) -> list[Ratios]:
    """Every other cell against the baseline, paired by problem, seed, batch size and init.

    Of what was tuned and chosen only the evaluation is compared.
    Where the baseline has several settings, their mean stands for it.
    """
    base = baseline(collection)
    reference: dict[tuple[object, ...], list[Result]] = {}
    for cell in collection.reported:
        for result in cell.completed if cell.optimizer == base else ():
            reference.setdefault(_conditions(result), []).append(result)
    if not reference:
        raise FigureError(f"there is no baseline: no run of {base} has completed")
    found = [_ratios(cell, reference) for cell in collection.reported if cell.optimizer != base]
    found = [ratios for ratios in found if len(ratios.by_clock["wall_s"])]
    if not found:
        raise FigureError(
            f"nothing to compare with the baseline {base}: no completed run of another optimizer "
            "has the problem, seed, batch size and init of one of its own"
        )
    return found


def _conditions(result: Result) -> tuple[object, ...]:
    run = result.planned.run
    return result.planned.problem, run.seed, run.batch_size, run.init


def _ratios(cell: Cell, reference: Mapping[tuple[object, ...], Sequence[Result]]) -> Ratios:
    pairs = [
        (result, reference[_conditions(result)])
        for result in cell.completed
        if _conditions(result) in reference
    ]
    by_clock = {}
    for clock in _CLOCKS:
        own = np.array([result.seconds_per_epoch(_PHASES, clock) for result, _ in pairs])
        base = np.array(
            [np.mean([one.seconds_per_epoch(_PHASES, clock) for one in ones]) for _, ones in pairs]
        )
        by_clock[clock] = own / base
    apart = sum(
        any(one.provenance.get("host") != result.provenance.get("host") for one in ones)
        for result, ones in pairs
    )
    return Ratios(cell=cell, by_clock=by_clock, apart=apart)


def _draw_row(panel: Axes, row: int, ratios: Ratios, color: str) -> None:
    for clock, shift in zip(_CLOCKS, (-0.2, 0.2), strict=True):
        values = ratios.by_clock[clock]
        mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
        panel.barh(row + shift, mean, 0.36, color=color, alpha=_CLOCKS[clock][1])
        panel.errorbar(mean, row + shift, xerr=sd, color="black", elinewidth=0.8, capsize=1.5)
        panel.annotate(
            f"{mean:.2f}",
            (mean + sd, row + shift),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )
    style.note_row(panel, row, len(ratios.by_clock["wall_s"]))


def _where(cells: Sequence[Cell], ratios: Sequence[Ratios]) -> str:
    found = chain(*(cell.results for cell in cells))
    hosts = sorted({str(result.provenance.get("host", "unknown")) for result in found})
    apart = sum(ratio.apart for ratio in ratios)
    remark = f"; {apart} pairs compare different hosts" if apart else ""
    return f"mean and sd over pairs of equal seed · hosts: {style.plain(name_some(hosts))}{remark}"
