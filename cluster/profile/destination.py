"""Where `run` and `submit` send their runs if no `--on` says so: never by accident to a login node."""

import os
import shutil
from collections.abc import Sequence

from cluster.profile.find import load
from cluster.terminal.plain import command
from jobs.errors import InputError
from jobs.profile import LOCAL, Profile

VARIABLE = "PROBPREC_ON"
"""Names the profile of commands without `--on`."""


def default() -> str | None:
    """The profile of a command without `--on`; None: where Slurm is and nothing was chosen, none."""
    if named := os.environ.get(VARIABLE):
        return named
    return LOCAL.name if shutil.which("sbatch") is None else None


def to_train_here() -> tuple[str, ...]:
    """What a command needs besides, to train on this machine."""
    return () if default() == LOCAL.name else ("--on", LOCAL.name)


def chosen(on: str | None, words: Sequence[str]) -> Profile:
    """The profile of a command.

    Args:
        on: its `--on`.
        words: what was typed behind `probprec`, for what is to be typed instead.

    Raises:
        InputError: Slurm is here, and neither `--on` nor $PROBPREC_ON says where; no such profile,
            or mistakes in its file.
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
