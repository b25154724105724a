"""The nodes' scratch is a small file system of its own where that is possible."""

import os
import subprocess
from pathlib import Path


def mount_scratch(folder: Path, megabytes: int) -> bool:
    """Mount a small tmpfs at `folder`; False if this user or container may not mount."""
    if os.getuid() != 0:
        return False
    options = f"size={megabytes}m,mode=1777"
    command = ["mount", "-t", "tmpfs", "-o", options, "probprec-lab", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_mounted(folder: Path) -> bool:
    """Whether the folder itself is a mount point."""
    return str(folder) in _mounts()


def unmount_below(folder: Path) -> None:
    """Unmount all file systems mounted in `folder`, the innermost first."""
    for path in reversed(_mounts()):
        if path.startswith(f"{folder}/"):
            # Lazy: a shell that stands in scratch must not keep the lab from going away.
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=True)  # noqa: S607


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines]
