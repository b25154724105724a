"""Where `run` and `submit` send their runs if no `--on` says so: never by accident to a login node."""

import os
import shutil
from collections.abc import Sequence

from cluster.plain import command
from cluster.profile import LOCAL
from jobs.errors import InputError

VARIABLE = "PROBPREC_ON"
"""Names the profile of commands without `--on`."""


def default() -> str | None:
    """The profile of a command without `--on`; None: where Slurm is and nothing was chosen, none."""
    if named := os.environ.get(VARIABLE):
        return named
    return LOCAL.name if shutil.which("sbatch") is None else None


def chosen(on: str | None, words: Sequence[str]) -> str:
    """The profile of a command.

    Args:
        on: its `--on`.
        words: what was typed behind `probprec`, for what is to be typed instead.

    Raises:
        InputError: Slurm is here, and neither `--on` nor $PROBPREC_ON says where.
    """
    found = on or default()
    if found is None:
        raise InputError(
            f"where? Slurm is here ({shutil.which('sbatch')}), and there is no --on; type\n"
            f"  {command(*words, '--on', 'PROFILE')}     to send it to the cluster\n"
            f"  {command(*words, '--on', LOCAL.name)}     to train on this machine\n"
            f"or choose once for all: export {VARIABLE}=PROFILE"
        )
    return found
