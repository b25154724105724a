"""Batch scripts are written here: of an array, and of the feeder, the small job that sends the next ones.

submitit writes the script, which starts our own entry point with a sweep's folder and numbers. No
pickle travels, so an array whose submitter dies right after sbatch has all it needs.
"""

import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from cluster.profile import syntax
from cluster.profile.sbatch_parameters import sbatch_parameters
from cluster.submit import submitit_engine
from jobs import files
from jobs.profile import Option, Profile
from jobs.resources import Resources
from jobs.snapshot import ROOT
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, FeederJob
from jobs.store.submissions import Part, Submission

FEEDER_RESOURCES = Resources(time=15 * 60, cpus=1, mem=500)


def script_of(
    store: Store, submission: Submission, profile: Profile, content: Chunk | FeederJob
) -> str:
    """The batch script of an array or of a feeder."""
    if isinstance(content, Chunk):
        return _script_of_chunk(store, submission, profile, content)
    return _script_of_feeder(store, submission, profile, content)


def _script_of_chunk(store: Store, submission: Submission, profile: Profile, chunk: Chunk) -> str:
    """The batch script of an array; indices begin at 0.

    MaxArraySize limits the index, not the number of elements (slurm.conf(5)).
    """
    command = _command(store, profile, "cluster.task", submission.number, chunk.first)
    count = len(chunk.group.tasks)
    more = {"array": _indices(count, profile.throttle)} | _logs(submission, "%A_%a")
    return submitit_engine.script(
        command,
        submission.submitit.resolve(),
        _parameters(store, profile, chunk.group.resources, chunk.token, more),
        setup=profile.setup,
        count=count,
    )


def _script_of_feeder(
    store: Store, submission: Submission, profile: Profile, feeder: FeederJob
) -> str:
    """The batch script of a feeder, which starts once the arrays before it are over."""
    asked = feeder.resources
    resources = replace(
        FEEDER_RESOURCES,
        partition=asked.partition,
        account=asked.account,
        qos=asked.qos,
        reservation=asked.reservation,
    )
    options = {name: profile.options[name] for name in ("comment",) if name in profile.options}
    plain = replace(profile, mail_type=None, mail_user=None, options=options)
    return submitit_engine.script(
        _command(store, profile, "cluster.feeder", submission.number),
        submission.submitit.resolve(),
        _parameters(store, plain, resources, feeder.token, _logs(submission, "%j")),
        setup=profile.setup,
        dependency=":".join(["afterany", *map(str, feeder.after)]),
    )


def _indices(count: int, throttle: int | None) -> str:
    """The value of --array."""
    return f"0-{count - 1}" + (f"%{throttle}" if throttle else "")


def _logs(submission: Submission, job: str) -> dict[str, Option]:
    """The options for standard output and error, named as by submitit (`cluster.status.accounting.logs_of`)."""
    kinds = {"output": "out", "error": "err"}
    return {
        name: syntax.log_file(submission.submitit, f"{job}_0_log.{end}")
        for name, end in kinds.items()
    }


def write(submission: Submission, part: Part, text: str) -> Path:
    """Write a batch script beside its logs."""
    submission.submitit.mkdir(parents=True, exist_ok=True)
    path = submission.submitit / f"{part.file.stem}.sh"
    files.write_atomically(path, text.encode())
    return path


def _parameters(
    store: Store, profile: Profile, resources: Resources, token: str, more: Mapping[str, Option]
) -> dict[str, Option]:
    """The options of sbatch: those of the profile and the run, and those that probprec needs."""
    parameters = sbatch_parameters(profile, resources)
    parameters.setdefault("job-name", "_".join(store.root.resolve().name.split()))
    parameters["comment"] = f"{profile.options.get('comment', '')} {token}".lstrip()
    return {
        name if name == "open-mode" else name.replace("-", "_"): syntax.in_directive(value)
        for name, value in {**parameters, **more}.items()  # named as submitit spells it
        if value is not False
    }


def _command(store: Store, profile: Profile, module: str, *numbers: int) -> str:
    words = [str(store.root.resolve()), *map(str, numbers)]
    return "\n".join(launch(profile.environment, module, words))


def launch(environment: Mapping[str, str], module: str, words: Iterable[str]) -> list[str]:
    """The lines by which a batch script becomes a module of ours, so that its exit code is the script's.

    The module is imported from this installation; a task checks the code snapshot and goes on from
    there. env(1) is not used: it would take an interpreter with `=` in its path for a variable.
    """
    variables = {
        **environment,
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
    }
    return [
        "unset PYTHONHOME",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"exec {shlex.join([sys.executable, '-m', module, *words])}",
    ]
