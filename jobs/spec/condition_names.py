"""The keys and labels that `when` and `exclude` name have to exist in the spec."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from jobs.optimizers import OPTIMIZERS
from jobs.regime.settings import READERS
from jobs.spec.axes import Setting
from jobs.spec.conditions import Clause, Condition, read_condition, spelling
from jobs.spec.context import Context
from jobs.spec.hyperparameters import setting_of
from jobs.spec.model import Optimizer
from jobs.spec.optimizers import RESERVED, OptimizerEntry
from jobs.spec.problems import BASIC, ProblemEntry
from jobs.spec.seeds import parse_seeds
from jobs.yaml.mistakes import did_you_mean, listed
from jobs.yaml.tree import ListNode, MapNode, ScalarNode

LABELS = {"problem": "problems", "optimizer": "optimizers"}
Settings = Mapping[str, Setting]


def check_conditions(
    context: Context, problems: Iterable[ProblemEntry], optimizers: Iterable[OptimizerEntry]
) -> None:
    """Note the mistakes in all `when` conditions."""
    for problem in problems:
        for setting in problem.settings:
            _check_when(context, setting.when, setting.name, {})
    for optimizer in optimizers:
        own = {setting.name: setting for setting in optimizer.settings}
        _check_when(context, optimizer.when, "", own)
        for setting in optimizer.settings:
            _check_when(context, setting.when, setting.name, own)
        for setting in optimizer.settings:
            if setting.when and _circular(setting.name, own):
                message = f"whether {setting.name!r} is set depends on itself"
                context.add(setting.place, f"{setting.path}.when", message)


def read_exclusions(context: Context) -> list[Condition]:
    """The conditions of `exclude`; mistakes in them are noted."""
    entry = context.root.entries.get("exclude")
    if entry is None or not isinstance(entry.node, ListNode):
        return []
    known = [*LABELS, "seed", *BASIC, *_hyperparameters(context)]
    exclusions = []
    for index, item in enumerate(context.spec.exclude or ()):
        found = read_condition(item, entry.node.items[index], f"exclude[{index}]")
        for clause in found:
            _check_key(context, clause, known)
        exclusions.append(tuple(_seeds(context, clause) for clause in found))
    return exclusions


def _hyperparameters(context: Context) -> list[str]:
    """The names of all hyperparameters that an optimizer of the spec is given or pins."""
    names: dict[str, None] = {}
    for label, _, node in context.entries("optimizers"):
        entry = node.entries.get("optimizer")
        name = entry.node.value if entry and isinstance(entry.node, ScalarNode) else label
        info = OPTIMIZERS.get(str(name))
        names |= dict.fromkeys(info.pinned if info else ())
        of_entry = {*Optimizer.model_fields} - {*READERS}
        names |= dict.fromkeys(key for key in node.entries if key not in of_entry)
        given = node.entries.get("hyperparameters")
        if given and isinstance(given.node, MapNode):
            names |= dict.fromkeys(setting_of(key, RESERVED) for key in given.node.entries)
    return list(names)


def _seeds(context: Context, clause: Clause) -> Clause:
    """The clause with ranges of seeds written out."""
    if clause.key != "seed":
        return clause
    seeds: list[int] = []
    for value, place in zip(clause.values, clause.places, strict=True):
        try:
            seeds += parse_seeds(value)
        except ValueError as error:
            context.add(place, clause.path, str(error))
    return replace(clause, admitted=frozenset(map(spelling, seeds)))


def dependencies(name: str, settings: Settings) -> list[str]:
    """The settings of the same optimizer on which the condition of `name` depends."""
    keys = (clause.key for clause in settings[name].when)
    return [key for key in keys if key in settings and key != name]


def _check_when(context: Context, when: Condition, name: str, settings: Settings) -> None:
    known = [key for key in (*LABELS, *BASIC, *settings) if key != name]
    for clause in when:
        if clause.key == "seed":
            message = "a setting must not depend on the seed; use `exclude` to drop seeds"
            context.add(clause.place, clause.path, message)
        elif _check_key(context, clause, known) and clause.key in settings:
            _check_possible(context, clause, settings[clause.key])


def _check_key(context: Context, clause: Clause, known: Collection[str]) -> bool:
    if clause.key not in known:
        near = did_you_mean(clause.key, known)
        message = f"no setting {clause.key!r} here{near} (known: {listed(list(known))})"
        context.add(clause.place, clause.path, message)
        return False
    if clause.key in LABELS and not context.narrowed:
        section = LABELS[clause.key]
        labels = context.labels(section)
        for value, place in zip(clause.values, clause.places, strict=True):
            if value not in labels:
                near = did_you_mean(str(value), labels)
                message = f"no {clause.key} is called {value!r}{near} (known: {listed(labels)})"
                context.add(place, clause.path, message)
    return True


def _check_possible(context: Context, clause: Clause, setting: Setting) -> None:
    """Note a condition that never holds: a typing error, unless `--set` removed the values."""
    taken = {choice.spelling for choice in setting.choices}
    if setting.kind != "random" and not context.narrowed and not taken & clause.admitted:
        values = ", ".join(choice.spelling for choice in setting.choices[:5])
        message = f"this never holds: {clause.key} is {values}"
        context.add(clause.place, clause.path, message)


def _circular(name: str, settings: Settings) -> bool:
    seen: set[str] = set()
    waiting = dependencies(name, settings)
    while waiting:
        current = waiting.pop()
        if current == name:
            return True
        if current not in seen:
            seen.add(current)
            waiting += dependencies(current, settings)
    return False
