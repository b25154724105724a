"""The command line and the environment of a process on a node, in an image or without one.

Without an image the process sees this machine as it is. In an image it sees the folders that are
bound, and the variables of the shell that are named here: no setting in a login file can change a
number.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import Runtime, bindable
from containers.variables import is_amd

PYTHON = "python3"
"""The interpreter inside an image, if the profile names none."""

_PASSED_VARIABLES = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
"""Variables of the node that a container sees beside those of Slurm and AMD's. Not all of NVIDIA's:
NVIDIA_TF32_OVERRIDE, left over in a login shell, would change results."""

_CACHE_VARIABLES = {"XDG_CACHE_HOME": "/tmp/cache", "TRITON_CACHE_DIR": "/tmp/triton"}  # noqa: S108
"""The caches of a container lie in its own /tmp, as it has no home."""

_ISOLATION_OPTIONS = ("--cleanenv", "--contain", "--no-home", "--pid")
"""Options of every container. `--contain`: no /tmp, home or devices of the node but GPUs. `--pid`:
when the runtime is killed, the kernel ends all that runs in the container."""

_RUNTIME_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR")
"""Variables that the runtime itself needs; the shell's APPTAINER_BIND or LD_PRELOAD are not among them."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to execute."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Container:
    """An image, its runtime, and the node's folders that are seen in it.

    Every folder has the same path inside as outside.
    """

    runtime: Runtime
    image: Path
    workdir: Path | None = None  # holds the container's /tmp; None: /tmp is small, and in memory
    writable: tuple[Path, ...] = ()  # such as the sweep's folder


def plain(words: Sequence[str], variables: Mapping[str, str]) -> Command:
    """The command that executes `words` on this machine as it is.

    Its environment is the caller's without Python's settings, which may be for another Python, and on
    AMD without CUDA_VISIBLE_DEVICES, which would select once more among the GPUs that
    ROCR_VISIBLE_DEVICES has selected and renumbered (gres.conf(5)).
    """
    doubled = {"CUDA_VISIBLE_DEVICES"} if is_amd() else set()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in doubled
    }
    return Command(arguments=tuple(words), environment=kept | dict(variables))


def inside(
    container: Container,
    words: Sequence[str],
    *,
    cwd: Path,
    variables: Mapping[str, str],
    readable: Iterable[Path] = (),
    gpu: str = "",
) -> Command:
    """The command that executes `words` in an image.

    Its options mean the same to Apptainer and to Singularity 3.

    Args:
        container: the image, and the folders that are seen in it.
        words: the command inside.
        cwd: the command's working directory.
        variables: the command's own, beside those of the node that it may see.
        readable: files and folders bound read-only; missing ones are left out.
        gpu: the GPUs as CUDA_VISIBLE_DEVICES names them; empty: no GPU is passed in.

    Raises:
        ContainerError: a path cannot be bound.
    """
    runtime = container.runtime
    options = [*runtime.options, *runtime.literally, *_ISOLATION_OPTIONS]
    options += ["--workdir", str(container.workdir)] if container.workdir is not None else []
    options += ["--pwd", str(cwd)]
    for path in container.writable:
        options += ["--bind", _bind(path)]
    for path in readable:
        if path.exists():
            options += ["--bind", f"{_bind(path)}:ro"]
    if gpu:
        options.append("--rocm" if is_amd() else "--nv")
    return Command(
        arguments=(runtime.path, "--silent", "exec", *options, str(container.image), *words),
        environment=_outside(container, variables),
    )


def _bind(path: Path) -> str:
    """The bind of a path to the same path inside."""
    return f"{bindable(path)}:{path}"


def _outside(container: Container, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of the runtime; its variables with the runtime's prefix are the container's.

    `--env` is not used: it cuts values at commas, such as that of CUDA_VISIBLE_DEVICES.
    """
    outer = os.environ
    seen = (*_PASSED_VARIABLES, "ROCR_VISIBLE_DEVICES") if is_amd() else _PASSED_VARIABLES
    inner = {
        name: value for name, value in outer.items() if name.startswith("SLURM_") or name in seen
    }
    inner |= {"LANG": "C.UTF-8", **_CACHE_VARIABLES, **variables}
    prefix = container.runtime.prefix
    kept = {name: outer[name] for name in _RUNTIME_VARIABLES if name in outer}
    held = container.runtime.held
    return kept | {f"{prefix}{name}": held(value) for name, value in inner.items()}
