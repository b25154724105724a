"""The axis of a sensitivity figure is a hyperparameter; 0 on a log axis and words have own ticks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from jobs.results import page
from jobs.results.cells import Cell
from jobs.results.style import FigureError
from jobs.text import spelled

_NONE = "none"
_TICKS_MAX = 5
_GAP = 0.2  # of the numbers' span, from one tick that is no number to the next
_MARGIN = 0.06  # of the span, at both ends
_PLAIN_MIN, _PLAIN_MAX = 1e-3, 1e4  # between, a tick's number is written out
_LABEL_CHARACTERS_MAX = 8


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A hyperparameter as an axis, the same in all panels of a figure."""

    name: str
    is_log: bool
    ends: tuple[float, float]  # of the numbers on its scale
    apart: Mapping[str, float] = field(default_factory=dict)  # where what is not on it stands

    def at(self, cell: Cell) -> float:
        """Where the cell stands."""
        number = cell.number(self.name)
        is_on = number is not None and not (self.is_log and number == 0)
        return float(number or 0.0) if is_on else self.apart[_word(cell, self.name)]

    def is_apart(self, cell: Cell) -> bool:
        """Whether the cell stands at a tick of its own, beside the scale."""
        return self.at(cell) in self.apart.values()

    def dress(self, panel: Axes) -> None:
        """Give the panel this axis: scale, limits, ticks, name."""
        low, high = self.ends
        panel.set_xlabel(page.shortened(self.name, lines=1))
        panel.set_xscale("log" if self.is_log else "linear")
        inner = min([low, *self.apart.values()])
        panel.set_xlim(self._moved(inner, -_MARGIN), self._moved(high, _MARGIN))
        if self.is_log:
            ticks = log_ticks(low, high)
            panel.set_xticks(ticks, _labels(ticks))
        else:
            numbers = MaxNLocator(_TICKS_MAX - 1).tick_values(low, high)
            ticks = [float(x) for x in numbers if low <= x <= high or not self.apart]
            panel.set_xticks([x for x in ticks if panel.get_xlim()[0] <= x <= panel.get_xlim()[1]])
        panel.xaxis.set_minor_locator(NullLocator())
        if self.apart:
            panel.set_xticks(list(self.apart.values()), list(self.apart), minor=True)

    def _moved(self, x: float, share: float) -> float:
        """The place that is so much of the span to the right."""
        return _moved(x, share, self.ends, is_log=self.is_log)


def axis_of(name: str, cells: Sequence[Cell]) -> Axis:
    """The hyperparameter as an axis for those cells."""
    numbers = [number for cell in cells if (number := cell.number(name)) is not None]
    is_log = is_log_spaced(numbers)
    on = [number for number in numbers if number or not is_log]
    ends = min(on), max(on)
    words = {
        _word(cell, name)
        for cell in cells
        if (number := cell.number(name)) is None or (is_log and number == 0)
    }
    apart = {
        word: _moved(ends[0], -_GAP * place, ends, is_log=is_log)
        for place, word in enumerate(sorted(words), start=1)  # the 0 is next to the numbers
    }
    return Axis(name=name, is_log=is_log, ends=ends, apart=apart)


def varied_axis(cells: Sequence[Cell]) -> str:
    """The hyperparameter with the most different numbers, the first of equals.

    Raises:
        FigureError: no hyperparameter has two.
    """
    values: dict[str, set[float]] = {}
    for cell in cells:
        for name in cell.varied:
            if (number := cell.number(name)) is not None:
                values.setdefault(name, set()).add(number)
    axis = max(values, key=lambda name: len(values[name]), default=None)
    if axis is None or len(values[axis]) < 2:
        raise FigureError("no hyperparameter has two different numbers in this sweep")
    return axis


def is_log_spaced(values: Sequence[float]) -> bool:
    """Whether the ratios of neighbours are more alike than their distances; of two: a decade.

    A 0 among them does not count.
    """
    numbers = np.array(sorted(set(values) - {0.0}))
    if len(numbers) < 2 or numbers[0] < 0:
        return False
    if len(numbers) == 2:
        return bool(numbers[1] >= 10 * numbers[0])
    distances, ratios = np.diff(numbers), np.diff(np.log(numbers))
    return bool(ratios.std() / ratios.mean() < distances.std() / distances.mean())


def log_ticks(low: float, high: float) -> list[float]:
    """A few round numbers from low to high: decades, or else also 2 and 5 times these."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for factors in ((1,), (1, 2, 5)):
        found = [
            float(f"{factor}e{decade}")
            for decade in range(first, last + 1)
            for factor in factors
            if low * 0.999 <= float(f"{factor}e{decade}") <= high * 1.001
        ]
        if len(found) >= 2:
            return found[:: -(-len(found) // _TICKS_MAX)]
    return [low, high]


def _word(cell: Cell, name: str) -> str:
    value = cell.varied.get(name)
    word = _NONE if value is None else spelled(value)
    return page.shortened(word, _LABEL_CHARACTERS_MAX, lines=1)


def _moved(x: float, share: float, ends: tuple[float, float], *, is_log: bool) -> float:
    low, high = ends
    return float(x * (high / low) ** share) if is_log else x + share * (high - low)


def _labels(ticks: Sequence[float]) -> list[str]:
    if all(_PLAIN_MIN <= tick <= _PLAIN_MAX for tick in ticks):
        return [f"{tick:.4g}" for tick in ticks]
    return [_power(tick) for tick in ticks]


def _power(tick: float) -> str:
    factor, _, decade = f"{tick:.1e}".partition("e")
    times = "" if factor == "1.0" else rf"{factor.removesuffix('.0')}\times"
    return rf"$\mathdefault{{{times}10^{{{int(decade)}}}}}$"
