"""The classifier matrix: faults on a real Slurm, and the class that `probprec status` gives each run.

It is asked twice, with and without accounting.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.datasets import find
from jobs.datasets.catalog import DATASETS
from jobs.store.store import Store
from tests.case import Trainer, ends, journal, make_profile, payloads
from tests.helpers import ALL, wait_for
from tests.slurm import OVER, SETTINGS, Site, Stage
from tests.tables import aligned

pytestmark = pytest.mark.slurm

BROKEN = "import no_such_package\n\n\nclass Broken: ...\n"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the matrix."""

    name: str
    sweep: str  # of `SWEEPS`
    optimizer: str
    expected: str
    state: str = "failed"
    resources: str = ""
    do: str = ""  # what is done to it once it has begun: a method of `Matrix`


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the faults of one sweep are submitted."""

    problem: str = "digits_mlp"
    spec: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)


LONGEST = 600.0
"""Seconds after the last act; Slurm looks for jobs over their limit every half minute."""

# A process that nobody keeps waiting, else what it stops comes to a signal in between.
KEEP_STOPPED = """
import os, signal, sys, time

os.setpriority(os.PRIO_PROCESS, 0, -20)
process = os.pidfd_open(int(sys.argv[1]))
try:
    while True:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        time.sleep(0.002)
except ProcessLookupError:
    pass
"""

AT_ONCE = "keep_launcher_stopped"  # what cannot wait until the training has begun

FIRST, QUIET, DEAD, TAKEN, DRAINED, AGAIN, *SPARE = range(3, 11)
"""The nodes that are used; the others are for other tests."""


def on(node: int, **more: object) -> dict[str, object]:
    """Resources of that node."""
    return {"nodelist": f"node{node}", **more}


MINUTE = "00:01:00"
NOT_SPARE = [f"node{n}" for n in range(1, SETTINGS["nodes"] + 1) if n not in SPARE]

SWEEPS: Mapping[str, Kind] = {
    # The slow ones begin first.
    "mute": Kind(resources=on(QUIET, time=MINUTE)),
    "minute": Kind(resources=on(FIRST, time=MINUTE), profile={"policy": {"timeout": "stop"}}),
    "budget": Kind(resources=on(FIRST, time=MINUTE), profile={"max_attempts": 1}),
    "stuck": Kind(resources=on(FIRST), profile={"policy": {"killed": "requeue"}}),
    "dead": Kind(resources=on(DEAD)),
    "reborn": Kind(resources={"exclude": f"[{', '.join(NOT_SPARE)}]"}),
    "taken": Kind(resources=on(TAKEN, partition="preemptible")),
    "again": Kind(resources=on(AGAIN, partition="preemptible")),
    "changed": Kind(resources=on(DRAINED)),
    "removed": Kind(resources=on(DRAINED)),
    "never": Kind(resources=on(DRAINED)),
    "neither": Kind(resources=on(DRAINED)),
    "plain": Kind(resources=on(FIRST)),
    "fills": Kind(resources=on(FIRST)),
    "gpu": Kind(resources=on(FIRST, gpus=1)),
    "nopython": Kind(resources=on(FIRST), profile={"python": "/nowhere/bin/python"}),
    "exit127": Kind(resources=on(FIRST), profile={"python": "exit-127"}),
    "flipped": Kind(resources=on(FIRST), spec="data: flipped\n"),
}

FAULTS = [
    Fault(name="over its memory limit", sweep="plain", optimizer="Eats", expected="oom", resources="{mem: 800M}"),
    Fault(name="MemoryError", sweep="plain", optimizer="NoMemory", expected="oom"),
    Fault(name="ignores SIGTERM to the limit", sweep="minute", optimizer="Hangs", expected="timeout"),
    Fault(name="sleeps to the limit", sweep="minute", optimizer="Sleeps", expected="timeout"),
    Fault(name="stops in time before the limit", sweep="minute", optimizer="Crawls", expected="timeout"),
    Fault(name="launcher hangs to the limit", sweep="mute", optimizer="Hangs", expected="timeout", do="keep_launcher_stopped"),
    Fault(name="no attempt left", sweep="budget", optimizer="Hangs", expected="no_progress"),
    Fault(name="two attempts without a checkpoint", sweep="stuck", optimizer="KillsItself", expected="no_progress"),
    Fault(name="preempted, not requeued", sweep="taken", optimizer="Crawls", expected="preempted", do="preempt_for_good"),
    Fault(name="preempted, requeued", sweep="again", optimizer="Crawls", expected="preempted", state="pending", do="preempt"),
    Fault(name="node dies, not requeued", sweep="dead", optimizer="Crawls", expected="node_fail", do="kill_node_for_good"),
    Fault(name="node dies, requeued", sweep="reborn", optimizer="Crawls", expected="node_fail", state="running", do="kill_node"),
    Fault(name="scancel while it runs", sweep="plain", optimizer="Sleeps", expected="cancelled", state="stopped", do="scancel"),
    Fault(name="scancel JOB while it waits", sweep="never", optimizer="Crawls", expected="cancelled", state="stopped"),
    Fault(name="scancel JOB_0 while it waits", sweep="neither", optimizer="Crawls", expected="cancelled", state="stopped"),
    Fault(name="training killed -9", sweep="plain", optimizer="Crawls", expected="killed", do="kill_payload"),
    Fault(name="launcher killed -9", sweep="plain", optimizer="Hangs", expected="killed", do="kill_launcher"),
    Fault(name="writes to a full disk", sweep="fills", optimizer="FillsDisk", expected="disk_full"),
    Fault(name="a byte of the data flipped", sweep="flipped", optimizer="Crawls", expected="bad_data"),
    Fault(name="code changed while it waits", sweep="changed", optimizer="Crawls", expected="drifted"),
    Fault(name="code removed while it waits", sweep="removed", optimizer="Crawls", expected="drifted"),
    Fault(name="no such interpreter", sweep="nopython", optimizer="Crawls", expected="image"),
    Fault(name="interpreter exits 127", sweep="exit127", optimizer="Crawls", expected="image"),
    Fault(name="a GPU that is none", sweep="gpu", optimizer="Crawls", expected="gpu_missing"),
    Fault(name="torch.cuda.OutOfMemoryError", sweep="plain", optimizer="NoCudaMemory", expected="cuda_oom"),
    Fault(name="own module lacks a package", sweep="plain", optimizer="broken.Broken", expected="import_error"),
    Fault(name="lacks a package in a step", sweep="plain", optimizer="ImportsNothing", expected="import_error"),
    Fault(name="a bug", sweep="plain", optimizer="Raises", expected="exception"),
    Fault(name="SIGSEGV", sweep="plain", optimizer="Segfaults", expected="exception"),
    Fault(name="exit code 3 without a word", sweep="plain", optimizer="Exits", expected="exception"),
]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What became of a fault."""

    fault: Fault
    accounting: str  # was it there for whoever asked?
    state: str
    failure: str | None
    evidence: str

    @property
    def is_right(self) -> bool:
        return (self.state, self.failure) == (self.fault.state, self.fault.expected)


class Matrix:
    """All faults in one lab."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.lab, self.folder = site, site.lab, folder
        self.first_node: dict[str, str] = {}
        self.keepers: list[
            subprocess.Popen[bytes]
        ] = []  # each ends with the launcher that it stops
        self.begun = folder / "begun"
        self.begun.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("faulty.py"), folder)
        (folder / "broken.py").write_text(BROKEN)
        self._write_python()
        self._write_data()

    def _write_python(self) -> None:
        python = self.folder / "exit-127"
        python.write_text("#!/bin/sh\nexit 127\n")
        python.chmod(0o755)

    def _write_data(self) -> None:
        """The digits, one byte of which is another."""
        (file,) = DATASETS["digits"].files
        original = find.locate(find.find("digits"), file, DATASETS["digits"].suffixes)
        content = bytearray(find.read_verified(original, file))
        content[len(content) // 2] ^= 1
        (self.folder / "flipped").mkdir()
        (self.folder / "flipped" / file.name).write_bytes(content)

    def store(self, sweep: str) -> Store:
        return Store(self.folder / "sweeps" / sweep)

    def run_id(self, fault: Fault) -> str:
        """The run of a fault."""
        for planned in self.store(fault.sweep).sweep().runs:
            if planned.optimizer == _label(fault):
                return planned.run.id
        raise AssertionError(fault)

    def submit(self, sweep: str) -> None:
        kind = SWEEPS[sweep]
        lines = [f"problems: [{kind.problem}]", "seeds: 1", "epochs: 100000", "optimizers:"]
        for fault in FAULTS:
            if fault.sweep == sweep:
                path = fault.optimizer if "." in fault.optimizer else f"faulty.{fault.optimizer}"
                resources = f", resources: {fault.resources}" if fault.resources else ""
                lines.append(f"  {_label(fault)}: {{optimizer: {path}{resources}}}")
        spec = self.folder / f"{sweep}.yaml"
        spec.write_text("\n".join([*lines, kind.spec]))
        more = dict(kind.profile)
        if more.get("python") == "exit-127":
            more["python"] = str(self.folder / "exit-127")
        trained_by: Trainer = "torch" if ALL else "light"
        profile = make_profile(
            self.folder,
            name=f"on-{sweep}",
            trained_by=None if "python" in more else trained_by,
            resources=kind.resources,
            environment={"FAULTS_BEGUN": str(self.begun)},
            **more,
        )
        root = self.store(sweep).root.parent
        self.site.probprec(
            "submit", spec, "--root", root, "--on", profile, cwd=self.folder, check=0
        )

    def go(self) -> list[Found]:
        """Submit everything, do what is to be done, and wait for all of it together."""
        self.lab.drain(f"node{DRAINED}")
        for sweep in SWEEPS:
            if sweep != "fills":
                self.submit(sweep)
                self._act([one for one in FAULTS if (one.sweep, one.do) == (sweep, AT_ONCE)])
        self._while_they_wait()
        self._act([one for one in FAULTS if one.do not in {"", AT_ONCE}])
        self.submit("fills")
        found = self._wait()
        (self.lab.scratch / "fills").unlink(missing_ok=True)
        for name in (*SWEEPS, "lab-preempt"):
            self.lab.run("scancel", f"--name={name}", "--quiet")
        self.lab.restart(f"slurmd:node{DEAD}")
        for fault in FAULTS:
            if fault.do == "kill_node":
                self.lab.restart(f"slurmd:{self.first_node[fault.name]}")
        for keeper in self.keepers:
            keeper.wait(LONGEST)
        return found

    def _act(self, todo: list[Fault]) -> None:
        """Do what is to be done, to each as soon as it has begun."""
        while todo:
            ready = wait_for(
                lambda: [fault for fault in todo if self.has_begun(fault)],
                what=f"the beginning of {[fault.name for fault in todo]}",
            )
            for fault in ready:
                todo.remove(fault)
                getattr(self, fault.do)(fault)

    def _while_they_wait(self) -> None:
        """Cancel one that waits; change and remove the code of two others; let those begin."""
        for sweep in ("never", "neither"):
            (element,) = self.site.jobs(sweep)
            self.lab.run("scancel", element if sweep == "neither" else element.partition("_")[0])
        (changed,) = self.store("changed").code.glob("*.zip")
        changed.write_bytes(changed.read_bytes() + b"\0")
        (removed,) = self.store("removed").code.glob("*.zip")
        removed.unlink()
        self.lab.resume(f"node{DRAINED}")

    def has_begun(self, fault: Fault) -> bool:
        """Whether its training takes its first step; to stop a launcher, it is enough that it runs."""
        lines = journal(self.store(fault.sweep), self.run_id(fault))
        jobs = [line["job"] for line in lines if line.get("event") == "claimed"]
        if fault.do == AT_ONCE:
            return bool(jobs)
        return bool(jobs) and (self.begun / f"{fault.optimizer}.{jobs[-1]}").exists()

    def claim(self, fault: Fault) -> dict[str, Any]:
        """What the journal says of its last attempt."""
        lines = journal(self.store(fault.sweep), self.run_id(fault))
        return [line for line in lines if line.get("event") == "claimed"][-1]

    def payload(self, fault: Fault) -> int:
        """The pid of its training."""
        (pid,) = payloads(self.store(fault.sweep).run(self.run_id(fault)).path).values()
        return pid

    # What is done to runs that have begun.

    def keep_launcher_stopped(self, fault: Fault) -> None:
        """Slurm wakes what it is about to end."""
        words = [sys.executable, "-c", KEEP_STOPPED, str(self.claim(fault)["pid"])]
        self.keepers.append(subprocess.Popen(words))

    def kill_launcher(self, fault: Fault) -> None:
        os.kill(self.claim(fault)["pid"], signal.SIGKILL)

    def kill_payload(self, fault: Fault) -> None:
        os.kill(self.payload(fault), signal.SIGKILL)

    def scancel(self, fault: Fault) -> None:
        self.lab.run("scancel", self.claim(fault)["element"])

    def preempt(self, fault: Fault) -> None:
        self.lab.preempt([self.claim(fault)["node"]], seconds=600)

    def preempt_for_good(self, fault: Fault) -> None:
        self._not_requeued(fault)
        self.preempt(fault)

    def kill_node(self, fault: Fault) -> None:
        """As if somebody pulled the plug: all its processes are gone at once."""
        claim = self.claim(fault)
        self.first_node[fault.name] = claim["node"]
        self.lab.kill(f"slurmd:{claim['node']}", with_steps=True)
        os.kill(claim["pid"], signal.SIGKILL)

    def kill_node_for_good(self, fault: Fault) -> None:
        self._not_requeued(fault)
        self.kill_node(fault)

    def _not_requeued(self, fault: Fault) -> None:
        """As where an admin has switched it off."""
        element = self.claim(fault)["element"]
        self.lab.run("scontrol", "update", f"JobId={element}", "Requeue=0")

    # What comes of it.

    def _wait(self) -> list[Found]:
        found: dict[str, list[Found]] = {}

        def all_over() -> bool:
            for sweep in SWEEPS:
                faults = [one for one in FAULTS if one.sweep == sweep and one.name not in found]
                if faults and self._are_over(sweep, faults):
                    found.update(self._verdicts(sweep))
            return len(found) == len(FAULTS)

        try:
            wait_for(all_over, LONGEST, pause=1)
        except AssertionError:  # what has not come to its end is wrong: the table shows it
            for sweep in {fault.sweep for fault in FAULTS if fault.name not in found}:
                found |= self._verdicts(sweep)
        return [row for fault in FAULTS for row in found[fault.name]]

    def _are_over(self, sweep: str, faults: list[Fault]) -> bool:
        """Whether Slurm is through with them, or they are in the state that is waited for."""
        states = {row["state"] for row in self.site.jobs(sweep).values()}
        return all(
            bool(states) and states <= OVER
            if fault.state in {"failed", "stopped"}
            else (fault.state != "pending" or "PENDING" in states)
            and bool(ends(self.store(sweep), self.run_id(fault)))
            for fault in faults
        )

    def _verdicts(self, sweep: str) -> dict[str, list[Found]]:
        """As `probprec status` says it, with and without accounting; of a copy where all is over.

        What one of the two writes down the other shall not read; but a copy has no locks, which say
        that something runs.
        """
        is_over = {row["state"] for row in self.site.jobs(sweep).values()} <= OVER
        found: dict[str, list[Found]] = {}
        for name, environment in (("none", self.site.without_accounting), ("there", {})):
            root = self.store(sweep).root
            if is_over:
                root = self.folder / "readers" / name / sweep
                shutil.rmtree(root, ignore_errors=True)
                shutil.copytree(self.store(sweep).root, root)
            done = self.site.probprec(
                "status", root, "--json", cwd=self.folder, environment=environment
            )
            runs = {run["id"]: run for run in json.loads(done.stdout)["runs"]}
            for fault in FAULTS:
                if fault.sweep == sweep:
                    row = self._found(fault, name, runs[self.run_id(fault)])
                    found.setdefault(fault.name, []).append(row)
        return found

    def _found(self, fault: Fault, accounting: str, run: Mapping[str, Any]) -> Found:
        failure = run["class"]
        if fault.state == "running":  # why it had to begin again is in its journal
            said = ends(self.store(fault.sweep), run["id"])
            failure = said[-1]["failure"] if said else None
        return Found(fault, accounting, run["state"], failure, run["evidence"] or "")


def _label(fault: Fault) -> str:
    return fault.optimizer.rpartition(".")[2]


def _row(found: Found) -> dict[str, str]:
    return {
        "fault": found.fault.name,
        "accounting": found.accounting,
        "expected": found.fault.expected,
        "found": ("" if found.is_right else "!") + (found.failure or "-"),
        "state": found.state,
        "evidence": found.evidence,
    }


def classes(stage: Stage) -> list[Found]:
    """The matrix; most of it is waiting for limits of a minute."""
    return Matrix(stage.site, stage.folders.mktemp(f"classes-{stage.site.mode}")).go()


@pytest.mark.side_by_side(classes, slow=True)
def test_each_fault_gets_its_class(
    outcome: list[Found], record_property: Callable[..., None]
) -> None:
    for found in outcome:
        record_property("table: classes", _row(found))
    wrong = [row for row in outcome if not row.is_right]

    assert len(FAULTS) >= 15
    assert len(outcome) == len(FAULTS) * 2
    assert not wrong, "\n".join(aligned([_row(row) for row in wrong]))


@pytest.mark.side_by_side(classes, slow=True)
def test_what_the_kernel_or_the_clock_ended_is_never_lost(outcome: list[Found]) -> None:
    wrong = [
        row
        for row in outcome
        if row.fault.expected in {"oom", "timeout"} and "lost" in {row.failure, row.state}
    ]
    assert not wrong, "\n".join(aligned([_row(row) for row in wrong]))


@pytest.mark.side_by_side(classes, slow=True)
def test_every_verdict_has_its_evidence(outcome: list[Found]) -> None:
    assert all(row.evidence for row in outcome)
