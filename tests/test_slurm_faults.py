"""The kill matrix: whatever dies, after at most one more `probprec submit` every run has one record.

Each fault hits sweeps of runs on a real Slurm; every record is equal, bit for bit, to that of an
undisturbed run. Faults that hit one sweep alone go on side by side; those that hit the whole cluster
come after them, one by one. Before anything is sent again, status, why and retry are asked twice,
with and without accounting: they must say the same.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cluster.lab import processes
from jobs.store import state
from tests.case import (
    Case,
    MakeCase,
    ends,
    journal,
    payloads,
    published_twice,
    run_ids,
    whole_records,
)
from tests.helpers import ALL, LONG, wait_for
from tests.slurm import Site, Stage, kill

pytestmark = pytest.mark.slurm

FREE = 10**6
"""A hold that nobody reaches."""


@dataclass(frozen=True)
class Row:
    """What came of one fault."""

    fault: str
    mode: str
    runs: int
    attempts: int
    lost: int
    duplicated: int


@dataclass
class Arena:
    """Where a fault happens: makes its sweeps, and counts in the end."""

    site: Site
    make_case: MakeCase
    fault: str
    cases: list[Case] = field(default_factory=list)
    sent_once: list[Case] = field(default_factory=list)

    def case(self, name: str, *, runs: int = 3, once: bool = False, **more: object) -> Case:
        """A sweep; `once`: each of its runs must have been sent, and attempted, exactly once."""
        unique = f"{name}-{self.site.mode}"
        case = self.make_case(self.site, unique, spec={"runs": runs}, **more)
        self.cases.append(case)
        if once:
            self.sent_once.append(case)
        return case

    def count(self) -> Row:
        """What is lost, and what came twice."""
        lost = twice = attempts = runs = 0
        for case in self.cases:
            ids = set(run_ids(case.store))
            runs += len(ids)
            attempts += sum(case.store.run(run).last_fence() for run in ids)
            lost += len(ids - whole_records(case.store, case.expected))
            again = published_twice(case.store)
            if case in self.sent_once:
                again |= {run for run in ids if case.store.run(run).last_fence() != 1}
                assert len(case.jobs()) == len(ids), case.describe()
            twice += len(again)
        if not any(case.verdicts for case in self.cases):
            assert self.cases[0].classes() == set()
        return Row(self.fault, self.site.mode, runs, attempts, lost, twice)


def go(site: Site, make_case: MakeCase, name: str) -> Row:
    """Let a fault happen; returns what came of it."""
    arena = Arena(site, make_case, name.replace("_", " "))
    try:
        FAULTS[name](arena)
        row = arena.count()
        assert (row.lost, row.duplicated) == (0, 0), row
    except BaseException as error:
        if FAULTS[name] in ONE_BY_ONE:
            site.heal()
        for case in arena.cases:
            with contextlib.suppress(Exception):
                error.add_note(case.describe())
            case.free()
            with contextlib.suppress(Exception):
                site.lab.run("scancel", f"--name={case.name}")
        raise
    return row


# The submitter -------------------------------------------------------------------------------------

# `python -c` this: the command, killed with -9 before or after the n-th call of a function.
_DYING = """
import os, signal, sys
from cluster import cli
from jobs.store.store import Store
from jobs.store.submissions import Part

function, when, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
owner = Store if function == "new_submission" else Part
inner = getattr(owner, function)
seen = 0


def die_if_it_is_time():
    global seen
    seen += 1
    if seen == count:
        os.kill(os.getpid(), signal.SIGKILL)


def outer(*args, **kwargs):
    if when == "before":
        die_if_it_is_time()
    result = inner(*args, **kwargs)
    if when == "after":
        die_if_it_is_time()
    return result


setattr(owner, function, outer)
sys.exit(cli.main(sys.argv[4:]))
"""

# An sbatch whose caller is killed before, while or after it talks to Slurm, at the n-th call.
_SBATCH = """\
#!/bin/sh
echo x >>"$0.calls"
if [ "$(wc -l <"$0.calls")" -eq {count} ]; then
{fatal}
fi
exec {sbatch} "$@"
"""
_FATAL = {
    "sbatch begins": "kill -9 $PPID; exit 1",
    "sbatch talks": "kill -9 $PPID; sleep 1.5",
    "sbatch is done": '{sbatch} "$@" >/dev/null; kill -9 $PPID; exit 0',
}

BOUNDARIES = {
    "submission is written": ("new_submission", "before", 1),
    "submission is there": ("new_submission", "after", 1),
    "intent 1 is there": ("intend", "after", 1),
    "intent 2 is there": ("intend", "after", 2),
    "sbatch 1 begins": ("sbatch begins", 1),
    "sbatch 1 talks": ("sbatch talks", 1),
    "sbatch 2 talks": ("sbatch talks", 2),
    "sbatch 1 is done": ("sbatch is done", 1),
    "sbatch 2 is done": ("sbatch is done", 2),
    "receipt 1 is there": ("settle", "after", 1),
}


def die_while_submitting(case: Case, boundary: str) -> None:
    """A submitter that is killed with -9 when `boundary`."""
    *what, count = BOUNDARIES[boundary]
    environment = {}
    if len(what) == 2:
        command = [sys.executable, "-c", _DYING, *map(str, (*what, count))]
        command += map(str, case.arguments())
    else:
        command = case.site.command(*case.arguments())
        environment = {"PATH": f"{own_sbatch(case, _FATAL[what[0]], count)}:{os.environ['PATH']}"}
    process = case.site.start(command, cwd=case.folder, environment=environment)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == -signal.SIGKILL, said


def own_sbatch(case: Case, fatal: str, count: int) -> Path:
    """A folder with an sbatch that does something bad at its n-th call."""
    folder = case.folder / "bin"
    folder.mkdir()
    real = shutil.which("sbatch")
    text = _SBATCH.replace("{fatal}", fatal).replace("{sbatch}", str(real))
    (folder / "sbatch").write_text(text.replace("{count}", str(count)))
    (folder / "sbatch").chmod(0o755)
    return folder


def submitter_killed(arena: Arena) -> None:
    """At every boundary; two arrays of at most two elements."""
    for boundary in BOUNDARIES:
        name = "at-" + boundary.replace(" ", "-")
        case = arena.case(name, once=True, profile={"limits": {"max_array": 2}})
        die_while_submitting(case, boundary)
        case.submit()
    for case in arena.cases:
        case.wait_over()


def two_submit_at_once(arena: Arena) -> None:
    """From three shells; and again while the runs run; and again when all is done."""
    case = arena.case("two-shells", runs=6, once=True)
    case.hold(20)
    shells = [
        case.site.start(case.site.command(*case.arguments()), cwd=case.folder) for _ in range(3)
    ]
    reports = [json.loads(shell.communicate(timeout=LONG)[0]) for shell in shells]
    assert sorted(report["submitted"] for report in reports) == [0, 0, 6]
    case.wait_held(6)
    assert case.submit()["submitted"] == 0
    case.free()
    case.wait_over()
    assert case.submit()["submitted"] == 0


# On the node ---------------------------------------------------------------------------------------


def launcher_killed(arena: Arena) -> None:
    """Twice; its payload dies with it."""
    _kill_twice(arena.case("launcher", runs=6), lambda case, run: case.launcher(run), None)


def payload_killed(arena: Arena) -> None:
    """Twice; its launcher says so."""
    _kill_twice(arena.case("payload", runs=6), lambda case, run: case.payload(run), "killed")


def _kill_twice(case: Case, victim: Callable[[Case, str], int], said: str | None) -> None:
    for fence, step in ((1, 20), (2, 40)):
        case.hold(step)
        assert case.submit()["submitted"] == 6
        for run in case.wait_held(6, fence=fence):
            kill(victim(case, run))
        case.wait_over()
        wait_for(lambda: not payloads(case.folder), what="the payloads are gone")
        for run in run_ids(case.store):
            found = [line["failure"] for line in ends(case.store, run)]
            # Of a dead launcher the next submission writes down what Slurm says.
            assert found == (["killed"] * (fence - 1) if said is None else [said] * fence)
    assert case.finish("retry") == 6
    assert_resumed(case, attempts=3, resumes=2)


def launcher_killed_while_stopping(arena: Arena) -> None:
    """It had said why it stops, but not yet that it has: the reason holds."""
    case = arena.case("stopping")
    case.hold(20)
    case.submit()
    for run in case.wait_held(3):
        kill(case.payload(run), signal.SIGSTOP)  # it writes no checkpoint any more
        kill(case.launcher(run), signal.SIGTERM)
        wait_for(lambda run=run: journal(case.store, run)[-1]["event"] == "stopping")
        kill(case.launcher(run))
    case.wait_over()
    for run in run_ids(case.store):
        found = state.of(case.store.run(run))
        assert (found.state, found.failure) == ("stopped", "cancelled")
    assert case.finish() == 3
    assert_resumed(case, attempts=2, resumes=1)


def assert_resumed(case: Case, *, attempts: int, resumes: int) -> None:
    """Every record comes from that attempt, which went on from a checkpoint so many times."""
    for run in run_ids(case.store):
        found = json.loads(case.store.run(run).record_file.read_bytes())["provenance"]
        assert (found["attempts"], found["resumes"]) == (attempts, resumes)


def packed_payload_killed(arena: Arena) -> None:
    """Three runs in a task: the others have their records, and Slurm does not say COMPLETED."""
    case = arena.case("packed", profile={"resources": {"runs_per_task": 3, "cpus": 3}})
    case.hold(20)
    case.submit()
    victim = case.wait_held(3)[0]
    kill(case.payload(victim))
    case.free()
    case.wait_over()
    others = sorted(set(run_ids(case.store)) - {victim})
    assert [case.store.run(run).record_file.exists() for run in others] == [True, True]
    assert not case.store.run(victim).record_file.exists()
    assert {row["state"] for row in case.jobs().values()} == {"FAILED"}
    for run in others:
        found = json.loads(case.store.run(run).record_file.read_bytes())["provenance"]
        assert sorted(found["co_tenants"]) == sorted(set(run_ids(case.store)) - {run})
    assert case.finish() == 1


# By operators and users ----------------------------------------------------------------------------


def requeued_while_running(arena: Arena) -> None:
    """`scontrol requeue` of every element, twice."""
    case = arena.case("requeue")
    case.hold(20)
    case.hold(40, ".2")
    case.submit()
    for fence in (1, 2):
        for run in case.wait_held(3, fence=fence):
            case.site.lab.requeue(str(case.claims(run)[-1]["element"]))
    wait_for(lambda: all(len(case.claims(run)) == 3 for run in run_ids(case.store)))
    assert case.finish() == 0
    assert_resumed(case, attempts=3, resumes=2)


def scancelled(arena: Arena) -> None:
    """Running and waiting elements, by scancel; then submitted again."""
    case = arena.case("scancel", profile={"throttle": 2})
    case.hold(20)
    case.submit()
    case.wait_held(2)
    case.site.lab.run("scancel", *case.live())
    case.wait_over()
    said = [line["failure"] for run in run_ids(case.store) for line in ends(case.store, run)]
    assert said == ["cancelled"] * 2
    assert case.finish() == 3


def cancelled(arena: Arena) -> None:
    """By `probprec cancel`: one run, then the others; another sweep goes on; then submitted again."""
    case, bystander = arena.case("cancel"), arena.case("bystander", once=True)
    for one in (case, bystander):
        one.hold(20)
        one.submit()
    first = case.wait_held(3)[0]
    bystander.wait_held(3)
    case.site.probprec("cancel", case.store.root, first, cwd=case.folder, check=0)
    wait_for(lambda: len(case.live()) == 2)
    case.site.probprec("cancel", case.store.root, cwd=case.folder, check=0)
    case.wait_over()
    said = [line["failure"] for run in run_ids(case.store) for line in ends(case.store, run)]
    assert said == ["cancelled"] * 3
    assert case.finish() == 3
    assert len(bystander.live()) == 3
    bystander.free()
    bystander.wait_over()


def cancelled_at_once(arena: Arena) -> None:
    """As soon as Slurm has started them, before they know what their time limit is."""
    case = arena.case("at-once")
    case.hold(0)
    case.submit()
    wait_for(lambda: any(row["state"] == "RUNNING" for row in case.jobs().values()))
    case.site.probprec("cancel", case.store.root, cwd=case.folder, check=0)
    case.wait_over()
    for run in run_ids(case.store):
        assert "requeued" not in [line["event"] for line in journal(case.store, run)]
        assert {line["failure"] for line in ends(case.store, run)} <= {"cancelled", None}
    case.finish()


def chain_of_time_limits(arena: Arena) -> None:
    """Runs that need three times the minutes that they get."""
    # One minute is too short for a start of torch on a busy machine; two starts in vain end a run.
    resources = {"time": "00:02:00" if ALL else "00:01:00"}
    case = arena.case("chain", profile={"resources": resources, "signal_lead": "10s", "nice": 0})
    case.hold(20)
    case.submit()

    def is_over() -> bool:
        # Not by the attempt's number: one that gets nowhere does not count.
        for run in run_ids(case.store):
            saved = max((line.get("step") or 0 for line in ends(case.store, run)), default=0)
            if saved >= 20:
                case.hold(60 if saved < 60 else FREE, f".{run}")
        return not case.live()

    wait_for(is_over, 4 * LONG, pause=0.3, what="the chain")
    case.finish()
    for run in run_ids(case.store):
        said = [line["failure"] for line in ends(case.store, run)]
        assert said.count("timeout") >= 2
        provenance = json.loads(case.store.run(run).record_file.read_bytes())["provenance"]
        assert provenance["resumes"] >= 2


# Files ---------------------------------------------------------------------------------------------


def full_scratch(arena: Arena) -> None:
    """No byte is left while checkpoints are written."""
    lab = arena.site.lab
    case = arena.case("full", root=lab.scratch / "sweeps")
    case.hold(20)
    case.submit()
    case.wait_held(3)
    try:  # what a checkpoint gives back when it takes the place of another is filled, too
        wait_for(lambda: lab.fill_scratch() and not case.live(), pause=0.2, what="the end of all")
    finally:
        lab.free_scratch()
    for run in run_ids(case.store):
        assert [line["failure"] for line in ends(case.store, run)] == ["disk_full"]
    assert case.classes() == {"disk_full"}
    assert case.finish() == 3


def torn_record(arena: Arena) -> None:
    """Half of each record is left."""
    case = arena.case("torn-record")
    case.submit()
    case.wait_over()
    for run in run_ids(case.store):
        tear(case.store.run(run).record_file)
    assert case.submit()["submitted"] == 3
    case.wait_over()
    for run in run_ids(case.store):
        assert len(list(case.store.run(run).path.glob("record.torn-*"))) == 1


def torn_journal(arena: Arena) -> None:
    """The last line, that of the claim, is cut off in its middle; the launcher is dead."""
    case = arena.case("torn-journal")
    case.hold(20)
    case.submit()
    for run in case.wait_held(3):
        kill(case.launcher(run))
    case.wait_over()
    for run in run_ids(case.store):
        file = case.store.run(run).journal_file
        lines = file.read_bytes().rstrip()
        file.write_bytes(lines[: -len(lines.split(b"\n")[-1]) // 2])
        assert journal(case.store, run) == []
    assert case.finish() == 3
    assert_resumed(case, attempts=2, resumes=1)


def torn_checkpoint(arena: Arena) -> None:
    """Of one run the newer file, of another both; a third one's is flipped in one bit."""
    case = arena.case("torn-checkpoint")
    case.hold(20)
    case.submit()
    case.wait_held(3)
    case.hold(60)
    found = case.store.run

    def files(run: str) -> list[Path]:
        there = [path for path in found(run).attempt(1).checkpoint_files if path.exists()]
        return sorted(there, key=lambda path: path.stat().st_mtime_ns)

    wait_for(
        lambda: all(
            (found(run).attempt(1).checkpointed_step() or 0) >= 60 and len(files(run)) == 2
            for run in run_ids(case.store)
        )
    )
    first, second, third = run_ids(case.store)
    for run in (first, second, third):
        kill(case.launcher(run))
    case.wait_over()
    tear(files(first)[-1])
    for path in files(second):
        tear(path)
    content = bytearray(files(third)[-1].read_bytes())
    content[len(content) // 2] ^= 1
    files(third)[-1].write_bytes(content)
    assert case.finish() == 3
    resumes = [
        json.loads(found(run).record_file.read_bytes())["provenance"]["resumes"]
        for run in (first, second, third)
    ]
    assert resumes == [1, 0, 1]


def tear(path: Path) -> None:
    """Half of a file is left."""
    os.truncate(path, path.stat().st_size // 2)


# The whole cluster ---------------------------------------------------------------------------------


def slurmd_restarted(arena: Arena) -> None:
    """Killed with -9 on every node, and started again: the jobs live on."""
    case = arena.case("slurmd", runs=6)
    case.hold(20)
    case.submit()
    case.wait_held(6)
    for node in ("node1", "node2"):
        case.site.lab.kill(f"slurmd:{node}")
    for node in ("node1", "node2"):
        case.site.lab.restart(f"slurmd:{node}")
    case.free()
    assert case.finish() == 0
    wait_idle(case.site)


def node_died(arena: Arena) -> None:
    """With all that ran on it: Slurm starts the elements again on the other node."""
    case = _on_node1(arena, "node", 3, torch=True)
    case.hold(40, ".2")
    runs = case.wait_held(3, fence=1)
    arena.site.lab.kill("slurmd:node1", with_steps=True)
    for run in runs:
        kill(case.launcher(run))
    case.wait_held(3, fence=2)
    for run in runs:
        first, second = case.claims(run)
        assert (first["node"], second["node"]) == ("node1", "node2")
        assert [line["failure"] for line in ends(case.store, run)] == ["node_fail"]
    arena.site.lab.restart("slurmd:node1")
    wait_idle(case.site, "node1")
    assert case.finish() == 0
    assert_resumed(case, attempts=2, resumes=1)


def two_live_attempts(arena: Arena) -> None:
    """The older one is stopped, overtaken, and continued: it publishes nothing and stops nobody.

    Of one sweep the newer attempts have ended by then; of two they are still running. Of one of
    those the older ones are told to stop, and would put their elements back into the queue.
    """
    lab = arena.site.lab
    ended, running, told = (_on_node1(arena, name, 3) for name in ("ended", "running", "told"))
    ended.hold(FREE, ".2")
    running.hold(60, ".2")
    told.hold(60, ".2")
    old = [case.launcher(run) for case in (ended, running, told) for run in run_ids(case.store)]
    old_payloads = [pid for case in arena.cases for pid in payloads(case.folder).values()]
    launchers = [found.process for found in map(processes.stat, old) if found is not None]
    assert len(launchers) == len(old_payloads) == 9
    lab.kill("slurmd:node1", with_steps=True)
    for pid in (*old, *old_payloads):
        kill(pid, signal.SIGSTOP)
    wait_for(ended.is_recorded, what="the newer attempts have ended")
    running.wait_held(3, fence=2)
    told.wait_held(3, fence=2)
    before = records(ended), where(running), where(told)
    assert {*before[1], *before[2]} == {("RUNNING", "node2")}

    for case in (ended, running):
        case.hold(FREE, ".1")
    for pid in (*old, *old_payloads):
        kill(pid, signal.SIGCONT)
    for run in run_ids(told.store):
        kill(int(told.claims(run)[0]["pid"]), signal.SIGUSR2)
    assert not processes.wait_gone(launchers, LONG)
    assert before == (records(ended), where(running), where(told))
    assert not records(running)
    assert_refused(ended)
    assert_refused(running)
    lab.restart("slurmd:node1")
    wait_idle(arena.site, "node1")
    for case in (running, told):
        assert case.finish() == 0
        assert_resumed(case, attempts=2, resumes=1)


def assert_refused(case: Case) -> None:
    """The first attempt of each run, and only that one, was not let publish."""
    for run in run_ids(case.store):
        refused = [line for line in journal(case.store, run) if line["event"] == "refused"]
        assert [line["fence"] for line in refused] == [1]


def where(case: Case) -> list[tuple[str, str]]:
    """The states and the nodes of its elements."""
    return [(row["state"], row["node"]) for row in case.jobs().values()]


def records(case: Case) -> dict[Path, bytes]:
    """The records of a sweep, as they are on disk."""
    return {path: path.read_bytes() for path in case.store.runs.glob("*/record.json")}


def _on_node1(arena: Arena, name: str, runs: int, **more: bool) -> Case:
    """A sweep that starts on node1, at its hold, and may go on elsewhere."""
    lab = arena.site.lab
    case = arena.case(name, runs=runs, **more)
    case.hold(20)
    lab.drain("node2")
    try:
        case.submit()
        case.wait_held(runs, fence=1)
    finally:
        lab.resume("node2")
    return case


def slurmctld_killed(arena: Arena) -> None:
    """While runs run and end, and when somebody submits: that fails cleanly, and is repaired."""
    lab = arena.site.lab
    running, late = arena.case("ctld-runs", once=True), arena.case("ctld-late", once=True)
    running.hold(20)
    running.submit()
    running.wait_held(3)
    lab.save_state()
    lab.kill("slurmctld")
    try:
        failed = late.site.probprec(*late.arguments(), cwd=late.folder, check=1)
        assert "slurm" in failed.stderr.lower()
        assert len(failed.stderr.splitlines()) < 5
        running.free()
        wait_for(running.is_recorded, what="records without a controller")
    finally:
        lab.restart("slurmctld")
    assert late.submit()["submitted"] == 3
    for case in (running, late):
        case.wait_over()
    assert running.submit()["submitted"] == 0


def slurmctld_forgot(arena: Arena) -> None:
    """It is killed before it has written down what it started, and takes that for pending.

    Slurm then kills what runs, and starts it a second time or, as it happens, holds it until
    somebody lets it go.
    """
    lab = arena.site.lab
    case = arena.case("ctld-forgot")
    case.hold(20)
    for node in ("node1", "node2"):
        lab.drain(node)
    case.submit()
    lab.save_state()
    state_file = lab.folder / "state" / "job_state"
    before = state_file.read_bytes()
    for node in ("node1", "node2"):
        lab.resume(node)
    case.wait_held(3, fence=1)
    lab.kill("slurmctld")
    state_file.write_bytes(before)
    lab.restart("slurmctld")
    case.site.heal()  # the nodes, too, may be drained as far as it remembers
    case.free()

    def is_done() -> bool:
        for name, row in case.jobs().items():
            if "held" in row["reason"] and row["state"] == "PENDING":
                lab.run("scontrol", "release", name, check=False)
        return case.is_recorded() or not case.live()

    wait_for(is_done, pause=1, what="records, and what Slurm holds is let go")
    if not case.is_recorded():  # killed before its end, and started again as if for the first time
        case.finish()
    wait_idle(case.site)


def slurmctld_hangs_in_sbatch(arena: Arena) -> None:
    """It stops answering in the middle of a submission, and takes the array all the same, or not."""
    lab = arena.site.lab
    case = arena.case("ctld-hangs", once=True)
    controller = processes.read(lab.folder / "run" / "slurmctld.pid")
    assert controller is not None
    folder = own_sbatch(case, f"kill -STOP {controller.pid}", 1)
    try:
        failed = case.site.probprec(
            *case.arguments(),
            cwd=case.folder,
            check=1,
            environment={"PATH": f"{folder}:{os.environ['PATH']}"},
        )
    finally:
        lab.kill("slurmctld", signal.SIGCONT)
    assert "sbatch" in failed.stderr
    case.submit()
    case.wait_over()


def node_drained(arena: Arena) -> None:
    """What runs there ends there; what comes goes elsewhere; then the node is back."""
    lab = arena.site.lab
    running, later = _on_node1(arena, "drained", 3), arena.case("elsewhere", once=True)
    lab.drain("node1")
    try:
        later.submit()
        later.wait_over()
        assert {later.claims(run)[0]["node"] for run in run_ids(later.store)} == {"node2"}
        running.free()
        running.wait_over()
    finally:
        lab.resume("node1")
    assert {running.claims(run)[0]["node"] for run in run_ids(running.store)} == {"node1"}
    assert_resumed(running, attempts=1, resumes=0)
    wait_idle(arena.site)


def preemption_storm(arena: Arena) -> None:
    """The nodes are taken away three times."""
    lab = arena.site.lab
    case = arena.case("storm", torch=True, profile={"resources": {"partition": "preemptible"}})
    for fence, step in ((1, 20), (2, 40), (3, 60), (4, FREE)):
        case.hold(step, f".{fence}")
    case.submit()
    for fence in (1, 2, 3):
        case.wait_held(3, fence=fence)
        urgent = lab.preempt(["node1", "node2"], seconds=1)
        lab.wait_for(urgent, "COMPLETED", seconds=LONG)
    wait_for(case.is_recorded, what="the end of the storm")
    assert case.finish() == 0
    for run in run_ids(case.store):
        said = [line["failure"] for line in ends(case.store, run)]
        assert said == ["preempted"] * 3 + [None]
    assert_resumed(case, attempts=4, resumes=3)


def wait_idle(site: Site, node: str = "") -> None:
    """Wait until the nodes, or one of them, take jobs again.

    A node that Slurm has drained by itself, because it still knew a job that was started again or
    could not end one in time, is taken back, as an admin would.
    """
    names = [f"--nodes={node}"] if node else []

    def take_jobs() -> bool:
        done = site.lab.run("sinfo", "-hN", "-o", "%N|%T|%E", *names, check=False)
        rows = [line.split("|", 2) for line in done.stdout.splitlines()]
        for name, found, reason in rows:
            if found == "drained" and reason in ("Duplicate jobid", "Kill task failed"):
                site.lab.run("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)
        return bool(rows) and {row[1] for row in rows} <= {"idle", "mixed", "allocated"}

    wait_for(take_jobs, pause=0.2, what="nodes that take jobs")


# -------------------------------------------------------------------------------------------------

SIDE_BY_SIDE = (
    chain_of_time_limits,  # takes longest
    submitter_killed,
    requeued_while_running,
    launcher_killed,
    payload_killed,
    launcher_killed_while_stopping,
    two_submit_at_once,
    packed_payload_killed,
    scancelled,
    cancelled,
    cancelled_at_once,
    torn_record,
    torn_journal,
    torn_checkpoint,
)
ONE_BY_ONE = (
    full_scratch,
    slurmd_restarted,
    node_died,
    two_live_attempts,
    slurmctld_killed,
    slurmctld_hangs_in_sbatch,
    node_drained,
    preemption_storm,
    slurmctld_forgot,  # the last: it also forgets which job ids it gave, and gives them again
)
FAULTS = {fault.__name__: fault for fault in (*SIDE_BY_SIDE, *ONE_BY_ONE)}


def side_by_side(stage: Stage, *, name: str) -> Row:
    """A function for the marker of that name."""
    return go(stage.site, stage.make_case, name)


def _named(fault: Callable[[Arena], None]) -> object:
    name = fault.__name__
    if fault in ONE_BY_ONE:
        return pytest.param(name, marks=[pytest.mark.last] if fault is slurmctld_forgot else [])
    is_slow = fault is chain_of_time_limits
    function = partial(side_by_side, name=name)
    return pytest.param(name, marks=pytest.mark.side_by_side(function, slow=is_slow))


@pytest.mark.parametrize("name", [_named(fault) for fault in SIDE_BY_SIDE])
def test_a_sweep_is_hit(name: str, outcome: Row, record_property: Callable[..., None]) -> None:
    assert outcome.fault == name.replace("_", " ")
    record_property("table: kill matrix", asdict(outcome))


@pytest.mark.parametrize("name", [_named(fault) for fault in ONE_BY_ONE])
def test_the_cluster_is_hit(
    site: Site, make_case: MakeCase, name: str, record_property: Callable[..., None]
) -> None:
    record_property("table: kill matrix", asdict(go(site, make_case, name)))
