"""What differs between clusters; so far there is one: this machine."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where and how runs are executed."""

    name: str
    engine: str
    threads: int = 1  # CPU threads per run


LOCAL = Profile(name="local", engine="local")
"""The default: submitit's local executor, this Python, this machine."""


def usable_cpus() -> int:
    """The CPUs that this process may use (its affinity, so also a job's allocation)."""
    return len(os.sched_getaffinity(0))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    devices = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia*"))
    return sorted((number for number in devices if number.isdecimal()), key=int)
