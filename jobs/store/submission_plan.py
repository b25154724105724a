"""The plan of a submission holds all that its array tasks, feeders and workers need to know.

    submissions/0001.json                the `Plan` of one submission
    submissions/0001/chunk-00000.json    a `Chunk`: an array, beginning with task 0 of the plan
    submissions/0001/feeder-00020.json   a `FeederJob`: the job that submits the tasks from 20 on

Files of earlier versions of this toolkit are read, too: keys that they lack have defaults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.profile import Profile
from jobs.resources import Resources
from jobs.sweep import Run

_SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """A run that an array task is to attempt."""

    id: str
    fence: int  # its newest when submitted; a newer fence: another process has the run
    content: Mapping[str, Any] = field(repr=False)  # the run, as JSON

    @classmethod
    def of(cls, run: Run, fence: int) -> "Entry":
        """The entry of a run."""
        return cls(id=run.id, fence=fence, content=run.to_json())

    @cached_property
    def run(self) -> Run:
        """The run, parsed on first use: to know only the id is much quicker."""
        return Run.from_json(self.content)

    def to_json(self) -> dict[str, Any]:
        """The entry as a submission holds it."""
        return {"id": self.id, "fence": self.fence, "run": self.content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Entry":
        """Inverse of `to_json`."""
        return cls(id=content["id"], fence=content["fence"], content=content["run"])


Task = tuple[Entry, ...]
"""The runs that one array task attempts, side by side."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A file or folder, with the hash of its content at submission."""

    path: Path
    sha256: str  # of an image: its file's; of a data set: its manifest's

    def to_json(self) -> dict[str, str]:
        """Path and hash as a submission and a record hold them."""
        return {"path": str(self.path), "sha256": self.sha256}

    @classmethod
    def from_json(cls, content: Mapping[str, str]) -> "Sealed":
        """Inverse of `to_json`."""
        return cls(path=Path(content["path"]), sha256=content["sha256"])


@dataclass(frozen=True, kw_only=True)
class SealedCode:
    """The code snapshot of a submission, and the commit of its checkout."""

    file: str  # name in the sweep's folder of code
    sha256: str
    own: tuple[str, ...] = ()  # folders inside it that hold the user's own code
    commit: str | None = None
    dirty: bool | None = None  # whether the checkout had uncommitted changes

    def to_json(self) -> dict[str, Any]:
        """The snapshot's description as a submission holds it."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "own": list(self.own),
            "commit": self.commit,
            "dirty": self.dirty,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SealedCode":
        """Inverse of `to_json`."""
        return cls(**{**content, "own": tuple(content["own"])})


@dataclass(frozen=True, kw_only=True)
class SealedData:
    """The data sets that a submission's runs read, by their manifests."""

    datasets: Mapping[str, Sealed] = field(default_factory=dict)  # by name; others are searched
    own_data: str | None = None  # name in `datasets` of the data that own problems read
    unverified: str | None = None  # why the own problems' data has no manifest
    registered: Mapping[str, str] = field(default_factory=dict)  # name -> registry of added ones

    def to_json(self) -> dict[str, Any]:
        """The data sets as a submission holds them."""
        return {
            "datasets": {name: found.to_json() for name, found in self.datasets.items()},
            "own_data": self.own_data,
            "unverified": self.unverified,
            "registered": dict(self.registered),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SealedData":
        """Inverse of `to_json`; other keys of a submission are ignored."""
        datasets = content.get("datasets", {}).items()
        return cls(
            datasets={name: Sealed.from_json(found) for name, found in datasets},
            own_data=content.get("own_data"),
            unverified=content.get("unverified"),
            registered=content.get("registered", {}),
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """Array tasks that ask for the same resources."""

    resources: Resources
    threads: int  # CPU threads of each run
    needs_gpu: bool
    lead: int  # seconds before the end at which Slurm sends USR2
    tasks: tuple[Task, ...]

    @property
    def entries(self) -> Iterator[Entry]:
        """The runs of all its tasks."""
        return (entry for task in self.tasks for entry in task)

    def with_runs(self, entries: Sequence[Entry]) -> "Group":
        """The same group with these runs instead, `runs_per_task` of them to a task."""
        size = self.resources.runs_per_task or 1
        tasks = tuple(tuple(entries[i : i + size]) for i in range(0, len(entries), size))
        return replace(self, tasks=tasks)

    def to_json(self) -> dict[str, Any]:
        """The group as a submission holds it."""
        return {
            "resources": self.resources.to_json(),
            "threads": self.threads,
            "needs_gpu": self.needs_gpu,
            "lead": self.lead,
            "tasks": [[entry.to_json() for entry in task] for task in self.tasks],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Group":
        """Inverse of `to_json`; other keys of a chunk are ignored."""
        return cls(
            resources=Resources.from_json(content["resources"]),
            threads=content["threads"],
            needs_gpu=content["needs_gpu"],
            lead=content["lead"],
            tasks=tuple(tuple(map(Entry.from_json, task)) for task in content["tasks"]),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that one command submits."""

    time: float  # of the submission, unix seconds
    profile: Profile  # its `image` is the sealed file
    code: SealedCode
    data: Path | None = None  # the data folder of trainings without a sealed data set
    image: Sealed | None = None  # None: in this machine's Python
    sealed: SealedData = field(default_factory=SealedData)
    gpus: tuple[str, ...] = ()  # of this machine, if the engine is local
    groups: tuple[Group, ...]  # each becomes an array, or several
    follows: int | None = None  # the submission whose choices this one follows from

    @property
    def entries(self) -> Iterator[Entry]:
        """The runs of all its groups."""
        return (entry for group in self.groups for entry in group.entries)

    def to_json(self) -> dict[str, Any]:
        """The content of `submissions/NUMBER.json`."""
        return {
            "schema": _SCHEMA,
            "time": self.time,
            "profile": self.profile.to_json(),
            "code": self.code.to_json(),
            "data": str(self.data) if self.data else None,
            "image": self.image.to_json() if self.image else None,
            **self.sealed.to_json(),
            "gpus": list(self.gpus),
            "groups": [group.to_json() for group in self.groups],
            **({} if self.follows is None else {"follows": self.follows}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Inverse of `to_json`."""
        image, data = content.get("image"), content.get("data")
        return cls(
            time=content["time"],
            profile=Profile.from_json(content["profile"]),
            code=SealedCode.from_json(content["code"]),
            data=Path(data) if data else None,
            image=Sealed.from_json(image) if image else None,
            sealed=SealedData.from_json(content),
            gpus=tuple(content.get("gpus", ())),
            groups=tuple(map(Group.from_json, content["groups"])),
            follows=content.get("follows"),
        )


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One array of a submission; the tasks of its group have the array's indices, from 0."""

    token: str  # in the job's comment, by which the job is found if its submitter dies
    first: int  # index of its first task among all tasks of the plan
    count: int  # the plan's tasks that it stands for, also those whose runs were submitted again
    group: Group

    def to_json(self) -> dict[str, Any]:
        """The content of the chunk's file."""
        places = {"token": self.token, "first": self.first, "count": self.count}
        return {**places, **self.group.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Chunk":
        """Inverse of `to_json`."""
        return cls(
            token=content["token"],
            first=content["first"],
            count=content["count"],
            group=Group.from_json(content),
        )


@dataclass(frozen=True, kw_only=True)
class FeederJob:
    """The job between two arrays, which submits the next array."""

    token: str  # in the job's comment, as a chunk's
    after: tuple[int, ...]  # job ids of the arrays that it waits for
    resources: Resources  # of the tasks to submit: the feeder gets their partition and account

    def to_json(self) -> dict[str, Any]:
        """The content of the feeder's file."""
        after = list(self.after)
        return {"token": self.token, "after": after, "resources": self.resources.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "FeederJob":
        """Inverse of `to_json`."""
        return cls(
            token=content["token"],
            after=tuple(content["after"]),
            resources=Resources.from_json(content["resources"]),
        )
