"""The destination of `run` and `submit` without `--on`: never by accident a login node."""

import os
import shutil
from collections.abc import Sequence

from cluster.profile.find import load
from cluster.terminal.plain import command
from jobs.errors import InputError
from jobs.profile import LOCAL, Profile

VARIABLE = "PROBPREC_ON"
"""The environment variable that names the profile of commands without `--on`."""


def default() -> str | None:
    """The name of the profile of a command without `--on`; None: Slurm is here, and none was named."""
    if named := os.environ.get(VARIABLE):
        return named
    return LOCAL.name if shutil.which("sbatch") is None else None


def to_train_here() -> tuple[str, ...]:
    """The words that a command needs, besides its own, to train on this machine."""
    return () if default() == LOCAL.name else ("--on", LOCAL.name)


def chosen(on: str | None, words: Sequence[str]) -> Profile:
    """The profile of a command.

    Args:
        on: the value of the command's `--on`.
        words: the words typed behind `probprec`, for the advice in an error.

    Raises:
        InputError: Slurm is here, and neither `--on` nor $PROBPREC_ON names a profile; no such
            profile, or mistakes in its file.
    """
    if on is not None:
        return load(on)
    found = default()
    if found is None:
        raise InputError(
            f"where to? Slurm is here ({shutil.which('sbatch')}), and no --on says whether to use it\n"
            f"  on the cluster:   {command(*words, '--on', 'PROFILE')}\n"
            f"  on this machine:  {command(*words, '--on', LOCAL.name)}\n"
            f"  once for all:     export {VARIABLE}=PROFILE\n"
            f"  no profile yet?   {command('doctor', '--write', 'mycluster.yaml')}, then --on ./mycluster.yaml"
        )
    try:
        return load(found)
    except InputError as error:
        raise InputError(f"${VARIABLE}: {error}") from None
