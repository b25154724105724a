"""Where a number comes from: code, versions, machine, and how it was started."""

import hashlib
import json
import os
import platform
import socket
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.datasets.catalog import DATASETS
from jobs.datasets.find import find
from jobs.datasets.watched_path import is_used
from jobs.machine import cpu_model, output_of
from jobs.problems.catalog import dataset_of, is_own
from jobs.snapshot import code_digest, toolkit
from jobs.sweep import Run
from jobs.training.origin import Origin

if TYPE_CHECKING:
    import torch


_OF_THE_JOB = {
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HOSTNAME",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "HOME",
    "PYTHONPATH",  # the code has a hash of its own
    "TORCHINDUCTOR_CACHE_DIR",  # named after the user, by torch
}

_OF_THE_PLACE = ("SLURM_", "APPTAINER_", "SINGULARITY_")
"""What Slurm, and inside of an image the runtime, says of the job and of the paths it was given."""


def of_training(
    run: Run, data: Path | None, device: "torch.device", origin: Origin
) -> dict[str, Any]:
    """What the training process knows of itself; `data` is the folder that it was given."""
    return {
        "data": _data(run, data, origin.data),
        "code": code_digest(),
        "training_code": training_code(origin),
        "own_code": origin.own,
        "packages": origin.packages,
        "environment": environment_digest(os.environ),
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "python": platform.python_version(),
        **_torch(device),
    }


def environment_digest(variables: Mapping[str, str]) -> str:
    """First 12 hex digits of the sha256 over the variables, without those that name this very job.

    Inside of an image it is the same for all runs of a submission, whoever submits it from wherever.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if not name.startswith(_OF_THE_PLACE) and name not in _OF_THE_JOB
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


_OF_SOME = ("probprec/", "jobs/problems/", "jobs/datasets/")
"""Modules of which each training imports a part: that depends on the problem and the optimizer."""


def training_code(origin: Origin) -> str:
    """First 12 hex digits of the sha256 over all modules of this toolkit that trainings import.

    It is the same for all runs of a sweep; an edit of the command line leaves it as it is.
    """
    modules = dict(origin.toolkit)
    for name, text in toolkit():
        if name.startswith(_OF_SOME):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            modules[module] = hashlib.sha256(text).hexdigest()
    return hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest()[:12]


def _data(run: Run, folder: Path | None, manifest: str | None) -> dict[str, Any] | None:
    """The data set, where it was read, and what says that it is the right one.

    Of the catalog's: the sha256 of each file, verified while reading. Of what the user's own problem
    was given: the sha256 of its manifest, or that it was not verified; None if it used nothing of it.
    """
    name = dataset_of(run)
    if name is not None:
        dataset = DATASETS[name]
        found = find(dataset.name, folder)
        return {"dataset": dataset.name, "folder": str(found), "sha256": dataset.hashes}
    if folder is None or not is_own(run) or (manifest is None and not is_used()):
        return None
    verified = {"unverified": True} if manifest is None else {"manifest": manifest}
    return {"dataset": None, "folder": str(folder), **verified}


def _torch(device: "torch.device") -> dict[str, Any]:
    import torch

    on_gpu = device.type == "cuda"
    return {
        "torch": str(torch.__version__),
        "numpy": metadata.version("numpy"),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "driver": _driver() if on_gpu else None,
    }


def _driver() -> str | None:
    return output_of(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
