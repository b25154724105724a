"""The image that a profile names: its file, and its hash."""

import os
import shlex
from pathlib import Path

from containers.runtime import ContainerError
from jobs import hashes
from jobs.errors import InputError
from jobs.profile import Profile
from jobs.store.submission_plan import Sealed

IMAGES = "PROBPREC_IMAGES"
RECIPES = (".yaml", ".yml")


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


def sealed(profile: Profile) -> Sealed | None:
    """The profile's image, by its content; None: it has none.

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
