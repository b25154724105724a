"""What paths and values pass through on their way to a run, and what that can hold.

What can be escaped is escaped here; what cannot is refused here, before anything is written.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from containers.runtime import NOT_BINDABLE
from jobs import snapshot
from jobs.errors import InputError
from jobs.profile import Option, Profile

_SUBMITITS = re.compile("%[jtAa]")
"""What submitit's local executor replaces in the path of its folder; it knows no escape."""

_ELSEWHERE = "name another folder: --root DIR, or export PROBPREC_ROOT=DIR"


def require(root: Path, profile: Profile) -> None:
    """Refuse folders that something between here and a training would cut, or read as another.

    Args:
        root: the sweep's folder; it need not exist.
        profile: where its runs are to go.

    Raises:
        InputError: all such folders, each with what cannot hold it and what to do.
    """
    wrong = [*_of_sweep(root.resolve(), profile), *_of_installation(), *_of_image(root, profile)]
    if wrong:
        raise InputError("\n".join(wrong))


def _of_sweep(root: Path, profile: Profile) -> Iterator[str]:
    text = str(root)
    if not text.isprintable():  # a line break, or bytes that are no UTF-8
        yield f"{text!r}: the path holds characters that a line of text cannot; {_ELSEWHERE}"
    if os.pathsep in text:
        yield (
            f"{text}: runs import their code from there, and ':' separates folders in PYTHONPATH;"
            f" {_ELSEWHERE}"
        )
    if profile.engine == "slurm" and "\\" in text:
        yield f"{text}: sbatch takes no backslash in the name of a log (--output); {_ELSEWHERE}"
    if profile.engine == "local" and (found := _SUBMITITS.search(text)):
        yield f"{text}: submitit would put a number in the place of {found[0]}; {_ELSEWHERE}"


def _of_installation() -> Iterator[str]:
    if os.pathsep in str(snapshot.ROOT):
        yield (
            f"{snapshot.ROOT}: probprec is imported from there, and ':' separates folders in"
            " PYTHONPATH; move the checkout to a folder without it"
        )


def _of_image(root: Path, profile: Profile) -> Iterator[str]:
    """Only a container needs binds."""
    if profile.image is None:
        return
    if "," in str(root.resolve()):  # of a colon there is a word already
        yield f"{root.resolve()}: --bind of the image's runtime ends a path at ','; {_ELSEWHERE}"
    for name in ("data", "scratch"):
        value = str(getattr(profile, name) or "")
        if set(NOT_BINDABLE) & set(value):
            yield (
                f"{value}: a path with : or , cannot be bound into the image; name another one"
                f" as `{name}:` in {profile.source or 'the profile'}"
            )


def log_file(folder: Path, name: str) -> str:
    """A pattern for sbatch's --output; in the folder's own name `%` means itself, in `name` it counts.

    See sbatch(1), FILENAME PATTERN.
    """
    return f"{folder.resolve()}".replace("%", "%%") + f"/{name}"


def in_directive(value: Option) -> Option:
    """A value for an #SBATCH line, still to be quoted for a shell.

    sbatch reads these lines as a shell does, but in single quotes, too, a backslash escapes.
    """
    return value.replace("\\", "\\\\") if isinstance(value, str) else value
