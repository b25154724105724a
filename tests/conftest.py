"""What every test gets: an environment without the variables that change behaviour."""

import os

import pytest

pytest_plugins = ["tests.slurm", "tests.apptainer"]

# Before anything imports torch: small problems on several threads are slower, most of all on a
# busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_PREFIXES = ("APPTAINER", "SINGULARITY", "SLURM_", "SBATCH_", "SUBMITIT_", "PROBPREC_ROOT")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
