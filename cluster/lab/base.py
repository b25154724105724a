"""A lab's folder: its content, and commands in its environment."""

import json
import os
import pwd
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from cluster.lab import processes
from cluster.lab.conf import Place
from cluster.lab.settings import Settings
from jobs.errors import InputError
from jobs.files import to_json, write_atomically

VARIABLE = "PROBPREC_LAB"
PATH_CHARS_MAX = 66
"""A lab's path is no longer: names of sockets below it must stay under 108 characters."""

# Variables of the caller's own cluster must not reach the lab.
_CALLER_VARIABLES = (
    "SLURM",
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SQUEUE_",
    "SINFO_",
    "SACCT",
    "SCANCEL_",
    "SPRIO_",
)


class Base:
    """A lab, running or not, known by its folder.

    Args:
        folder: Default: $PROBPREC_LAB, else /tmp/probprec-lab-UID.

    Raises:
        InputError: Slurm cannot work in a folder of that name.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            default = f"/tmp/probprec-lab-{os.getuid()}"  # noqa: S108 - see `owned`
            folder = Path(os.environ.get(VARIABLE) or default)
        self.folder = folder.resolve()
        self.conf = self.folder / "slurm.conf"
        if not re.fullmatch(r"[\w./+-]+", str(self.folder)):
            raise InputError(
                f"lab: {self.folder}: Slurm wants letters, digits and ._+-/ in its paths"
            )
        if len(str(self.folder)) > PATH_CHARS_MAX:
            raise InputError(
                f"lab: {self.folder}: the path is longer than {PATH_CHARS_MAX} characters, too long for"
                " the names of sockets below it; choose a shorter one"
            )

    def environment(self) -> dict[str, str]:
        """This process's environment with the lab's SLURM_CONF, and no other variable that steers Slurm's commands."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_CALLER_VARIABLES)
        }
        return {**ours, "SLURM_CONF": str(self.conf), VARIABLE: str(self.folder)}

    def run(
        self, *command: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's environment, as `subprocess.run` with captured text."""
        return subprocess.run(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    @property
    def settings(self) -> Settings:
        """The settings that the lab was started with."""
        return Settings(**self._state()["settings"])

    @property
    def place(self) -> Place:
        """The folder, host, user and ports of the lab."""
        return place(self.folder, self._state()["port"])

    @property
    def scratch(self) -> Path:
        """The folder that is the nodes' scratch."""
        return self.folder / "scratch"

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / "lab.json").read_text())
        except FileNotFoundError:
            raise InputError(
                f"lab: there is none in {self.folder}; next: probprec lab up"
            ) from None
        return dict(state)

    def _write_state(self, settings: Settings, port: int, *, is_ready: bool) -> None:
        me = processes.stat(os.getpid())
        state = {
            "schema": 1,
            "ready": is_ready,
            "starter": [me.process.pid, me.process.start] if me else [0, 0],
            "port": port,
            "settings": settings.to_json(),
        }
        write_atomically(self.folder / "lab.json", to_json(state, indent=2))


def place(folder: Path, port: int) -> Place:
    """The place of a lab that this user starts on this machine."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return Place(folder, socket.gethostname().partition(".")[0], user, port)
