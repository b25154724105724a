"""The types of a spec's keys: its shape, before names are looked up and axes are expanded.

Every field's description says what is expected there; error messages and the JSON Schema quote it.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from jobs.regime import schedule_settings
from jobs.spec.resources import PathText, Resources
from jobs.spec.seeds import parse_seeds
from jobs.tuning import METRICS, WHEN
from jobs.yaml.keys import Expected
from jobs.yaml.mistakes import did_you_mean
from jobs.yaml.model_base import Strict

MAX_COUNT = 100_000
DRAWS = ("uniform", "loguniform", "randint", "choice")
AXES = ("values", "grid", "log_grid", "random")
CRITERIA = tuple(f"{metric} {when}" for metric in METRICS for when in WHEN)
CHOOSE = f"one of {', '.join(METRICS)}, then {' or '.join(WHEN)}, as in valid_accuracy final"
SOME_TUNE = "a mapping like {seeds: 1..3, choose: valid_accuracy final}"
SOME_RESOURCES = "a mapping like {time: 03:30:00, mem: 3G}"
SOME_EPOCHS = "a whole number of at least 1, or an axis like {values: [5, 10]}"
SOME_SIZES = "a whole number of at least 1, or an axis like {values: [32, 64]}"
_SETTINGS = Expected("a mapping of its settings")
_EXCLUDED = Expected("a mapping like {optimizer: SGD, seed: [44, 45]}")

Scalar = bool | int | float | str
Plain = Annotated[Scalar | list[Any] | None, Expected("a value")]
Values = Annotated[list[Any], Field(min_length=1, max_length=MAX_COUNT)]
Bounds = Annotated[list[float], Field(min_length=2, max_length=2)]
Whole = Annotated[list[int], Field(min_length=2, max_length=2)]
Span = Annotated[list[float], Field(min_length=3, max_length=3)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Name = Annotated[str, Field(min_length=1)]
Label = Annotated[Name, Expected("a label that is not empty")]
Listed = Annotated[Name, Expected("a name")]
Group = Annotated[list[Name], Field(min_length=1)]
Seeds = Annotated[
    int | Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^\d+\s*\.\.\s*\d+$"})],
    AfterValidator(parse_seeds),
]
Condition = Annotated[Scalar | list[Scalar | None] | None, Expected("a value or a list of values")]
Conditions = Annotated[dict[str, Condition], Field(min_length=1)]


class Draw(Strict):
    """A distribution to draw from: exactly one of its keys."""

    uniform: Bounds | None = Field(default=None, description="[low, high], low < high")
    loguniform: Bounds | None = Field(default=None, description="[low, high], 0 < low < high")
    randint: Whole | None = Field(
        default=None, description="[low, high], whole numbers, both included, low < high"
    )
    choice: Values | None = Field(default=None, description="a list of values, at least one")

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, DRAWS)
        for name, least in (("uniform", -math.inf), ("loguniform", 0.0), ("randint", -math.inf)):
            bounds = getattr(self, name)
            if bounds and not least < bounds[0] < bounds[1]:
                rule = type(self).model_fields[name].description
                raise ValueError(f"{name}: expected {rule}, found {bounds}")
        return self


class Axis(Strict):
    """Several values for one setting: exactly one of values, grid, log_grid, random."""

    values: Values | None = Field(default=None, description="a list of values, at least one")
    grid: Span | None = Field(default=None, description="[start, stop, how many], evenly spaced")
    log_grid: Span | None = Field(
        default=None,
        description="[start, stop, how many], evenly spaced in the logarithm, as in [1e-5, 1e2, 8]",
    )
    random: Draw | None = Field(
        default=None,
        description="one of uniform: [low, high], loguniform: [low, high], randint: [low, high],"
        " choice: [...]",
    )
    when: Conditions | None = Field(
        default=None,
        description="a mapping from keys to the value, or list of values, they must have",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, AXES)
        for name in ("grid", "log_grid"):
            span = getattr(self, name)
            if span:
                _check_span(name, span)
        return self


def _check_span(name: str, span: list[float]) -> None:
    start, stop, count = span
    if not float(count).is_integer() or not 1 <= count <= MAX_COUNT:
        raise ValueError(f"{name}: expected [start, stop, how many], found {count} for how many")
    if start == stop and count > 1:
        raise ValueError(f"{name}: start and stop are both {start}; that is one value")
    if name == "log_grid" and min(start, stop) <= 0:
        meant = f"[1e{start:g}, 1e{stop:g}, {count:g}]"
        raise ValueError(
            f"log_grid: expected start and stop above 0, found {min(start, stop):g}; "
            f"they are values, not exponents: write {meant} for powers of ten"
        )


def exactly_one(model: BaseModel, names: tuple[str, ...]) -> None:
    """ValueError unless exactly one of the fields `names` is given."""
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise ValueError(f"expected exactly one of {', '.join(names)}, found {found}")


class OfClass(Strict):
    """A class as a value: of an optimizer that is built around another one."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Plain] = Field(init=False)

    class_: Name = Field(
        alias="class", description="the name of an optimizer, or a dotted path like my_pkg.opt:Lion"
    )


def _kind_of_setting(value: object) -> str:
    if isinstance(value, OfClass) or (isinstance(value, dict) and "class" in value):
        return "a class"
    return "axis" if isinstance(value, Axis | dict) else "plain"


Setting = Annotated[
    Annotated[Axis, Tag("axis")]
    | Annotated[OfClass, Tag("a class")]
    | Annotated[Plain, Tag("plain")],
    Discriminator(_kind_of_setting),
    Expected("a value, or an axis like {values: [...]}"),
]
CountSetting = Axis | Count


def _kind_of_regime(value: object) -> str:
    is_axis = isinstance(value, Axis) or (
        isinstance(value, dict) and not value.keys().isdisjoint(AXES)
    )
    return "axis" if is_axis else "plain"


RegimeSetting = Annotated[
    Annotated[Axis, Tag("axis")]
    | Annotated[bool | int | float | str | list[Any] | dict[str, Any], Tag("plain")],
    Discriminator(_kind_of_regime),
]
Target = Annotated[
    dict[Literal["test_accuracy", "test_loss"], Annotated[float, Expected("a number")]],
    Field(min_length=1, max_length=1),
]


class Problem(Strict):
    """How one problem is set."""

    problem: Name | None = Field(
        default=None,
        description="the name of a problem, or a dotted path like my_pkg.problems:Blobs",
    )
    epochs: CountSetting | None = Field(default=None, description=SOME_EPOCHS)
    batch_size: CountSetting | None = Field(default=None, description=SOME_SIZES)
    init: Axis | Name | None = Field(
        default=None, description="the name of an initialisation, or an axis like {values: [a, b]}"
    )
    target: float | Target | None = Field(
        default=None, description="a test accuracy like 0.9, or {test_loss: 87.7}"
    )

    resources: Resources | None = Field(default=None, description=SOME_RESOURCES)

    @field_validator("target", mode="after")
    @classmethod
    def _fraction(cls, target: float | Target | None) -> float | Target | None:
        accuracy = target.get("test_accuracy", 1.0) if isinstance(target, dict) else target
        if accuracy is not None and not 0 < accuracy <= 1:
            raise ValueError(f"expected a test accuracy above 0 and up to 1, found {accuracy:g}")
        return target


class Tune(Strict):
    """How one of several settings is chosen, before it is run with the spec's seeds."""

    seeds: Seeds | Annotated[list[Seeds], Field(min_length=1)] = Field(
        description="a whole number, a range like 1..3, or a list of them; none of `seeds`"
    )
    choose: str = Field(description=CHOOSE, json_schema_extra={"enum": [*CRITERIA]})

    @field_validator("choose", mode="after")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in CRITERIA:
            is_test = value.startswith("test_")
            why = "; what test data chose, they cannot judge" if is_test else ""
            near = why or did_you_mean(value, CRITERIA)
            raise ValueError(f"expected {CHOOSE}, found {value!r}{near}")
        return value


class Optimizer(Strict):
    """How one optimizer is set and trained: the keys below, every other key is a hyperparameter."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Setting] = Field(init=False)

    optimizer: Name | None = Field(
        default=None, description="the name of an optimizer, or a dotted path like my_pkg.opt:Lion"
    )
    zip: Group | Annotated[list[Group], Field(min_length=1)] | None = Field(
        default=None, description="a list of axes that advance together, or a list of such lists"
    )
    when: Conditions | None = Field(
        default=None,
        description="a mapping from keys to the value, or list of values, they must have",
    )
    samples: Count | None = Field(default=None, description="a whole number of at least 1")
    hyperparameters: dict[Name, Setting] | None = Field(
        default=None,
        description="a mapping of hyperparameters whose names mean something else here",
    )
    schedule: RegimeSetting | None = Field(default=None, description=schedule_settings.EXPECTED)
    clip_norm: RegimeSetting | None = Field(default=None, description="a number above 0")
    clip_value: RegimeSetting | None = Field(default=None, description="a number above 0")
    accumulate: RegimeSetting | None = Field(
        default=None, description="a whole number of at least 1"
    )
    precision: RegimeSetting | None = Field(default=None, description="fp32 or bf16")
    average: RegimeSetting | None = Field(default=None, description="{ema: 0.999} or {swa: 0.75}")
    compile: RegimeSetting | None = Field(default=None, description="true or false")
    groups: RegimeSetting | None = Field(
        default=None, description="a list of mappings like [{dims: [0, 1], weight_decay: 0}]"
    )
    create_graph: RegimeSetting | None = Field(default=None, description="true or false")
    closure: RegimeSetting | None = Field(default=None, description="true or false")
    tune: Tune | None = Field(default=None, description=SOME_TUNE)
    resources: Resources | None = Field(default=None, description=SOME_RESOURCES)


class Spec(Strict):
    """A sweep: problems x optimizers x seeds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")] | None = Field(
        default=None, description="a folder's name: up to 100 letters, digits, '.', '_' and '-'"
    )
    description: str | None = Field(default=None, description="text")
    extends: Name | list[Name] | None = Field(
        default=None, description="the name of a file, or a list of them"
    )
    protocol: Literal["default", "deepobs-2019"] | None = Field(
        default=None, description="default or deepobs-2019"
    )
    data: PathText | None = Field(default=None, description="the folder of the data sets")
    code: list[PathText] | None = Field(default=None, description="a list of folders, as in [.]")
    seeds: Seeds | Annotated[list[Seeds], Field(min_length=1)] | None = Field(
        default=None, description="a whole number, a range like 42..51, or a list of them"
    )
    epochs: CountSetting | None = Field(default=None, description=SOME_EPOCHS)
    batch_size: CountSetting | None = Field(default=None, description=SOME_SIZES)
    random_seed: int | None = Field(default=None, description="a whole number")
    samples: Count | None = Field(default=None, description="a whole number of at least 1")
    tune: Tune | None = Field(default=None, description=SOME_TUNE)
    problems: (
        Annotated[list[Listed], Field(min_length=1)]
        | Annotated[dict[Label, Annotated[Problem | None, _SETTINGS]], Field(min_length=1)]
        | None
    ) = Field(default=None, description="a list of names, or a mapping from labels to settings")
    optimizers: (
        Annotated[list[Listed], Field(min_length=1)]
        | Annotated[dict[Label, Annotated[Optimizer | None, _SETTINGS]], Field(min_length=1)]
        | None
    ) = Field(
        default=None, description="a list of names, or a mapping from labels to hyperparameters"
    )
    resources: Resources | None = Field(default=None, description=SOME_RESOURCES)
    exclude: list[Annotated[Conditions, _EXCLUDED]] | None = Field(
        default=None, description="a list of mappings like {optimizer: SGD, seed: [44, 45]}"
    )
