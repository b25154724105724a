"""The regime in an optimizer's entry: schedule, clipping, groups and other keys."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jobs.canonical import Value
from jobs.optimizers import OptimizerInfo
from jobs.regime.schedule_settings import Schedule
from jobs.regime.settings import MATCHING, READERS
from jobs.regime.values import CLASS, SettingError
from jobs.spec import model
from jobs.spec.axes import Choice, Draws, Setting, read_setting, repeated
from jobs.spec.classes import ClassReader
from jobs.spec.context import Context
from jobs.spec.signature import Signature
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import Entry, ListNode, MapNode, Node


@dataclass(frozen=True)
class StatedSetting:
    """A setting of an optimizer as the spec gives it."""

    name: str  # of the class's hyperparameter, or of the regime's key
    setting: str  # the setting's name, see `setting_of`
    value: model.Axis | Value
    entry: Entry
    path: str


@dataclass(frozen=True)
class RegimeReader:
    """A reader of the regime's keys in one entry."""

    context: Context
    path: str  # of the entry
    node: MapNode
    info: OptimizerInfo | None
    signature: Signature | None

    def given(self, entry: model.Optimizer) -> Iterator[StatedSetting]:
        """The given keys of the regime; a key that the class has, too, is a mistake."""
        own = self.signature.parameters if self.signature else {}
        for name in READERS:
            value = getattr(entry, name)
            if value is None:
                continue
            one = StatedSetting(name, name, value, self.node.entries[name], f"{self.path}.{name}")
            if name in own and name not in (entry.hyperparameters or {}):
                message = (
                    f"the class has a hyperparameter {name!r}, too: if that is meant, write"
                    f" hyperparameters: {{{name}: ...}}"
                )
                self.context.add(one.entry.key, one.path, message)
            yield one

    def read(self, one: StatedSetting, draws: Draws) -> Setting:
        """The setting, with every value as a training reads it."""
        setting = read_setting(one.setting, one.value, one.entry.node, one.path, draws)
        for where, message in repeated(setting):
            self.context.add(where, one.path, message)
        choices = tuple(self._checked(one, setting, choice) for choice in setting.choices)
        return replace(setting, choices=choices)

    def _checked(self, one: StatedSetting, setting: Setting, choice: Choice) -> Choice:
        node = None if setting.kind == "random" else _node_of(one.entry.node, choice.place)
        place = choice.place or setting.place
        wrong = list(_mistakes(one.name, choice.value))
        for error in wrong:
            self.context.add(
                _place(node, error.path) or place, _joined(one.path, error), str(error)
            )
        if wrong:
            return choice
        if one.name == "groups":
            groups = choice.value if isinstance(choice.value, list) else []
            read = [self._group(group, node, place, i, one.path) for i, group in enumerate(groups)]
            return replace(choice, value=read)
        if one.name == "schedule":
            return replace(choice, value=self._fitted(choice.value, node, place, one.path))
        return choice

    def _group(self, value: Any, node: Node | None, place: Place, index: int, path: str) -> Value:
        """A group with the class's dotted path, and hyperparameters as the class takes them."""
        inner = node.items[index] if isinstance(node, ListNode) else None
        where, path = (inner.place if inner else place), f"{path}[{index}]"
        whose = {name: found for name, found in value.items() if name in MATCHING}
        rest = {name: found for name, found in value.items() if name not in MATCHING}
        reader = ClassReader(self.context, self.signature)
        if CLASS in rest:
            return {**whose, **reader.of_class(rest, inner, where, path)}
        fitted = reader.fitted(rest, self.signature, inner, where, path)
        return {**whose, **fitted}

    def _fitted(self, value: Value, node: Node | None, place: Place, path: str) -> Value:
        """A schedule; a schedule class has to exist, and its settings are fitted to it."""
        schedule = Schedule.of(value)
        if schedule.path is None:
            return value
        at = _place(node, (CLASS,)) or place
        if "." not in schedule.path:
            near = f"torch.optim.lr_scheduler.{schedule.path}"
            self.context.add(at, path, f"{schedule.path!r} is no dotted path like {near}")
            return value
        signature, found = self.context.signature(schedule.path, at, path)
        if not found or signature is None:
            return value
        settings = dict(schedule.settings)
        reader = ClassReader(self.context, signature)
        fitted = reader.fitted(settings, signature, node, place, path)
        needed = (one for one in signature.parameters.values() if one.required)
        for parameter in needed:
            if parameter.name not in settings:
                message = f"{schedule.path} needs {parameter.name!r}"
                self.context.add(at, path, message)
        return replace(schedule, settings=fitted).to_json()


def _mistakes(name: str, value: Value) -> Iterator[SettingError]:
    """The mistakes in a value; in a list of groups, those of each group."""
    for index, part in enumerate(value) if name == "groups" and isinstance(value, list) else ():
        try:
            READERS[name]([part])
        except SettingError as error:
            yield SettingError(str(error), index, *error.path[1:])
    if name != "groups" or not isinstance(value, list):
        try:
            READERS[name](value)
        except SettingError as error:
            yield error


def _node_of(node: Node, place: Place | None) -> Node | None:
    """The node of a choice: the setting's own, or that of an axis's list."""
    if node.place == place and not (isinstance(node, MapNode) and "values" in node.entries):
        return node
    listed = node.entries.get("values") if isinstance(node, MapNode) else None
    items = listed.node.items if listed and isinstance(listed.node, ListNode) else ()
    return next((item for item in items if item.place == place), None)


def _place(node: Node | None, path: tuple[str | int, ...]) -> Place | None:
    """The place of the node at the end of a path; None: unknown."""
    for part in path:
        if isinstance(node, MapNode) and part in node.entries:
            node = node.entries[str(part)].node
        elif isinstance(node, ListNode) and isinstance(part, int):
            node = node.items[part]
    return node.place if node is not None else None


def _joined(path: str, error: SettingError) -> str:
    for part in error.path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
