"""What is relied on of submitit, which may change below a pinned version: it is said here by name."""

import inspect
import re
import tomllib
from pathlib import Path

import submitit
from packaging.requirements import Requirement
from submitit.slurm.slurm import _make_sbatch_string

from cluster.submit import submitit_engine

ROOT = Path(__file__).resolve().parent.parent


def test_its_version_is_pinned():
    """The writer of batch scripts is private: its arguments have changed between versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (one for one in map(Requirement, project["dependencies"]) if one.name == "submitit")

    assert "1.5.4" in wanted.specifier
    assert "1.6.0" not in wanted.specifier


def test_the_writer_takes_what_it_is_given():
    asked = {"command", "folder", "map_count", "dependency", "setup", "time", "wckey", "use_srun"}

    assert asked | {"additional_parameters"} <= set(
        inspect.signature(_make_sbatch_string).parameters
    )


def test_a_script_has_the_options_that_are_asked_for_and_no_others(tmp_path):
    """Neither a time limit nor a key for accounting; the command is the batch process, without srun."""
    options = {"array": "0-2", "mem": "100M", "requeue": True}
    text = submitit_engine.script("exec x", tmp_path, options, setup=["module load y"], count=3)
    found = set(re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE))

    assert found - {"job-name", "nodes", "signal", "output", "error", "open-mode"} == set(options)
    assert text.index("module load y") < text.index("exec x")
    assert "srun" not in text


def test_the_local_executor_has_what_workers_need():
    """A process per task, whose id is the job's."""
    assert {"update_parameters", "map_array"} <= set(dir(submitit.LocalExecutor))
    assert {"done", "job_id"} <= set(dir(submitit.Job))
