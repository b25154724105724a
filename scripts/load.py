"""Many runs go through a Slurm of our own: their cost on the login node and their rate are measured.

The Slurm is a throw-away lab that is taken down in the end.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.lab import Lab, Settings

ROOT = Path(__file__).resolve().parent.parent
QUEUED_RUNS = 10_000

# The shortest training there is: with torch.optim.SGD, importing torch's compiler would take half of
# its time.
QUICK_OPTIMIZER = """\
import torch
from torch.optim import Optimizer


class Quick(Optimizer):
    add_param_group = Optimizer.add_param_group.__wrapped__
    zero_grad = Optimizer.zero_grad.__wrapped__

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-group["lr"])
"""
SPEC = """\
problems: [quadratic_deep]
optimizers:
  Quick: {{optimizer: quick.Quick, lr: 0.01}}
seeds: 1..{runs}
epochs: 1
"""
PROFILE = """\
engine: slurm
resources: {partition: day, cpus: 1, mem: 500M, time: 00:10:00}
"""

# The same trainings, started by Slurm without probprec.
PLAIN_ARRAY = """\
#!/bin/bash
#SBATCH --partition=day --cpus-per-task=1 --mem=500M --time=00:10:00 --output=/dev/null
#SBATCH --array=0-{last}
mapfile -t runs <{folder}/runs
number=$(({first} + SLURM_ARRAY_TASK_ID))
export PYTHONPATH={modules} PYTHONSAFEPATH=1 CUDA_VISIBLE_DEVICES=
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
exec {python} -m jobs.train "${{runs[number]}}" --out {folder}/out/$number
"""
IDLE_ARRAY = """\
#!/bin/bash
#SBATCH --partition=day --cpus-per-task=1 --mem=500M --time=00:10:00 --output=/dev/null
#SBATCH --array=0-{last}
true
"""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement, and its floor."""

    what: str
    against: str
    seconds: float
    floors: list[float]
    ours: list[float]


@contextmanager
def lab(**settings: Any) -> Iterator[tuple[Lab, Path]]:
    """Start a lab; yields it and a folder, and removes both."""
    folder = Path(tempfile.mkdtemp(prefix="load-", dir="/tmp"))
    found = Lab(folder / "lab")
    try:
        found.up(Settings(nodes=1, gpus=0, **settings))
        yield found, folder
    finally:
        found.down()
        shutil.rmtree(folder)


def submitted(found: Lab, folder: Path, runs: int) -> tuple[float, dict[str, Any]]:
    """Submit so many runs; returns the CPU seconds of the command and its children, and its report."""
    (folder / "quick.py").write_text(QUICK_OPTIMIZER)
    (folder / "many.yaml").write_text(SPEC.format(runs=runs))
    (folder / "site.yaml").write_text(PROFILE)
    before = _children()
    done = subprocess.run(
        [*_probprec(), "submit", "many.yaml", "--root", "sweeps", "--on", "./site.yaml", "--json"],
        cwd=folder,
        env=found.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return _children() - before, json.loads(done.stdout)


def queue_many() -> list[Measurement]:
    """Submit 10,000 runs and ask for their status, while no node takes any."""
    with lab(max_jobs=30_000, max_array_size=1001) as (found, folder):
        found.drain("node1")
        seconds, report = submitted(found, folder, QUEUED_RUNS)
        chunks = len(report["jobs"])
        looks, floors, calls, used = [], [], 0, 0.0
        for _ in range(5):
            before, begin = _children(), time.perf_counter()
            done = subprocess.run(
                [*_probprec(), "status", "sweeps/many", "--json"],
                cwd=folder,
                env=found.environment(),
                stdout=subprocess.PIPE,
                check=False,
            )
            looks.append(time.perf_counter() - begin)
            used = _children() - before
            calls = json.loads(done.stdout)["slurm_calls"]
            begin = time.perf_counter()
            found.run("squeue", "--array", "--states=all", "--noheader")
            floors.append(time.perf_counter() - begin)
        found.run("scancel", "--user=root" if os.getuid() == 0 else f"--user={os.getuid()}")
        script = folder / "idle.sh"
        script.write_text(IDLE_ARRAY.format(last=QUEUED_RUNS // chunks - 1))
        before = _children()
        for _ in range(chunks):
            found.run("sbatch", str(script))
        floor = _children() - before
    sbatch = report["sbatch_calls"]
    return [
        Measurement(
            what=f"submit {QUEUED_RUNS:,} runs, CPU ({sbatch} calls of sbatch for {chunks} arrays)",
            against="the calls of sbatch alone",
            seconds=seconds,
            ours=[seconds],
            floors=[floor],
        ),
        Measurement(
            what=f"status of {QUEUED_RUNS:,} waiting runs ({calls} calls of Slurm, {used:.2f} s of CPU)",
            against="squeue alone",
            seconds=sorted(looks)[len(looks) // 2],
            ours=looks,
            floors=floors,
        ),
    ]


def flow(runs: int) -> Measurement:
    """Train so many tiny runs by probprec, and by a plain array of the same trainings."""
    slots = len(os.sched_getaffinity(0)) + 1
    with lab(cpus=slots, memory_mb=16_000, max_array_size=1001) as (found, folder):
        begin = time.perf_counter()
        submitted(found, folder, runs)
        _wait_until_empty(found)
        ours = time.perf_counter() - begin
        files = sorted(folder.glob("sweeps/many/runs/*/run.json"))
        records = len(list(folder.glob("sweeps/many/runs/*/record.json")))
        if records != runs:
            raise RuntimeError(f"{records} of {runs} runs have a record")

        (archive,) = folder.glob("sweeps/many/code/*.zip")
        (folder / "runs").write_text("".join(f"{file}\n" for file in files))
        begin = time.perf_counter()
        for first in range(0, runs, 1000):
            script = folder / f"plain-{first}.sh"
            script.write_text(
                PLAIN_ARRAY.format(
                    first=first,
                    last=min(1000, runs - first) - 1,
                    folder=folder,
                    modules=f"{archive}:{archive}/own/0",
                    python=sys.executable,
                )
            )
            found.run("sbatch", str(script))
        _wait_until_empty(found)
        plain = time.perf_counter() - begin
        outcomes = len(list(folder.glob("out/*/outcome.json")))
        if outcomes != runs:
            raise RuntimeError(f"{outcomes} of {runs} plain trainings came to an end")
    return Measurement(
        what=f"{runs:,} tiny runs through Slurm ({runs / ours:.2f} a second)",
        against=f"sbatch --array of the same trainings ({runs / plain:.2f} a second)",
        seconds=ours,
        ours=[ours],
        floors=[plain],
    )


def _probprec() -> list[str]:
    return [str(ROOT / ".venv/bin/probprec")]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_until_empty(found: Lab) -> None:
    while found.run("squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING").stdout:
        time.sleep(0.5)
