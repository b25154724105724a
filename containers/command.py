"""The command line and the environment of what is started on a node, in an image or without one.

Without an image it runs in this Python, on this machine. With one it sees of the machine what is
bound, and of the shell's environment what is named here: nothing that somebody's login files set
can change a number.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import Runtime, bindable
from containers.variables import is_amd

PYTHON = "python3"
"""The interpreter inside of an image, where the profile names none."""

_SEEN_INSIDE = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
"""Variables of the node that a container sees beside those of Slurm and AMD's. Not all of NVIDIA's:
NVIDIA_TF32_OVERRIDE, left over in a login shell, would change results."""

_CACHES = {"XDG_CACHE_HOME": "/tmp/cache", "TRITON_CACHE_DIR": "/tmp/triton"}  # noqa: S108
"""In a container, which has no home to keep them in; its /tmp is its own."""

_APART = ("--cleanenv", "--contain", "--no-home", "--pid")
"""Options of every container. `--contain`: no /tmp, home or devices of the node but GPUs. `--pid`:
when the runtime is killed, the kernel ends all that runs in the container."""

_OF_THE_RUNTIME = ("PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR")
"""What the runtime itself needs: not the shell's APPTAINER_BIND or LD_PRELOAD."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to execute."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Container:
    """An image, what runs it, and what is seen in it of the node.

    Every folder has the same path inside as outside.
    """

    runtime: Runtime
    image: Path
    workdir: Path | None = None  # holds its /tmp; None: that is small, and in memory
    writable: tuple[Path, ...] = ()  # such as the sweep's folder


def plain(words: Sequence[str], variables: Mapping[str, str]) -> Command:
    """The command that executes `words` on this machine as it is.

    It sees the caller's environment without Python's settings, which may mean another Python, and
    on AMD without CUDA_VISIBLE_DEVICES, which would number a second time what ROCR_VISIBLE_DEVICES
    has numbered (gres.conf(5)).
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
        container: the image, and what is seen in it.
        words: the command inside.
        cwd: its working directory.
        variables: of the command inside, beside those of the node that it may see.
        readable: files and folders bound read-only; what is not there is left out.
        gpu: what CUDA_VISIBLE_DEVICES names; empty: no GPU is passed in.

    Raises:
        ContainerError: a path cannot be bound.
    """
    runtime = container.runtime
    options = [*runtime.options, *runtime.literally, *_APART]
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
    """The same path inside as outside."""
    return f"{bindable(path)}:{path}"


def _outside(container: Container, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of the runtime; what has its prefix is the container's.

    Not `--env`: it cuts values at commas, such as that of CUDA_VISIBLE_DEVICES.
    """
    outer = os.environ
    seen = (*_SEEN_INSIDE, "ROCR_VISIBLE_DEVICES") if is_amd() else _SEEN_INSIDE
    inner = {
        name: value for name, value in outer.items() if name.startswith("SLURM_") or name in seen
    }
    inner |= {"LANG": "C.UTF-8", **_CACHES, **variables}
    prefix = container.runtime.prefix
    kept = {name: outer[name] for name in _OF_THE_RUNTIME if name in outer}
    held = container.runtime.held
    return kept | {f"{prefix}{name}": held(value) for name, value in inner.items()}
