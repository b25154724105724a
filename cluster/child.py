"""The environment of a process that has torch, started by a command that has not."""

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """This shell's, with this toolkit as the only thing on Python's path; one thread and no GPU."""
    kept = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    return {
        **kept,
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
