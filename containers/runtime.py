"""The container runtime of this machine: Apptainer, or Singularity, which it grew out of."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from containers.errors import ExpectedError

Name = Literal["apptainer", "singularity"]

_SYS_RESOURCE = 24  # the number of this capability, see capabilities(7)
_STATUS = Path("/proc/self/status")


class ContainerError(ExpectedError, RuntimeError):
    """An image cannot be built or used; says what to do."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A container runtime."""

    path: str
    name: Name
    version: tuple[int, ...]  # (1, 4, 5)

    @property
    def prefix(self) -> str:
        """Of the variables of the host that a container sees without this prefix."""
        return f"{self.name.upper()}ENV_"

    @property
    def options(self) -> tuple[str, ...]:
        """What `exec` needs on this machine.

        Root without CAP_SYS_RESOURCE, as inside of another container, cannot hand all its
        capabilities on; a user namespace needs none.
        """
        return ("--userns",) if os.geteuid() == 0 and not _has(_SYS_RESOURCE) else ()

    @property
    def literally(self) -> tuple[str, ...]:
        """The option by which variables get into a container as they are, where it is known.

        It came with Apptainer 1.1 and SingularityCE 3.10; without it a shell evaluates them.
        """
        known_since = (1, 1) if self.name == "apptainer" else (3, 10)
        return ("--no-eval",) if self.version >= known_since else ()

    def held(self, value: str) -> str:
        """A variable's value for whatever reads it on its way into a container.

        Where a shell does, it stands in double quotes, with quotes and backslashes escaped already
        (Singularity 3.6 to 3.9, Apptainer 1.0); before, nothing read it.

        Raises:
            ContainerError: it would become another one, as of two lines.
        """
        if self.literally or (self.name == "singularity" and self.version < (3, 6)):
            return value
        if not value.isprintable():
            raise ContainerError(
                f"{self} cannot pass {value!r} into an image; Apptainer 1.1 and SingularityCE 3.10 can"
            )
        return re.sub(r"[$`]", lambda match: f"$(echo '{match[0]}')", value)

    def __str__(self) -> str:
        """As in `apptainer 1.4.5`."""
        return f"{self.name} {'.'.join(map(str, self.version))}"


NOT_BINDABLE = ":,"
"""What separates paths for `--bind`, which knows no escape in all versions."""


def is_bindable(path: Path) -> bool:
    """Whether `--bind` can take the path: without what separates paths there."""
    return not set(NOT_BINDABLE) & set(str(path))


def bindable(path: Path, what: str = "") -> Path:
    """The path, which `--bind` can take; `what` begins the text about one that it cannot.

    Raises:
        ContainerError: it holds what separates paths there.
    """
    if not is_bindable(path):
        raise ContainerError(f"{what}{path}: a path with : or , cannot be bound into a container")
    return path


def find() -> Runtime:
    """The runtime on the PATH; Apptainer first.

    Raises:
        ContainerError: there is none, or it does not say its version.
    """
    names: tuple[Name, ...] = ("apptainer", "singularity")
    for name in names:
        path = shutil.which(name)
        if path is not None:
            said = _version(path)
            # A command called singularity may be Apptainer's compatible one.
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
    lines = _STATUS.read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> capability & 1)
