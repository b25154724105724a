"""Memory limits by cgroups: whether Slurm can set them here, and the removal of leftover groups."""

import contextlib
import os
from pathlib import Path

from cluster.lab.settings import Settings

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "freezer", "cpuset", "devices", "cpuacct")


def usable() -> bool:
    """Whether this is root on a machine with writable version 1 controllers.

    Version 2 is left out: Slurm 22.05 asks systemd for a scope there, and the machines that labs
    run on (containers, CI) have no systemd.
    """
    if os.getuid() != 0:
        return False
    probe = ROOT / "memory" / f"probprec-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return os.access(ROOT / "freezer" / "tasks", os.W_OK)


def members(settings: Settings, jobs: range) -> list[int]:
    """The processes in the groups of the lab's jobs; a process cannot leave its group."""
    return [
        int(pid)
        for job in _jobs("freezer", settings, jobs)
        for listing in job.rglob("cgroup.procs")
        for pid in _read(listing).split()
    ]


def remove(settings: Settings, jobs: range) -> None:
    """Remove the empty groups of the lab's jobs, then their parents unless another lab uses them."""
    for controller in CONTROLLERS:
        for job in _jobs(controller, settings, jobs):
            _remove_tree(job)
        for node in settings.node_names:
            top = ROOT / controller / f"slurm_{node}"
            for folder in (*top.glob("uid_*"), top / "system", top):
                _remove(folder)


def _jobs(controller: str, settings: Settings, jobs: range) -> list[Path]:
    return [
        path
        for node in settings.node_names
        for path in (ROOT / controller / f"slurm_{node}").glob("uid_*/job_*")
        if int(path.name.removeprefix("job_")) in jobs
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the job ended just now
        return ""


def _remove_tree(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        _remove(Path(parent))


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or in use by another lab
        folder.rmdir()
