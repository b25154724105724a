"""The kernel's memory controller counts OOM kills in this process's cgroup, version 1 or 2."""

import re
from collections.abc import Iterator
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/memory"))


def oom_kills() -> int:
    """The number of OOM kills in this process's cgroup, or in a group around it; 0 without cgroups.

    Counters only grow, so the difference of two readings tells whether a kill happened in between.
    Slurm's limit belongs to a group above the process's own (`.../job_7/step_batch`).
    """
    return max((count for folder in _groups() for count in _counts(folder)), default=0)


def _groups() -> Iterator[Path]:
    """The memory cgroups of this process, from its own outwards, the root left out."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part]
        for root in _ROOTS:
            for length in range(len(parts), 0, -1):
                yield root.joinpath(*parts[:length])


def _counts(folder: Path) -> Iterator[int]:
    for name in ("memory.events", "memory.oom_control"):  # version 2, version 1
        try:
            text = (folder / name).read_text()
        except OSError:
            continue
        match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        if match is not None:
            yield int(match[1])
