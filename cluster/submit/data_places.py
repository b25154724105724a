"""The places of the data that a sweep's runs read: added, named as `data:`, or found."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import find as datasets
from jobs.manifests import registry
from jobs.manifests.registry import Registered
from jobs.problems import catalog
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


@dataclass(frozen=True)
class DataPlaces:
    """The places of the data that a sweep's runs may read."""

    sweep: Sweep
    profile: Profile
    added: Mapping[str, Registered]  # the data sets that were added, by name

    @classmethod
    def of(cls, sweep: Sweep, profile: Profile) -> "DataPlaces":
        """The places, with the registry read once: manifests of large data sets take seconds."""
        return cls(sweep, profile, {one.name: one for one in registry.all_(registry_folder())})

    @property
    def named(self) -> Path | None:
        """As of `named_data`."""
        return named_data(self.sweep, self.profile)

    @property
    def is_left_to_nodes(self) -> bool:
        """As of `is_left_to_nodes`."""
        return is_left_to_nodes(self.sweep, self.profile)

    def find(self, runs: Sequence[Run]) -> dict[str, Path]:
        """Where the catalog's data sets lie that the runs read and nobody added, by name.

        Raises:
            datasets.MissingError: some are not there.
        """
        if self.is_left_to_nodes:
            return {}
        names = {catalog.dataset_of(run) for run in runs} - {None, *self.added}
        is_ours = self.profile.image is None and self.profile.python is None
        return datasets.require(  # another Python, or an image's, has other packages
            filter(None, names), self.named, inside_packages=is_ours
        )

    def own_name(self, runs: Sequence[Run]) -> str | None:
        """The name of the data set that the user's own problems read.

        It was added from the folder, or the archive, that the spec or the profile names as `data:`.
        """
        if self.named is None or not any(catalog.is_own(run) for run in runs):
            return None
        place = self.named.resolve()
        return next((one.name for one in self.added.values() if one.source == place), None)
