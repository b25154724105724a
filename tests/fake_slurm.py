"""Makes a sweep that was sent to Slurm, and commands that say what a test wants Slurm to say.

The sweep's files are real ones, written through the store. Only the process boundary is made up:
`squeue`, `sacct` and `scancel` are scripts early on PATH. What real Slurm does with all of this is
tested with real Slurm.
"""

import json
import os
import shlex
import time
from pathlib import Path

from cluster.submit.seal import sealed
from jobs import files
from jobs.profile import Profile
from jobs.resources import Resources
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, FeederJob
from jobs.sweep import PlannedRun, Sweep
from tests.helpers import make_plan, make_run, note

ACCOUNTING = ("JobID", "State", "MaxRSS")


class FakeSlurm:
    """A sweep of some runs, sent as one array, and what Slurm says of it."""

    def __init__(self, folder: Path, monkeypatch, count=4, *, epochs=10, per_task=1, sent=True):
        self.folder = folder
        self.bin = folder / "fake_slurm"
        self.bin.mkdir(parents=True)
        monkeypatch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
        self.store = Store(folder / "sweep")
        self.sweep = make_sweep(count, epochs)
        self.runs = [planned.run for planned in self.sweep.runs]
        self.store.save(self.sweep)
        self.profile = Profile(
            name="here", engine="slurm", resources=Resources(time=3600, mem=2048, cpus=1)
        )
        self.jobs = {}
        self.elements = []
        if sent:
            self.send(range(count), job=100, per_task=per_task)
        self.accounting(None)
        self.command("scancel", "exit 0")
        self.command("scontrol", "echo 'MaxArraySize = 1001'; echo 'MaxJobCount = 10000'")
        self.command("sbatch", "echo 900")

    def send(self, indices, *, job, per_task=1, first=0, planned=(), resources=None):
        """Write a submission as `submit` does: the plan, an array with its receipt."""
        every = [*indices, *planned]
        tasks = [
            [self._entry(index) for index in every[i : i + per_task]]
            for i in range(0, len(every), per_task)
        ]
        group = {
            "resources": (resources or self.profile.resources).to_json(),
            "threads": 1,
            "needs_gpu": False,
            "lead": 60,
        }
        content = {
            "time": time.time(),
            "profile": self.profile.to_json(),
            "groups": [{**group, "tasks": tasks}],
        }
        submission = self.store.new_submission(make_plan(**content))
        count = -(-len(list(indices)) // per_task)
        part = submission.part("chunk", first)
        chunk = {"token": f"t-{job}", "first": first, "count": count, **group}
        part.intend(Chunk.from_json({**chunk, "tasks": tasks[:count]}))
        part.settle(job)
        long_ago = time.time() - 3600
        os.utime(part.receipt_file, (long_ago, long_ago))
        self.jobs[job] = submission
        return submission

    def seal(self):
        """Of all its runs, as they are now."""
        return sealed(self.sweep, self.profile, self.sweep.runs, self.store)

    def feed(self, submission, *, job, first):
        """A feeder that will send what comes from task `first` on."""
        part = submission.part("feeder", first)
        part.intend(FeederJob(token=f"t-{job}", after=(100,), resources=Resources()))
        part.settle(job)

    def _entry(self, index):
        run = self.runs[index]
        return {
            "id": run.id,
            "fence": self.store.run(run.id).last_fence(),
            "run": run.to_json(),
        }

    def queue(self, *elements):
        """What squeue prints, of (name, state), (name, state, reason) or (name, state, reason, node)."""
        self._canned("squeue", "\n".join(_line(*element) for element in elements))

    def accounting(self, rows):
        """What sacct prints; None: there is no accounting."""
        if rows is None:
            message = "Slurm accounting storage is disabled"
            self.command("sacct", f"echo {shlex.quote(message)} >&2; exit 1")
            return
        lines = ["|".join(row.get(name, "") for name in ACCOUNTING) for row in rows]
        self._canned("sacct", "\n".join(lines))

    def down(self):
        """The controller does not answer."""
        message = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
        self.command("squeue", f"echo {shlex.quote(message)} >&2; exit 1")

    def _canned(self, name, text):
        data = self.folder / f"{name}.txt"
        data.write_text(text + "\n" if text else "")
        self.command(name, f"cat {shlex.quote(str(data))}")

    def command(self, name, script):
        """A command that notes its arguments and does that."""
        path = self.bin / name
        log = shlex.quote(str(self.folder / f"{name}.calls"))
        path.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{script}\n')
        path.chmod(0o755)

    def calls(self, name):
        """The arguments of every call so far."""
        try:
            return (self.folder / f"{name}.calls").read_text().splitlines()
        except FileNotFoundError:
            return []

    def claim(self, index, element, *, node="node1", ago=600.0, submission=1):
        """An attempt of that run has begun; it lives as long as it is not released."""
        folder = self.store.run(self.runs[index].id)
        folder.create(self.runs[index])
        attempt = folder.claim()
        files.append_line(
            folder.journal_file,
            {
                "time": time.time() - ago,
                "event": "claimed",
                "fence": attempt.fence,
                "host": "host",
                "pid": 1,
                "submission": submission,
                "element": element,
                "node": node,
                "end": None,
            },
        )
        attempt.log_file.write_text("epoch 1/10: test_loss 0.5\n")
        return attempt

    def progress(self, attempt, epoch, *, epoch_s=30.0, epochs=10):
        """A line of its progress."""
        line = {"time": time.time(), "epoch": epoch, "epochs": epochs, "step": epoch * 100}
        files.append_line(attempt.progress_file, line | {"steps": epochs * 100, "epoch_s": epoch_s})

    def end(self, attempt, failure, message="it failed", **more):
        """It wrote its end, and is over."""
        fields = {"fence": attempt.fence, "failure": failure, "message": message}
        note(attempt.folder, "ended", **fields, evidence="exit status", **more)
        attempt.release()

    def fail(self, index, element, failure, message="it failed", **where):
        """A whole attempt that failed."""
        attempt = self.claim(index, element, **where)
        self.end(attempt, failure, message)
        return attempt

    def record(self, index, *, node=None):
        """The run has its record."""
        folder = self.store.run(self.runs[index].id)
        folder.create(self.runs[index])
        folder.record_file.write_text(json.dumps(make_record(self.runs[index], node)))


def _line(name, state, reason="None", node=""):
    job, _, task = name.partition("_")
    return f"{job}|{task or 'N/A'}|{job}{task}|{state}|{reason}|{node}|normal|t-{job}"


def make_sweep(count, epochs):
    runs = tuple(
        PlannedRun(run=make_run(seed=seed, epochs=epochs), problem="digits", optimizer="SGD")
        for seed in range(count)
    )
    return Sweep(
        name="sweep",
        description="",
        runs=runs,
        problems=("digits",),
        optimizers=("SGD",),
        targets={},
        data=None,
        code=(),
        sources={"sweep.yaml": ""},
    )


def make_record(run, node=None):
    curve = [2.3 - 0.1 * epoch for epoch in range(run.epochs + 1)]
    slurm = {"slurmd_nodename": node, "array_job_id": "100", "array_task_id": "0"} if node else {}
    return {
        "schema": 1,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed",
        "stop": {"reason": "completed", "epoch": run.epochs, "step": run.epochs * 100},
        "curves": {"test_loss": curve, "valid_loss": curve},
        "cost": {
            "train": {"wall_s": 20.0 * run.epochs},
            "eval": {"wall_s": 5.0 * run.epochs},
            "setup": {"wall_s": 99.0},
            "total": {"peak_memory_bytes": 3 * 1024**3},
        },
        "provenance": {"slurm": slurm},
    }
