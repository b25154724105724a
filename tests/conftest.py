"""What every test gets: an environment without the variables that change behaviour."""

import os
import signal

import hypothesis
import pytest

from tests.helpers import ALL

# How long an example takes says more of the machine than of what is tested.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=100)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("nightly" if ALL else "quick")

pytest_plugins = [
    "tests.slurm",
    "tests.case",
    "tests.apptainer",
    "tests.tables",
    "tests.failures",
    "tests.chromium",
]

# Before anything imports torch: small problems on several threads are slower, most of all on a
# busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# There is a Slurm on machines that test with it; what a test runs without `--on` it runs here.
os.environ["PROBPREC_ON"] = "local"

# Ignored in a shell's background job, and so in all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PREFIXES = ("APPTAINER", "SINGULARITY", "SLURM_", "SBATCH_", "SUBMITIT_", "PROBPREC_ROOT")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
