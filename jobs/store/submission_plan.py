"""A plan is what a submission holds: all that array tasks, feeders and workers have to know.

    submissions/0001.json                the `Plan` of what one command sends off
    submissions/0001/chunk-00000.json    a `Chunk`: an array, which begins with that task of the plan
    submissions/0001/feeder-00020.json   a `FeederJob`: the job that sends what begins with that task

What an earlier version of this toolkit has written is read, too: what it did not know has a default.
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
    fence: int  # its newest fence when it was submitted; another one: somebody else has it
    content: Mapping[str, Any] = field(repr=False)  # the run, as JSON

    @classmethod
    def of(cls, run: Run, fence: int) -> "Entry":
        """The entry of a run."""
        return cls(id=run.id, fence=fence, content=run.to_json())

    @cached_property
    def run(self) -> Run:
        """The run; whoever needs only its id does not wait for it."""
        return Run.from_json(self.content)

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
        return {"id": self.id, "fence": self.fence, "run": self.content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Entry":
        """Inverse of `to_json`."""
        return cls(id=content["id"], fence=content["fence"], content=content["run"])


Task = tuple[Entry, ...]
"""The runs that one array task attempts, side by side."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A file or folder, and the hash of what it held when it was submitted."""

    path: Path
    sha256: str  # of an image: its file's; of a data set: its manifest's

    def to_json(self) -> dict[str, str]:
        """As a submission and a record hold it."""
        return {"path": str(self.path), "sha256": self.sha256}

    @classmethod
    def from_json(cls, content: Mapping[str, str]) -> "Sealed":
        """Inverse of `to_json`."""
        return cls(path=Path(content["path"]), sha256=content["sha256"])


@dataclass(frozen=True, kw_only=True)
class SealedCode:
    """The code's snapshot, and the commit that it was taken of."""

    file: str  # its name in the sweep's folder of code
    sha256: str
    own: tuple[str, ...] = ()  # folders inside it that hold the user's own code
    commit: str | None = None
    dirty: bool | None = None  # whether the checkout had changes that are not committed

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
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

    datasets: Mapping[str, Sealed] = field(default_factory=dict)  # by name; others are looked for
    own_data: str | None = None  # the name of that which the user's own problems read
    unverified: str | None = None  # why what they read has no manifest
    registered: Mapping[str, str] = field(default_factory=dict)  # where those were added, by name

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
        return {
            "datasets": {name: found.to_json() for name, found in self.datasets.items()},
            "own_data": self.own_data,
            "unverified": self.unverified,
            "registered": dict(self.registered),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SealedData":
        """Inverse of `to_json`; the other keys of a submission are left alone."""
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
        """The same for these runs, as many to a task as the resources say."""
        size = self.resources.runs_per_task or 1
        tasks = tuple(tuple(entries[i : i + size]) for i in range(0, len(entries), size))
        return replace(self, tasks=tasks)

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
        return {
            "resources": self.resources.to_json(),
            "threads": self.threads,
            "needs_gpu": self.needs_gpu,
            "lead": self.lead,
            "tasks": [[entry.to_json() for entry in task] for task in self.tasks],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Group":
        """Inverse of `to_json`; the other keys of a chunk are left alone."""
        return cls(
            resources=Resources.from_json(content["resources"]),
            threads=content["threads"],
            needs_gpu=content["needs_gpu"],
            lead=content["lead"],
            tasks=tuple(tuple(map(Entry.from_json, task)) for task in content["tasks"]),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one command sends off."""

    time: float  # when it was made, unix seconds
    profile: Profile  # its `image` is the file that was sealed
    code: SealedCode
    data: Path | None = None  # the folder that trainings get where no data set was sealed
    image: Sealed | None = None  # None: in this machine's Python
    sealed: SealedData = field(default_factory=SealedData)
    gpus: tuple[str, ...] = ()  # of this machine, where the engine is local
    groups: tuple[Group, ...]  # each becomes an array, or several
    follows: int | None = None  # the submission whose choices it follows from

    @property
    def entries(self) -> Iterator[Entry]:
        """The runs of all its groups."""
        return (entry for group in self.groups for entry in group.entries)

    def to_json(self) -> dict[str, Any]:
        """As it is written down."""
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

    token: str  # what the job's comment carries, to find the job by if its submitter dies
    first: int  # the place of its first task among all of the plan
    count: int  # the plan's tasks that it stands for, those included whose runs were sent again
    group: Group

    def to_json(self) -> dict[str, Any]:
        """As it is written down."""
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
    """The job between two arrays, which sends what comes next."""

    token: str  # as a chunk's
    after: tuple[int, ...]  # the arrays that it waits for
    resources: Resources  # of the tasks that it will send: it gets their partition and account

    def to_json(self) -> dict[str, Any]:
        """As it is written down."""
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
