"""What every test gets: an environment without the variables that change behaviour."""

import os

import hypothesis
import pytest

# How long an example takes says more of the machine than of what is tested.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")

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
