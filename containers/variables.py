"""The environment variables that a training is told its CPUs, GPUs and code by."""

import os
from collections.abc import Sequence
from pathlib import Path

_OF_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_NVIDIA = Path("/proc/driver/nvidia/version")
_AMD = Path("/dev/kfd")
"""What the drivers of the two makers put on a node."""

_RESERVED = {
    "PYTHONPATH": "names the code snapshot; folders of your own modules: `code:` in the spec",
    "PYTHONHOME": "means another Python; write `python:`",
    **dict.fromkeys(
        ("PYTHONSAFEPATH", "PYTHONUNBUFFERED"), "is set by probprec itself and cannot be changed"
    ),
    **dict.fromkeys(_OF_THREADS, "follows the CPUs of a run; write `threads:`"),
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


def thread_variables(threads: int) -> dict[str, str]:
    """What limits the libraries of a training to its CPU threads."""
    return dict.fromkeys(_OF_THREADS, str(threads))


def gpu_variables(gpu: str) -> dict[str, str]:
    """What names a training's GPUs to it.

    AMD's are numbered anew by ROCR_VISIBLE_DEVICES: the same numbers a second time would name
    others, or none.
    """
    return {"ROCR_VISIBLE_DEVICES" if gpu and is_amd() else "CUDA_VISIBLE_DEVICES": gpu}


def is_amd() -> bool:
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
