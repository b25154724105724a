"""What a sweep asks for: `Run`, `PlannedRun` (a run and how it is called), `Sweep`.

Plain frozen values without dependencies: the login node, the node and the image all read them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

from jobs.canonical import Value, digest
from jobs.resources import Resources
from jobs.tuning import Choice, Tuning

OVERRIDES = "--set"
"""Where a sweep's sources hold the overrides of the command line, a line each."""

PROTOCOL_VERSION = 1
"""Raised whenever the meaning of a run changes (a problem's definition, a stream, the evaluation)."""

Role = Literal["tuning", "evaluation"]
"""Of a run's seed: settings are chosen on tuning seeds, results are reported on evaluation seeds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One problem x optimizer x hyperparameters x seed: all that defines a result, nothing else."""

    problem: str  # a name of the catalog, or a dotted path to a class
    optimizer: str  # dotted path of a class: "torch.optim.SGD"
    hyperparameters: Mapping[str, Value]  # what is not here is the class's default
    seed: int
    epochs: int
    batch_size: int
    init: str = "deepobs"
    protocol: str = "default"
    regime: Mapping[str, Value] = field(default_factory=dict)  # `jobs.regime.settings`, as JSON

    def to_json(self) -> dict[str, Any]:
        """Everything that the id hashes; numbers as given: a class may insist on 1.0 and refuse 1."""
        regime = {"regime": dict(self.regime)} if self.regime else {}  # ids of runs without stay
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
        return digest(self.to_json())

    @cached_property
    def cell(self) -> str:
        """12 hex digits that name the cell: all seeds of one setting."""
        return digest({key: value for key, value in self.to_json().items() if key != "seed"})


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run with the names that the spec gives its parts."""

    run: Run
    problem: str  # the problem's label in the spec: a column of the figure
    optimizer: str  # the optimizer's label in the spec: a line of the figure
    varied: Mapping[str, Value] = field(default_factory=dict)  # the values its axes gave it
    resources: Resources = field(default_factory=Resources)  # what the spec asks; not in the id
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
        if self.role == "tuning":  # files from before there were roles have none
            content["role"] = self.role
        resources = self.resources.to_json()
        return {**content, "resources": resources} if resources else content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; a sweep that was saved before there were resources has none."""
        return cls(
            run=Run.from_json(content["run"]),
            problem=content["problem"],
            optimizer=content["optimizer"],
            varied=content["varied"],
            resources=Resources.from_json(content.get("resources", {})),
            role=content.get("role", "evaluation"),
        )

    def evaluated(self, seeds: Iterable[int]) -> "list[PlannedRun]":
        """The runs of the same setting that judge it, on these seeds."""
        runs = (replace(self.run, seed=seed) for seed in seeds)
        return [replace(self, run=run, role="evaluation") for run in runs]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What counts as solved: `test_accuracy` at least, or `test_loss` at most, `value`."""

    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What one YAML file asks for, in the order in which it asks."""

    name: str
    description: str
    runs: tuple[PlannedRun, ...]
    problems: tuple[str, ...]  # labels, in the spec's order
    optimizers: tuple[str, ...]  # labels, in the spec's order
    targets: Mapping[str, Target]  # by problem label, where one is known
    data: str | None  # folder of the data sets, absolute
    code: tuple[str, ...]  # folders put on the runs' module path, absolute
    sources: Mapping[str, str]  # the spec's files: path -> text; OVERRIDES -> those
    file: str | None = None  # the spec's own, absolute, without links; None: not known
    tunings: tuple[Tuning, ...] = ()  # what is chosen before it is evaluated

    @property
    def texts(self) -> list[str]:
        """What its spec says, the files that it extends included, whatever they are called."""
        return [text for name, text in self.sources.items() if name != OVERRIDES]

    @property
    def undecided(self) -> list[Tuning]:
        """The tunings that nothing has been chosen for yet."""
        return [tuning for tuning in self.tunings if tuning.chosen is None]

    @cached_property
    def competing(self) -> Mapping[str, tuple[PlannedRun, ...]]:
        """Of each tuning, by its key, the runs that are compared, in the order of the sweep."""
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
        """What will follow from choices, as if the first setting of each tuning were chosen."""
        firsts = [(self.competing[tuning.key][0], tuning) for tuning in self.undecided]
        return [one for first, tuning in firsts for one in first.evaluated(tuning.evaluation)]

    def with_choices(self, choices: Iterable[Choice]) -> Self:
        """The sweep with the evaluation runs of what was chosen, each behind its tuning runs."""
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
        """What `sweep.json` holds: what was asked for; choices are written down elsewhere."""
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
