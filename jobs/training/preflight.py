"""Checks before a training begins: GPUs that work, and enough shared memory."""

import logging
import os
import socket
from pathlib import Path

from jobs.failure import GpuMissingError

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - its size is looked at, nothing is written
_SHM_MIN_BYTES = 64 << 20  # Docker's default; enough for a DataLoader with small batches

log = logging.getLogger(__name__)


def require_gpu() -> None:
    """Refuse to train unless every allocated GPU is visible and runs a kernel.

    Raises:
        GpuMissingError: names the node, the driver, and what torch was built for.
    """
    import torch

    name, allocated = allocation()
    why = _why_unusable(len(allocated))
    if why is not None:
        raise GpuMissingError(
            f"{socket.gethostname()}: {why}; {name}={','.join(allocated)!r},"
            f" driver {driver()}, torch {torch.__version__}, built for CUDA {torch.version.cuda}"
        )


def allocation() -> tuple[str, list[str]]:
    """The variable that names the GPUs of this process, and their names."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    name = next((name for name in names if os.environ.get(name)), names[0])
    return name, [gpu for gpu in os.environ.get(name, "").split(",") if gpu]


def _why_unusable(allocated: int) -> str | None:
    """Why not every allocated GPU can be used; None: a kernel ran on each."""
    import torch

    if not torch.cuda.is_available():
        return f"{allocated} GPUs allocated, none visible: torch.cuda.is_available() is false"
    visible = torch.cuda.device_count()
    if visible < allocated:
        return f"{allocated} GPUs allocated, only {visible} visible"
    for number in range(visible):
        try:
            torch.ones(2, device=f"cuda:{number}").sum().item()
        except (RuntimeError, AssertionError) as error:  # the first line of what the driver says
            return f"GPU {number} is visible but not usable: {str(error).partition(chr(10))[0]}"
    return None


def driver() -> str:
    """The version of NVIDIA's kernel driver (its /proc file needs no nvidia-smi)."""
    try:
        line = Path("/proc/driver/nvidia/version").read_text().partition("\n")[0]
    except OSError:
        return "not loaded"
    return next((word for word in line.split() if word[:1].isdigit()), line)


def warn_of_small_shared_memory() -> None:
    """Log a warning if /dev/shm is too small for a DataLoader with workers."""
    try:
        about = os.statvfs(_SHARED_MEMORY)
    except OSError as error:
        log.warning("%s: %s; loaders of data with workers will not work", _SHARED_MEMORY, error)
        return
    size = about.f_blocks * about.f_frsize
    if size < _SHM_MIN_BYTES:
        log.warning(
            "%s has only %d MiB: loaders of data with workers may die with a bus error",
            _SHARED_MEMORY,
            size >> 20,
        )
