"""Runs and sweeps as values: `Run`, `PlannedRun` (a run with its labels), `Sweep`.

These are frozen and have no dependencies: the login node, the node and the image all read them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

from jobs.canonical import Value, canonical, digest, digest_of, spelled_canonically
from jobs.resources import Resources
from jobs.tuning import Choice, Tuning

OVERRIDES = "--set"
"""Key in `Sweep.sources` of the command line's overrides, a line each."""

PROTOCOL_VERSION = 1
"""Version of what a run computes: raised if a problem's definition, a stream, ... changes."""

Role = Literal["tuning", "evaluation"]
"""Role of a run's seed: tuning seeds choose a setting, results are reported on evaluation seeds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One problem x optimizer x hyperparameters x seed: all that defines a result, nothing else."""

    problem: str  # a name of the catalog, or a dotted path to a class
    optimizer: str  # dotted path of a class: "torch.optim.SGD"
    hyperparameters: Mapping[str, Value]  # others have the class's defaults
    seed: int
    epochs: int
    batch_size: int
    init: str = "deepobs"
    protocol: str = "default"
    regime: Mapping[str, Value] = field(default_factory=dict)  # `jobs.regime.settings`, as JSON

    def to_json(self) -> dict[str, Any]:
        """Everything that the id hashes; numbers as given: a class may accept 1.0 and refuse 1."""
        regime = {"regime": dict(self.regime)} if self.regime else {}  # without: the id of before
        return {
            "problem": self.problem,
            "optimizer": self.optimizer,
            "hyperparameters": dict(self.hyperparameters),
            **regime,
            "seed": self.seed,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "init": self.init,
            "protocol": self.protocol,
            "version": PROTOCOL_VERSION,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; ValueError for a run of another protocol version."""
        fields = dict(content)
        version = fields.pop("version")
        if version != PROTOCOL_VERSION:
            raise ValueError(
                f"this run has protocol version {version}, this code implements {PROTOCOL_VERSION}"
            )
        return cls(**fields)

    @cached_property
    def id(self) -> str:
        """12 hex digits that name the run: equal runs, and only they, have equal ids."""
        return self._named.id_of(self.seed)

    @cached_property
    def cell(self) -> str:
        """12 hex digits that name the cell: all seeds of one setting."""
        return self._named.cell

    @cached_property
    def _named(self) -> "_Named":
        """The names of its setting, of which a sweep has few, each with many seeds."""
        content = self.to_json()
        del content["seed"]
        return _named(json.dumps(content))


class _Named:
    """A setting's names: that of its cell, and those of its runs."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.cell = digest(content)
        self._before = spelled_canonically({k: v for k, v in content.items() if k < "seed"})
        self._after = spelled_canonically({k: v for k, v in content.items() if k > "seed"})

    def id_of(self, seed: int) -> str:
        """The id of the run with that seed: of the same text that `digest` makes of all of it."""
        text = f'{self._before[:-1]},"seed":{json.dumps(canonical(seed))},{self._after[1:]}'
        return digest_of(text)


@lru_cache(maxsize=1024)
def _named(content: str) -> _Named:
    return _Named(json.loads(content))


_NONE = Resources()


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run with the names that the spec gives its parts."""

    run: Run
    problem: str  # the problem's label in the spec: a column of the figure
    optimizer: str  # the optimizer's label in the spec: a line of the figure
    varied: Mapping[str, Value] = field(default_factory=dict)  # the settings that axes vary
    resources: Resources = field(default_factory=Resources)  # from the spec; not in the id
    role: Role = "evaluation"

    def to_json(self) -> dict[str, Any]:
        """One entry of `sweep.json`."""
        content = {
            "id": self.run.id,
            "cell": self.run.cell,
            "problem": self.problem,
            "optimizer": self.optimizer,
            "varied": dict(self.varied),
            "run": self.run.to_json(),
        }
        if self.role == "tuning":  # older files have no roles
            content["role"] = self.role
        resources = self.resources.to_json()
        return {**content, "resources": resources} if resources else content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; an entry of an older version has no resources."""
        return cls(
            run=Run.from_json(content["run"]),
            problem=content["problem"],
            optimizer=content["optimizer"],
            varied=content["varied"],
            resources=Resources.from_json(found) if (found := content.get("resources")) else _NONE,
            role=content.get("role", "evaluation"),
        )

    def evaluated(self, seeds: Iterable[int]) -> "list[PlannedRun]":
        """The evaluation runs of the same setting, on these seeds."""
        runs = (replace(self.run, seed=seed) for seed in seeds)
        return [replace(self, run=run, role="evaluation") for run in runs]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target of a problem: `test_accuracy` at least, or `test_loss` at most, `value`."""

    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All runs that one YAML file asks for, in its order."""

    name: str
    description: str
    runs: tuple[PlannedRun, ...]
    problems: tuple[str, ...]  # labels, in the spec's order
    optimizers: tuple[str, ...]  # labels, in the spec's order
    targets: Mapping[str, Target]  # by problem label, where one is known
    data: str | None  # folder of the data sets, absolute
    code: tuple[str, ...]  # folders put on the runs' module path, absolute
    sources: Mapping[str, str]  # the spec's files: path -> text; OVERRIDES -> the overrides
    file: str | None = None  # of the spec, absolute, without links; None: not known
    tunings: tuple[Tuning, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The texts of the spec and of the files that it extends, without their names."""
        return [text for name, text in self.sources.items() if name != OVERRIDES]

    @property
    def undecided(self) -> list[Tuning]:
        """The tunings of which no setting has been chosen yet."""
        return [tuning for tuning in self.tunings if tuning.chosen is None]

    @cached_property
    def competing(self) -> Mapping[str, tuple[PlannedRun, ...]]:
        """The runs that each tuning compares, by its key, in the order of the sweep."""
        tunings = {
            (tuning.problem, tuning.optimizer, cell): tuning
            for tuning in self.tunings
            for cell in tuning.cells
        }
        found: dict[str, list[PlannedRun]] = {tuning.key: [] for tuning in self.tunings}
        for planned in self.runs if tunings else ():
            if planned.role == "tuning":
                labels = (planned.problem, planned.optimizer)
                tuning = tunings.get((*labels, planned.run.cell))
                if tuning is not None:
                    found[tuning.key].append(planned)
        return {key: tuple(runs) for key, runs in found.items()}

    @property
    def to_follow(self) -> list[PlannedRun]:
        """The runs to follow from open choices, as if each tuning's first setting were chosen."""
        firsts = [(self.competing[tuning.key][0], tuning) for tuning in self.undecided]
        return [one for first, tuning in firsts for one in first.evaluated(tuning.evaluation)]

    def with_choices(self, choices: Iterable[Choice]) -> Self:
        """The sweep with the evaluation runs of chosen settings, each behind its tuning runs."""
        cells = {choice.key: choice.cell for choice in choices}
        tunings = tuple(replace(one, chosen=cells.get(one.key)) for one in self.tunings)
        behind: dict[str, list[PlannedRun]] = {}  # by the id of the last tuning run
        for tuning in tunings:
            own = self.competing[tuning.key]
            chosen = next((one for one in own if one.run.cell == tuning.chosen), None)
            if chosen is not None:
                behind[own[-1].run.id] = chosen.evaluated(tuning.evaluation)
        runs = [one for planned in self.asked for one in (planned, *behind.get(planned.run.id, ()))]
        return replace(self, runs=tuple(runs), tunings=tunings)

    @property
    def asked(self) -> tuple[PlannedRun, ...]:
        """The runs without those that follow from a choice."""
        tuned = {(tuning.problem, tuning.optimizer) for tuning in self.tunings}
        return tuple(
            planned
            for planned in self.runs
            if planned.role == "tuning" or (planned.problem, planned.optimizer) not in tuned
        )

    def to_json(self) -> dict[str, Any]:
        """The content of `sweep.json`: the spec's runs; choices are stored elsewhere."""
        tunings = [tuning.to_json() for tuning in self.tunings]
        return {
            "schema": 1,
            "name": self.name,
            "description": self.description,
            "problems": list(self.problems),
            "optimizers": list(self.optimizers),
            "targets": {label: asdict(target) for label, target in self.targets.items()},
            "data": self.data,
            "code": list(self.code),
            "sources": dict(self.sources),
            "file": self.file,
            **({"tunings": tunings} if tunings else {}),
            "runs": [planned.to_json() for planned in self.asked],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            name=content["name"],
            description=content["description"],
            runs=tuple(map(PlannedRun.from_json, content["runs"])),
            problems=tuple(content["problems"]),
            optimizers=tuple(content["optimizers"]),
            targets={label: Target(**target) for label, target in content["targets"].items()},
            data=content["data"],
            code=tuple(content["code"]),
            sources=content["sources"],
            file=content.get("file"),
            tunings=tuple(map(Tuning.from_json, content.get("tunings", ()))),
        )
