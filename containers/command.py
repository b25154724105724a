"""The command line and the environment that a run's training is started with.

Without an image the training runs in this Python, on this machine. With one it sees of the machine
what is bound, and of the shell's environment what is named here: nothing that somebody's login
files set can change a number.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import Runtime, bindable, is_bindable

PYTHON = "python3"
"""The interpreter inside of an image, where the profile names none."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_SEEN_INSIDE = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
"""Variables of the node that a container sees beside those of Slurm and AMD's. Not all of NVIDIA's:
NVIDIA_TF32_OVERRIDE, left over in a login shell, would change results."""

_NVIDIA = Path("/proc/driver/nvidia/version")
_AMD = Path("/dev/kfd")
"""What the drivers of the two makers put on a node."""

_MOST_LINKS = 64
"""Links of a data folder that are followed; the words of a command have their limit."""

_TOP = 2  # parts of /home, or of /data: covered by a bind, all of it would be the node's
_OF_THE_IMAGE = tuple(
    map(Path, ("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys"))
) + tuple(Path("/usr", name) for name in ("bin", "lib", "lib64", "libexec", "local", "sbin"))
"""Folders whose content has to be the image's own."""

_CACHES = {"XDG_CACHE_HOME": "/tmp/cache", "TRITON_CACHE_DIR": "/tmp/triton"}  # noqa: S108
"""In a container, which has no home to keep them in; its /tmp is its own."""

_OF_THE_RUNTIME = ("PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR")
"""What the runtime itself needs: not the shell's APPTAINER_BIND or LD_PRELOAD."""


_RESERVED = {
    "PYTHONPATH": "names the code snapshot; folders of your own modules: `code:` in the spec",
    "PYTHONHOME": "means another Python; write `python:`",
    **dict.fromkeys(
        ("PYTHONSAFEPATH", "PYTHONUNBUFFERED"), "is set by probprec itself and cannot be changed"
    ),
    **dict.fromkeys(_THREAD_VARIABLES, "follows the CPUs of a run; write `threads:`"),
    **dict.fromkeys(
        ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        "names the GPUs of a run; write `resources: {gpus: ...}`",
    ),
    "TMPDIR": "is a folder of the task's own; write `scratch:`",
    "HOME": "is not to be had in an image; name what you need by its path",
    **dict.fromkeys(("UID", "GID"), "is the shell's own and cannot be changed"),
    **dict.fromkeys(
        ("PREPEND_PATH", "APPEND_PATH"), "would change PATH in an image; write all of PATH"
    ),
}
"""Variables that a profile cannot set: why, and what to write instead."""

_RESERVED_BEGINNINGS = {
    ("SLURM_", "SBATCH_"): "is Slurm's; write `resources:` or `options:`",
    ("APPTAINER", "SINGULARITY"): "does not reach the image's runtime, nor the image",
}


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


def training(
    run_file: Path,
    out: Path,
    *,
    python: str,
    data: Path | None,
    resume: Sequence[Path],
    until: float | None,
    checkpoint_every: int,
    manifest: str | None,
    image_sha256: str | None,
    code: Path,
    own: Sequence[Path],
    threads: int,
    gpu: str,
    needs_gpu: bool,
    scratch: Path | None,
    environment: Mapping[str, str],
    container: Container | None = None,
) -> Command:
    """The command that trains the run in `run_file` and writes to `out`.

    Args:
        run_file: the run, as JSON.
        out: the attempt's folder.
        python: the interpreter of the training.
        data: folder of the data sets, if the spec or the profile names one.
        resume: folders of earlier attempts with checkpoints, newest first.
        until: unix time at which the training has to be over, if it has to.
        checkpoint_every: seconds between two checkpoints.
        manifest: sha256 of the data set's manifest, if it was verified by one.
        image_sha256: of the image, if it runs in one.
        code: the snapshot of the toolkit.
        own: folders of the user's own code.
        threads: CPU threads of the training.
        gpu: its GPU, as CUDA_VISIBLE_DEVICES (AMD: ROCR_VISIBLE_DEVICES) names it; empty: none.
        needs_gpu: whether to fail rather than to train on the CPU.
        scratch: folder for temporary files, if not the usual one; an image has a `workdir`.
        environment: variables that the profile names for all trainings.
        container: what to run it in; None: in `python`, as it is on this machine.

    Raises:
        ContainerError: a path cannot be bound.
    """
    arguments = [python, "-m", "jobs.train", str(run_file), "--out", str(out)]
    if data is not None:
        arguments += ["--data", str(data)]
    arguments += ["--manifest", manifest] if manifest is not None else []
    arguments += ["--image", image_sha256] if image_sha256 is not None else []
    arguments += ["--code", str(code)]
    for folder in own:
        arguments += ["--own", str(folder)]
    for folder in resume:
        arguments += ["--resume", str(folder)]
    if until is not None:
        arguments += ["--until", f"{until:.0f}"]
    arguments += ["--checkpoint-every", str(checkpoint_every)]
    if needs_gpu:
        arguments.append("--gpu")
    arguments.append("--die-with-parent")
    variables = (
        dict(environment)
        | python_variables([code])
        | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        | gpu_variables(gpu)
    )
    if container is not None:
        readable = [path for path in (code, *own, data) if path is not None]
        if data is not None:
            readable += _led_to(data, (*readable, *container.writable))
        return inside(
            container, arguments, cwd=out, readable=readable, gpu=gpu, variables=variables
        )
    variables |= {"TMPDIR": str(scratch)} if scratch is not None else {}
    return plain(arguments, variables)


def _led_to(folder: Path, bound: Sequence[Path]) -> list[Path]:
    """What links in a folder of data name outside of it: not there inside, unless it is bound, too.

    One hop is enough: the kernel resolves the source of a bind. Left out is what would cover one of
    `bound` or what is the image's own, what lies in one of `bound`, and what cannot be bound: a link
    that nobody reads must stop no run.
    """
    try:
        links = [Path(entry.path) for entry in os.scandir(folder) if entry.is_symlink()]
        named = {Path(os.path.normpath(folder / link.readlink())) for link in links}
    except OSError:  # the training says what is wrong with it
        return []
    found: list[Path] = []
    for path in sorted(named):  # a folder comes just before what lies in it
        others = (*bound, *found[-1:])
        apart = not any(path.is_relative_to(one) or one.is_relative_to(path) for one in others)
        if apart and not _is_of_the_image(path) and os.access(path, os.R_OK):
            found.append(path)
    return [path for path in found if is_bindable(path)][:_MOST_LINKS]


def _is_of_the_image(path: Path) -> bool:
    return len(path.parts) <= _TOP or any(path.is_relative_to(one) for one in _OF_THE_IMAGE)


def plain(words: Sequence[str], variables: Mapping[str, str]) -> Command:
    """The command that executes `words` on this machine as it is.

    It sees the caller's environment without Python's settings, which may mean another Python, and
    on AMD without CUDA_VISIBLE_DEVICES, which would number a second time what ROCR_VISIBLE_DEVICES
    has numbered (gres.conf(5)).
    """
    doubled = {"CUDA_VISIBLE_DEVICES"} if _is_amd() else set()
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

    Its options mean the same to Apptainer and to Singularity 3. `--contain`: no /tmp, home or
    devices of the node but GPUs. `--pid`: when the runtime is killed, the kernel ends all that runs
    in the container.

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
    options = [
        *runtime.options,
        *runtime.literally,
        "--cleanenv",
        "--contain",
        "--no-home",
        "--pid",
    ]
    options += ["--workdir", str(container.workdir)] if container.workdir is not None else []
    options += ["--pwd", str(cwd)]
    for path in container.writable:
        options += ["--bind", _bind(path)]
    for path in readable:
        if path.exists():
            options += ["--bind", f"{_bind(path)}:ro"]
    if gpu:
        options.append("--rocm" if _is_amd() else "--nv")
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
    seen = (*_SEEN_INSIDE, "ROCR_VISIBLE_DEVICES") if _is_amd() else _SEEN_INSIDE
    inner = {
        name: value for name, value in outer.items() if name.startswith("SLURM_") or name in seen
    }
    inner |= {"LANG": "C.UTF-8", **_CACHES, **variables}
    prefix = container.runtime.prefix
    kept = {name: outer[name] for name in _OF_THE_RUNTIME if name in outer}
    held = container.runtime.held
    return kept | {f"{prefix}{name}": held(value) for name, value in inner.items()}


def gpu_variables(gpu: str) -> dict[str, str]:
    """What names a training's GPUs to it.

    AMD's are numbered anew by ROCR_VISIBLE_DEVICES: the same numbers a second time would name
    others, or none.
    """
    return {"ROCR_VISIBLE_DEVICES" if gpu and _is_amd() else "CUDA_VISIBLE_DEVICES": gpu}


def _is_amd() -> bool:
    """Whether the job's GPU is one of AMD's.

    Slurm that was not told the maker names a GPU in the variables of both (gres.conf(5), `Flags`);
    then the driver decides.
    """
    if not os.environ.get("ROCR_VISIBLE_DEVICES") or _NVIDIA.exists():
        return False
    return not os.environ.get("CUDA_VISIBLE_DEVICES") or _AMD.exists()


def why_reserved(name: str) -> str | None:
    """Why a profile cannot set this variable, and what to write; None: it can."""
    of_all = (why for begin, why in _RESERVED_BEGINNINGS.items() if name.startswith(begin))
    return _RESERVED.get(name) or next(of_all, None)


def python_variables(modules: Sequence[Path]) -> dict[str, str]:
    """What makes a Python import from these modules first, and from nowhere by accident."""
    return {
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PYTHONSAFEPATH": "1",  # a `jobs.py` where the user stands must not hide the package
        "PYTHONUNBUFFERED": "1",
    }
