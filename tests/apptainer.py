"""Real Apptainer for tests: the shipped image, built once per machine and recipe.

A pytest plugin (`conftest.py` loads it); the plain functions are imported: `from tests.apptainer import ...`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "configs" / "images" / "cpu-debian.yaml"

POISON: Mapping[str, str] = {
    # Python: another one, other modules, other behaviour.
    "PYTHONPATH": "{bad}",
    "PYTHONHASHSEED": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "ignore",
    "PYTHONNOUSERSITE": "",
    "PYTHONUSERBASE": "{bad}",
    "PYTHONSTARTUP": "{bad}/startup.py",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPYCACHEPREFIX": "{bad}",
    "PYTHONMALLOC": "debug",
    "PYTHONBREAKPOINT": "os._exit",
    "VIRTUAL_ENV": "{bad}",
    "CONDA_PREFIX": "{bad}",
    "CONDA_DEFAULT_ENV": "base",
    "CONDA_PYTHON_EXE": "{bad}/python",
    "PIP_TARGET": "{bad}",
    # Libraries.
    "LD_LIBRARY_PATH": "{bad}",
    "LIBRARY_PATH": "{bad}",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "64",
    "MKL_NUM_THREADS": "64",
    "OPENBLAS_NUM_THREADS": "64",
    "OPENBLAS_CORETYPE": "Prescott",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_SCHEDULE": "dynamic",
    "KMP_AFFINITY": "none",
    "GOMP_CPU_AFFINITY": "0",
    # CUDA and torch.
    "CUDA_HOME": "{bad}",
    "CUDA_PATH": "{bad}",
    "CUDA_LAUNCH_BLOCKING": "1",
    "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
    "CUBLAS_WORKSPACE_CONFIG": ":16:8",
    "NVIDIA_TF32_OVERRIDE": "0",
    "NCCL_DEBUG": "INFO",
    "TORCH_HOME": "{bad}",
    "TORCH_LOGS": "all",
    "TORCH_CUDNN_V8_API_DISABLED": "1",
    "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:1",
    # Apptainer and Singularity.
    "APPTAINER_BIND": "/nowhere:/nowhere",
    "APPTAINER_BINDPATH": "/nowhere",
    "APPTAINER_NV": "1",
    "APPTAINER_CONTAINALL": "1",
    "APPTAINER_NO_MOUNT": "sys,proc",
    "APPTAINERENV_PYTHONPATH": "{bad}",
    "APPTAINERENV_LD_PRELOAD": "/nowhere.so",
    "APPTAINERENV_PREPEND_PATH": "{bad}",
    "APPTAINER_OVERLAY": "/nowhere.img",
    "SINGULARITY_BIND": "/nowhere:/nowhere",
    "SINGULARITY_NV": "1",
    "SINGULARITYENV_PYTHONHOME": "{bad}",
    "SINGULARITYENV_CUDA_VISIBLE_DEVICES": "7",
    # The shell.
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "TZ": "Pacific/Kiritimati",
    "BASH_ENV": "{bad}/startup.sh",
    "TERM": "dumb",
}
"""Variables of a login shell that break Python, CUDA or the container, if they get there."""


def poison(folder: Path) -> dict[str, str]:
    """The variables of `POISON`, with a folder of modules that break whatever imports them."""
    bad = folder / "bad"
    bad.mkdir(exist_ok=True)
    for name in ("numpy", "scipy", "sklearn"):  # a torch would be looked at by the login node, too
        (bad / f"{name}.py").write_text("raise SystemExit('this is not the module you want')\n")
    for name in ("libcuda.so.1", "libgomp.so.1"):
        (bad / name).write_text("not a library")
    (bad / "startup.sh").write_text(f"export PYTHONHOME={bad} APPTAINER_BIND=/nowhere\n")
    return {name: text.format(bad=bad) for name, text in POISON.items()}


def images() -> Path:
    """Where the shipped image is kept between two runs of the tests."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "probprec" / "images"


Building = tuple["subprocess.Popen[str]", Path]
"""The process that builds, and its log."""


@pytest.fixture(scope="session")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Building]:
    """The build of the shipped recipe, under way; minutes the first time, nothing to do later."""
    folder = tmp_path_factory.mktemp("build")
    words = ("build", RECIPE, "--images", images(), "--json")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster.cli", *map(str, words)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        yield process, folder / "log"
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def image(building: Building) -> Path:
    """The image of the shipped recipe."""
    process, log = building
    said, _ = process.communicate()
    assert process.returncode == 0, said + log.read_text()
    return Path(json.loads(said)["path"])


def records(root: Path) -> dict[str, dict[str, Any]]:
    """The records of a sweep's folder, by run."""
    return {
        path.parent.name: json.loads(path.read_bytes()) for path in root.glob("runs/*/record.json")
    }


def science(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record must not depend on where it was made."""
    return {key: record[key] for key in ("run", "outcome", "stop", "curves")}
