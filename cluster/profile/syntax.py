"""Paths and values pass through sbatch, a shell and binds on their way to a run.

Characters are escaped here if they can be, and else refused, before anything is written.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from containers.runtime import NOT_BINDABLE
from jobs import snapshot
from jobs.errors import InputError
from jobs.profile import Option, Profile

_SUBMITIT_PATTERNS = re.compile("%[jtAa]")
"""Patterns that submitit's local executor replaces in the path of its folder, without an escape."""

_OTHER_ROOT_ADVICE = "name another folder: --root DIR, or export PROBPREC_ROOT=DIR"


def require(root: Path, profile: Profile) -> None:
    """Refuse folders whose path a program on the way to a training would cut or misread.

    Args:
        root: the sweep's folder; it need not exist.
        profile: the profile that its runs go to.

    Raises:
        InputError: all such folders, each with the program that misreads it and what to do.
    """
    wrong = [*_of_sweep(root.resolve(), profile), *_of_installation(), *_of_image(root, profile)]
    if wrong:
        raise InputError("\n".join(wrong))


def _of_sweep(root: Path, profile: Profile) -> Iterator[str]:
    text = str(root)
    if not text.isprintable():  # a line break, or bytes that are no UTF-8
        yield f"{text!r}: the path holds characters that a line of text cannot; {_OTHER_ROOT_ADVICE}"
    if os.pathsep in text:
        yield (
            f"{text}: runs import their code from there, and ':' separates folders in PYTHONPATH;"
            f" {_OTHER_ROOT_ADVICE}"
        )
    if profile.engine == "slurm" and "\\" in text:
        yield f"{text}: sbatch takes no backslash in the name of a log (--output); {_OTHER_ROOT_ADVICE}"
    if profile.engine == "local" and (found := _SUBMITIT_PATTERNS.search(text)):
        yield f"{text}: submitit would put a number in the place of {found[0]}; {_OTHER_ROOT_ADVICE}"


def _of_installation() -> Iterator[str]:
    if os.pathsep in str(snapshot.ROOT):
        yield (
            f"{snapshot.ROOT}: probprec is imported from there, and ':' separates folders in"
            " PYTHONPATH; move the checkout to a folder without it"
        )


def _of_image(root: Path, profile: Profile) -> Iterator[str]:
    """The paths that cannot be bound into the profile's image, if it has one."""
    if profile.image is None:
        return
    if "," in str(root.resolve()):  # a colon is refused by `_of_sweep`
        yield f"{root.resolve()}: --bind of the image's runtime ends a path at ','; {_OTHER_ROOT_ADVICE}"
    for name in ("data", "scratch"):
        value = str(getattr(profile, name) or "")
        if set(NOT_BINDABLE) & set(value):
            yield (
                f"{value}: a path with : or , cannot be bound into the image; name another one"
                f" as `{name}:` in {profile.source or 'the profile'}"
            )


def log_file(folder: Path, name: str) -> str:
    """A file name pattern for sbatch's --output; `%` is escaped in the folder's name, and not in `name`.

    See sbatch(1), FILENAME PATTERN.
    """
    return f"{folder.resolve()}".replace("%", "%%") + f"/{name}"


def in_directive(value: Option) -> Option:
    """A value for an #SBATCH line, still to be quoted for a shell.

    sbatch reads these lines as a shell does, except that a backslash escapes in single quotes, too.
    """
    return value.replace("\\", "\\\\") if isinstance(value, str) else value
