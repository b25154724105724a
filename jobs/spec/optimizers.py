"""The optimizers of a spec: classes, hyperparameters with their values, regime and tuning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.optimizers import OPTIMIZERS, OptimizerInfo
from jobs.spec import hyperparameters, model
from jobs.spec.axes import Choice, Draws, Setting, constant, read_setting, repeated
from jobs.spec.classes import ClassReader, is_class, plain
from jobs.spec.conditions import Condition, read_condition
from jobs.spec.context import Context
from jobs.spec.problems import BASIC, ProblemEntry
from jobs.spec.regime import RegimeReader, StatedSetting
from jobs.spec.resources import StatedResource, read_resources
from jobs.spec.roles import Tune, read_tune
from jobs.spec.signature import Parameter, Signature
from jobs.yaml.mistakes import Place, did_you_mean, listed
from jobs.yaml.tree import MapNode

TUNED = "tuned"
"""`lr: tuned` stands for the baseline value of the problem and the optimizer."""
RESERVED = (*BASIC, "seed", "seeds", "problem", "problems", *model.Optimizer.model_fields)
"""An entry's own keys; hyperparameters with these names go under `hyperparameters:`."""
ELSEWHERE = (*BASIC, "seed", "seeds", "problem", "problems")
"""Keys of the spec and its problems; an optimizer has no hyperparameters of these names."""


@dataclass(frozen=True)
class OptimizerEntry:
    """One optimizer of the spec."""

    label: str
    path: str  # dotted path of its class
    place: Place
    source: str
    info: OptimizerInfo | None
    signature: Signature | None
    settings: tuple[Setting, ...]
    zips: tuple[tuple[str, ...], ...]
    when: Condition
    resources: tuple[StatedResource, ...]
    tune: Tune | None  # how a setting is chosen; None: all settings are evaluated


def read_optimizers(context: Context) -> list[OptimizerEntry]:
    """The optimizers without a mistake, in the spec's order."""
    given = context.spec.optimizers
    models: Mapping[str, model.Optimizer | None] = (
        given if isinstance(given, dict) else dict.fromkeys(given or ())
    )
    found = []
    for label, place, node in context.entries("optimizers"):
        if label in models:
            reader = _Reader(context, label, node, models[label] or model.Optimizer())
            entry = reader.read(place)
            found += [entry] if entry else []
    return found


def tuned(entry: OptimizerEntry, problem: ProblemEntry) -> Choice | str:
    """The baseline step size of a problem, or a message if there is none."""
    values = entry.info.tuned if entry.info else {}
    if problem.name in values:
        return Choice(values[problem.name], "DeepOBS baseline")
    name = entry.info.name if entry.info else entry.path
    has = f"{name} is tuned for {listed(list(values))}" if values else f"{name} is not tuned at all"
    others = [info.name for info in OPTIMIZERS.values() if problem.name in info.tuned]
    return (
        f"no tuned lr of {name} on {problem.name}: {has}; "
        f"tuned on {problem.name}: {listed(others) or 'no optimizer'}"
    )


@dataclass(frozen=True)
class _Reader:
    """A reader of one entry."""

    context: Context
    label: str
    node: MapNode
    given: model.Optimizer

    @property
    def path(self) -> str:
        return f"optimizers.{self.label}"

    def read(self, place: Place) -> OptimizerEntry | None:
        """The entry; None if it has a mistake."""
        before = len(self.context.mistakes)
        if self.given.optimizer:
            place = self.node.entries["optimizer"].node.place
        name = self.given.optimizer or self.label
        info = OPTIMIZERS.get(name)
        path, found = info.path if info else "", True
        if info is None:
            path, found = self.context.look_up(name, list(OPTIMIZERS), place, self.path)
        if not found:
            return None
        signature, found = self.context.signature(path, place, self.path)
        settings = self._settings(info, signature, place)
        names = {hyperparameters.of_setting(setting.name) for setting in settings}
        for wrong in hyperparameters.missing(path, names, signature) if found else ():
            self.context.add(place, self.path, wrong)
        entry = OptimizerEntry(
            self.label,
            path,
            place,
            str(place),
            info,
            signature,
            settings,
            self._zips(settings),
            self._when(),
            read_resources(self.given.resources, self.node),
            read_tune(self.context, self.node, self.given, settings, self.path),
        )
        return entry if len(self.context.mistakes) == before else None

    def _when(self) -> Condition:
        if self.given.when is None:
            return ()
        return read_condition(self.given.when, self.node.entries["when"].node, f"{self.path}.when")

    def _settings(
        self, info: OptimizerInfo | None, signature: Signature | None, place: Place
    ) -> tuple[Setting, ...]:
        given = list(self._given())
        pinned = info.pinned if info else {}
        names = {one.name for one in given}
        settings = [
            constant(name, value, f"pinned by {info.name}" if info else "", place, self.path)
            for name, value in pinned.items()
            if name not in names
        ]
        regime = RegimeReader(self.context, self.path, self.node, info, signature)
        of_regime = list(regime.given(self.given))
        samples = self._samples([*given, *of_regime])
        draws = Draws(self.context.spec.random_seed or 0, samples)
        reader = ClassReader(self.context, signature)
        for one in given:
            wrong = self._misplaced(one, signature) or hyperparameters.unknown(one.name, signature)
            if wrong:
                self.context.add(one.entry.key, one.path, wrong)
            setting = read_setting(one.setting, one.value, one.entry.node, one.path, draws)
            for where, message in repeated(setting):
                self.context.add(where, one.path, message)
            settings.append(self._fitted(one, setting, reader))
        return (*settings, *(regime.read(one, draws) for one in of_regime))

    def _given(self) -> Iterator[StatedSetting]:
        """The hyperparameters as the spec gives them."""
        for name, value in (self.given.model_extra or {}).items():
            yield StatedSetting(
                name, name, plain(value), self.node.entries[name], f"{self.path}.{name}"
            )
        named = self.node.entries.get("hyperparameters")
        if self.given.hyperparameters is None or named is None:
            return
        for name, value in self.given.hyperparameters.items():
            entry = named.node.entries[name] if isinstance(named.node, MapNode) else named
            path = f"{self.path}.hyperparameters.{name}"
            if name in (self.given.model_extra or {}):
                self.context.add(entry.key, path, f"{name!r} is given twice")
            else:
                setting = hyperparameters.setting_of(name, RESERVED)
                yield StatedSetting(name, setting, plain(value), entry, path)

    def _samples(self, given: Sequence[StatedSetting]) -> int:
        """The number of random draws; a mistake if `samples` is missing, or given without need."""
        samples = self.given.samples or self.context.spec.samples
        drawn = [
            one
            for one in given
            if isinstance(one.value, model.Axis) and one.value.random is not None
        ]
        if drawn and not samples:
            message = "random needs samples, here or at the top: samples: 20"
            self.context.add(drawn[0].entry.node.place, drawn[0].path, message)
        if self.given.samples and not drawn:
            place = self.node.entries["samples"].key
            self.context.add(place, f"{self.path}.samples", "nothing here is random")
        return samples or 0

    @staticmethod
    def _misplaced(one: StatedSetting, signature: Signature | None) -> str | None:
        if one.setting not in ELSEWHERE:
            return None
        name = one.name
        where = "at the top" if name.startswith(("seed", "problems")) else "in a problem"
        if name in ("epochs", "batch_size"):
            where = "at the top or in a problem"
        also = "; to restrict an optimizer write when: {problem: ...}"
        also = also if name.startswith("problem") else ""
        if signature is not None and name in signature.parameters:
            also = f"; that of the class is written hyperparameters: {{{name}: ...}}"
        return f"{name!r} stands {where}{also}"

    def _fitted(self, one: StatedSetting, setting: Setting, reader: ClassReader) -> Setting:
        """The setting with every value as the class's parameter takes it."""
        signature = reader.signature
        parameter = signature.parameters.get(one.name) if signature else None
        return replace(
            setting,
            choices=tuple(
                self._fitted_choice(one, setting, choice, parameter, reader)
                for choice in setting.choices
            ),
        )

    def _fitted_choice(
        self,
        one: StatedSetting,
        setting: Setting,
        choice: Choice,
        parameter: Parameter | None,
        reader: ClassReader,
    ) -> Choice:
        place = choice.place or setting.place
        node = None if setting.kind == "axis" else one.entry.node
        value = reader.read(one.name, choice.value, node, place, setting.path)
        if reader.wraps(one.name) and not is_class(value):
            message = f"{one.name!r} is the optimizer to wrap; write {{class: SGD, lr: 0.1}}"
            self.context.add(place, setting.path, message)
        try:
            hyperparameters.check_references(value)
            if parameter is not None and not is_class(value) and (one.name, value) != ("lr", TUNED):
                value = hyperparameters.fitted(value, parameter)
        except ValueError as error:
            self.context.add(place, setting.path, str(error))
        return replace(choice, value=value)

    def _zips(self, settings: tuple[Setting, ...]) -> tuple[tuple[str, ...], ...]:
        """The groups of axes that advance together."""
        by_name = {setting.name: setting for setting in settings}
        groups: list[tuple[str, ...]] = []
        for names, place in self._zip_groups():
            wrong = _zip_mistake(names, by_name, [name for group in groups for name in group])
            if wrong:
                self.context.add(place, f"{self.path}.zip", wrong)
            groups.append(tuple(names))
        return tuple(groups)

    def _zip_groups(self) -> list[tuple[list[str], Place]]:
        given = self.given.zip
        if not given:
            return []
        node = self.node.entries["zip"].node
        flat = [name for name in given if isinstance(name, str)]
        nested = [names for names in given if isinstance(names, list)]
        return [(flat or names, node.place) for names in nested or [flat]]


def _zip_mistake(names: list[str], settings: Mapping[str, Setting], taken: list[str]) -> str | None:
    for index, name in enumerate(names):
        setting = settings.get(name)
        if setting is None:
            return f"{name!r} is not an axis of this optimizer{did_you_mean(name, settings)}"
        if setting.kind != "axis":
            return f"{name!r} is not an axis; write {name}: {{values: [...]}}"
        if name in taken or name in names[:index]:
            return f"{name!r} is zipped twice"
    if len(names) < 2:
        return "expected at least two axes"
    lengths = {name: len(settings[name].choices) for name in names}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        return f"zipped axes must have as many values as each other: {counted}"
    return None
