"""The environment of a child process that imports torch, started by a command that does not."""

import os

from jobs.snapshot import ROOT


def environment() -> dict[str, str]:
    """The shell's environment, with this toolkit alone on Python's path, one thread and no GPU."""
    kept = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
