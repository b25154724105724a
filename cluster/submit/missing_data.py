"""Data that runs would not find: said before anything is written or sent, with the spec's lines."""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.submit.data_places import MANIFESTS, OWN_DATA, DataPlaces, registry_folder
from jobs.datasets import find as datasets
from jobs.errors import InputError
from jobs.manifests import registry
from jobs.manifests.registry import Registered
from jobs.problems import catalog
from jobs.profile import LOCAL
from jobs.spec import Plan
from jobs.sweep import PlannedRun, Run

if TYPE_CHECKING:
    from jobs.store.store import Store
    from jobs.store.submission_plan import SealedData
    from jobs.store.submissions import Submission


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Data that is not there."""

    lines: tuple[str, ...]  # what is missing, for each who reads it, with the place in the spec
    more: tuple[str, ...]  # where it was looked for, and what to do


def require(places: DataPlaces, wanted: Sequence[PlannedRun], plan: Plan | None) -> None:
    """Refuse to begin with data that is missing.

    Args:
        places: where data is looked for.
        wanted: the runs that are to be sent.
        plan: the spec's, for its lines; None: runs of a sweep that is there are sent again.

    Raises:
        InputError: all that is missing.
    """
    found = list(_Look(places, wanted, plan).gaps())
    if found:
        raise InputError("\n\n".join("\n".join((*gap.lines, *gap.more)) for gap in found))


def require_as_before(places: DataPlaces, runs: Sequence[Run], store: "Store") -> None:
    """Refuse runs whose data was added when an earlier submission sealed it, and is not known now.

    They would read what is there now, and nothing would compare it with what was added.

    Raises:
        InputError: the data sets, what sealed them, where they were looked for, and what to do.
    """
    added, named = places.added, places.named
    absent = {catalog.dataset_of(run) for run in runs} - {None, *added}
    is_own = named is not None and any(catalog.is_own(run) for run in runs)
    is_bare = is_own and places.own_name(runs) is None
    lost: dict[str, str] = {}
    for submission in reversed(store.submissions() if absent or is_bare else []):
        sealed = submission.plan().sealed
        names = absent & set(sealed.registered)
        own = sealed.own_data
        if is_bare and own is not None and own != OWN_DATA:
            place = sealed.datasets[own].path
            if own not in added or (named is not None and place == named.resolve()):
                names.add(own)
                is_bare = False
        for name in filter(None, names - lost.keys()):
            lost[name] = _lost(name, submission, sealed, added.get(name))
    if lost:
        raise InputError("\n\n".join(lost[name] for name in sorted(lost)))


def _lost(
    name: str,
    submission: "Submission",
    sealed: "SealedData",
    known: Registered | None,
) -> str:
    """That a data set is not known any more as that submission knew it, and what to do."""
    place = str(sealed.datasets[name].path)
    text = (
        f"data set {name}: {submission.file} sealed it as it was added from {place};"
        " without that, the runs would not be compared with what was added\n"
        f"looked in: {registry_folder().resolve()}"
    )
    if known is not None:
        return (
            f"{text}, which knows it from {known.source}\n"
            f"next: name that as `data:`, or give the other a name of its own:"
            f" probprec data add NAME {shlex.quote(place)}"
        )
    again = f"probprec data add {name} {shlex.quote(place)}"
    folder = sealed.registered.get(name)
    if folder is None:  # of a submission that did not write it down
        export = f"export {MANIFESTS}=DIR"
        return f"{text}\nnext: {export}, where it was added; or add it again: {again}"
    if not registry.file_of(Path(folder), name).is_file():
        return f"{text}; it is no longer in {folder} either\nnext: {again}"
    next_ = f"next: export {MANIFESTS}={shlex.quote(folder)}"
    return f"{text}\n{next_}\nor, if nothing in it has changed, add it here: {again}"


def notes(plan: Plan) -> list[str]:
    """What the runs of a spec would not find on this machine, a line each."""
    found = _Look(DataPlaces.of(plan.sweep, LOCAL), plan.sweep.runs, plan).gaps()
    return [line for gap in found for line in gap.lines]


@dataclass(frozen=True)
class _Look:
    """A look, from here, into all places where the nodes would look."""

    places: DataPlaces
    wanted: Sequence[PlannedRun]
    plan: Plan | None

    def gaps(self) -> Iterator[Gap]:
        """What the runs would read and not find."""
        yield from self._folder()
        yield from self._added()
        yield from self._catalog()

    def _folder(self) -> Iterator[Gap]:
        """What is named as `data:`; of a cluster's profile it counts if own problems get it."""
        named = self.places.named
        if not self.wanted or named is None or _is_there(named):
            return
        own = [one.problem for one in self.wanted if catalog.is_own(one.run)]
        is_of_cluster = self.places.sweep.data is None and self.places.profile.engine != "local"
        if is_of_cluster and (not own or self.places.is_left_to_nodes):
            return
        said = f"{self._who()}: data: {named}: no such file or folder"
        lines = [f"{reader}: is given that folder" for reader in self._with_places(own)]
        yield Gap(lines=(said, *lines), more=self._mend(named))

    def _added(self) -> Iterator[Gap]:
        """What was added from a place where it no longer is."""
        for one in self.places.added.values():
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
            self.places.find(runs)
        except datasets.MissingError as error:
            for name, text in error.missing.items():
                file = registry.file_of(registry_folder(), name)
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
        if self.places.sweep.data is None:
            return str(self.places.profile.source or "the profile")
        if self.plan is not None:
            return str(self.plan.data)
        return next(iter(self.places.sweep.sources), "the spec")

    def _mend(self, named: Path) -> tuple[str, ...]:
        """What to do about a `data:` that is not there."""
        if self.places.sweep.data is None:
            again = f", and name it: --on {self.places.profile.source}" if self.plan is None else ""
            return (f"next: mend `data:` there{again}", *self._on_nodes())
        again = ", and submit the spec again" if self.plan is None else ""
        next_ = f"next: mend `data:` there{again}"
        if self.places.profile.engine == "local":
            return (next_,)
        instead = f"`data: {named}` and `data_on_nodes: true` in {self.places.profile.source}"
        return (next_, f"or, if only the nodes have it, instead of that: {instead}")

    def _on_nodes(self) -> tuple[str, ...]:
        """What to write where only a cluster's nodes have the data."""
        if self.places.profile.engine == "local" or self.places.sweep.data is not None:
            return ()
        again = f", then --on {self.places.profile.source}" if self.plan is None else ""
        return (
            f"or, if only the nodes have it: `data_on_nodes: true` in {self.places.profile.source}{again}",
        )


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # unlike Path, never raises
