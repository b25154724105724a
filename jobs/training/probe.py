"""The doctor's probe of a training's environment prints one JSON object.

    python3 -m jobs.training.probe [SCRATCH]

The probe runs where runs are trained, in an image or in the profile's Python: it needs only the
standard library, and reports a missing package instead of failing.
"""

import importlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.failure import GpuMissingError
from jobs.training import preflight

PACKAGES = ("numpy", "scipy", "sklearn", "torch")
"""Packages that a training imports."""

PREFIXES = ("LD_", "PYTHON", "CONDA", "APPTAINER_", "SINGULARITY_")
"""Prefixes of environment variables by which a login shell can change a training's numbers."""

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - its size is looked at, nothing is written


def look(scratch: str | None) -> dict[str, Any]:
    """The probe's answer, by name; an error is text beside, or in place of, a missing value."""
    return {
        "host": socket.gethostname(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "code": __file__,
        "packages": {name: _version(name) for name in PACKAGES},
        "driver": preflight.driver(),
        "gpu": _gpu(),
        "shared_memory": _shared_memory(),
        "scratch": _writable(scratch) if scratch else None,
        "variables": {
            name: value for name, value in os.environ.items() if name.startswith(PREFIXES)
        },
    }


def _version(name: str) -> dict[str, str | None]:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything
        return {"version": None, "error": f"{type(error).__name__}: {_first_line(error)}"}
    return {"version": str(getattr(module, "__version__", "?")), "error": None}


def _gpu() -> dict[str, Any]:
    """The allocated and the visible GPUs, and why a kernel does not run on each, if so."""
    _, allocated = preflight.allocation()
    found: dict[str, Any] = {
        "allocated": allocated,
        "visible": [],
        "built_for": None,
        "error": None,
    }
    try:
        import torch

        found["built_for"] = torch.version.cuda
        if allocated:
            if torch.cuda.is_available():
                numbers = range(torch.cuda.device_count())
                found["visible"] = [torch.cuda.get_device_name(number) for number in numbers]
            preflight.require_gpu()
    except GpuMissingError as error:
        found["error"] = str(error)
    except Exception as error:  # noqa: BLE001 - drivers raise anything
        found["error"] = f"{type(error).__name__}: {_first_line(error)}"
    return found


def _shared_memory() -> int | None:
    """The size of /dev/shm in bytes; None: it does not exist."""
    try:
        about = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return None
    return about.f_blocks * about.f_frsize


def _writable(folder: str) -> str | None:
    """Why the folder is not writable; None: it is."""
    try:
        with tempfile.TemporaryFile(dir=Path(folder)) as file:
            file.write(b".")
            file.flush()
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def main(arguments: Sequence[str]) -> int:
    """Print the probe's answer."""
    sys.stdout.write(json.dumps(look(arguments[0] if arguments else None)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
