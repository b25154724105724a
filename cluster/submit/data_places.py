"""Where the data lies that a sweep's runs read: added, named as `data:`, or found."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.datasets import find as datasets
from jobs.manifests import registry
from jobs.problems import catalog
from jobs.problems.catalog import datasets_of
from jobs.profile import Profile
from jobs.sweep import Run, Sweep

MANIFESTS = "PROBPREC_DATASETS"

OWN_DATA = "own data"
"""The name of what own problems read, where it was not added under one."""


def registry_folder() -> Path:
    """The folder of the manifests of data sets that were added."""
    return Path(os.environ.get(MANIFESTS, "datasets"))


def named_data(sweep: Sweep, profile: Profile) -> Path | None:
    """The folder, or the archive, that the spec or else the profile names as `data:`."""
    folder = sweep.data or profile.data
    return Path(folder) if folder else None


def is_left_to_nodes(sweep: Sweep, profile: Profile) -> bool:
    """Whether the profile says that only its nodes have the data, and the spec names none."""
    return profile.data_on_nodes and profile.engine != "local" and sweep.data is None


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


def own_name(
    added: Iterable[registry.Registered], named: Path | None, runs: Sequence[Run]
) -> str | None:
    """The name of the data set that the user's own problems read.

    It was added from the folder, or the archive, that the spec or the profile names as `data:`.
    """
    if named is None or not any(catalog.is_own(run) for run in runs):
        return None
    return next((one.name for one in added if one.source == named.resolve()), None)
