"""Settings of a training beside hyperparameters: schedule, clipping, precision, averaging, ...

The login node, the node and the image read these values; nothing here imports torch. `to_json`
leaves out settings that equal their default, so that equal trainings have equal runs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from jobs.canonical import Value
from jobs.regime.schedule_settings import CONSTANT, Schedule
from jobs.regime.values import CLASS, SettingError, below, flag, keys_of, number, text, whole

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Kind = Literal["bias", "norm", "embedding"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MATCHING = ("match", "dims", "kinds")
"""The keys of a parameter group that say which parameters belong to it."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """The average of the training's weights that is evaluated.

    `ema`: each step moves the mean by 1 - decay towards the weights (Polyak & Juditsky 1992 with a
    fading memory). `swa`: the mean of the weights after each epoch from a share of the epochs on
    (Izmailov et al. 2018).
    """

    kind: Literal["ema", "swa"]
    value: float  # ema: the decay; swa: the share of the epochs before the first that counts

    @classmethod
    def of(cls, value: object) -> Self:
        """The average that a spec gives: {ema: 0.999} or {swa: 0.75}."""
        given = keys_of(value, ("ema", "swa"), "{ema: 0.999} or {swa: 0.75}")
        if len(given) != 1:
            raise SettingError("expected one of {ema: 0.999} and {swa: 0.75}")
        ((kind, found),) = given.items()
        if kind == "swa":
            return cls(kind="swa", value=below(found, 0, 1, "swa"))
        return cls(kind="ema", value=number(found, 0, 1, "ema"))

    def to_json(self) -> Value:
        """Inverse of `of`."""
        return {self.kind: self.value}


@dataclass(frozen=True, kw_only=True)
class Group:
    """A parameter group with hyperparameters, or a class of optimizer, of its own.

    A parameter belongs to the first group of which all given conditions hold: a regular expression
    found in its name (of `named_parameters`), its number of dimensions, its kind.
    """

    match: str | None = None
    dims: tuple[int, ...] = ()
    kinds: tuple[Kind, ...] = ()
    path: str | None = None  # dotted path of an optimizer's class; None: the entry's own
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object) -> Self:
        """The group that a spec gives: {match: head, lr: 0.01}, {dims: [0, 1], class: AdamW}."""
        if not isinstance(value, Mapping) or not any(name in value for name in MATCHING):
            raise SettingError(
                "expected a mapping with at least one of match: 'a regular expression',"
                f" dims: [0, 1] and kinds: [{', '.join(KINDS)}]"
            )
        rest = {str(name): found for name, found in value.items() if name not in MATCHING}
        path = rest.pop(CLASS, None)
        return cls(
            match=_expression(value["match"]) if "match" in value else None,
            dims=tuple(
                whole(one, 0, "dims", "dims") for one in _listed(value.get("dims", ()), "dims")
            ),
            kinds=tuple(_kind(one) for one in _listed(value.get("kinds", ()), "kinds")),
            path=text(path, CLASS) if path is not None else None,
            hyperparameters=rest,
        )

    def to_json(self) -> Value:
        """Inverse of `of`."""
        whose: dict[str, Any] = {
            "match": self.match,
            "dims": sorted(set(self.dims)),
            "kinds": sorted(set(self.kinds)),
            CLASS: self.path,
        }
        given = {name: found for name, found in whose.items() if found not in (None, [])}
        return {**given, **self.hyperparameters}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a training; by default none changes the plain protocol."""

    schedule: Schedule = CONSTANT
    clip_norm: float | None = None  # the largest norm of all gradients together
    clip_value: float | None = None  # the largest entry of a gradient
    accumulate: int = 1  # parts of a minibatch, a pass each
    precision: Precision = "fp32"  # of the model's forward and backward pass
    average: Average | None = None
    compile: bool = False  # the model, by torch.compile
    groups: tuple[Group, ...] = ()
    create_graph: bool = False  # gradients can be differentiated again
    closure: bool = False  # step() gets a closure in the place of a backward pass

    def __post_init__(self) -> None:
        """Raises SettingError for settings that exclude each other."""
        if self.create_graph and self.compile:
            raise SettingError(
                "create_graph and compile: torch differentiates a compiled model once"
            )
        if self.closure and any(group.path for group in self.groups):
            raise SettingError("closure and groups with a class: several optimizers share a pass")

    @classmethod
    def from_json(cls, content: Mapping[str, Value]) -> Self:
        """Inverse of `to_json`; also reads the values of a spec.

        Raises:
            SettingError: a value does not fit its setting.
        """
        return cls(**{name: READERS[name](value) for name, value in content.items()})

    def to_json(self) -> dict[str, Value]:
        """The settings that differ from their defaults."""
        plain: dict[str, Value] = {
            "schedule": self.schedule.to_json(),
            "average": self.average.to_json() if self.average else None,
            "groups": [group.to_json() for group in self.groups],
        }
        found = {name: plain.get(name, getattr(self, name)) for name in READERS}
        none = {"schedule": {}, "groups": [], "accumulate": 1, "precision": "fp32"}
        return {
            name: value
            for name, value in found.items()
            if value is not None and value is not False and value != none.get(name)
        }


def _groups(value: object) -> tuple[Group, ...]:
    found = []
    for index, one in enumerate(_listed(value, None)):
        try:
            found.append(Group.of(one))
        except SettingError as error:
            raise SettingError(str(error), index, *error.path) from None
    return tuple(found)


def _precision(value: object) -> Precision:
    if value in PRECISIONS:
        return value
    hint = "; fp16 would need scaled losses, bf16 does not" if value == "fp16" else ""
    raise SettingError(f"expected fp32 or bf16, found {value!r}{hint}")


def _kind(value: object) -> Kind:
    if value in KINDS:
        return value
    raise SettingError(f"expected some of {', '.join(KINDS)}, found {value!r}", "kinds")


def _expression(value: object) -> str:
    found = text(value, "match")
    try:
        re.compile(found)
    except re.error as error:
        raise SettingError(f"{found!r} is no regular expression: {error}", "match") from None
    return found


def _listed(value: object, key: str | None) -> list[object]:
    if isinstance(value, list | tuple):
        return list(value)
    if key is not None:
        return [value]
    raise SettingError("expected a list of mappings like [{dims: [0, 1], weight_decay: 0}]")


def _positive(value: object) -> float | None:
    return None if value is None else number(value, 0, None, "")


READERS: Mapping[str, Callable[[object], Any]] = {
    "schedule": Schedule.of,
    "clip_norm": _positive,
    "clip_value": _positive,
    "accumulate": lambda value: whole(value, 1, ""),
    "precision": _precision,
    "average": lambda value: None if value is None else Average.of(value),
    "compile": flag,
    "groups": _groups,
    "create_graph": flag,
    "closure": flag,
}
"""Functions that read the value of each setting, from a spec or from a run."""
