"""What a submission seals: the image and the data sets, by their content.

Nodes compare what they find with it before a run is trained (`jobs.node`).
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from containers.runtime import ContainerError, is_bindable
from jobs import files, hashes
from jobs.datasets import find as datasets
from jobs.datasets.catalog import DATASETS
from jobs.errors import InputError
from jobs.manifests import own as own_data
from jobs.manifests import registry
from jobs.manifests.manifest import Manifest, ManifestError
from jobs.problems import catalog
from jobs.problems.catalog import datasets_of
from jobs.profile import Profile
from jobs.staging import stage
from jobs.store.store import Store
from jobs.store.submission_plan import Sealed, SealedData
from jobs.store.submissions import Submission
from jobs.sweep import Run, Sweep

IMAGES = "PROBPREC_IMAGES"
MANIFESTS = "PROBPREC_DATASETS"
RECIPES = (".yaml", ".yml")

_OWN_DATA = "own data"
"""The name of what own problems read, where it was not added under one."""


def image_of(profile: Profile, folder: Path | None = None) -> Path | None:
    """The file of the profile's image; None: it has none.

    `folder`: where images are that are built by a recipe; default: where all commands look.

    Raises:
        InputError: the recipe that it names has not been built as it is now, or has mistakes.
    """
    if profile.image is None or profile.image.suffix not in RECIPES:
        return profile.image
    from cluster.recipe.recipe_file import read_recipe
    from containers.build import built

    try:
        images = folder or Path(os.environ.get(IMAGES, "images"))
        found = built(read_recipe(profile.image), images)
    except ContainerError as error:  # a file that it copies is gone
        raise InputError(str(error)) from error
    if found is None:
        raise InputError(
            f"the profile's image {profile.image} has not been built, or its recipe has changed"
            f" since; next: probprec build {shlex.quote(str(profile.image))}"
        )
    return found.path.resolve()


def sealed_image(profile: Profile) -> Sealed | None:
    """The profile's image, by its content.

    Raises:
        InputError: it cannot be read, or has not been built.
    """
    path = image_of(profile)
    if path is None:
        return None
    try:
        return Sealed(path=path, sha256=hashes.known_sha256(path))
    except OSError as error:
        raise InputError(
            f"the profile's image {path} cannot be read: {error.strerror or error};"
            " next: probprec build RECIPE, or mend `image:` in the profile"
        ) from error


def sealed_data(
    sweep: Sweep, profile: Profile, runs: Sequence[Run], store: Store | None
) -> SealedData:
    """The data sets that the runs read, by their manifests; `store` keeps those, if there is one.

    A data set that was added (`probprec data add`) is taken from there. One that only nodes have is
    left to them. What an own problem reads and nobody added is described; else it is said why not.

    Raises:
        DataError, ManifestError: a data set is not there, or has changed since it was added.
        InputError: the profile's image cannot see one where it lies.
    """
    added = {one.name: one for one in registry.all_(registry_folder())}
    named = named_data(sweep, profile)
    found = {  # what Python packages carry is left to the training
        name: (place.resolve(), registry.manifest_of_dataset(name, place))
        for name, place in find_data(sweep, profile, runs).items()
        if DATASETS[name].package is None
    }
    own, unverified = _own(added.values(), named, runs), None
    if own is None and named is not None and any(catalog.is_own(run) for run in runs):
        try:
            own, found[_OWN_DATA] = _OWN_DATA, (named.resolve(), _described(sweep, profile, named))
        except own_data.UnverifiedError as error:
            unverified = str(error)
    used = {catalog.dataset_of(run) for run in runs} | {own}
    for one in added.values():
        if one.name in used:
            _require_unchanged(one, alone=one.name == own)
            found[one.name] = one.source, one.manifest
    if profile.image is not None:
        _require_bindable(place for place, _ in found.values())
    return SealedData(
        datasets={
            name: _sealed(place, manifest, store) for name, (place, manifest) in found.items()
        },
        own_data=own,
        unverified=unverified,
        registered={name: str(registry_folder().resolve()) for name in found if name in added},
    )


def _described(sweep: Sweep, profile: Profile, named: Path) -> Manifest:
    """What an own problem reads that nobody added; UnverifiedError: why it cannot be described."""
    if is_left_to_nodes(sweep, profile):
        raise own_data.UnverifiedError(f"{named} was left to the nodes (data_on_nodes)")
    return own_data.describe(named.resolve(), profile.limits.max_hashed_data << 20)


def find_data(sweep: Sweep, profile: Profile, runs: Sequence[Run]) -> dict[str, Path]:
    """Where the catalog's data sets lie that the runs read and nobody added, by name.

    Raises:
        datasets.MissingError: some are not there.
    """
    if is_left_to_nodes(sweep, profile):
        return {}
    added = {one.name for one in registry.all_(registry_folder())}
    problems = {run.problem for run in runs if catalog.dataset_of(run) not in {None, *added}}
    is_ours = profile.image is None and profile.python is None  # else the packages are others
    return datasets.require(
        datasets_of(problems), named_data(sweep, profile), inside_packages=is_ours
    )


def is_left_to_nodes(sweep: Sweep, profile: Profile) -> bool:
    """Whether the profile says that only its nodes have the data, and the spec names none."""
    return profile.data_on_nodes and profile.engine != "local" and sweep.data is None


def require_as_before(sweep: Sweep, profile: Profile, runs: Sequence[Run], store: Store) -> None:
    """Refuse runs whose data was added when an earlier submission sealed it, and is not known now.

    They would read what is there now, and nothing would compare it with what was added.

    Raises:
        InputError: the data sets, what sealed them, where they were looked for, and what to do.
    """
    added = {one.name: one for one in registry.all_(registry_folder())}
    named = named_data(sweep, profile)
    absent = {catalog.dataset_of(run) for run in runs} - {None, *added}
    is_own = named is not None and any(catalog.is_own(run) for run in runs)
    is_bare = is_own and _own(added.values(), named, runs) is None
    lost: dict[str, str] = {}
    for submission in reversed(store.submissions() if absent or is_bare else []):
        sealed = submission.plan().sealed
        names = absent & set(sealed.registered)
        own = sealed.own_data
        if is_bare and own is not None and own != _OWN_DATA:
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
    submission: Submission,
    sealed: SealedData,
    known: registry.Registered | None,
) -> str:
    """That a data set is not known any more as that submission knew it, and what to do."""
    place = str(sealed.datasets[name].path)
    text = (
        f"data set {name}: {submission.file} sealed it as it was added from {place};"
        f" without that, the runs would not be compared with what was added\nlooked in: {registry_folder().resolve()}"
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
        return f"{text}\nnext: export {MANIFESTS}=DIR, where it was added; or add it again: {again}"
    if not registry.file_of(Path(folder), name).is_file():
        return f"{text}; it is no longer in {folder} either\nnext: {again}"
    next_ = f"next: export {MANIFESTS}={shlex.quote(folder)}"
    return f"{text}\n{next_}\nor, if nothing in it has changed, add it here: {again}"


def registry_folder() -> Path:
    """The folder of the manifests of data sets that were added."""
    return Path(os.environ.get(MANIFESTS, "datasets"))


def named_data(sweep: Sweep, profile: Profile) -> Path | None:
    """The folder, or the archive, that the spec or else the profile names as `data:`."""
    folder = sweep.data or profile.data
    return Path(folder) if folder else None


def _own(
    added: Iterable[registry.Registered], named: Path | None, runs: Sequence[Run]
) -> str | None:
    """The name of the data set that the user's own problems read.

    It was added from the folder, or the archive, that the spec or the profile names as `data:`.
    """
    if named is None or not any(catalog.is_own(run) for run in runs):
        return None
    return next((one.name for one in added if one.source == named.resolve()), None)


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


def _sealed(place: Path, manifest: Manifest, store: Store | None) -> Sealed:
    """A data set by its manifest, which the store keeps, if there is one."""
    file = None if store is None else store.manifest_file(manifest.sha256)
    if file is not None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(file, files.to_json(manifest.to_json(), indent=1))
    return Sealed(path=place, sha256=manifest.sha256)
