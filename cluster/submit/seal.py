"""What a submission seals: the image and the data sets, by their content.

Nodes compare what they find with it before a run is trained (`jobs.node`).
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.submit import missing_data, profile_image
from cluster.submit.data_places import OWN_DATA, DataPlaces, named_data, registry_folder
from containers.runtime import is_bindable
from jobs import files
from jobs.datasets.catalog import DATASETS
from jobs.errors import InputError
from jobs.manifests import own as own_data
from jobs.manifests import registry
from jobs.manifests.manifest import Manifest, ManifestError
from jobs.problems import catalog
from jobs.profile import Profile
from jobs.spec import Plan
from jobs.staging import stage
from jobs.store.store import Store
from jobs.store.submission_plan import Sealed, SealedData
from jobs.sweep import PlannedRun, Run, Sweep


@dataclass(frozen=True, kw_only=True)
class Seal:
    """The content of the image and the data that some runs read, looked at before they are sent."""

    profile: Profile  # where they are to run
    problems: frozenset[str]  # of these runs
    submissions: int  # how many the sweep had by then
    image: Sealed | None  # None: the profile has none
    data: SealedData
    manifests: tuple[Manifest, ...]  # of the data sets
    named: Path | None  # what the spec or the profile names as `data:`

    def up_to_date(self, sweep: Sweep, wanted: Sequence[PlannedRun], store: Store) -> "Seal":
        """This seal; a new one if other problems are to be run, or somebody has submitted since.

        Raises:
            InputError: as of `sealed`.
        """
        is_same = (
            self.problems == {planned.run.problem for planned in wanted}
            and self.submissions == len(store.submissions())
            and self.named == named_data(sweep, self.profile)
        )
        return self if is_same else sealed(sweep, self.profile, wanted, store)

    def keep_manifests(self, store: Store) -> None:
        """Write the manifests of the data sets into the store, for the nodes."""
        for manifest in self.manifests:
            file = store.manifest_file(manifest.sha256)
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                files.write_atomically(file, files.to_json(manifest.to_json(), indent=1))


def sealed(
    sweep: Sweep,
    profile: Profile,
    wanted: Sequence[PlannedRun],
    store: Store | None,
    plan: Plan | None = None,
) -> Seal:
    """The seal of the image and the data that the wanted runs read.

    Args:
        sweep: what is asked for.
        profile: where.
        wanted: the runs that are to be sent.
        store: the sweep's, whose submissions have sealed data before; None: nothing will be sent.
        plan: the spec's, for its lines; None: runs of a sweep that is there are sent again.

    Raises:
        InputError: all that is wrong with the image, or with the data.
    """
    runs, count = [planned.run for planned in wanted], 0
    places = DataPlaces.of(sweep, profile)
    if store is not None:
        count = len(store.submissions())
        missing_data.require_as_before(places, runs, store)
    image = profile_image.sealed(profile)
    missing_data.require(places, wanted, plan)
    data, manifests = sealed_data(places, runs)
    return Seal(
        profile=profile,
        problems=frozenset(run.problem for run in runs),
        submissions=count,
        image=image,
        data=data,
        manifests=manifests,
        named=places.named,
    )


def sealed_data(places: DataPlaces, runs: Sequence[Run]) -> tuple[SealedData, tuple[Manifest, ...]]:
    """The data sets that the runs read, and their manifests.

    A data set that was added (`probprec data add`) is taken from there. One that only nodes have is
    left to them. What an own problem reads and nobody added is described; else it is said why not.

    Raises:
        DataError, ManifestError: a data set is not there, or has changed since it was added.
        InputError: the profile's image cannot see one where it lies.
    """
    added, named = places.added, places.named
    found = {  # what Python packages carry is left to the training
        name: (place.resolve(), registry.manifest_of_dataset(name, place))
        for name, place in places.find(runs).items()
        if DATASETS[name].package is None
    }
    own, unverified = places.own_name(runs), None
    if own is None and named is not None and any(catalog.is_own(run) for run in runs):
        try:
            own, found[OWN_DATA] = OWN_DATA, (named.resolve(), _described(places, named))
        except own_data.UnverifiedError as error:
            unverified = str(error)
    used = {catalog.dataset_of(run) for run in runs} | {own}
    for one in added.values():
        if one.name in used:
            _require_unchanged(one, alone=one.name == own)
            found[one.name] = one.source, one.manifest
    if places.profile.image is not None:
        _require_bindable(place for place, _ in found.values())
    sealed_ = {name: Sealed(path=place, sha256=it.sha256) for name, (place, it) in found.items()}
    data = SealedData(
        datasets=sealed_,
        own_data=own,
        unverified=unverified,
        registered={name: str(registry_folder().resolve()) for name in found if name in added},
    )
    return data, tuple(manifest for _, manifest in found.values())


def _described(places: DataPlaces, named: Path) -> Manifest:
    """What an own problem reads that nobody added; UnverifiedError: why it cannot be described."""
    if places.is_left_to_nodes:
        raise own_data.UnverifiedError(f"{named} was left to the nodes (data_on_nodes)")
    return own_data.describe(named.resolve(), places.profile.limits.max_hashed_data << 20)


def _require_unchanged(one: registry.Registered, *, alone: bool) -> None:
    """Look at a folder that was added; what is in an archive is seen when it is unpacked.

    `alone`: as of `stage.in_place`. The catalog's problems read the files that they name, no others.
    """
    try:
        if one.source.is_file():
            return
        stage.in_place(one.manifest, one.source, alone=alone)
    except (OSError, ManifestError) as error:
        raise InputError(
            f"data set {one.name}: it is not as it was added: {error}\n"
            f"next: probprec data verify {one.name}; if it was changed on purpose, remove its manifest"
            f" and add it again: probprec data add {one.name} {shlex.quote(str(one.source))}"
        ) from error


def _require_bindable(places: Iterable[Path]) -> None:
    """Refuse data whose folder an image cannot see, where it is read in place."""
    wrong = [place for place in places if not is_bindable(place) and not place.is_file()]
    if wrong:
        raise InputError(
            "\n".join(
                f"{place}: data in a path with : or , cannot be bound into the image;"
                " move it, or add it from a path without: probprec data add NAME FOLDER"
                for place in wrong
            )
        )
