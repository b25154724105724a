"""The processor, CPUs and GPUs of this machine, as the system reports them."""

import os
import platform
import subprocess
from pathlib import Path


def cpu_model() -> str:
    """The processor's name (Linux's /proc/cpuinfo)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def output_of(command: list[str]) -> str | None:
    """The output of a command; None if the command does not exist or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
