"""The environment variables that tell a training its CPUs, GPUs and code."""

import os
from collections.abc import Sequence
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_NVIDIA = Path("/proc/driver/nvidia/version")
_AMD = Path("/dev/kfd")
"""Files by which the drivers of the two makers are found on a node."""

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
"""The reasons for which a profile cannot set these variables, and what to write instead."""

_RESERVED_BEGINNINGS = {
    ("SLURM_", "SBATCH_"): "is Slurm's; write `resources:` or `options:`",
    ("APPTAINER", "SINGULARITY"): "does not reach the image's runtime, nor the image",
}


def thread_variables(threads: int) -> dict[str, str]:
    """The variables that limit a training's libraries to its CPU threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def gpu_variables(gpu: str) -> dict[str, str]:
    """The variable that names a training's GPUs.

    ROCR_VISIBLE_DEVICES numbers AMD's GPUs anew: the same numbers in a second variable would name
    other GPUs, or none.
    """
    return {"ROCR_VISIBLE_DEVICES" if gpu and is_amd() else "CUDA_VISIBLE_DEVICES": gpu}


def is_amd() -> bool:
    """Whether the job's GPU is AMD's.

    If Slurm does not know the maker, it sets the variables of both (gres.conf(5), `Flags`); then the
    driver decides.
    """
    if not os.environ.get("ROCR_VISIBLE_DEVICES") or _NVIDIA.exists():
        return False
    return not os.environ.get("CUDA_VISIBLE_DEVICES") or _AMD.exists()


def why_reserved(name: str) -> str | None:
    """The reason for which a profile cannot set this variable, and what to write; None: it can."""
    of_all = (why for begin, why in _RESERVED_BEGINNINGS.items() if name.startswith(begin))
    return _RESERVED.get(name) or next(of_all, None)


def python_variables(modules: Sequence[Path]) -> dict[str, str]:
    """The variables that make Python import from these folders first, and from none by accident."""
    return {
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PYTHONSAFEPATH": "1",  # a `jobs.py` in the working directory must not hide the package
        "PYTHONUNBUFFERED": "1",
    }
