"""Resources in a spec are given at several levels, and combined for each run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from jobs import places, resources
from jobs.yaml.keys import DURATION
from jobs.yaml.mistakes import Place
from jobs.yaml.model_base import Strict, Word
from jobs.yaml.tree import MapNode

_DURATION = r"^(\d{1,4}-)?\d{1,3}:[0-5]\d:[0-5]\d$|^\d{1,4}-\d{1,2}(:[0-5]\d)?$|^(?=\S)(\d+d)?\s*(\d+h)?\s*(\d+min)?\s*(\d+s)?$"
_NODES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _path(text: str) -> str:
    places.expanded(text)
    return text


Seconds = Annotated[
    int,
    BeforeValidator(resources.parse_time),
    DURATION,
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]
_A_SIZE = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[MGT](iB)?$"}
Size = Annotated[
    int,
    BeforeValidator(resources.parse_size),
    WithJsonSchema({"anyOf": [_A_SIZE, {"const": 0}]}),
]
SizePerCpu = Annotated[int, BeforeValidator(resources.parse_size_per_cpu), WithJsonSchema(_A_SIZE)]
Gpus = Annotated[
    int | str,
    BeforeValidator(resources.parse_gpus),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
Nodes = Annotated[tuple[str, ...], BeforeValidator(resources.parse_nodes), WithJsonSchema(_NODES)]
PathText = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]


class Resources(Strict):
    """What an array task may use, and which part of the cluster it goes to."""

    time: Seconds | None = Field(default=None, description=resources.A_TIME)
    mem: Size | None = Field(default=None, description=resources.A_SIZE)
    mem_per_cpu: SizePerCpu | None = Field(default=None, description=resources.A_SIZE)
    cpus: Positive | None = Field(default=None, description="a whole number of at least 1")
    gpus: Gpus | None = Field(default=None, description=resources.SOME_GPUS)
    gres: Word | None = Field(
        default=None, description="generic resources as Slurm writes them, like gpu:1,tmpdisk:20"
    )
    partition: Word | None = Field(default=None, description="a partition, or several: day,week")
    account: Word | None = Field(default=None, description="the name of an account")
    qos: Word | None = Field(default=None, description="the name of a quality of service")
    constraint: Word | None = Field(default=None, description="features of nodes, like a100|h100")
    reservation: Word | None = Field(default=None, description="the name of a reservation")
    nodelist: Nodes | None = Field(default=None, description=resources.SOME_NODES)
    exclude: Nodes | None = Field(default=None, description=resources.SOME_NODES)
    runs_per_task: Positive | None = Field(default=None, description="a whole number of at least 1")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self.value()
        return self

    def value(self) -> resources.Resources:
        """The resources as a value of `jobs.resources`."""
        return resources.Resources(**self.model_dump())


@dataclass(frozen=True)
class StatedResource:
    """One key of a `resources:` mapping, with the place of its value."""

    name: str
    value: Any
    place: Place


def read_resources(given: Resources | None, node: MapNode) -> tuple[StatedResource, ...]:
    """The keys of the `resources:` in `node`, whose typed form is `given`."""
    entry = node.entries.get("resources")
    if given is None or entry is None or not isinstance(entry.node, MapNode):
        return ()
    inner = entry.node.entries
    return tuple(
        StatedResource(name, value, inner[name].node.place)
        for name, value in given.value().said().items()
    )


def combined(
    levels: Iterable[tuple[StatedResource, ...]],
) -> tuple[resources.Resources, Mapping[str, StatedResource]]:
    """The resources of all levels, weakest first, and each key's origin; `--set` is strongest."""
    said = [one for level in levels for one in level]
    result: dict[str, StatedResource] = {}
    for one in sorted(said, key=lambda one: one.place.line == 0):
        result.pop(resources.EXCLUSIVE.get(one.name, ""), None)
        result[one.name] = one
    values = {name: one.value for name, one in result.items()}
    return resources.Resources(**values), {
        name: result[name] for name in resources.NAMES if name in result
    }
