"""What every test gets: an environment without the variables that change behaviour."""

import os

import pytest

_PREFIXES = ("APPTAINER", "SINGULARITY", "SLURM_", "SBATCH_", "SUBMITIT_", "PROBPREC_ROOT")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
