"""Which Slurm the commands talk to: the machine's own, or the lab's."""

import os

from cluster.lab import Lab
from cluster.lab.base import VARIABLE
from jobs.errors import InputError
from jobs.store.store import Store

LAB = "lab"


def use(profile: str) -> None:
    """Turn this process's Slurm commands to the cluster of that profile.

    Raises:
        InputError: the lab is meant, and none is up.
    """
    if profile != LAB:
        return
    lab = Lab()
    if not lab.is_up():
        raise InputError(f"no lab is up in {lab.folder}; start one: probprec lab up")
    _turn_to(lab)


def use_that_of(store: Store) -> None:
    """Turn to the cluster that the sweep was last submitted to; if it is gone, it will not answer."""
    submissions = store.submissions()
    if submissions and submissions[-1].plan().profile.name == LAB:
        _turn_to(Lab())


def _turn_to(lab: Lab) -> None:
    """Let all commands of Slurm's that this process runs talk to the lab."""
    os.environ |= {"SLURM_CONF": str(lab.conf), VARIABLE: str(lab.folder)}
