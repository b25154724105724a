"""Settings and the values they take, each with its position in the spec."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from jobs.canonical import Value
from jobs.spec.conditions import Condition, read_condition, spelling
from jobs.spec.draws import draw, uniform
from jobs.spec.model import Axis
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import ListNode, MapNode, Node


@dataclass(frozen=True, eq=False)
class Choice:
    """One value of a setting."""

    value: Value
    source: str  # `file:line:column`, or in words: "pinned by Momentum"
    place: Place | None = None

    @cached_property
    def spelling(self) -> str:
        """The value's spelling, which conditions compare."""
        return spelling(self.value)


@dataclass(frozen=True)
class Setting:
    """A key of a problem or an optimizer and all the values it takes."""

    name: str
    choices: tuple[Choice, ...]
    path: str  # of its key in the spec
    place: Place
    kind: Literal["constant", "axis", "random"] = "constant"
    when: Condition = ()
    fallback: Choice | None = None  # used if the condition does not hold; None: left out


@dataclass(frozen=True)
class Draws:
    """The number of an entry's random draws, and the seed of their streams."""

    random_seed: int = 0
    samples: int = 0


def constant(name: str, value: Value, source: str, place: Place, path: str) -> Setting:
    """A setting with one value that is no axis."""
    return Setting(name, (Choice(value, source, place),), path, place)


def read_setting(name: str, value: Axis | Value, node: Node, path: str, draws: Draws) -> Setting:
    """The setting that `value`, written at `node`, describes."""
    if not isinstance(value, Axis):
        return constant(name, value, str(node.place), node.place, path)
    choices = tuple(_axis_choices(name, value, node, draws))
    when: Condition = ()
    if value.when is not None and isinstance(node, MapNode):
        when = read_condition(value.when, node.entries["when"].node, f"{path}.when")
    kind: Literal["axis", "random"] = "random" if value.random is not None else "axis"
    return Setting(name, choices, path, node.place, kind, when)


def repeated(setting: Setting) -> Iterator[tuple[Place, str]]:
    """Place and message for each value that occurs twice in an axis."""
    seen: set[str] = set()
    for choice in setting.choices if setting.kind == "axis" else ():
        if choice.spelling in seen:
            yield choice.place or setting.place, f"the value {choice.value} is here twice"
        seen.add(choice.spelling)


def _axis_choices(name: str, axis: Axis, node: Node, draws: Draws) -> Iterator[Choice]:
    if axis.values is not None:
        listed = node.entries["values"].node if isinstance(node, MapNode) else node
        items = listed.items if isinstance(listed, ListNode) else ()
        for value, item in zip(axis.values, items, strict=True):
            yield Choice(value, str(item.place), item.place)
    elif axis.random is not None:
        for index in range(draws.samples):
            value = draw(axis.random, uniform(draws.random_seed, name, index))
            yield Choice(value, f"{node.place} (draw {index})", node.place)
    else:
        for value in _spaced(axis):
            yield Choice(value, str(node.place), node.place)


def _spaced(axis: Axis) -> list[float]:
    """The values of numpy.linspace or, with math.log10 of the ends, numpy.logspace, bit for bit."""
    import numpy as np  # takes a tenth of a second, so only for grids

    if axis.grid is not None:
        start, stop, count = axis.grid
        return [float(value) for value in np.linspace(start, stop, int(count))]
    start, stop, count = axis.log_grid or (1.0, 1.0, 1)
    return [float(x) for x in np.logspace(math.log10(start), math.log10(stop), int(count))]
