"""The file system of a path: its kind, whether other machines see it, and the room that is left."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.doctor.finding import Check, Group
from jobs.units import capacity

SHARED = frozenset(
    [
        "nfs",
        "nfs4",
        "lustre",
        "gpfs",
        "beegfs",
        "fhgfs_nodev",
        "ceph",
        "cephfs",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "cifs",
        "smb3",
        "panfs",
        "wekafs",
        "afs",
        "fuse.sshfs",
        "orangefs",
        "pvfs2",
        "9p",
        "virtiofs",
        "gfs2",
        "ocfs2",
        "quobyte",
        "fuse.quobyte",
        "vastnfs",
        "fuse.juicefs",
        "fuse.cvmfs2",
    ]
)
"""Types of file systems that other machines see, too (as /proc/self/mountinfo names them)."""

_FREE_BYTES_MIN = 1 << 30
"""A sweep with checkpoints of a large net needs at least so much room."""

_SKEW_NOTED_S, _SKEW_MAX_S = 2.0, 60.0
"""Two clocks so far apart are worth a note; from the second value on times make no sense."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mounted file system."""

    point: Path
    kind: str  # ext4, nfs4, ...
    source: str

    @property
    def is_shared(self) -> bool:
        """Whether other machines can see the file system, by its kind."""
        return self.kind in SHARED

    @property
    def where(self) -> str:
        """The file system in words: `nfs4, shared` or `tmpfs, of this machine alone`."""
        return f"{self.kind}, {'shared' if self.is_shared else 'of this machine alone'}"


def mount_of(path: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount:
    """The file system of a path, or of the folder that it would be made in.

    Raises:
        OSError: there is no table (not Linux).
    """
    real = nearest(path).resolve()
    best = Mount(point=Path("/"), kind="unknown", source="")
    for line in table.read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 5 or len(rest) < 2:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        if real.is_relative_to(point) and len(point.parts) >= len(best.point.parts):
            best = Mount(point=point, kind=rest[0], source=rest[1])
    return best


def nearest(path: Path) -> Path:
    """The path itself, or the innermost folder around it that exists."""
    path = Path(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def free(path: Path) -> int:
    """The bytes that this user may still write below a path.

    Raises:
        OSError: the file system does not answer.
    """
    about = os.statvfs(nearest(path))
    return about.f_bavail * about.f_frsize


def shared(group: Group, name: str, path: Path, *, is_local: bool = False) -> Check:
    """The check whether the nodes see a path; `is_local`: there are no nodes."""
    mount = mount_of(path)
    if mount.is_shared or is_local:
        return group.ok(name, f"{path} ({mount.where})")
    advice = "the nodes have to see it, too; whether they do: --node"
    return group.note(name, f"{path} ({mount.where})", advice)


def look(code: Path, sweeps: Path, *, is_local: bool) -> list[Check]:
    """The checks of the disks of code and sweeps; `is_local`: no other machine has to see them."""
    group = Group("Disk and clock")
    return [
        *group.look("code", lambda: [shared(group, "code", code, is_local=is_local)]),
        *group.look("sweeps", lambda: [_writable(group, sweeps, is_local=is_local)]),
        *group.look("room", lambda: _room(group, sweeps)),
        *group.look("quota", lambda: _quota(group, sweeps)),
        *group.look("clock", lambda: [_clock(group, sweeps)]),
    ]


def _writable(group: Group, sweeps: Path, *, is_local: bool) -> Check:
    there = nearest(sweeps)
    if not os.access(there, os.W_OK | os.X_OK):
        advice = "name a folder of your own: export PROBPREC_ROOT=/shared/you/sweeps"
        return group.problem("sweeps", f"{there} is not yours to write to", advice)
    return shared(group, "sweeps", sweeps.absolute(), is_local=is_local)


def _room(group: Group, sweeps: Path) -> Iterator[Check]:
    about, mount = os.statvfs(nearest(sweeps)), mount_of(sweeps)
    room = about.f_bavail * about.f_frsize
    advice = "make room, or name another folder: export PROBPREC_ROOT=/shared/you/sweeps"
    if about.f_files and not about.f_favail:
        yield group.problem("room", f"no file more can be made on {mount.point}", advice)
    elif room < _FREE_BYTES_MIN:
        yield group.problem("room", f"only {capacity(room)} are free on {mount.point}", advice)
    else:
        yield group.ok("room", f"{capacity(room)} free on {mount.point}")


def _quota(group: Group, sweeps: Path) -> Iterator[Check]:
    """The checks by the quota commands, if there are any; a star marks an exceeded limit."""
    mount = mount_of(sweeps)
    commands = [["lfs", "quota", "-h", str(mount.point)]] if mount.kind == "lustre" else []
    commands += [["quota", "-s", "-w"]]
    for command in commands:
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            yield group.note("quota", f"{command[0]} does not answer")
            continue
        lines = [line.strip() for line in done.stdout.splitlines() if re.search(r"\d", line)]
        mine = [line for line in lines if line.startswith((mount.source, str(mount.point)))]
        said = "; ".join(re.sub(r"\s+", " ", line) for line in (mine or lines)[-2:])
        if re.search(r"\d\w?\*", said):
            yield group.problem("quota", f"exceeded: {said}", f"make room; see: {command[0]}")
        elif said:
            yield group.ok("quota", said)


def _clock(group: Group, sweeps: Path) -> Check:
    skew = clock_skew(nearest(sweeps))
    mount = mount_of(sweeps)
    found = f"this machine's is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} that of {mount.point}"
    if abs(skew) >= _SKEW_MAX_S:
        return group.problem("clock", found, "tell the administrators: ntp does not run")
    if abs(skew) >= _SKEW_NOTED_S:
        return group.note("clock", found, "times in journals may look odd; results do not suffer")
    return group.ok("clock", f"agrees with that of {mount.point} ({abs(skew):.1f} s apart)")


def clock_skew(folder: Path) -> float:
    """The seconds by which this machine's clock is ahead of the clock that stamps files in `folder`.

    Raises:
        OSError: the folder cannot be written to.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
        before = time.time()
        file.write(b".")
        file.flush()
        os.fsync(file.fileno())
        after = time.time()
        stamp = os.stat(file.name).st_mtime  # noqa: PTH116 - the name's, not the descriptor's
    if before - 0.05 <= stamp <= after + 0.05:  # the kernel stamps files by a coarser clock
        return 0.0
    return (before + after) / 2 - stamp
