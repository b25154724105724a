"""What a spec may say of a training beside hyperparameters: schedule, clipping, precision, averaging ...

Plain values that the login node, the node and the image read; nothing here imports torch. What is
as it is without a setting is left out of `to_json`, so that equal trainings have equal runs.
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
"""The keys of a parameter group that say whose it is."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """Weights for evaluation that are a mean of those of the training.

    `ema`: each step moves the mean by 1 - decay towards the weights (Polyak & Juditsky 1992 with a
    fading memory). `swa`: the mean of the weights after each epoch from a share of the epochs on
    (Izmailov et al. 2018).
    """

    kind: Literal["ema", "swa"]
    value: float  # the decay; or the share of the epochs before the first that counts

    @classmethod
    def of(cls, value: object) -> Self:
        """What a spec says: {ema: 0.999} or {swa: 0.75}."""
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
    """Parameters with hyperparameters, or a class of optimizer, of their own.

    All that is given has to hold: a regular expression found in the parameter's name (as
    `named_parameters` says it), its number of dimensions, what it is. The first group that fits has
    the parameter.
    """

    match: str | None = None
    dims: tuple[int, ...] = ()
    kinds: tuple[Kind, ...] = ()
    path: str | None = None  # dotted path of an optimizer's class; None: the entry's own
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object) -> Self:
        """What a spec says: {match: head, lr: 0.01}, {dims: [0, 1], class: AdamW, lr: 3e-4}."""
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
    """All settings of a training; by default there is nothing but the optimizer."""

    schedule: Schedule = CONSTANT
    clip_norm: float | None = None  # the largest norm of all gradients together
    clip_value: float | None = None  # the largest entry of a gradient
    accumulate: int = 1  # parts that a minibatch is passed in
    precision: Precision = "fp32"  # of the model's forward and backward pass
    average: Average | None = None
    compile: bool = False  # the model, by torch.compile
    groups: tuple[Group, ...] = ()
    create_graph: bool = False  # gradients can be differentiated again
    closure: bool = False  # step() gets a closure in the place of a backward pass

    def __post_init__(self) -> None:
        """Raises SettingError for what does not go together."""
        if self.create_graph and self.compile:
            raise SettingError(
                "create_graph and compile: torch differentiates a compiled model once"
            )
        if self.closure and any(group.path for group in self.groups):
            raise SettingError("closure and groups with a class: several optimizers share a pass")

    @classmethod
    def from_json(cls, content: Mapping[str, Value]) -> Self:
        """Inverse of `to_json`, and what a spec says, too.

        Raises:
            SettingError: a value is none of its setting.
        """
        return cls(**{name: READERS[name](value) for name, value in content.items()})

    def to_json(self) -> dict[str, Value]:
        """Only what is not as it is without a setting."""
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
"""What reads each setting, from a spec or from a run."""
