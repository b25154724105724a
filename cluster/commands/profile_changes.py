"""A submission keeps its profile; a change of the profile's file or image since then is shown."""

import shlex
from dataclasses import replace
from pathlib import Path

from cluster.profile.find import load
from cluster.status.advice import has_file, name_or_file
from jobs.errors import InputError
from jobs.profile import Profile


def changed_since(stored: Profile) -> list[str]:
    """A line if the profile's file, or the image of its recipe, differs from the stored profile."""
    if not has_file(stored):
        return []
    file = stored.source
    use = f"to use it: --on {shlex.quote(name_or_file(stored))}"
    try:
        now = load(str(file))
        image = _image_now(now, stored)
    except InputError as error:
        said = "; ".join(str(error).splitlines())
        return [f"the profile {file} has changed since: {said}; then {use}"]
    now = replace(now, threads=stored.threads)  # `--threads` may have set them
    if replace(now, image=stored.image) != stored:
        return [f"the profile {file} has changed since; {use}"]
    if image != stored.image:
        return [f"the profile {file} names another image since, {image or 'none'}; {use}"]
    return []


def _image_now(now: Profile, stored: Profile) -> Path | None:
    """The file of the profile's image; it is looked for first beside the submission's image."""
    from cluster.submit import profile_image  # `status` mostly runs without it

    if stored.image is not None:
        try:
            return profile_image.image_of(now, stored.image.parent)
        except InputError:
            pass  # a changed recipe's image may be in another folder of images
    return profile_image.image_of(now)
