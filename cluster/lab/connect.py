"""Slurm's commands talk to the machine's own Slurm, or to the lab's."""

import os

from cluster.lab import Lab
from cluster.lab.base import VARIABLE
from jobs.errors import InputError
from jobs.store.store import Store

LAB = "lab"


def use(profile: str) -> None:
    """Let this process's Slurm commands talk to the cluster of a profile.

    Raises:
        InputError: the profile is the lab's, and no lab is up.
    """
    if profile != LAB:
        return
    lab = Lab()
    if not lab.is_up():
        raise InputError(f"no lab is up in {lab.folder}; start one: probprec lab up")
    _turn_to(lab)


def use_that_of(store: Store) -> None:
    """Let Slurm's commands talk to the cluster of the last submission; a lab that is down will not answer."""
    submissions = store.submissions()
    if submissions and submissions[-1].plan().profile.name == LAB:
        _turn_to(Lab())


def _turn_to(lab: Lab) -> None:
    """Let this process's Slurm commands talk to the lab."""
    os.environ |= {"SLURM_CONF": str(lab.conf), VARIABLE: str(lab.folder)}
