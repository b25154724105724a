"""The problems of a spec: names, and the values of epochs, batch sizes and initialisations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jobs.problems.catalog import PROBLEMS, ProblemInfo
from jobs.spec import model
from jobs.spec.axes import Choice, Draws, Setting, read_setting, repeated
from jobs.spec.context import Context
from jobs.spec.resources import StatedResource, read_resources
from jobs.sweep import Target
from jobs.yaml.mistakes import Place, did_you_mean, listed
from jobs.yaml.tree import MapNode

BASIC = ("init", "batch_size", "epochs")
"""The settings that every run has beside its hyperparameters."""
OWN_INIT = "deepobs"


@dataclass(frozen=True)
class ProblemEntry:
    """One problem of the spec."""

    label: str
    name: str  # in the catalog, or a dotted path
    place: Place
    source: str
    settings: tuple[Setting, ...]
    target: Target | None
    resources: tuple[StatedResource, ...]


def read_problems(context: Context) -> list[ProblemEntry]:
    """The problems without a mistake, in the spec's order."""
    given = context.spec.problems
    models: Mapping[str, model.Problem | None] = (
        given if isinstance(given, dict) else dict.fromkeys(given or ())
    )
    found = []
    for label, place, node in context.entries("problems"):
        if label in models:
            entry = _read(context, label, place, node, models[label] or model.Problem())
            found += [entry] if entry else []
    return found


def _read(
    context: Context, label: str, place: Place, node: MapNode, given: model.Problem
) -> ProblemEntry | None:
    path = f"problems.{label}"
    if given.problem:
        place = node.entries["problem"].node.place
    name = given.problem or label
    info = PROBLEMS.get(name)
    if info is None:
        name, found = context.look_up(name, list(PROBLEMS), place, path)
        if not found or not context.signature(name, place, path)[1]:
            return None
    before = len(context.mistakes)
    reader = _Reader(context, node, given, info, path)
    settings = [reader.read(key) for key in _order(context, node)]
    if len(context.mistakes) == before:
        for setting in settings:
            wrong = _incomplete(setting)
            if wrong:
                context.add(setting.place, setting.path, wrong)
    if len(context.mistakes) > before:
        return None
    return ProblemEntry(
        label,
        name,
        place,
        str(place),
        tuple(settings),
        _target(given, info),
        read_resources(given.resources, node),
    )


def _order(context: Context, node: MapNode) -> list[str]:
    """The names of the basic settings in the order of the spec, defaults last."""
    written = [key for key in (*node.entries, *context.root.entries) if key in BASIC]
    return list(dict.fromkeys([*written, *BASIC]))


def _incomplete(setting: Setting) -> str | None:
    """Note a missing `epochs` or `batch_size`: an own problem has no defaults."""
    if not setting.choices:
        return f"a problem outside the catalog needs {setting.name}"
    if setting.when and setting.fallback is None:
        return "needs a value where the condition does not hold; remove `when`"
    return None


@dataclass(frozen=True)
class _Reader:
    """A reader of the basic settings of one problem."""

    context: Context
    node: MapNode
    given: model.Problem
    info: ProblemInfo | None
    path: str

    def read(self, key: str) -> Setting:
        """The problem's own setting, else the spec's, else the catalog's; else no choices."""
        default = self._default(key)
        path = f"{self.path}.{key}"
        value, entry = getattr(self.given, key), self.node.entries.get(key)
        if value is None and key != "init" and key in self.context.root.entries:
            value, entry, path = (
                getattr(self.context.spec, key),
                self.context.root.entries.get(key),
                key,
            )
        if value is None or entry is None:
            return Setting(key, (default,) if default else (), path, self.node.place)
        if isinstance(value, model.Axis) and value.random is not None:
            message = "random is for hyperparameters; list the values: {values: [...]}"
            self.context.add(entry.node.place, path, message)
        setting = read_setting(key, value, entry.node, path, Draws())
        for place, message in repeated(setting):
            self.context.add(place, path, message)
        check = self._init if key == "init" else self._count
        choices = tuple(check(setting, choice) for choice in setting.choices)
        return replace(setting, choices=choices, fallback=default)

    def _default(self, key: str) -> Choice | None:
        if self.info is None:
            return Choice(OWN_INIT, "default") if key == "init" else None
        value = self.info.inits[0] if key == "init" else getattr(self.info, key)
        return Choice(value, f"default of problem {self.info.name}")

    def _init(self, setting: Setting, choice: Choice) -> Choice:
        value, place = choice.value, choice.place or setting.place
        if not isinstance(value, str):
            message = f"expected the name of an initialisation, found {value}"
            self.context.add(place, setting.path, message)
        elif self.info and value not in self.info.inits:
            known = self.info.inits
            message = f"problem {self.info.name} has no init {value!r}{did_you_mean(value, known)}"
            self.context.add(place, setting.path, f"{message} (known: {listed(known)})")
        return choice

    def _count(self, setting: Setting, choice: Choice) -> Choice:
        """The choice with a whole number as its value: a grid gives 10.0."""
        value, place = choice.value, choice.place or setting.place
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 1 <= value <= model.MAX_COUNT:
            expected = f"expected a whole number from 1 to {model.MAX_COUNT:,}"
            self.context.add(place, setting.path, f"{expected}, found {choice.value!r}")
            return choice
        return replace(choice, value=value)


def _target(given: model.Problem, info: ProblemInfo | None) -> Target | None:
    if given.target is None:
        return info.target if info else None
    if not isinstance(given.target, dict):
        return Target(metric="test_accuracy", value=given.target)
    metric, value = next(iter(given.target.items()))
    return Target(metric=metric, value=value)
