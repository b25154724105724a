"""Which Slurm the commands talk to: the machine's own, or the lab's."""

import os
from pathlib import Path

from cluster.lab import Lab
from cluster.lab.base import VARIABLE
from jobs.errors import InputError
from jobs.store import Store, StoreError

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
    os.environ |= {"SLURM_CONF": str(lab.conf), VARIABLE: str(lab.folder)}


def use_that_of(store: Store) -> None:
    """Turn to the cluster that the sweep was last submitted to; if it is gone, it will not answer."""
    submissions = store.submissions()
    if submissions and submissions[-1].content()["profile"]["name"] == LAB:
        lab = Lab()
        os.environ |= {"SLURM_CONF": str(lab.conf), VARIABLE: str(lab.folder)}


def find_sweep(root: Path, run: str) -> Store:
    """The sweep below `root` that has a run whose id begins like that.

    Raises:
        InputError: none has, or several have.
    """
    found, closed = [], []
    for store in map(Store, sorted(root.iterdir()) if root.is_dir() else ()):
        try:
            is_of = store.exists() and any(one.run.id.startswith(run) for one in store.sweep().runs)
        except (
            OSError,
            StoreError,
        ):  # somebody's private one, or damaged: no matter for the others
            closed.append(store.root.name)
            continue
        if is_of:
            found.append(store)
    if len(found) == 1:
        return found[0]
    names = ", ".join(store.root.name for store in found)
    if found:
        raise InputError(f"run {run!r} is in several sweeps ({names}); name one: --of SWEEP")
    unread = f" (these cannot be read: {', '.join(closed)})" if closed else ""
    raise InputError(f"no sweep below {root} has a run {run!r}{unread}; name the sweep: --of SWEEP")
