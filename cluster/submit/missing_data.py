"""Data that runs would not find: said before anything is written or sent, with the spec's lines."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.submit import seal
from jobs.datasets import find as datasets
from jobs.errors import InputError
from jobs.manifests import registry
from jobs.problems import catalog
from jobs.profile import LOCAL, Profile
from jobs.spec import Plan
from jobs.sweep import PlannedRun, Sweep


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Data that is not there."""

    lines: tuple[str, ...]  # what is missing, for each who reads it, with the place in the spec
    more: tuple[str, ...]  # where it was looked for, and what to do


def require(
    sweep: Sweep, profile: Profile, wanted: Sequence[PlannedRun], plan: Plan | None = None
) -> None:
    """Refuse to begin with an image or with data that is missing, or not as it has to be.

    Args:
        sweep: what is asked for.
        profile: where.
        wanted: the runs that are to be sent.
        plan: the spec's, for its lines; None: runs of a sweep that is there are sent again.

    Raises:
        InputError: all that is wrong with the image, or with the data.
    """
    seal.sealed_image(profile)
    found = list(_Look(sweep, profile, wanted, plan).gaps())
    if found:
        raise InputError("\n\n".join("\n".join((*gap.lines, *gap.more)) for gap in found))
    seal.sealed_data(sweep, profile, [planned.run for planned in wanted], None)


def notes(plan: Plan) -> list[str]:
    """What the runs of a spec would not find on this machine, a line each."""
    found = _Look(plan.sweep, LOCAL, plan.sweep.runs, plan).gaps()
    return [line for gap in found for line in gap.lines]


@dataclass(frozen=True)
class _Look:
    """A look, from here, into all places where the nodes would look."""

    sweep: Sweep
    profile: Profile
    wanted: Sequence[PlannedRun]
    plan: Plan | None

    def gaps(self) -> Iterator[Gap]:
        """What the runs would read and not find."""
        yield from self._folder()
        yield from self._added()
        yield from self._catalog()

    def _folder(self) -> Iterator[Gap]:
        """What is named as `data:`; of a cluster's profile it counts if own problems get it."""
        named = seal.named_data(self.sweep, self.profile)
        if not self.wanted or named is None or _is_there(named):
            return
        own = [one.problem for one in self.wanted if catalog.is_own(one.run)]
        is_of_cluster = self.sweep.data is None and self.profile.engine != "local"
        if is_of_cluster and (not own or seal.is_left_to_nodes(self.sweep, self.profile)):
            return
        said = f"{self._who()}: data: {named}: no such file or folder"
        lines = [f"{reader}: is given that folder" for reader in self._with_places(own)]
        yield Gap(lines=(said, *lines), more=self._mend(named))

    def _added(self) -> Iterator[Gap]:
        """What was added from a place where it no longer is."""
        for one in registry.all_(seal.registry_folder()):
            readers = self._readers(one.name)
            if readers and not _is_there(one.source):
                gone = f"the data set {one.name} is no longer where it was added from, {one.source}"
                next_ = f"next, with the folder or archive: probprec data add {one.name} FOLDER"
                lines = [f"{reader}: {gone}" for reader in readers]
                yield Gap(lines=tuple(lines), more=(next_,))

    def _catalog(self) -> Iterator[Gap]:
        """What problems of the catalog read and nobody has added."""
        runs = [one.run for one in self.wanted]
        try:
            seal.find_data(self.sweep, self.profile, runs)
        except datasets.MissingError as error:
            for name, text in error.missing.items():
                file = registry.file_of(seal.registry_folder(), name)
                more = (
                    text,
                    f"Nor was it added: there is no {file}.",
                    f"next, with the folder or archive: probprec data add {name} FOLDER",
                    *self._on_nodes(),
                )
                lines = [f"{one}: the data set {name} is not here" for one in self._readers(name)]
                yield Gap(lines=tuple(lines), more=more)

    def _readers(self, dataset: str) -> list[str]:
        """The problems that read a data set of the catalog, with their places in the spec."""
        readers = [one for one in self.wanted if catalog.dataset_of(one.run) == dataset]
        return self._with_places(one.problem for one in readers)

    def _with_places(self, labels: Iterable[str]) -> list[str]:
        cells = self.plan.cells if self.plan is not None else ()
        places = {cell.problem.label: f"{cell.problem.source}: " for cell in cells}
        return [f"{places.get(label, '')}problems.{label}" for label in dict.fromkeys(labels)]

    def _who(self) -> str:
        """Where `data:` stands."""
        if self.sweep.data is None:
            return str(self.profile.source or "the profile")
        if self.plan is not None:
            return str(self.plan.data)
        return next(iter(self.sweep.sources), "the spec")

    def _mend(self, named: Path) -> tuple[str, ...]:
        """What to do about a `data:` that is not there."""
        if self.sweep.data is None:
            again = f", and name it: --on {self.profile.source}" if self.plan is None else ""
            return (f"next: mend `data:` there{again}", *self._on_nodes())
        again = ", and submit the spec again" if self.plan is None else ""
        next_ = f"next: mend `data:` there{again}"
        if self.profile.engine == "local":
            return (next_,)
        instead = f"`data: {named}` and `data_on_nodes: true` in {self.profile.source}"
        return (next_, f"or, if only the nodes have it, instead of that: {instead}")

    def _on_nodes(self) -> tuple[str, ...]:
        """What to write where only a cluster's nodes have the data."""
        if self.profile.engine == "local" or self.sweep.data is not None:
            return ()
        again = f", then --on {self.profile.source}" if self.plan is None else ""
        return (
            f"or, if only the nodes have it: `data_on_nodes: true` in {self.profile.source}{again}",
        )


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # unlike Path, never raises
