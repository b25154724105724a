"""The container runtime of this machine: Apptainer, or its ancestor Singularity."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from containers.errors import ExpectedError

Name = Literal["apptainer", "singularity"]

_CAP_SYS_RESOURCE = 24  # the number of this capability, see capabilities(7)
_PROC_STATUS = Path("/proc/self/status")


class ContainerError(ExpectedError, RuntimeError):
    """An image cannot be built or used; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A container runtime."""

    path: str
    name: Name
    version: tuple[int, ...]  # (1, 4, 5)

    @property
    def prefix(self) -> str:
        """The prefix of the host's variables that a container sees, without the prefix."""
        return f"{self.name.upper()}ENV_"

    @property
    def options(self) -> tuple[str, ...]:
        """The options that `exec` needs on this machine.

        Root without CAP_SYS_RESOURCE, as inside another container, cannot pass all its capabilities
        on; a user namespace needs none.
        """
        return ("--userns",) if os.geteuid() == 0 and not _has(_CAP_SYS_RESOURCE) else ()

    @property
    def literally(self) -> tuple[str, ...]:
        """The option that passes variables into a container as they are, if the runtime has it.

        Apptainer 1.1 and SingularityCE 3.10 brought it; without it a shell evaluates variables.
        """
        known_since = (1, 1) if self.name == "apptainer" else (3, 10)
        return ("--no-eval",) if self.version >= known_since else ()

    def held(self, value: str) -> str:
        """A variable's value, escaped for the shell that may evaluate it on the way into a container.

        That shell (Singularity 3.6 to 3.9, Apptainer 1.0) reads the value in double quotes, with quotes
        and backslashes escaped already; older runtimes do not evaluate it.

        Raises:
            ContainerError: the value, such as one of two lines, would become another one.
        """
        if self.literally or (self.name == "singularity" and self.version < (3, 6)):
            return value
        if not value.isprintable():
            raise ContainerError(
                f"{self} cannot pass {value!r} into an image; Apptainer 1.1 and SingularityCE 3.10 can"
            )
        return re.sub(r"[$`]", lambda match: f"$(echo '{match[0]}')", value)

    def __str__(self) -> str:
        """The name and version: `apptainer 1.4.5`."""
        return f"{self.name} {'.'.join(map(str, self.version))}"


NOT_BINDABLE = ":,"
"""Characters that separate paths for `--bind`, which not all versions can escape."""


def is_bindable(path: Path) -> bool:
    """Whether the path is without characters that separate paths for `--bind`."""
    return not set(NOT_BINDABLE) & set(str(path))


def bindable(path: Path, what: str = "") -> Path:
    """The path, if `--bind` can take it; `what` begins the error's text.

    Raises:
        ContainerError: the path has characters that separate paths for `--bind`.
    """
    if not is_bindable(path):
        raise ContainerError(f"{what}{path}: a path with : or , cannot be bound into a container")
    return path


def find() -> Runtime:
    """The runtime on the PATH; Apptainer first.

    Raises:
        ContainerError: there is no runtime, or it does not tell its version.
    """
    names: tuple[Name, ...] = ("apptainer", "singularity")
    for name in names:
        path = shutil.which(name)
        if path is not None:
            said = _version(path)
            # Apptainer installs a compatible command called singularity, too.
            kind: Name = "apptainer" if said.startswith("apptainer") else name
            return Runtime(path=path, name=kind, version=_numbers(path, said))
    raise ContainerError(
        "neither apptainer nor singularity is on the PATH"
        " (on many clusters: a line like `setup: [module load apptainer]` in the profile)"
    )


def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ContainerError(f"{path} --version: {error}") from error
    return done.stdout.strip()


def _numbers(path: str, said: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if found is None:
        raise ContainerError(f"{path} --version says no version: {said!r}")
    return tuple(int(number) for number in found.groups() if number is not None)


def _has(capability: int) -> bool:
    """Whether this process has a capability (Linux's /proc/self/status)."""
    lines = _PROC_STATUS.read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> capability & 1)
