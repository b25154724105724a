"""A cluster's profile as a person writes it is strict YAML; every mistake has its position."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, Field

from cluster.profile.sbatch_options import sbatch_options, wrong_option
from containers.variables import why_reserved
from jobs import places
from jobs.failure import FailureClass
from jobs.profile import POLICY, Action, Engine, Limits, Option, Profile, Unstaged
from jobs.resources import A_SIZE, A_TIME, parse_time, slurm_time
from jobs.spec.context import absolute
from jobs.spec.resources import PathText, Positive, Resources, Seconds, Size
from jobs.yaml.file_kind import require_kind
from jobs.yaml.keys import DURATION, Expected, Path
from jobs.yaml.mistakes import Mistake, SpecError, did_you_mean, listed
from jobs.yaml.model_base import A_VARIABLE, Strict, Text, Variable, Word
from jobs.yaml.translate import Form, validated, without_quotes
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode, load_yaml

AN_ACTION = f"one of {listed(get_args(Action))}"
MAIL_TYPES = (
    "NONE",
    "BEGIN",
    "END",
    "FAIL",
    "REQUEUE",
    "ALL",
    "INVALID_DEPEND",
    "STAGE_OUT",
    "TIME_LIMIT",
    "TIME_LIMIT_90",
    "TIME_LIMIT_80",
    "TIME_LIMIT_50",
    "ARRAY_TASKS",
)


def _scratch(value: str) -> str:
    if not value.startswith(("/", "$", "~")):
        raise ValueError(f"expected a path on the nodes like /scratch/$USER, found {value!r}")
    return value


def _line(value: str) -> str:
    """Refuse a line that sbatch, which reads on until the first command, would take for an option."""
    if any(line.startswith("#SBATCH") for line in value.splitlines()):
        raise ValueError(f"found {value!r}: an option of sbatch; write it below `options:`")
    return value


def _mail_type(value: str) -> str:
    for name in value.split(","):
        if name not in MAIL_TYPES:
            near = did_you_mean(name, MAIL_TYPES)
            raise ValueError(f"unknown mail type {name!r}{near} (known: {listed(MAIL_TYPES)})")
    return value


Name = Annotated[str, Field(min_length=1)]
Line = Annotated[str, Field(min_length=1), AfterValidator(_line)]


class LimitsFile(Strict):
    """The limits above which a cluster refuses jobs, or a node hashes no data."""

    max_array: Positive | None = Field(default=None, description="a whole number of at least 1")
    max_submit: Positive | None = Field(default=None, description="a whole number of at least 1")
    max_hashed_data: Size | None = Field(default=None, description=A_SIZE)


class ProfileFile(Strict):
    """The keys of a profile."""

    engine: Engine | None = Field(default=None, description="local or slurm")
    resources: Resources | None = Field(
        default=None, description="a mapping like {partition: day, time: 03:30:00, mem: 3G}"
    )
    threads: Positive | None = Field(default=None, description="a whole number of at least 1")
    scratch: Annotated[Name, AfterValidator(_scratch)] | None = Field(
        default=None, description="a path on the nodes like /scratch/$USER"
    )
    data: PathText | None = Field(default=None, description="the folder of the data sets")
    data_on_nodes: bool | None = Field(default=None, description="true or false")
    image: PathText | None = Field(
        default=None, description="the path of a .sif file, or of the recipe that it is built by"
    )
    stage_image: bool | None = Field(default=None, description="true or false")
    unstaged: Unstaged | None = Field(default=None, description="fail or in_place")
    python: PathText | None = Field(default=None, description="the path of a Python interpreter")
    setup: list[Annotated[Line, Expected("a shell line")]] | None = Field(
        default=None, description="a list of shell lines like [module load cuda]"
    )
    environment: dict[Variable, Annotated[Text, Expected(A_VARIABLE)]] | None = Field(
        default=None, description="a mapping from names of variables to text"
    )
    job_name: Word | None = Field(default=None, description="a name without spaces")
    mail_type: Annotated[Name, AfterValidator(_mail_type)] | None = Field(
        default=None, description="ALL, or types with commas: END,FAIL"
    )
    mail_user: Word | None = Field(default=None, description="a mail address")
    throttle: Positive | None = Field(default=None, description="a whole number of at least 1")
    limits: LimitsFile | None = Field(
        default=None, description="a mapping like {max_array: 1001, max_submit: 500}"
    )
    signal_lead: Seconds | None = Field(default=None, description=A_TIME)
    checkpoint_every: Seconds | None = Field(default=None, description=A_TIME)
    max_attempts: Positive | None = Field(default=None, description="a whole number of at least 1")
    policy: dict[FailureClass, Annotated[Action, Expected(AN_ACTION)]] | None = Field(
        default=None, description="a mapping like {oom: mem, timeout: time}"
    )
    options: Annotated[dict[Name, Annotated[Any, DURATION]], DURATION] | None = Field(
        default=None, description="a mapping from options of sbatch to values: {exclusive: true}"
    )


def read_profile(file: FilePath) -> Profile:
    """The profile in a file, named like the file.

    Raises:
        SpecError: the file has mistakes: all of them.
    """
    root = load_yaml(file)
    if not isinstance(root, MapNode):
        message = "expected a mapping with the key engine"
        raise SpecError([Mistake.at(root.place, "", message)])
    require_kind(root, "profile", file)
    given, found = validated(_FORM, root)
    options, wrong = _read_options(root)
    wrong += [*_unseen(root, ""), *_set_by_us(root)]
    places_of = {(one.place, one.path) for one in found.values()}
    mistakes = [
        *found.values(),
        *(one for one in wrong if (one.place, one.path) not in places_of),
    ]
    if mistakes:
        raise SpecError(sorted(mistakes, key=lambda one: (one.line, one.column)))
    return _profile(given, root, file, options)


def _profile(
    given: ProfileFile, root: MapNode, file: FilePath, options: dict[str, Option]
) -> Profile:
    said = {name: getattr(given, name) for name in ProfileFile.model_fields}
    said = {name: value for name, value in said.items() if value is not None}
    said |= {
        "resources": given.resources.value() if given.resources else None,
        "limits": Limits(**given.limits.model_dump(exclude_none=True)) if given.limits else None,
        "setup": tuple(given.setup) if given.setup else None,
        "policy": {**POLICY, **given.policy} if given.policy else None,
        "options": options,
        "source": file.resolve(),
    }
    for name in ("data", "image"):
        if said.get(name):
            node = root.entries[name].node
            said[name] = FilePath(absolute(node, node.place))
    if given.python:
        said["python"] = places.expanded(given.python)
    kept = {name: value for name, value in said.items() if value is not None}
    return Profile(name=file.stem, **kept)


def _read_options(root: MapNode) -> tuple[dict[str, Option], list[Mistake]]:
    """The extra options of sbatch, and the mistakes in them."""
    entry = root.entries.get("options")
    if entry is None or not isinstance(entry.node, MapNode) or not entry.node.entries:
        return {}, []
    known = sbatch_options()
    options: dict[str, Option] = {}
    mistakes = []
    for name, found in entry.node.entries.items():
        wrong = wrong_option(name, known)
        if wrong:
            mistakes.append(Mistake.at(found.key, f"options.{name}", wrong))
            continue
        value = _option(found.node)
        if value is None:
            message = "expected text, a whole number, or true for an option without value"
            mistakes.append(Mistake.at(found.node.place, f"options.{name}", message))
        else:
            options[name] = value
    return options, mistakes


def _set_by_us(root: MapNode) -> Iterator[Mistake]:
    """The mistakes of `environment`: variables that would be overridden, or would not arrive."""
    entry = root.entries.get("environment")
    if entry is not None and isinstance(entry.node, MapNode):
        for name, found in entry.node.entries.items():
            why = why_reserved(name)
            if why is not None:
                yield Mistake.at(found.key, f"environment.{name}", f"{name!r} {why}")


def _unseen(node: Node, path: str) -> Iterator[Mistake]:
    """The mistakes of texts with invisible characters, such as a line break; `setup` and `environment` may have any."""
    if isinstance(node, MapNode):
        for name, entry in node.entries.items():
            yield from _unseen(entry.node, f"{path}.{name}".removeprefix("."))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _unseen(item, f"{path}[{index}]")
    elif isinstance(node.value, str) and not path.startswith(("setup", "environment")):
        bad = next((character for character in node.value if not character.isprintable()), None)
        if bad is not None:
            message = f"expected text that can be seen, found {bad!r} in {node.value!r}"
            yield Mistake.at(node.place, path, message)


def _option(node: Node) -> Option | None:
    """The value of an option; None: the node is no such value."""
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, timedelta):
        return slurm_time(parse_time(value))
    return (
        value if value is True or type(value) is int or (value and isinstance(value, str)) else None
    )


def _hint(path: Path, node: Node) -> str:
    if path[-1] == "setup" and isinstance(node, ScalarNode) and isinstance(node.value, str):
        return f"; write [{node.value}]"
    if isinstance(node, ScalarNode) and type(node.value) in (int, float, bool):
        return "; write it in quotes" if path[0] == "environment" else ""
    return without_quotes(node)


_FORM = Form(model=ProfileFile, required=("engine",), listed_key="class of failures", hint=_hint)
