"""Real Slurm for tests: a throw-away lab, `probprec` in it, sweeps whose runs can be held at a step.

A pytest plugin (`conftest.py` loads it); the plain functions are imported: `from tests.slurm import ...`.

Runs train what is shipped, with what is shipped; only the interpreter that the profile names calls
back between two steps, and waits there while the file `hold` of the sweep says so. That way a fault
hits exactly the runs that it is meant for, without spending the CPU on long trainings.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.lab import Lab, Settings
from cluster.lab.faults import NODE_IS_DONE
from jobs import record
from jobs.store import Store

LONG = 600.0
"""Seconds after which something that should happen has not; nothing waits that long when all is well."""

OPTIMIZERS = {
    "SGD": "{lr: 0.05}",
    "Adam": "{lr: 1e-3}",
    "PreconditionedSGD": "{}",
}
STEPS_PER_EPOCH = {"digits_mlp": 37, "quadratic_deep": 7}
MODES = {"plain": False, "accounting": True}  # is slurmdbd there?
SETTINGS: Mapping[str, Any] = {
    "nodes": 2,
    "cpus": 16,
    "memory_mb": 32_000,
    "kill_wait": 30,
    "grace_time": 10,
    "node_timeout": 12,
    "min_job_age": 1800,  # what a test counts in the end is still in the queue, however long it took
}
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}

# An interpreter that waits between two steps while the hold says so: `-m jobs.train ...` follows.
_HELD_PYTHON = """\
import os, sys, time
from pathlib import Path

os.nice(int(os.environ["PROBPREC_TEST_NICE"]))
from jobs import train

hold = Path(os.environ["PROBPREC_TEST_HOLD"])
out = Path(sys.argv[sys.argv.index("--out") + 1])
build = train.build


def step_of_hold():
    run, fence = out.parts[-3], int(out.name)
    for name in (f"{hold}.{run}.{fence}", f"{hold}.{run}", f"{hold}.{fence}", hold):
        try:
            return int(Path(name).read_text() or 0)
        except OSError:
            continue
    return None


def held(*args, **kwargs):
    training = build(*args, **kwargs)
    boundary = training.boundary

    def wait(**more):
        boundary(**more)
        is_new = True
        while (step := step_of_hold()) is not None and training.step >= step:
            if is_new:
                held_at = Path(f"{hold}.at")
                held_at.mkdir(exist_ok=True)
                (held_at / f"{out.parts[-3]}.{int(out.name)}").write_text(str(training.step))
                is_new = False
            time.sleep(0.05)
            boundary(**more)

    training.boundary = wait
    return training


train.build = held
del sys.argv[1:3]
sys.exit(train.main(sys.argv[1:]))
"""


def wait_for(
    condition: Callable[[], Any], seconds: float = LONG, *, pause: float = 0.05, what: str = ""
) -> Any:
    """Wait until the condition holds; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen in {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


def make_spec(
    folder: Path,
    *,
    runs: int = 3,
    epochs: int = 3,
    problem: str = "digits_mlp",
    name: str = "small",
    more: str = "",
) -> Path:
    """A spec of so many runs (a multiple of 3: SGD, Adam and PreconditionedSGD)."""
    assert runs % len(OPTIMIZERS) == 0
    listed = "\n".join(f"  {label}: {settings}" for label, settings in OPTIMIZERS.items())
    path = folder / f"{name}.yaml"
    path.write_text(
        f"problems: [{problem}]\noptimizers:\n{listed}\n"
        f"seeds: 42..{41 + runs // len(OPTIMIZERS)}\nepochs: {epochs}\n{more}"
    )
    return path


def make_profile(
    folder: Path,
    *,
    name: str = "site",
    held: bool = True,
    nice: int = 10,
    resources: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A profile of the lab; with `held` its runs obey the file `hold` in `folder` (see `Case`).

    Hours are its limit: what a run is held counts as the length of its epoch, and a training whose
    next epoch would not end in time leaves. `nice`: of its trainings; those that a time limit ends
    must not wait for the others.
    """
    asked = {"partition": "day", "cpus": 1, "mem": "1500M", "time": "02:00:00"} | (resources or {})
    content = {"engine": "slurm", "checkpoint_every": "1s", "resources": asked} | more
    if held:
        python = folder / "held-python"
        (folder / "held.py").write_text(_HELD_PYTHON)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/held.py "$@"\n')
        python.chmod(0o755)
        content["python"] = str(python)
        content["environment"] = {
            **content.get("environment", {}),
            "PROBPREC_TEST_HOLD": str(folder / "hold"),
            "PROBPREC_TEST_NICE": str(nice),
        }
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(f"{key}: {_yaml(value)}" for key, value in content.items()) + "\n")
    return path


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) and "/" in value else str(value)


def journal(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The lines of a run's journal."""
    return store.run(run_id).journal()


def claims(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The attempts of a run, as its journal knows them."""
    return [line for line in journal(store, run_id) if line.get("event") == "claimed"]


def ends(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The ends of a run's attempts, as its journal knows them."""
    return [line for line in journal(store, run_id) if line.get("event") == "ended"]


def run_ids(store: Store) -> list[str]:
    """The runs of a sweep."""
    return [planned.run.id for planned in store.sweep().runs]


def whole_records(store: Store, reference: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The runs whose record is whole and equal, bit for bit, to that of an undisturbed local run."""
    found = set()
    for run_id in run_ids(store):
        with contextlib.suppress(FileNotFoundError, record.RecordError):
            record.read(store.run(run_id).record_file, run_id=run_id)
            ours = json.loads(store.run(run_id).record_file.read_bytes())
            if all(ours[key] == reference[run_id][key] for key in ("outcome", "stop", "curves")):
                found.add(run_id)
    return found


def published_twice(store: Store) -> set[str]:
    """The runs of which more than one outcome was published, torn ones that were set aside not counted."""
    found = set()
    for run_id in run_ids(store):
        lines = journal(store, run_id)
        aside = sum(line.get("event") == "record set aside" for line in lines)
        published = sum("outcome" in line for line in lines if line.get("event") == "ended")
        folders = list(store.run(run_id).path.glob("record*.json"))
        if published > 1 + aside or len(folders) > 1 + aside:
            found.add(run_id)
    return found


def assert_done_once(store: Store, reference: Mapping[str, Mapping[str, Any]]) -> None:
    """Every run has exactly one record, equal to that of an undisturbed local run."""
    assert whole_records(store, reference) == set(run_ids(store))
    assert not published_twice(store)


def payloads(folder: Path) -> dict[str, int]:
    """The trainings under way whose command line names the folder: attempt's folder, and pid."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "--out" in words and str(folder) in words[words.index("--out") + 1]:
            found[words[words.index("--out") + 1]] = int(path.parent.name)
    return found


@dataclass(eq=False)
class Site:
    """A lab that is up, and the command in it."""

    lab: Lab
    accounting: bool
    _stop: threading.Event = field(default_factory=threading.Event)
    _nudger: threading.Thread | None = None

    @property
    def mode(self) -> str:
        """Which of `MODES`."""
        return "accounting" if self.accounting else "plain"

    def command(self, *arguments: object) -> list[str]:
        """The command line of `probprec`."""
        return [sys.executable, "-m", "cluster.cli", *map(str, arguments)]

    def probprec(
        self,
        *arguments: object,
        cwd: Path,
        check: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run `probprec` in the lab and wait for it."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env={**self.lab.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(
        self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command in the lab."""
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**self.lab.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def jobs(self, name: str) -> dict[str, dict[str, str]]:
        """Every element of the queue of that job name, also those that are over, by element."""
        lines = self.squeue("--states=all", f"--name={name}", "--format=%F|%K|%A|%T|%r|%N|%k")
        keys = ("job", "task", "raw", "state", "reason", "node", "comment")
        rows = [dict(zip(keys, line.split("|", 6), strict=True)) for line in lines]
        return {f"{row['job']}_{row['task']}": row for row in rows}

    def squeue(self, *arguments: str) -> list[str]:
        """The lines of squeue, an element each; no answer is not an empty queue: it is asked again."""
        done = wait_for(
            lambda: (found := self._ask(arguments)).returncode == 0 and found,
            what="the controller's answer",
        )
        return [line for line in done.stdout.split("\n") if line]

    def _ask(self, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return self.lab.run("squeue", "--noheader", "--array", *arguments, check=False)

    def heal(self) -> None:
        """Start what does not run, and take all nodes back into service."""
        for daemon, found in self.lab.status()["daemons"].items():
            if not found["alive"]:
                self.lab.restart(daemon)
        for node in self.lab.settings.node_names:
            with contextlib.suppress(subprocess.CalledProcessError):  # it is in service
                self.lab.resume(node)

    def nudge_for_ever(self) -> None:
        """Spare requeued jobs the two minutes that Slurm makes them wait, but for a few seconds.

        A node that has only just ended the old start of a job sends its signals to the new one.
        """
        since: dict[str, float] = {}
        while not self._stop.wait(0.5):
            with contextlib.suppress(subprocess.SubprocessError):
                done = self.lab.run(
                    "squeue", "-h", "-r", "-t", "PD", "-o", "%i|%r", check=False, timeout=30
                )
                rows = (line.partition("|") for line in done.stdout.splitlines())
                waiting = [job for job, _, reason in rows if reason == "BeginTime"]
                now = time.monotonic()
                since = {job: since.get(job, now) for job in waiting}
                for job in waiting:
                    if now - since[job] >= NODE_IS_DONE:
                        self.lab.start_now(job, pause=0)

    def begin(self) -> None:
        """Start the nudger."""
        self._nudger = threading.Thread(target=self.nudge_for_ever, daemon=True)
        self._nudger.start()

    def end(self) -> None:
        """Stop the nudger."""
        self._stop.set()
        if self._nudger is not None:
            self._nudger.join()


_TELLING = {
    "submissions/*/*.receipt.json": 200,
    "submissions/*/*.withdrawn-*.json": 200,
    "submitit/*/*.out": 1000,
    "submitit/*/*.err": 1000,
    "runs/*/journal.jsonl": 6000,
    "runs/*/attempts/*/output.log": 2000,
}
"""What may explain a failure, and how much of each file's end."""


@dataclass(eq=False)
class Case:
    """One sweep in a lab, and what can be done to it.

    The file `hold` of its folder holds a step: runs that have taken so many wait. `hold.FENCE`
    is for one attempt of each run, `hold.RUN` for one run, `hold.RUN.FENCE` for one attempt of it; a
    large number lets it go.
    """

    site: Site
    folder: Path
    spec: Path
    profile: Path
    root: Path
    reference: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The sweep's folder."""
        return Store(self.root / self.spec.stem)

    @property
    def name(self) -> str:
        """The sweep's, and of its jobs."""
        return self.spec.stem

    def arguments(self, *more: object) -> list[object]:
        """The arguments of `probprec submit`."""
        return ["submit", self.spec, "--root", self.root, "--on", self.profile, "--json", *more]

    def submit(self, *more: object, check: int | None = 0) -> dict[str, Any]:
        """Submit; the report."""
        done = self.site.probprec(*self.arguments(*more), cwd=self.folder, check=check)
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {}

    def hold(self, step: int, suffix: str = "") -> None:
        """Runs wait at that step."""
        path = self.folder / f"hold{suffix}"
        path.with_name("new-hold").write_text(str(step))
        path.with_name("new-hold").replace(path)

    def free(self) -> None:
        """Runs go on."""
        for path in self.folder.glob("hold*"):
            if path.is_file():
                path.unlink()

    def held(self, fence: int | None = None) -> dict[str, tuple[int, int]]:
        """The runs whose newest attempt waits: its fence and the step."""
        found = {}
        for path in sorted((self.folder / "hold.at").glob("*.*")):
            run_id, number = path.name.split(".")
            if self.store.run(run_id).last_fence() == int(number) and path.read_text():
                found[run_id] = (int(number), int(path.read_text()))
        return {run: at for run, at in found.items() if fence is None or at[0] == fence}

    def wait_held(
        self, count: int, *, fence: int | None = None, checkpoint: bool = True
    ) -> list[str]:
        """Wait until so many runs wait and have a checkpoint of this attempt; their ids."""

        def ready() -> list[str]:
            found = [
                run
                for run, (number, _) in self.held(fence).items()
                if not checkpoint or self.store.run(run).attempt(number).has_checkpoint()
            ]
            assert len(found) >= count or self.live(), self.describe()
            return found if len(found) >= count else []

        return list(wait_for(ready, what=f"{count} runs of {self.name} at their hold"))

    def claims(self, run_id: str) -> list[dict[str, Any]]:
        """The attempts of a run, as its journal knows them."""
        return claims(self.store, run_id)

    def payload(self, run_id: str) -> int:
        """The pid of a run's training."""
        [pid] = [
            pid
            for out, pid in payloads(self.store.run(run_id).path).items()
            if int(Path(out).name) == self.store.run(run_id).last_fence()
        ]
        return pid

    def launcher(self, run_id: str) -> int:
        """The pid of a run's launcher."""
        return int(self.claims(run_id)[-1]["pid"])

    def live(self) -> list[str]:
        """Its elements that wait or run."""
        return [name for name, row in self.jobs().items() if row["state"] not in OVER]

    def jobs(self) -> dict[str, dict[str, str]]:
        """Its elements in the queue, also those that are over."""
        return self.site.jobs(self.name)

    def is_recorded(self) -> bool:
        """Whether each run has a file of a record."""
        return all(self.store.run(run).record_file.exists() for run in run_ids(self.store))

    def wait_over(self) -> None:
        """Wait until nothing of it waits or runs."""
        wait_for(lambda: not self.live(), pause=0.2, what=f"{self.name} is over")

    def finish(self, command: str = "submit") -> int:
        """Let the runs go, wait, send what is missing if there is any, and wait again.

        Args:
            command: What sends it: submit, or retry.

        Returns:
            How many runs were sent again.
        """
        self.free()
        self.wait_over()
        if self.is_recorded():
            return 0
        if command == "submit":
            count = self.submit()["submitted"]
        else:
            done = self.site.probprec("retry", self.store.root, "--json", cwd=self.folder, check=0)
            count = len(json.loads(done.stdout)["retried"])
        self.wait_over()
        return int(count)

    def describe(self) -> str:
        """All that may explain a failure."""
        parts = [f"== squeue\n{json.dumps(self.jobs(), indent=0)}"]
        for pattern, size in _TELLING.items():
            parts += [
                f"== {path}\n{path.read_text(errors='replace')[-size:]}"
                for path in sorted(self.store.root.glob(pattern))
            ]
        return "\n".join(parts)


Reference = Callable[[Path], Mapping[str, Mapping[str, Any]]]
MakeCase = Callable[..., Case]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Of a spec's path: the records of its runs, undisturbed, on this machine; by run id."""
    known: dict[str, dict[str, Any]] = {}
    lock = threading.Lock()
    folder = tmp_path_factory.mktemp("reference")  # one for all: only new runs are run

    def records(spec: Path) -> Mapping[str, Mapping[str, Any]]:
        with lock:
            if spec.read_text() not in known:
                shutil.copy(spec, folder / "reference.yaml")
                done = subprocess.run(
                    [sys.executable, "-m", "cluster.cli", "run", "reference.yaml"],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                known[spec.read_text()] = {
                    path.parent.name: json.loads(path.read_bytes())
                    for path in folder.glob("sweeps/reference/runs/*/record.json")
                }
            return known[spec.read_text()]

    return records


@contextlib.contextmanager
def lab_up(**settings: Any) -> Iterator[Site]:
    """A lab for as long as it is needed; whatever happens, nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp")) / "lab"
    found = Lab(folder)
    try:
        found.up(Settings(**{**SETTINGS, **settings}))
        site = Site(found, bool(settings.get("accounting")))
        site.begin()
        try:
            yield site
        finally:
            site.end()
    finally:
        found.down()
        shutil.rmtree(folder.parent)


@pytest.fixture(scope="session", params=MODES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A real Slurm, once without and once with accounting; one lab lives at a time."""
    if shutil.which("slurmctld", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        pytest.skip("Slurm is not installed")
    with lab_up(accounting=MODES[request.param]) as up:
        yield up


@pytest.fixture(scope="session")
def lab(site: Site) -> Lab:
    """The lab itself: its knobs."""
    return site.lab


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> MakeCase:
    """Of a site and a name: a sweep there; `spec`, `profile` and `root` as `make_spec`, `make_profile`."""

    def make(
        site: Site,
        name: str,
        *,
        spec: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        root: Path | None = None,
    ) -> Case:
        folder = tmp_path_factory.mktemp(name)
        path = make_spec(folder, name=name, **(spec or {}))
        return Case(
            site=site,
            folder=folder,
            spec=path,
            profile=make_profile(folder, **(profile or {})),
            root=root or folder / "sweeps",
            reference=reference(path),
        )

    return make


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process; it is there."""
    os.kill(pid, number)
