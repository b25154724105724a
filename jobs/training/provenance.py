"""The provenance of a record: code, versions, data, machine and environment."""

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


_JOB_VARIABLES = {
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

_JOB_PREFIXES = ("SLURM_", "APPTAINER_", "SINGULARITY_")
"""Prefixes of variables that Slurm, or the container runtime, sets anew for each job."""


def of_training(
    run: Run, data: Path | None, device: "torch.device", origin: Origin
) -> dict[str, Any]:
    """The training process's part of the provenance; `data` is the folder that it was given."""
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
    """First 12 hex digits of the sha256 over the variables, without those that differ between jobs.

    Inside of an image the digest does not depend on the submitting user, shell or machine.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if not name.startswith(_JOB_PREFIXES) and name not in _JOB_VARIABLES
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


_PARTLY_IMPORTED = ("probprec/", "jobs/problems/", "jobs/datasets/")
"""Folders of modules of which a training imports only those of its problem and optimizer."""


def training_code(origin: Origin) -> str:
    """First 12 hex digits of the sha256 over all modules of this toolkit that trainings import.

    The digest is the same for all runs of a sweep; an edit of the command line does not change it.
    """
    modules = dict(origin.toolkit)
    for name, text in toolkit():
        if name.startswith(_PARTLY_IMPORTED):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            modules[module] = hashlib.sha256(text).hexdigest()
    return hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest()[:12]


def _data(run: Run, folder: Path | None, manifest: str | None) -> dict[str, Any] | None:
    """The data set of a run, its folder, and how it was verified.

    A data set of the catalog has the sha256 of each file, verified while reading. The data of an
    own problem has the sha256 of its manifest, or is unverified; None if the problem used no data.
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
