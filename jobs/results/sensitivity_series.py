"""A series is what a sensitivity figure draws of an optimizer: a line, a scatter or a level."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.results import style
from jobs.results.cells import Cell
from jobs.text import spelled

_NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Cells of an optimizer on a problem that belong together."""

    optimizer: str
    cells: tuple[Cell, ...]
    kind: Literal["line", "scatter", "level"]
    value: str = ""  # of the second axis, exact; empty: the optimizer does not vary it


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is drawn how, for all problems of a figure."""

    axis: str
    second: str | None  # what else is varied, and has a line per value
    values: Mapping[str, str]  # of the second axis: exact, and as they are shown
    scattered: frozenset[str]  # optimizers that vary more than that
    levels: frozenset[str]  # optimizers that do not vary the axis

    def series(self, cells: Sequence[Cell]) -> Iterator[Series]:
        """The series of the cells of one problem."""
        for optimizer in dict.fromkeys(cell.optimizer for cell in cells):
            own = tuple(cell for cell in cells if cell.optimizer == optimizer)
            if optimizer in self.levels:
                yield Series(optimizer=optimizer, cells=own, kind="level")
            elif optimizer in self.scattered:
                yield Series(optimizer=optimizer, cells=own, kind="scatter")
            else:
                yield from self._lines(optimizer, own)

    def dash(self, value: str) -> style.LineStyle:
        """The line style of a value of the second axis."""
        return style.LINES[list(self.values).index(value)] if value else "-"

    def _lines(self, optimizer: str, cells: Sequence[Cell]) -> Iterator[Series]:
        groups: dict[str, list[Cell]] = {}
        for cell in cells:
            value = _exact(cell, self.second) if self.second else ""
            groups.setdefault(value if value in self.values else "", []).append(cell)
        for value, own in groups.items():
            yield Series(optimizer=optimizer, cells=tuple(own), kind="line", value=value)


def lay(axis: str, cells: Sequence[Cell]) -> Layout:
    """Find how to draw the cells of all problems.

    An optimizer that varies one more axis, with as few values as there are line styles, has a line
    for each; one axis of a figure at most. Who varies more than that, as a random search does, is
    scattered.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.optimizer, []).append(cell)
    levels = {
        optimizer
        for optimizer, own in groups.items()
        if all(cell.number(axis) is None for cell in own)
    }
    extras = {
        optimizer: _extras(own, axis)
        for optimizer, own in groups.items()
        if optimizer not in levels
    }
    second, values = _second(extras, groups)
    few = {optimizer for optimizer, names in extras.items() if set(names) <= {second}}
    return Layout(
        axis=axis,
        second=second,
        values=values,
        scattered=frozenset(extras.keys() - few),
        levels=frozenset(levels),
    )


def _second(
    extras: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[Cell]]
) -> tuple[str | None, Mapping[str, str]]:
    """The axis that most optimizers vary alone beside the first, and its values."""
    sole = [names[0] for names in extras.values() if len(names) == 1]
    for name in sorted(dict.fromkeys(sole), key=sole.count, reverse=True):
        own = [
            cell
            for optimizer, names in extras.items()
            if names == [name]
            for cell in groups[optimizer]
        ]
        shown = {_exact(cell, name): _shown(cell, name) for cell in own}
        if len(shown) <= len(style.LINES) and 2 * len(shown) <= len(own):
            is_told = len(set(shown.values())) == len(shown)  # else the digits left out tell
            return name, shown if is_told else {value: value for value in shown}
    return None, {}


def _extras(cells: Sequence[Cell], axis: str) -> list[str]:
    """The names of which the cells have several values, but for the axis."""
    names = dict.fromkeys(name for cell in cells for name in cell.varied if name != axis)
    return [name for name in names if len({_exact(cell, name) for cell in cells}) > 1]


def _exact(cell: Cell, name: str) -> str:
    return spelled(cell.varied[name], exact=True) if name in cell.varied else _NONE


def _shown(cell: Cell, name: str) -> str:
    return spelled(cell.varied[name]) if name in cell.varied else _NONE
