"""Batch scripts: one job array, or the small job that will send the next ones.

submitit writes the script. What it starts is our own entry point with a sweep folder and numbers:
no pickle travels, so an array whose submitter dies right after sbatch has all it needs.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import (
    _make_sbatch_string,
)

from cluster.profile import Profile, sbatch_parameters
from jobs import files
from jobs.resources import Resources
from jobs.store import Store
from jobs.submissions import Part, Submission

FEEDER_RESOURCES = Resources(time=15 * 60, cpus=1, mem=500)


def script_of_chunk(
    store: Store, submission: Submission, profile: Profile, content: Mapping[str, Any]
) -> str:
    """The batch script of an array of `content["tasks"]`; indices begin at 0.

    MaxArraySize limits the index, not the number of elements (slurm.conf(5)).
    """
    resources = Resources.from_json(content["resources"])
    command = _command(store, profile, "cluster.task", submission.number, content["first"])
    return _make_sbatch_string(
        command=command,
        folder=submission.submitit.resolve(),
        map_count=len(content["tasks"]),
        array_parallelism=profile.throttle or len(content["tasks"]),
        setup=list(profile.setup) or None,
        **_common(store, profile, resources, content["token"]),
    )


def script_of_feeder(
    store: Store, submission: Submission, profile: Profile, content: Mapping[str, Any]
) -> str:
    """The batch script of the job that sends what is left once `content["after"]` is over."""
    asked = Resources.from_json(content["resources"])
    resources = replace(
        FEEDER_RESOURCES,
        partition=asked.partition,
        account=asked.account,
        qos=asked.qos,
        reservation=asked.reservation,
    )
    plain = replace(profile, mail_type=None, mail_user=None, options={})
    return _make_sbatch_string(
        command=_command(store, profile, "cluster.feeder", submission.number),
        folder=submission.submitit.resolve(),
        dependency=f"afterany:{content['after']}",
        setup=list(profile.setup) or None,
        **_common(store, plain, resources, content["token"]),
    )


def write(submission: Submission, part: Part, text: str) -> Path:
    """Put a batch script beside its logs."""
    submission.submitit.mkdir(parents=True, exist_ok=True)
    path = submission.submitit / f"{part.file.stem}.sh"
    files.write_atomically(path, text.encode())
    return path


def _common(store: Store, profile: Profile, resources: Resources, token: str) -> dict[str, Any]:
    parameters = sbatch_parameters(profile, resources)
    parameters.setdefault("job-name", store.root.resolve().name)
    said = {
        name if name == "open-mode" else name.replace("-", "_"): value  # as submitit spells it
        for name, value in parameters.items()
        if value is not False
    }
    return {
        "wckey": None,
        "use_srun": False,  # the entry point is the batch process itself: signals reach it
        "additional_parameters": said | {"comment": token},
    }


def _command(store: Store, profile: Profile, module: str, *numbers: int) -> str:
    """What the batch script becomes: `exec`, so that nothing can hide its exit code.

    The entry point is imported from this installation; it checks the code snapshot and goes on
    from there.
    """
    root = Path(__file__).resolve().parent.parent
    variables = {
        **profile.environment,
        "PYTHONPATH": str(root),
        "PYTHONSAFEPATH": "1",
    }
    words = [
        "exec",
        "env",
        "-u",
        "PYTHONHOME",
        *(f"{name}={value}" for name, value in variables.items()),
    ]
    words += [sys.executable, "-m", module, str(store.root.resolve()), *map(str, numbers)]
    return shlex.join(words)
