"""The classifier matrix: faults on a real Slurm, and the class that `probprec status` gives each run."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.datasets import find
from jobs.datasets.catalog import DATASETS
from jobs.store import Store
from tests.slurm import MODES, OVER, Site, ends, journal, lab_up, make_profile, payloads, wait_for

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
    in_scratch: bool = False


LONGEST = 600.0
"""Seconds after the last act; Slurm looks for jobs over their limit every half minute."""

AT_ONCE = "keep_launcher_stopped"  # what cannot wait until the training has begun

MINUTE = {"time": "00:01:00", "nodelist": "node1"}

SWEEPS: Mapping[str, Kind] = {
    # The slow ones begin first.
    "mute": Kind(resources=MINUTE | {"nodelist": "node2"}),
    "minute": Kind(resources=MINUTE, profile={"policy": {"timeout": "stop"}}),
    "budget": Kind(resources=MINUTE, profile={"max_attempts": 1}),
    "stuck": Kind(resources={"nodelist": "node1"}, profile={"policy": {"killed": "requeue"}}),
    "dead": Kind(resources={"nodelist": "node3"}),
    "reborn": Kind(resources={"exclude": "[node1, node2, node3, node5, node6, node7]"}),
    "taken": Kind(resources={"partition": "preemptible", "nodelist": "node5"}),
    "again": Kind(resources={"partition": "preemptible", "nodelist": "node7"}),
    "full": Kind(resources={"nodelist": "node1"}, in_scratch=True),
    "changed": Kind(resources={"nodelist": "node6"}),
    "removed": Kind(resources={"nodelist": "node6"}),
    "never": Kind(resources={"nodelist": "node6"}),
    "neither": Kind(resources={"nodelist": "node6"}),
    "plain": Kind(resources={"nodelist": "node1"}),
    "fills": Kind(resources={"nodelist": "node1"}),
    "gpu": Kind(resources={"nodelist": "node1", "gpus": 1}),
    "nopython": Kind(resources={"nodelist": "node1"}, profile={"python": "/nowhere/bin/python"}),
    "exit127": Kind(resources={"nodelist": "node1"}, profile={"python": "exit-127"}),
    "flipped": Kind(resources={"nodelist": "node1"}, spec="data: flipped\n"),
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
    Fault(name="scancel while it runs", sweep="plain", optimizer="Sleeps", expected="cancelled", do="scancel"),
    Fault(name="scancel JOB while it waits", sweep="never", optimizer="Crawls", expected="cancelled"),
    Fault(name="scancel JOB_0 while it waits", sweep="neither", optimizer="Crawls", expected="cancelled"),
    Fault(name="training killed -9", sweep="plain", optimizer="Crawls", expected="killed", do="kill_payload"),
    Fault(name="launcher killed -9", sweep="plain", optimizer="Hangs", expected="killed", do="kill_launcher"),
    Fault(name="writes to a full disk", sweep="fills", optimizer="FillsDisk", expected="disk_full"),
    Fault(name="the sweep's disk is full", sweep="full", optimizer="Crawls", expected="disk_full", do="fill_scratch"),
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

    mode: str
    fault: Fault
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
        root = self.lab.scratch if SWEEPS[sweep].in_scratch else self.folder
        return Store(root / "sweeps" / sweep)

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
        profile = make_profile(
            self.folder,
            name=f"on-{sweep}",
            held=False,
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
        self.lab.drain("node6")
        for sweep in SWEEPS:
            if sweep != "fills":
                self.submit(sweep)
                self._act([one for one in FAULTS if (one.sweep, one.do) == (sweep, AT_ONCE)])
        self._while_they_wait()
        self._act([one for one in FAULTS if one.do not in {"", AT_ONCE}])
        self.submit("fills")
        return self._wait()

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
        self.lab.resume("node6")

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
        launcher = os.pidfd_open(self.claim(fault)["pid"])

        def keep() -> None:
            with contextlib.suppress(ProcessLookupError):
                while True:
                    signal.pidfd_send_signal(launcher, signal.SIGSTOP)
                    time.sleep(0.02)
            os.close(launcher)

        threading.Thread(target=keep, daemon=True).start()

    def kill_launcher(self, fault: Fault) -> None:
        os.kill(self.claim(fault)["pid"], signal.SIGKILL)

    def kill_payload(self, fault: Fault) -> None:
        os.kill(self.payload(fault), signal.SIGKILL)

    def scancel(self, fault: Fault) -> None:
        self.lab.run("scancel", self.claim(fault)["element"])

    def fill_scratch(self, _fault: Fault) -> None:
        self.lab.fill_scratch()

    def preempt(self, fault: Fault) -> None:
        self.lab.preempt([self.claim(fault)["node"]], seconds=600)

    def preempt_for_good(self, fault: Fault) -> None:
        self._not_requeued(fault)
        self.preempt(fault)

    def kill_node(self, fault: Fault) -> None:
        """As if somebody pulled the plug: all its processes are gone at once."""
        claim = self.claim(fault)
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
        found: dict[str, Found] = {}

        def all_over() -> bool:
            for sweep in SWEEPS:
                faults = [one for one in FAULTS if one.sweep == sweep and one.name not in found]
                if faults and self._are_over(sweep, faults):
                    found.update({one.fault.name: one for one in self._status(sweep)})
            return len(found) == len(FAULTS)

        try:
            wait_for(all_over, LONGEST, pause=1)
        except AssertionError:  # what has not come to its end is wrong: the table shows it
            for sweep in {fault.sweep for fault in FAULTS if fault.name not in found}:
                found |= {one.fault.name: one for one in self._status(sweep)}
        return [found[fault.name] for fault in FAULTS]

    def _are_over(self, sweep: str, faults: list[Fault]) -> bool:
        """Whether Slurm is through with them, or they are in the state that is waited for."""
        states = {row["state"] for row in self.site.jobs(sweep).values()}
        return all(
            bool(states) and states <= OVER
            if fault.state == "failed"
            else (fault.state != "pending" or "PENDING" in states)
            and bool(ends(self.store(sweep), self.run_id(fault)))
            for fault in faults
        )

    def _status(self, sweep: str) -> list[Found]:
        """As `probprec status` says it."""
        done = self.site.probprec("status", self.store(sweep).root, "--json", cwd=self.folder)
        runs = {run["id"]: run for run in json.loads(done.stdout)["runs"]}
        rows = []
        for fault in FAULTS:
            if fault.sweep == sweep:
                run = runs[self.run_id(fault)]
                failure = run["class"]
                if fault.state == "running":  # why it had to begin again is in its journal
                    said = ends(self.store(sweep), run["id"])
                    failure = said[-1]["failure"] if said else None
                evidence = run["evidence"] or ""
                rows.append(Found(self.site.mode, fault, run["state"], failure, evidence))
        return rows


def _label(fault: Fault) -> str:
    return fault.optimizer.rpartition(".")[2]


def _table(rows: list[Found]) -> str:
    """The confusion matrix, a line per fault and mode."""
    lines = [f"{'fault':34} {'mode':11} {'expected':12} {'found':12} {'state':8} evidence"]
    for row in sorted(rows, key=lambda row: (FAULTS.index(row.fault), row.mode)):
        mark = " " if row.is_right else "!"
        lines.append(
            f"{row.fault.name:34} {row.mode:11} {row.fault.expected:12}"
            f"{mark}{row.failure or '-':12} {row.state:8} {row.evidence}"
        )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """Both modes at the same time: most of it is waiting for limits of a minute."""
    settings = {"nodes": 8, "cpus": 8, "gpus": 1, "node_timeout": 8, "kill_wait": 5}
    pool = ThreadPoolExecutor(len(MODES))
    with contextlib.ExitStack() as stack:
        matrices = [
            Matrix(
                stack.enter_context(lab_up(accounting=accounting, **settings)),
                tmp_path_factory.mktemp(f"classes-{mode}"),
            )
            for mode, accounting in MODES.items()
        ]
        try:
            return [row for rows in pool.map(Matrix.go, matrices) for row in rows]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def test_each_fault_gets_its_class(matrix, capsys):
    right = sum(row.is_right for row in matrix)
    with capsys.disabled():
        sys.stdout.write(f"\n{_table(matrix)}\n{right} of {len(matrix)} right\n")

    assert len(FAULTS) >= 15
    assert len(matrix) == len(FAULTS) * len(MODES)
    assert right >= 0.95 * len(matrix), "\n" + _table([row for row in matrix if not row.is_right])


def test_what_the_kernel_or_the_clock_ended_is_never_lost(matrix):
    wrong = [
        row
        for row in matrix
        if row.fault.expected in {"oom", "timeout"} and "lost" in {row.failure, row.state}
    ]
    assert not wrong, "\n" + _table(wrong)


def test_every_verdict_has_its_evidence(matrix):
    assert all(row.evidence for row in matrix)
